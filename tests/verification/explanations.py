"""Differences in address or method that are known and right on our side: explanations.yaml says why, and names the source
that is newer or surer than the document."""

from pathlib import Path

from . import yaml_files

FILE = Path(__file__).with_name("explanations.yaml")


class Explanations:
    def __init__(self):
        self._entries = yaml_files.read(FILE) or []
        self._used = set()
        for entry in self._entries:
            if set(entry) != {"connector", "operations", "reason", "source"}:
                raise ValueError(f"explanations.yaml: an entry has connector, operations, reason and source, not {', '.join(entry)}")

    def of(self, connector, operation):
        for index, entry in enumerate(self._entries):
            if entry["connector"] == connector and operation in entry["operations"]:
                self._used.add((index, operation))
                return f"{entry['reason']} Source: {entry['source']}"
        return None

    def unused(self, connectors):
        """Explanations of what is no difference: they have to go."""
        return [f"{entry['connector']} {operation}" for index, entry in enumerate(self._entries) if entry["connector"] in connectors for operation in entry["operations"] if (index, operation) not in self._used]
