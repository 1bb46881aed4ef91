"""What is looked at: everything that a check reads, read once, so that a check can also be shown a broken one."""

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
TOOLS = ROOT / ".tools" / "kubernetes"
KUBERNETES = ROOT / "deploy" / "kubernetes"
OURS = ("gateway", "executor", "auth", "catalog")


class Skip(Exception):
    """It cannot be shown here, and why."""


@dataclass
class World:
    # Objects by what was rendered: base, small, production, and production with external-redis, with tls.
    rendered: dict
    # Texts of files that are no part of it.
    texts: dict = field(default_factory=dict)

    def everything(self):
        for place, objects in self.rendered.items():
            for one in objects:
                yield place, one

    def of_kind(self, *kinds):
        for place, one in self.everything():
            if one["kind"] in kinds:
                yield place, one

    def pods(self):
        """(place, name, labels, pod's spec) of everything that makes pods."""
        for place, one in self.of_kind("Deployment", "StatefulSet"):
            template = one["spec"]["template"]
            yield place, one["metadata"]["name"], template["metadata"]["labels"], template["spec"]

    def containers(self):
        for place, name, _, spec in self.pods():
            for container in spec.get("initContainers", []) + spec["containers"]:
                yield f"{place} {name}/{container['name']}", container

    def find(self, place, kind, name):
        return next(
            one for one in self.rendered[place] if one["kind"] == kind and one["metadata"]["name"].startswith(name)
        )


def kubectl():
    program = TOOLS / "bin" / "kubectl"
    try:
        version = subprocess.run([program, "version", "--client"], capture_output=True, text=True, check=False).stdout
    except OSError:
        # Absent, or for another processor.
        version = ""
    found = re.search(r"v1\.(\d+)\.", version)
    if not found or int(found.group(1)) < 30:
        raise Skip(f"kubectl 1.30 or later is not to be had here (found {version.strip() or 'none'})")
    return program


def render(folder):
    done = subprocess.run([kubectl(), "kustomize", folder], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{folder} cannot be rendered: {done.stderr.strip()[:500]}")
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def with_component(name):
    """Production with a component that no overlay has by itself."""
    with tempfile.TemporaryDirectory(dir=TOOLS) as folder:
        ours = os.path.relpath(KUBERNETES, Path(folder).resolve())
        wanted = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [f"{ours}/overlays/production"],
            "components": [f"{ours}/components/{name}"],
        }
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(wanted))
        return render(folder)


def all_rendered():
    overlays = {path.name: path for path in sorted((KUBERNETES / "overlays").iterdir())}
    rendered = {"base": render(KUBERNETES / "base")}
    rendered |= {name: render(path) for name, path in overlays.items()}
    rendered |= {name: with_component(name) for name in ("external-redis", "tls")}
    return rendered


def read():
    """The world, and why nothing is rendered in it, if so."""
    names = [
        "deploy/docker/Dockerfile",
        "deploy/compose/compose.yaml",
        "deploy/config/default.toml",
        "deploy/kubernetes/README.md",
        "deploy/kubernetes/components/monitoring/dashboard.json",
        "tests/kubernetes/alerts_test.yaml",
    ]
    texts = {name: (ROOT / name).read_text() for name in names}
    try:
        return World(all_rendered(), texts), None
    except Skip as why:
        return World({}, texts), str(why)
