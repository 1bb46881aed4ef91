"""With components/tls: nothing is said in the clear, and certificates name their holder and where it is reached."""

import re
import tomllib

from .registry import check, notices
from .servers import MOUNTED
from .settings import environments
from .world import OURS

PLACE = "tls"
# cert-manager says in a certificate's Secret what these are.
FILES = {
    "PLUGBOARD_TLS__CERTIFICATE": "tls.crt",
    "PLUGBOARD_TLS__PRIVATE_KEY": "tls.key",
    "PLUGBOARD_TLS__CA": "ca.crt",
}


def certificates(world):
    found = {one["metadata"]["name"]: one["spec"] for place, one in world.of_kind("Certificate") if place == PLACE}
    return {name: spec for name, spec in found.items() if not spec.get("isCA")}


@check("with components/tls every address is of TLS, and every process has its certificate's files")
def encrypted(world):
    problems = []
    for where, given in environments(world):
        place, name = where.split()
        if place != PLACE:
            continue
        for setting, value in given.items():
            found = re.search(r"\b(http|nats|redis)://(?!127\.0\.0\.1)", value)
            if found and not setting.endswith("PUBLIC_URL"):
                problems.append(f"{name}: {setting} has {found.group()}")
        for setting, file in FILES.items():
            if given.get(setting, "").strip('"') != f"{MOUNTED}/{file}":
                problems.append(f"{name}: {setting} is {given.get(setting)}")
    for place, name, _, spec in world.pods():
        if place != PLACE:
            continue
        volumes = {one["name"]: one.get("secret", {}).get("secretName") for one in spec.get("volumes", [])}
        mounts = {one["mountPath"]: volumes.get(one["name"]) for one in spec["containers"][0]["volumeMounts"]}
        if mounts.get(MOUNTED) != f"tls-{name}":
            problems.append(f"{name}: {MOUNTED} is {mounts.get(MOUNTED)}")
    return problems


@notices(encrypted, "a broker that is reached in the clear")
def _(world):
    settings = world.find(PLACE, "ConfigMap", "settings")["data"]
    settings["PLUGBOARD_NATS__URLS"] = settings["PLUGBOARD_NATS__URLS"].replace("tls://", "nats://")


@notices(encrypted, "a Redis that is reached in the clear")
def _(world):
    env = world.find(PLACE, "Deployment", "auth")["spec"]["template"]["spec"]["containers"][0]["env"]
    for one in env:
        if one["name"] == "PLUGBOARD_REDIS__URL":
            one["value"] = one["value"].replace("rediss", "redis")


@check("a certificate names its holder as [tls.names] does, and every name by which others reach it")
def names(world):
    roles = tomllib.loads(world.texts["deploy/config/default.toml"])["tls"]["names"]
    made = certificates(world)
    problems = []
    for name in (*OURS, "nats", "redis", "limits"):
        if name not in made:
            problems.append(f"{name}: no certificate")
            continue
        spec = made[name]
        if spec["secretName"] != f"tls-{name}" or not {"server auth", "client auth"} <= set(spec["usages"]):
            problems.append(f"{name}: {spec['secretName']}, {spec['usages']}")
        for role, wanted in roles.items():
            if bool(set(wanted) & set(spec["dnsNames"])) != (role == name):
                problems.append(f"{name}: its names say that it is{'' if role != name else ' not'} a {role}")
    for where, given in environments(world):
        if where.split()[0] != PLACE:
            continue
        for host in re.findall(r"(?:https|tls|rediss)://(?:[^@\"\s]*@)?([a-z0-9.-]+):\d+", " ".join(given.values())):
            holder = host.split(".")[0].rstrip("-0123456789")
            if holder in made and host not in made[holder]["dnsNames"]:
                problems.append(f"{where}: {host} is no name of {holder}'s certificate")
    return problems


@notices(names, "an executor whose certificate says that it is a gateway")
def _(world):
    world.find(PLACE, "Certificate", "executor")["spec"]["dnsNames"] = ["gateway.plugboard.internal"]


@notices(names, "a server that is not reached by a name of its certificate")
def _(world):
    world.find(PLACE, "Certificate", "nats")["spec"]["dnsNames"].pop()
