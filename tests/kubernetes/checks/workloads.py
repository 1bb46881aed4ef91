"""Pods: probes, ports, rights, images, disruption, scaling."""

import re
import tomllib

from .registry import check, notices
from .settings import environments
from .world import OURS

# Of services that have no such setting.
OTHERS = {"drain_ms": 12_000}


def ports(container):
    return {port["name"]: port["containerPort"] for port in container.get("ports", [])}


@check("every service has startup, readiness and liveness probes, at ports that exist")
def probes(world):
    problems = []
    for place, name, _, spec in world.pods():
        for container in spec["containers"]:
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                probe = container.get(kind)
                if not probe:
                    problems.append(f"{place} {name}: no {kind}")
                    continue
                asked = probe.get("httpGet") or probe.get("tcpSocket")
                if asked and asked["port"] not in ports(container):
                    problems.append(f"{place} {name}: {kind} asks at {asked['port']}, which is no port of it")
                if name in OURS:
                    path = "/readyz" if kind == "readinessProbe" else "/livez"
                    if asked != {"path": path, "port": "health"}:
                        problems.append(f"{place} {name}: {kind} is {asked}, wanted {path} at health")
    return problems


@notices(probes, "a probe at a port that does not exist")
def _(world):
    world.find("base", "StatefulSet", "nats")["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["httpGet"][
        "port"
    ] = "monitoring"


@notices(probes, "a service without a readiness probe")
def _(world):
    del world.find("small", "Deployment", "auth")["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]


@check("pods may do no more than they need")
def rights(world):
    problems = []
    for place, name, _, spec in world.pods():
        pod = spec.get("securityContext", {})
        wanted = {
            "runs as root": pod.get("runAsNonRoot") is True and pod.get("runAsUser", 0) > 0,
            "no seccomp profile": pod.get("seccompProfile") == {"type": "RuntimeDefault"},
            "a token of the API server": spec.get("automountServiceAccountToken") is False,
            "variables made of Services": spec.get("enableServiceLinks") is False,
            "the host's namespaces": not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")),
        }
        problems += [f"{place} {name}: {what}" for what, fine in wanted.items() if not fine]
    for where, container in world.containers():
        own = container.get("securityContext", {})
        wanted = {
            "may gain rights": own.get("allowPrivilegeEscalation") is False,
            "may write to its image": own.get("readOnlyRootFilesystem") is True,
            "keeps capabilities": own.get("capabilities") == {"drop": ["ALL"]},
        }
        problems += [f"{where}: {what}" for what, fine in wanted.items() if not fine]
    return problems


@notices(rights, "a writable root file system")
def _(world):
    world.find("base", "Deployment", "gateway")["spec"]["template"]["spec"]["containers"][0]["securityContext"][
        "readOnlyRootFilesystem"
    ] = False


@notices(rights, "a pod that may run as root")
def _(world):
    del world.find("production", "StatefulSet", "redis")["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"]


@check("every container asks for CPU and memory, and memory is bounded")
def resources(world):
    problems = []
    for where, container in world.containers():
        given = container.get("resources", {})
        if set(given.get("requests", {})) != {"cpu", "memory"} or "memory" not in given.get("limits", {}):
            problems.append(f"{where}: {given}")
    return problems


@notices(resources, "memory without a bound")
def _(world):
    del world.find("base", "Deployment", "executor")["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]


@check("images are pinned to a version")
def images(world):
    problems = []
    for where, container in world.containers():
        name, _, tag = container["image"].partition(":")
        if not re.fullmatch(r"\d+\.\d+\.\d+(-[a-z0-9.]+)?", tag):
            problems.append(f"{where}: {container['image']}")
        elif name == "nats" and tuple(map(int, tag.split("-")[0].split("."))) < (2, 15, 1):
            problems.append(f"{where}: {container['image']}: `sync_interval: always` needs 2.15.1")
    return problems


@notices(images, "an image without a version")
def _(world):
    world.find("base", "StatefulSet", "redis")["spec"]["template"]["spec"]["containers"][0]["image"] = "redis:latest"


@notices(images, "a nats-server that is too old")
def _(world):
    world.find("base", "StatefulSet", "nats")["spec"]["template"]["spec"]["containers"][0]["image"] = (
        "nats:2.14.5-alpine"
    )


@check("selectors of Services and disruption budgets find pods, and named ports exist")
def selectors(world):
    problems = []
    for place, one in world.of_kind("Service", "PodDisruptionBudget"):
        spec = one["spec"]
        wanted = spec["selector"].get("matchLabels", {}) if one["kind"] == "PodDisruptionBudget" else spec["selector"]
        found = [pod for there, _, labels, pod in world.pods() if there == place and wanted.items() <= labels.items()]
        title = f"{place} {one['kind']} {one['metadata']['name']}"
        if len(found) != 1:
            problems.append(f"{title}: {wanted} finds {len(found)} kinds of pods")
            continue
        for port in spec.get("ports", []):
            if port["targetPort"] not in {name for container in found[0]["containers"] for name in ports(container)}:
                problems.append(f"{title}: no port {port['targetPort']}")
    for place in world.rendered:
        budgets = {one["metadata"]["name"] for there, one in world.of_kind("PodDisruptionBudget") if there == place}
        problems += [f"{place} {name}: no disruption budget" for name in (*OURS, "nats") if name not in budgets]
    return problems


@notices(selectors, "a disruption budget that protects nobody")
def _(world):
    world.find("base", "PodDisruptionBudget", "gateway")["spec"]["selector"]["matchLabels"] = {"app": "gateway"}


def takes_to_stop(world, place, name):
    """What a service of ours needs from the signal on, in seconds: its settings, and a second to end what has not ended."""
    given = dict(environments(world)).get(f"{place} {name}", {})
    defaults = tomllib.loads(world.texts["deploy/config/default.toml"])

    def millis(key):
        return int(given.get(f"PLUGBOARD_{name}__{key}".upper(), defaults[name].get(key, OTHERS.get(key, 0))))

    return (millis("stop_grace_ms") + millis("drain_ms")) / 1000 + 1


@check("updates and stops leave time: no service is missed, drains end before the kill")
def stops(world):
    problems = []
    for place, one in world.of_kind("Deployment"):
        name, spec = one["metadata"]["name"], one["spec"]
        if spec["strategy"]["rollingUpdate"]["maxUnavailable"] != 0:
            problems.append(f"{place} {name}: an update takes pods before others are ready")
        pod = spec["template"]["spec"]
        hook = pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        takes, given = hook + takes_to_stop(world, place, name), pod["terminationGracePeriodSeconds"]
        if takes >= given:
            problems.append(f"{place} {name}: preStop and its drain take {takes:.0f} s, and it is killed after {given}")
        if pod.get("topologySpreadConstraints", []) == []:
            problems.append(f"{place} {name}: all pods may be on one node")
    return problems


@notices(stops, "a grace period shorter than the drain")
def _(world):
    world.find("base", "Deployment", "gateway")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 60


@notices(stops, "a drain longer than the grace period")
def _(world):
    world.find("production", "ConfigMap", "settings")["data"]["PLUGBOARD_EXECUTOR__DRAIN_MS"] = "120000"


@check("one autoscaler for what is scaled, bounded, never to nothing, and nobody else sets its replicas")
def scaling(world):
    problems = []
    for place in world.rendered:
        found = {}
        for there, one in world.of_kind("HorizontalPodAutoscaler", "ScaledObject"):
            if there != place:
                continue
            spec = one["spec"]
            kind = one["kind"]
            found.setdefault(spec["scaleTargetRef"]["name"], []).append(kind)
            least, most = ("minReplicas", "maxReplicas") if kind[0] == "H" else ("minReplicaCount", "maxReplicaCount")
            if not 1 <= spec.get(least, 0) < spec.get(most, 0) <= 100:
                problems.append(f"{place} {one['metadata']['name']}: from {spec.get(least)} to {spec.get(most)}")
        for name, scalers in found.items():
            deployment = world.find(place, "Deployment", name)
            if len(scalers) > 1:
                problems.append(f"{place} {name}: {scalers}")
            if "replicas" in deployment["spec"]:
                problems.append(f"{place} {name}: replicas are set beside {scalers[0]}")
        wanted = {"gateway"} if place == "base" else {"gateway", "executor"}
        if set(found) != wanted:
            problems.append(f"{place}: scaled are {sorted(found)}, wanted {sorted(wanted)}")
    return problems


@notices(scaling, "executors that are scaled to nothing")
def _(world):
    world.find("production", "ScaledObject", "executor")["spec"]["minReplicaCount"] = 0


@notices(scaling, "two autoscalers of one Deployment")
def _(world):
    world.rendered["small"].append(world.find("production", "ScaledObject", "executor"))


@check("the scaler takes the greatest of what gateways tell, and an unknown queue is no empty one")
def scaler(world):
    problems = []
    for place, one in world.of_kind("ScaledObject"):
        spec = one["spec"]
        if spec.get("fallback", {}).get("behavior") != "currentReplicasIfHigher":
            problems.append(f"{place}: without the metric executors may become fewer")
        for trigger in spec["triggers"]:
            query = trigger["metadata"]["query"]
            if not query.startswith("max("):
                problems.append(f"{place}: {query}: every gateway tells the same queue; not to be added up")
            if trigger["metadata"].get("ignoreNullValues") != "false":
                problems.append(f"{place}: {trigger['name']}: an empty answer counts as an empty queue")
    return problems


@notices(scaler, "a sum over gateways")
def _(world):
    trigger = world.find("production", "ScaledObject", "executor")["spec"]["triggers"][0]
    trigger["metadata"]["query"] = "sum(plugboard_queue_waiting)"
