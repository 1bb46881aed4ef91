"""Every object is one that the API server takes."""

import json
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import jsonschema
import kubernetes_validate

from .registry import check, notices
from .world import TOOLS, Skip

# The oldest and the newest version that the README names.
VERSIONS = ("1.30", "1.37")
# Kinds of others: which package knows them. Validators hold values and what is required; types hold names, which
# the validators let pass, as the API server drops them without a word.
OTHERS = {
    "cert-manager.io/v1": "@kubernetes-models/cert-manager/cert-manager.io/v1",
    "keda.sh/v1alpha1": "@kubernetes-models/keda/keda.sh/v1alpha1",
    "monitoring.coreos.com/v1": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
}


@cache
def judged(text, version):
    """The problem of one object, remembered: most objects are the same in all renderings."""
    try:
        kubernetes_validate.validate(json.loads(text), version, strict=True)
    except (jsonschema.ValidationError, kubernetes_validate.SchemaNotFoundError) as problem:
        path = "/".join(str(one) for one in getattr(problem, "absolute_path", []))
        return f"{path}: {problem.message[:200]}"
    return None


@check(f"every object of Kubernetes is valid, unknown fields included, in {' and '.join(VERSIONS)}")
def kubernetes(world):
    problems = []
    for place, one in world.everything():
        if one["apiVersion"] in OTHERS:
            continue
        for version in VERSIONS:
            problem = judged(json.dumps(one, sort_keys=True), version)
            if problem:
                problems.append(f"{place} {one['kind']} {one['metadata']['name']} ({version}): {problem}")
    return problems


@notices(kubernetes, "a field that Kubernetes does not know")
def _(world):
    world.find("base", "Deployment", "executor")["spec"]["template"]["spec"]["terminationGracePeriod"] = 45


@notices(kubernetes, "a value of the wrong kind")
def _(world):
    world.find("small", "HorizontalPodAutoscaler", "gateway")["spec"]["maxReplicas"] = "three"


def run(command, folder):
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@check("every object of KEDA, the Prometheus operator and cert-manager is valid, unknown fields included")
def others(world):
    node = shutil.which("node")
    if not node:
        raise Skip("there is no node")
    objects = {json.dumps(one, sort_keys=True): one for _, one in world.everything() if one["apiVersion"] in OTHERS}
    kinds = sorted({(OTHERS[one["apiVersion"]], one["kind"]) for one in objects.values()})
    imports = [f'import {{ {kind} }} from "{package}/{kind}";' for package, kind in kinds]
    # The constructor sets these two.
    typed = [
        f"new {one['kind']}({json.dumps({key: one[key] for key in one if key not in ('apiVersion', 'kind')})});"
        for one in objects.values()
    ]
    tried = [
        f"try {{ new {one['kind']}({text}).validate(); }} catch (problem) "
        f"{{ console.log('{one['kind']}:', problem.message); }}"
        for text, one in objects.items()
    ]
    # Packages are looked for beside the script.
    with tempfile.TemporaryDirectory(dir=TOOLS) as folder:
        # Fresh literals: only of those does the compiler say that a name is unknown.
        (Path(folder) / "names.ts").write_text("\n".join(imports + typed))
        (Path(folder) / "values.mjs").write_text("\n".join(imports + tried))
        values = run([node, "values.mjs"], folder)
        options = (
            "--noEmit --skipLibCheck --strict --module esnext --target es2022 --moduleResolution bundler --pretty false"
        )
        names = run([node, TOOLS / "node_modules/typescript/bin/tsc", *options.split(), "names.ts"], folder)
    problems = [line[:300] for line in (values.stdout + names.stdout).splitlines() if line.strip()]
    if values.returncode:
        problems.append(values.stderr.strip()[-300:])
    if not objects:
        problems.append("there are no such objects")
    return problems


@notices(others, "a field that KEDA does not know")
def _(world):
    world.find("production", "ScaledObject", "executor")["spec"]["minimumReplicaCount"] = 3


@notices(others, "a fallback that KEDA does not have")
def _(world):
    world.find("production", "ScaledObject", "executor")["spec"]["fallback"]["behavior"] = "highest"


@notices(others, "a certificate that names no issuer")
def _(world):
    del world.find("tls", "Certificate", "gateway")["spec"]["issuerRef"]


@notices(others, "an alert whose expression is missing")
def _(world):
    del world.find("production", "PrometheusRule", "plugboard")["spec"]["groups"][0]["rules"][0]["expr"]
