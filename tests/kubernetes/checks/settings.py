"""Settings given by environment are settings of ours, of the right kind."""

import os
import re
import socket
import subprocess
import time
import tomllib

import yaml

from .registry import check, notices
from .world import OURS, ROOT, Skip

PLAIN = {"PLUGBOARD_SEED_OPERATOR_KEY", "PLUGBOARD_SEED_API_KEY", "PLUGBOARD_API_KEY"}


def environments(world):
    """(where, {name: value}) of each service as it would start; a reference is given as `secret`."""
    for place, name, _, spec in world.pods():
        if name not in OURS:
            continue
        container = spec["containers"][0]
        given = {}
        for source in container.get("envFrom", []):
            given |= world.find(place, "ConfigMap", source["configMapRef"]["name"])["data"]
        for one in container["env"]:
            value = one.get("value")
            if value is None:
                given[one["name"]] = "secret"
                continue
            # Kubernetes knows those that stand before, and leaves the others as they are.
            given[one["name"]] = re.sub(r"\$\((\w+)\)", lambda found: given.get(found.group(1), found.group()), value)
        yield f"{place} {name}", given
    compose = yaml.safe_load(world.texts["deploy/compose/compose.yaml"])
    for name in OURS:
        yield f"compose {name}", compose["services"][name]["environment"]


@check("every setting is one of deploy/config/default.toml")
def names(world):
    known = tomllib.loads(world.texts["deploy/config/default.toml"])
    problems = []
    for where, given in environments(world):
        for name, value in given.items():
            if not name.startswith("PLUGBOARD_") or name in PLAIN:
                continue
            section, _, key = name.removeprefix("PLUGBOARD_").lower().partition("__")
            if key not in known.get(section, {}):
                problems.append(f"{where}: {name} is no setting")
            if "$(" in value:
                problems.append(f"{where}: {name}: {value}: a variable that does not stand before")
    return problems


@notices(names, "a setting that there is not")
def _(world):
    world.find("production", "ConfigMap", "settings")["data"]["PLUGBOARD_NATS__TLS"] = "true"


@notices(names, "a password that is not there yet when it is used")
def _(world):
    env = world.find("base", "Deployment", "auth")["spec"]["template"]["spec"]["containers"][0]["env"]
    env.sort(key=lambda one: one["name"] != "PLUGBOARD_REDIS__URL")


@check("addresses that services are given are those of Services, and as many NATS servers as there are")
def addresses(world):
    problems = []
    for where, given in environments(world):
        place = where.split()[0]
        if place == "compose":
            continue
        services = {one["metadata"]["name"]: one["spec"] for there, one in world.of_kind("Service") if there == place}
        for host, port in re.findall(
            r"(?:https?|nats|tls)://([a-z0-9.-]+):(\d+)",
            f"{given['PLUGBOARD_PEERS__AUTH']} {given['PLUGBOARD_PEERS__CATALOG']} {given['PLUGBOARD_NATS__URLS']}",
        ):
            name = host.split(".")[-1]
            if int(port) not in {one["port"] for one in services.get(name, {}).get("ports", [])}:
                problems.append(f"{where}: nobody listens at {host}:{port}")
        servers = world.find(place, "StatefulSet", "nats")["spec"]["replicas"]
        urls = sorted(set(re.findall(r"(?:nats|tls)://(nats-\d+)\.", given["PLUGBOARD_NATS__URLS"])))
        if urls != [f"nats-{i}" for i in range(servers)] or int(given["PLUGBOARD_NATS__REPLICAS"]) != servers:
            problems.append(f"{where}: {servers} nats-servers, but {urls}, copies: {given['PLUGBOARD_NATS__REPLICAS']}")
        listens = given["PLUGBOARD_MODE__HEALTH_LISTEN"]
        if not listens.strip('"').endswith(":8090"):
            problems.append(f"{where}: health is at {listens}, probes ask at 8090")
    return problems


@notices(addresses, "three copies on one server")
def _(world):
    world.find("small", "ConfigMap", "settings")["data"]["PLUGBOARD_NATS__REPLICAS"] = "3"


def binary():
    named = os.environ.get("PLUGBOARD_BIN")
    path = named or os.path.join(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"), "release", "plugboard")
    if not os.access(path, os.X_OK):
        raise Skip("there is no binary; build it or set PLUGBOARD_BIN")
    return path


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def starts(program, given):
    """The catalog needs nobody, and every service reads the settings of all: so it says whether they can be read."""
    port, health = free_port(), free_port()
    given = {name: value for name, value in given.items() if name.startswith("PLUGBOARD_")}
    given |= {
        "PLUGBOARD_SECRETS__CLUSTER_SECRET": "0f" * 32,
        "PLUGBOARD_CATALOG__LISTEN": f'"127.0.0.1:{port}"',
        "PLUGBOARD_MODE__HEALTH_LISTEN": f'"127.0.0.1:{health}"',
    }
    process = subprocess.Popen(
        [program, "catalog"], env=given, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        for _ in range(100):
            if process.poll() is not None:
                return process.stderr.read().strip()[-300:]
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", health)) == 0:
                    return None
            time.sleep(0.05)
        return "it did not start within five seconds"
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@check("the binary can read the settings that each service is given")
def readable(world):
    program = binary()
    problems, seen = [], set()
    for where, given in environments(world):
        # With certificates a process wants their files; `running` starts those.
        if where.split()[0] in ("external-redis", "tls") or tuple(given.items()) in seen:
            continue
        seen.add(tuple(given.items()))
        problem = starts(program, given)
        if problem:
            problems.append(f"{where}: {problem}")
    return problems


@notices(readable, "a setting of the wrong kind")
def _(world):
    world.find("small", "ConfigMap", "settings")["data"]["PLUGBOARD_NATS__URLS"] = "nats://nats:4222"
