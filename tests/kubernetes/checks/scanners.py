"""What checkov sees, but for what `skipped.yaml` gives a reason for."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import yaml

from .registry import check, notices
from .world import TOOLS

SKIPPED = Path(__file__).resolve().parents[1] / "skipped.yaml"


def scan(world, places):
    """{check: [where it fails]} of the rendered objects and of the Dockerfile."""
    with tempfile.TemporaryDirectory() as folder:
        for place in places:
            (Path(folder) / f"{place}.yaml").write_text(yaml.safe_dump_all(world.rendered[place]))
        (Path(folder) / "Dockerfile").write_text(world.texts["deploy/docker/Dockerfile"])
        command = [
            TOOLS / "python/bin/checkov",
            "--directory",
            folder,
            "--framework",
            "kubernetes",
            "dockerfile",
            "secrets",
            "--output",
            "json",
            "--quiet",
            "--compact",
            "--skip-download",
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "LOG_LEVEL": "ERROR"}
        )
    reports = json.loads(done.stdout)
    failed, passed = {}, 0
    for report in reports if isinstance(reports, list) else [reports]:
        passed += report["summary"]["passed"]
        for one in report["results"]["failed_checks"]:
            failed.setdefault(one["check_id"], []).append(f"{one['check_name']}: {one['file_path']} {one['resource']}")
    return failed, passed


def problems_of(world, places):
    failed, passed = scan(world, places)
    reasons = yaml.safe_load(SKIPPED.read_text())
    problems = [f"{name}: {where[0]}" for name, where in sorted(failed.items()) if name not in reasons]
    problems += [f"{name}: a reason in skipped.yaml for what does not fail" for name in reasons if name not in failed]
    if passed < 100:
        problems.append(f"only {passed} checks passed: what was looked at?")
    return problems


@check("checkov finds nothing in what is rendered and in the Dockerfile, but for what skipped.yaml argues")
def checkov(world):
    return problems_of(world, ("small", "production"))


@notices(checkov, "what checkov faults")
def _(world):
    spec = world.find("small", "Deployment", "catalog")["spec"]["template"]["spec"]
    spec["containers"][0]["securityContext"]["privileged"] = True
