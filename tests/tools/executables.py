"""Test executables of a build: reads cargo's JSON messages, writes `package<TAB>kind<TAB>name<TAB>folder<TAB>path`."""

import json
import os
import sys

for line in sys.stdin:
    try:
        message = json.loads(line)
    except ValueError:
        continue
    if message.get("reason") != "compiler-artifact" or not message.get("executable"):
        continue
    if not message["profile"]["test"]:
        continue
    folder = os.path.dirname(message["manifest_path"])
    target = message["target"]
    package = message["package_id"].split("#")[-1].split("@")[0]
    if not package[0].isalpha():
        package = os.path.basename(folder)
    print("\t".join([package, target["kind"][0], target["name"], folder, message["executable"]]))
