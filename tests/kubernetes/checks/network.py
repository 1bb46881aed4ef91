"""Who reaches whom."""

import ipaddress

from .registry import check, notices

# Pods of others, by namespace: what their usual installations are called.
ELSEWHERE = {"kube-system": {"k8s-app": "kube-dns"}, "monitoring": {"app.kubernetes.io/name": "prometheus"}}

INTERNET = "internet"
# Everything that a part needs and no more: (from, to, port).
WANTED = {
    ("anybody", "gateway", "http"),
    ("anybody", "auth", "http"),
    ("gateway", "nats", "client"),
    ("gateway", "auth", "grpc"),
    ("gateway", "catalog", "grpc"),
    ("executor", "nats", "client"),
    ("executor", "auth", "grpc"),
    ("executor", "catalog", "grpc"),
    ("executor", "limits", "redis"),
    ("executor", INTERNET, 443),
    ("executor", INTERNET, 80),
    ("auth", "redis", "redis"),
    ("auth", "catalog", "grpc"),
    ("auth", INTERNET, 443),
    ("nats", "nats", "cluster"),
    *{("monitoring", name, "health") for name in ("gateway", "executor", "auth", "catalog")},
}
DNS = {(name, "kube-system", 53) for name in ("gateway", "executor", "auth", "catalog", "nats", "redis", "limits")}

NOT_THE_INTERNET = """10.1.2.3 172.16.0.1 172.31.255.254 192.168.1.1 100.64.0.1 169.254.169.254 168.63.129.16 127.0.0.1
0.0.0.0 192.0.0.1 198.18.0.1 224.0.0.1 255.255.255.255 ::1 fd00:ec2::254 fe80::1 64:ff9b::a00:1 2002:a00:1:: 2001:0:a::1
ff02::1""".split()
THE_INTERNET = "8.8.8.8 93.184.215.14 172.15.0.1 172.32.0.1 2a00:1450:4001:80e::200e 2001:4860:4860::8888".split()


def matches(selector, labels):
    for one in selector.get("matchExpressions", []):
        if one["operator"] != "In" or labels.get(one["key"]) not in one["values"]:
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()


def selected(pods, selector):
    return {name for name, labels in pods.items() if matches(selector, labels)}


def peers(pods, rule, side):
    """Names of those whom a rule means."""
    for peer in rule.get(side, []) or [None]:
        if peer is None:
            yield "anybody"
        elif "ipBlock" in peer:
            yield INTERNET
        elif "namespaceSelector" in peer:
            namespace = peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
            known = ELSEWHERE.get(namespace) == peer.get("podSelector", {}).get("matchLabels")
            yield namespace if known else f"nobody known: {peer}"
        else:
            yield from sorted(selected(pods, peer["podSelector"])) or [f"nobody: {peer['podSelector']}"]


def arrows(world, place):
    """What policies let out, and what they let in; a port by the name that the pod behind it has for it."""
    pods, names = {}, {}
    for there, name, labels, spec in world.pods():
        if there == place:
            pods[name] = labels
            ports = [port for container in spec["containers"] for port in container.get("ports", [])]
            names[name] = {port["containerPort"]: port["name"] for port in ports}
    out, into = set(), set()
    for there, one in world.of_kind("NetworkPolicy"):
        if there != place:
            continue
        spec = one["spec"]
        for name in selected(pods, spec["podSelector"]):
            for side, key, found in (("egress", "to", out), ("ingress", "from", into)):
                for rule in spec.get(side, []):
                    for peer in peers(pods, rule, key):
                        for port in rule.get("ports", [{"port": "any"}]):
                            pair = (name, peer) if side == "egress" else (peer, name)
                            found.add((*pair, names.get(pair[1], {}).get(port["port"], port["port"])))
    return out, into


@check("network policies let through what each part needs, from both ends, and nothing else")
def policies(world):
    problems = []
    for place in world.rendered:
        wanted = set(WANTED)
        if place == "external-redis":
            wanted -= {("executor", "limits", "redis"), ("auth", "redis", "redis")}
            wanted |= {("executor", INTERNET, 6379), ("auth", INTERNET, 6379)}
        names = {name for there, name, _, _ in world.pods() if there == place}
        dns = {arrow for arrow in DNS if arrow[0] in names}
        out, into = arrows(world, place)
        ours = {arrow for arrow in wanted if arrow[0] in names}
        reached = {arrow for arrow in wanted if arrow[1] in names}
        # A port number of DNS is said twice, for UDP and TCP.
        for title, found, right in (("out", out, ours | dns), ("in", into, reached)):
            problems += [f"{place} {title}: missing {arrow}" for arrow in sorted(right - found, key=str)]
            problems += [f"{place} {title}: too much {arrow}" for arrow in sorted(found - right, key=str)]
        closed = [
            one["spec"]
            for there, one in world.of_kind("NetworkPolicy")
            if there == place
            and one["spec"]["podSelector"] == {}
            and sorted(one["spec"]["policyTypes"]) == ["Egress", "Ingress"]
        ]
        if not any("egress" not in one and "ingress" not in one for one in closed):
            problems.append(f"{place}: nothing is closed by default")
    return problems


@notices(policies, "a policy whose peer does not exist")
def _(world):
    rule = world.find("base", "NetworkPolicy", "redis")["spec"]["ingress"][0]
    rule["from"] = [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "executors"}}}]


@notices(policies, "a gateway that may reach Redis")
def _(world):
    world.find("production", "NetworkPolicy", "gateway")["spec"]["egress"].append(
        {"to": [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "redis"}}}], "ports": [{"port": 6379}]}
    )


@notices(policies, "an executor that may reach the accounts")
def _(world):
    world.find("small", "NetworkPolicy", "redis")["spec"]["ingress"][0]["from"].append(
        {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "executor"}}}
    )


@notices(policies, "a namespace that is open by default")
def _(world):
    world.find("small", "NetworkPolicy", "default-deny")["spec"]["policyTypes"] = ["Ingress"]


@check("the internet is neither the cluster, nor a private network, nor a cloud's metadata")
def internet(world):
    problems = []
    for place, one in world.of_kind("NetworkPolicy"):
        for rule in one["spec"].get("egress", []):
            blocks = [peer["ipBlock"] for peer in rule.get("to", []) if "ipBlock" in peer]
            # One address is somebody's Redis.
            if not blocks or all(ipaddress.ip_network(block["cidr"]).num_addresses == 1 for block in blocks):
                continue
            title = f"{place} {one['metadata']['name']}"
            problems += [f"{title}: {text} can be reached" for text in NOT_THE_INTERNET if reached(blocks, text)]
            problems += [f"{title}: {text} cannot be reached" for text in THE_INTERNET if not reached(blocks, text)]
    return problems


def reached(blocks, text):
    address = ipaddress.ip_address(text)
    within = lambda network: address in ipaddress.ip_network(network)  # noqa: E731
    return any(within(block["cidr"]) and not any(map(within, block.get("except", []))) for block in blocks)


@notices(internet, "a metadata service within reach")
def _(world):
    for rule in world.find("base", "NetworkPolicy", "executor")["spec"]["egress"]:
        for peer in rule["to"]:
            if "except" in peer.get("ipBlock", {}) and "169.254.0.0/16" in peer["ipBlock"]["except"]:
                peer["ipBlock"]["except"].remove("169.254.0.0/16")
