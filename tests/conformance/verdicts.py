"""One line PASS or FAIL for each scenario of a run: `verdicts.py NAME LOG BASELINE EXIT-CODE`.

The suite's exit code is the judge: 0 means that exactly the scenarios of the baseline did not pass.
"""

import re
import sys

name, log_path, baseline_path, code = sys.argv[1:]
log = open(log_path, encoding="utf-8").read()
baseline = set(re.findall(r"^\s*-\s*([\w-]+)", open(baseline_path, encoding="utf-8").read(), re.M))
scenarios = dict()
for mark, scenario, failures in re.findall(r"^([✓✗]) ([\w-]+): \d+ passed, (\d+) failed", log, re.M):
    scenarios[scenario] = mark == "✓" and failures == "0"

wrong = 0
for scenario, good in sorted(scenarios.items()):
    if scenario in baseline:
        print(f"PASS {name} {scenario} (does not pass, as its baseline says)")
    elif good:
        print(f"PASS {name} {scenario}")
    elif code == "0":
        print(f"(not scored: {name} {scenario})")
    else:
        wrong += 1
        print(f"FAIL {name} {scenario}")
if not scenarios or (code != "0" and not wrong):
    wrong += 1
    print(f"FAIL {name}: exit code {code}")
if wrong:
    print(log[-6000:])
sys.exit(1 if wrong else 0)
