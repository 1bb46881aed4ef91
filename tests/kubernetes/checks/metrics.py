"""Alerts: their rules, their tests, their runbooks, and the names that they use."""

import re
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import yaml

from .registry import check, notices
from .world import KUBERNETES, OURS, ROOT, TOOLS, Skip

# What every Prometheus client tells of its process, and what a histogram is made of.
PROCESS = {
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_start_time_seconds",
}
SUFFIXES = ("_bucket", "_sum", "_count")
LISTED = Path(__file__).resolve().parents[1] / "metrics.txt"
CATALOGUE = ROOT / "core" / "src" / "telemetry" / "metrics" / "catalogue.rs"


@cache
def known():
    """The product's own catalogue, and until it has one the list beside this."""
    if CATALOGUE.is_file():
        found = set(re.findall(r'"(plugboard_[a-z_]+)"', CATALOGUE.read_text()))
    else:
        found = {line.split("{")[0].strip() for line in LISTED.read_text().splitlines() if line and line[0] != "#"}
    return found | PROCESS


def named(text):
    return set(re.findall(r"\b(?:plugboard|process)_[a-z_]+(?=[{\[)\s]|$)", text))


def unknown(text):
    for name in sorted(named(text)):
        plain = next((name.removesuffix(one) for one in SUFFIXES if name.endswith(one)), name)
        if name not in known() and plain not in known():
            yield name


def rules(world):
    found = [one for place, one in world.of_kind("PrometheusRule") if place == "production"]
    return found[0]["spec"] if found else {"groups": []}


def alerts(world):
    return [rule for group in rules(world)["groups"] for rule in group["rules"]]


@check("alerts and autoscalers use metrics that there are")
def names(world):
    problems = [f"{rule['alert']}: there is no {name}" for rule in alerts(world) for name in unknown(rule["expr"])]
    for place, one in world.of_kind("ScaledObject"):
        for trigger in one["spec"]["triggers"]:
            query = trigger["metadata"]["query"]
            problems += [f"{place}: there is no {name}" for name in unknown(query)]
            if not named(query):
                problems.append(f"{place}: {trigger['name']} looks at nothing of ours")
    return problems


@notices(names, "an alert on a metric that there is not")
def _(world):
    alerts(world)[0]["expr"] = "plugboard_executors_total{} > 0"


@notices(names, "an autoscaler on a metric that there is not")
def _(world):
    trigger = world.find("production", "ScaledObject", "executor")["spec"]["triggers"][0]
    trigger["metadata"]["query"] = "max(plugboard_queue_lag)"


def promtool(*arguments, folder):
    program = TOOLS / "bin" / "promtool"
    if not program.exists():
        raise Skip("promtool is not to be had here")
    return subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=False)


@check("alerts are valid, and fire when they should and not else (promtool)")
def fire(world):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "alerts.yaml").write_text(yaml.safe_dump(rules(world), width=1000))
        (Path(folder) / "test.yaml").write_text(world.texts["tests/kubernetes/alerts_test.yaml"])
        for arguments in (("check", "rules", "alerts.yaml"), ("test", "rules", "test.yaml")):
            done = promtool(*arguments, folder=folder)
            if done.returncode:
                return [line for line in (done.stdout + done.stderr).splitlines() if line.strip()][:20]
    return []


@notices(fire, "an expression that Prometheus does not understand")
def _(world):
    alerts(world)[0]["expr"] = "sum(plugboard_calls_total"


@notices(fire, "an alert that fires later than its test says")
def _(world):
    next(rule for rule in alerts(world) if rule["alert"] == "PlugboardQueueOld")["for"] = "30m"
    # Its own test is enough, and sooner done.
    tests = yaml.safe_load(world.texts["tests/kubernetes/alerts_test.yaml"])
    tests["tests"] = [test for test in tests["tests"] if "PlugboardQueueOld" in str(test)]
    world.texts["tests/kubernetes/alerts_test.yaml"] = yaml.safe_dump(tests, width=1000)


@check("every alert is tested, has a severity, and a runbook that says what to do; no runbook is left over")
def runbooks(world):
    tested = yaml.safe_load(world.texts["tests/kubernetes/alerts_test.yaml"])["tests"]
    tried = {one["alertname"] for test in tested for one in test.get("alert_rule_test", []) if one.get("exp_alerts")}
    problems, used = [], set()
    for rule in alerts(world):
        name = rule["alert"]
        page = ROOT / rule["annotations"].get("runbook", "none")
        used.add(page.name)
        if rule["labels"].get("severity") not in ("critical", "warning"):
            problems.append(f"{name}: severity {rule['labels'].get('severity')}")
        if name not in tried:
            problems.append(f"{name}: no test in which it fires")
        if not page.is_file():
            problems.append(f"{name}: there is no {page.name}")
            continue
        text = page.read_text()
        problems += [
            f"{page.name}: says nothing under `{part}`"
            for part in ("What it means", "What people feel", "How to look", "What to do")
            if not re.search(rf"^## {part}\n+\S", text, re.M)
        ]
        if name not in text:
            problems.append(f"{page.name} does not name {name}")
        problems += [f"{page.name}: there is no {one}" for one in unknown(text)]
    left = {page.name for page in (KUBERNETES / "runbooks").glob("*.md")} - used - {"README.md"}
    return problems + [f"{name}: no alert points to it" for name in sorted(left)]


@notices(runbooks, "an alert without a runbook")
def _(world):
    alerts(world)[3]["annotations"]["runbook"] = "deploy/kubernetes/runbooks/nowhere.md"


@notices(runbooks, "an alert that no test lets fire")
def _(world):
    alerts(world)[3]["alert"] = "PlugboardNew"


@check("the alert on memory is at four fifths of each service's limit")
def memory(world):
    sizes = {"Mi": 1 << 20, "Gi": 1 << 30}
    rule = next(rule for rule in alerts(world) if rule["alert"] == "PlugboardMemoryNearLimit")
    problems = []
    for place, one in world.of_kind("Deployment"):
        name = one["metadata"]["name"]
        limit = one["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
        size = int(limit[:-2]) * sizes[limit[-2:]]
        for part in rule["expr"].split("\nor "):
            jobs, bound = re.search(r'job=~?"([^"]+)"} > ([0-9.* ]+)$', part).groups()
            factors = [float(one) for one in bound.split("*")]
            product = 1.0
            for factor in factors:
                product *= factor
            if name in jobs.split("|") and abs(product - 0.8 * size) > 1:
                problems.append(f"{place} {name}: the limit is {limit}, the alert at {product:.0f} bytes")
        if name not in OURS or name not in rule["expr"]:
            problems.append(f"{name}: not looked at")
    return problems


@notices(memory, "a limit that was changed without its alert")
def _(world):
    pod = world.find("production", "Deployment", "executor")["spec"]["template"]["spec"]
    pod["containers"][0]["resources"]["limits"]["memory"] = "2Gi"
