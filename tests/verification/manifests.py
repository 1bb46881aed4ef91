"""Our side of the comparison: every operation of every manifest, with the address and the method a vendor would see."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from . import yaml_files

CONNECTORS = Path(__file__).resolve().parents[2] / "catalog-service" / "connectors"


@dataclass
class Call:
    """One operation as it goes over the wire."""

    connector: str
    operation: str
    module: str
    method: str
    path: str
    # The same below the base address of the module.
    path_below_base: str
    source: dict
    manifest: dict = field(repr=False)

    @property
    def query(self):
        return self.source.get("query") or {}

    @property
    def path_params(self):
        return self.source.get("path_params") or {}

    @property
    def body(self):
        return self.source.get("body")

    @property
    def example(self):
        return self.source.get("request_example") or {}

    @cached_property
    def fixed_query(self):
        """Names that the transport adds to every request, and the key of a repeat where it travels in the query."""
        names = self._put_in("query")
        key = (self.manifest.get("idempotency") or {}).get("query")
        return names | ({key} if key else set())

    @cached_property
    def fixed_body(self):
        """Names that the transport adds to every body, and the key of a repeat where it travels in the body."""
        names = self._put_in("body")
        key = (self.manifest.get("idempotency") or {}).get("field")
        return names | ({key} if key else set())

    def _put_in(self, place):
        """What the transport puts in a place itself, its signatures for this module among it."""
        transport = self.manifest.get("transport") or {}
        signatures = [signature for signature in (transport.get("signatures") or {}).values() if self.module in signature.get("modules", [self.module])]
        return {name for part in [transport, *signatures] for name in part.get(place) or {}}

    @cached_property
    def method_in_body(self):
        """RPC: the vendor's own name of the method."""
        return self.source["method"] if "path" not in self.source else None

    @cached_property
    def named_in_body(self):
        """RPC at one address: the name of the method, a constant of the body."""
        method = ((self.body or {}).get("properties") or {}).get("method")
        return method.get("const") if isinstance(method, dict) else None


@dataclass
class Connector:
    key: str
    how: str
    calls: list


def load(keys=()):
    """All connectors, or those of the keys, in the order of their keys."""
    found = {}
    for path in sorted(CONNECTORS.glob("*/*.yaml")):
        if keys and path.stem not in keys:
            continue
        manifest = yaml_files.read(path)
        found[manifest["key"]] = Connector(manifest["key"], manifest["verified"]["how"], [_call(manifest, operation) for operation in manifest["operations"]])
    missing = [key for key in keys if key not in found]
    if missing:
        raise LookupError(f"no such connector: {', '.join(missing)}")
    return [found[key] for key in sorted(found)]


def _call(manifest, operation):
    module = manifest["modules"][operation["module"]]
    base = urlsplit(module["base_url"].replace("{", "<").replace("}", ">")).path.replace("<", "{").replace(">", "}")
    if "path" in operation:
        method, path = operation["method"], operation["path"]
    else:
        rpc = module.get("rpc") or {"path": "/{method}"}
        method, path = rpc.get("verb", "POST"), rpc["path"].replace("{method}", operation["method"])
    return Call(manifest["key"], operation["id"], operation["module"], method, base + path, path, operation, manifest)
