"""What README and runbooks tell people to do can be done."""

import re
import subprocess

from .registry import check, notices
from .settings import binary
from .world import KUBERNETES

README = "deploy/kubernetes/README.md"

# How sentences are told from commands.
TOP = {"keys", "rotate", "audit", "jobs", "doctor", "call", "connectors", "backup", "restore", "up"}
BELOW = {
    "keys": {"generate", "list", "issue", "rotate", "revoke"},
    "audit": {"list", "verify"},
    "jobs": {"list", "show", "replay", "drop"},
    "connectors": {"lint", "list", "show", "diff", "import"},
}


def pages(world):
    yield README, world.texts[README]
    for path in sorted((KUBERNETES / "runbooks").glob("*.md")):
        yield f"runbooks/{path.name}", path.read_text()


@check("links of the README and of runbooks lead somewhere, and what they name in kubectl is there")
def links(world):
    problems = []
    objects = {
        (one["kind"].lower(), one["metadata"]["name"]) for place, one in world.everything() if place == "production"
    }
    objects |= {("pod", f"{name}-{i}") for name, many in (("nats", 3), ("redis", 1), ("limits", 1)) for i in range(many)}
    for where, text in pages(world):
        folder = KUBERNETES if where == README else KUBERNETES / "runbooks"
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text) + re.findall(r"\b([a-z-]+\.md)\b", text):
            if not (folder / target).exists():
                problems.append(f"{where}: {target} is not there")
        for kind, name in re.findall(r"\b(deployment|statefulset|service)/([a-z]+)", text):
            if (kind, name) not in objects:
                problems.append(f"{where}: there is no {kind}/{name}")
        for name in re.findall(r"app\.kubernetes\.io/name=([a-z]+)", text):
            if name not in {one for _, one, _, _ in world.pods()}:
                problems.append(f"{where}: no pod is called {name}")
    return problems


@notices(links, "a link to nowhere")
def _(world):
    world.texts[README] += "\n[there](nowhere)\n"


@notices(links, "a Deployment that there is not")
def _(world):
    world.texts[README] += "\n`kubectl rollout undo deployment/worker`\n"


@check("every command of the binary that the README and runbooks name is one, with its flags", plain=True)
def commands(world):
    program, problems, helps = binary(), [], {}
    for where, text in pages(world):
        # Words of the command line, without values: those are in capitals, or stand for themselves.
        for words in re.findall(r"\bplugboard ((?:(?:[a-z]+|--[a-z-]+|[A-Z_0-9]+|https://HOST|1|2)\b ?)+)", text):
            parts = words.split()
            if parts[0] not in TOP:
                continue
            names = [parts[0]]
            if len(parts) > 1 and parts[1] in BELOW.get(parts[0], ()):
                names.append(parts[1])
            flags = [part for part in parts if part.startswith("--")]
            key = tuple(names)
            if key not in helps:
                done = subprocess.run([program, *names, "--help"], capture_output=True, text=True, check=False)
                helps[key] = done.stdout if done.returncode == 0 else None
            if helps[key] is None:
                problems.append(f"{where}: plugboard {' '.join(names)} is no command")
            else:
                problems += [
                    f"{where}: plugboard {' '.join(names)} has no {flag}" for flag in flags if flag not in helps[key]
                ]
    return problems if helps else ["no command is named at all"]


@notices(commands, "a command that there is not")
def _(world):
    world.texts[README] += "\n`plugboard keys generate --everything`\n"
