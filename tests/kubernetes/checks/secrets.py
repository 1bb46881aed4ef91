"""No secret is written down, and each part gets those that are its own."""

import re
import subprocess

from .registry import check, notices
from .world import ROOT

# Which of the Secret's keys a part may have: the ticket key makes what an executor must not make, and the master key
# opens accounts.
MAY_HAVE = {
    "gateway": {"CLUSTER_SECRET", "TICKET_KEY", "PAYLOAD_KEY", "NATS_GATEWAY_PASSWORD"},
    "executor": {
        "CLUSTER_SECRET",
        "PAYLOAD_KEY",
        "NATS_EXECUTOR_PASSWORD",
        "REDIS_LIMITS_PASSWORD",
        "REDIS_LIMITS_URL",
    },
    "auth": {
        "CLUSTER_SECRET",
        "TICKET_KEY",
        "MASTER_KEY",
        "REDIS_PASSWORD",
        "REDIS_URL",
        "SEED_OPERATOR_KEY",
        "SEED_API_KEY",
    },
    "catalog": {"CLUSTER_SECRET"},
    "nats": {"NATS_GATEWAY_PASSWORD", "NATS_EXECUTOR_PASSWORD"},
    "redis": {"REDIS_PASSWORD"},
    "limits": {"REDIS_LIMITS_PASSWORD"},
}
# Keys that one puts into the Secret by hand, for a Redis elsewhere.
BY_HAND = {"REDIS_URL", "REDIS_LIMITS_URL"}

LOOKS_SECRET = [
    re.compile(r"\b[0-9a-f]{32,}\b"),
    re.compile(r"\bsk-(org|op)-[A-Za-z0-9]{8,}"),
    re.compile(r"://[^\s/\"@$]*:[^\s/\"@$]+@"),
    re.compile(r"-----BEGIN"),
]


def short(key):
    return re.sub(r"^PLUGBOARD_(SECRETS__)?", "", key)


def strings(value):
    if isinstance(value, dict):
        for one in value.values():
            yield from strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)
    elif isinstance(value, str):
        yield value


@check("no secret value is written down: no Secret, no password, no key")
def written(world):
    problems = [f"{place}: Secret {one['metadata']['name']}" for place, one in world.of_kind("Secret")]
    texts = [(place, text) for place, one in world.everything() for text in strings(one)]
    for place, text in texts + list(world.texts.items()):
        for pattern in LOOKS_SECRET:
            found = pattern.search(text)
            # Built by the shell of whoever reads, from variables.
            if found and "${" not in found.group():
                problems.append(f"{place}: {found.group()[:12]}...")
    return problems


@notices(written, "a password in an address")
def _(world):
    container = world.find("base", "Deployment", "auth")["spec"]["template"]["spec"]["containers"][0]
    container["env"].append({"name": "PLUGBOARD_REDIS__URL", "value": "redis://:hunter2@redis:6379"})


@notices(written, "a Secret among the manifests")
def _(world):
    world.rendered["small"].append({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "plugboard"}})


def references(spec):
    for container in spec.get("initContainers", []) + spec["containers"]:
        for one in container.get("env", []):
            found = one.get("valueFrom", {}).get("secretKeyRef")
            if found:
                yield found["name"], found["key"]
    for volume in spec.get("volumes", []):
        if "secret" in volume:
            for item in volume["secret"].get("items", [{"key": "everything"}]):
                yield volume["secret"]["secretName"], item["key"]


@check("each part is given its own secrets only, of the Secret that deploy/secrets makes and of its own certificate")
def given(world):
    fake = (
        '{"PLUGBOARD_SECRETS__CLUSTER_SECRET": "a", "PLUGBOARD_SECRETS__TICKET_KEY": "b", '
        '"PLUGBOARD_SECRETS__PAYLOAD_KEY": "c", "PLUGBOARD_SECRETS__MASTER_KEY": "d", '
        '"PLUGBOARD_SEED_OPERATOR_KEY": "e", "PLUGBOARD_SEED_API_KEY": "f"}'
    )
    made = subprocess.run([ROOT / "deploy" / "secrets"], input=fake, capture_output=True, text=True, check=True).stdout
    there = {line.split("=")[0] for line in made.splitlines()}
    problems = []
    for place, name, _, spec in world.pods():
        for secret, key in references(spec):
            if place == "tls" and secret == f"tls-{name}":
                continue
            if secret != "plugboard" or key not in there | BY_HAND:
                problems.append(f"{place} {name}: {secret}/{key} is made by nobody")
            elif short(key) not in MAY_HAVE[name]:
                problems.append(f"{place} {name} is given {key}")
    return problems


@notices(given, "an executor with a gateway's certificate")
def _(world):
    spec = world.find("tls", "Deployment", "executor")["spec"]["template"]["spec"]
    spec["volumes"][0]["secret"]["secretName"] = "tls-gateway"


@notices(given, "an executor with the ticket key")
def _(world):
    container = world.find("production", "Deployment", "executor")["spec"]["template"]["spec"]["containers"][0]
    ticket = {"name": "plugboard", "key": "PLUGBOARD_SECRETS__TICKET_KEY"}
    container["env"].append({"name": "PLUGBOARD_SECRETS__TICKET_KEY", "valueFrom": {"secretKeyRef": ticket}})
