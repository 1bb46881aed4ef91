"""The dashboard: whole, and of metrics that there are."""

import json

from .metrics import named, unknown
from .registry import check, notices

FILE = "deploy/kubernetes/components/monitoring/dashboard.json"
# What must be seen somewhere on it.
SHOWN = """plugboard_calls_total plugboard_stage_seconds_bucket plugboard_queue_waiting plugboard_queue_oldest_seconds
plugboard_queue_unaccounted plugboard_executor_in_flight plugboard_executor_slots plugboard_breakers_open
plugboard_limited_total plugboard_refreshes_total plugboard_dead_letters_total plugboard_dependency_up
process_resident_memory_bytes""".split()


@check("the dashboard is whole: unique panels that do not overlap, queries of metrics that there are, shipped as it is")
def dashboard(world):
    try:
        board = json.loads(world.texts[FILE])
    except json.JSONDecodeError as problem:
        return [str(problem)]
    problems, ids, places, seen = [], set(), [], set()
    for panel in board["panels"]:
        title = panel["title"]
        if panel["id"] in ids:
            problems.append(f"{title}: id {panel['id']} is taken")
        ids.add(panel["id"])
        at = panel["gridPos"]
        if at["x"] + at["w"] > 24 or any(overlap(at, other) for other in places):
            problems.append(f"{title}: lies over another, or outside")
        places.append(at)
        if panel["type"] != "row" and not panel.get("targets"):
            problems.append(f"{title}: shows nothing")
        for target in panel.get("targets", []):
            seen |= named(target["expr"])
            problems += [f"{title}: there is no {name}" for name in unknown(target["expr"])]
            if 'namespace="$namespace"' not in target["expr"]:
                problems.append(f"{title}: looks into every namespace")
    problems += [f"{name} is not shown" for name in SHOWN if name not in seen]
    for place in ("production",):
        shipped = world.find(place, "ConfigMap", "plugboard-dashboard")
        if (
            shipped["data"]["dashboard.json"] != world.texts[FILE]
            or "grafana_dashboard" not in shipped["metadata"]["labels"]
        ):
            problems.append(f"{place}: Grafana does not get it")
    return problems


def overlap(one, other):
    apart = (
        one["x"] + one["w"] <= other["x"]
        or other["x"] + other["w"] <= one["x"]
        or one["y"] + one["h"] <= other["y"]
        or other["y"] + other["h"] <= one["y"]
    )
    return not apart


@notices(dashboard, "two panels with one id")
def _(world):
    board = json.loads(world.texts[FILE])
    board["panels"][4]["id"] = board["panels"][5]["id"]
    world.texts[FILE] = json.dumps(board)


@notices(dashboard, "a panel of a metric that there is not")
def _(world):
    world.texts[FILE] = world.texts[FILE].replace("plugboard_breakers_open{", "plugboard_open_breakers{")


@notices(dashboard, "a dashboard that is no JSON")
def _(world):
    world.texts[FILE] = world.texts[FILE][:-10]
