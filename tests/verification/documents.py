"""Reads documents.yaml and the documents that it names."""

from pathlib import Path

from . import yaml_files
from .published import Document
from .readers import client_code, discovery, graphql, methods, openapi, proto, stone
from .references import References
from .sources import Unavailable, open_source

TABLE = Path(__file__).with_name("documents.yaml")
# Kinds that describe an API, and texts that name parts of it.
DESCRIPTIONS = ("openapi", "discovery", "graphql", "methods", "proto", "stone")
TEXTS = ("documentation", "client_code")
_FIELDS = {"source", "path", "paths", "kind", "format", "publisher", "prefix", "read_as", "below_base", "modules", "values"}
_PUBLISHERS = ("vendor", "collection", "others")


class Documents:
    """The table. Sources are opened once: many connectors share a package."""

    def __init__(self, offline=False, clones=None):
        self._offline, self._clones = offline, clones or {}
        self._sources = {}
        self.table = yaml_files.read(TABLE)
        for key, entries in self.table.items():
            for entry in entries:
                _check(key, entry)

    def of(self, key):
        """The documents of a connector, in the order of the table: the first that has an operation decides."""
        return [document for entry in self.table.get(key) or [] for document in self._read(entry)]

    def _read(self, entry):
        name = entry["source"]
        if name not in self._sources:
            self._sources[name] = open_source(name, self._offline, self._clones)
        source = self._sources[name]
        paths = entry.get("paths") or [entry["path"]]
        if entry["kind"] in TEXTS:
            texts = source.texts(paths)
            if not texts:
                raise Unavailable(f"{name} has no file like {', '.join(paths)}")
            texts = [text if isinstance(text, str) else text.decode("utf-8", errors="replace") for text in texts]
            more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
            return [self._document(entry, source, paths[0] + more, [], "", judge=client_code.judge_with(texts, entry))]
        return [self._describe(entry, source, path) for path in paths]

    def _describe(self, entry, source, path):
        if entry["kind"] == "graphql":
            return self._document(entry, source, path, [], "", judge=graphql.judge_with(source.read(path)))
        try:
            operations, version = _READERS[entry.get("format", entry["kind"])](source.read, path, entry)
        except (KeyError, ValueError, AttributeError, TypeError) as error:
            raise Unavailable(f"{entry['source']} {path} is not what documents.yaml says: {type(error).__name__}: {error}") from error
        for old, new in (entry.get("read_as") or {}).items():
            for operation in operations:
                operation.path = operation.path.replace(old, new)
        if not operations:
            raise Unavailable(f"{entry['source']} {path} has no operations")
        return self._document(entry, source, path, operations, version)

    def _document(self, entry, source, path, operations, version, judge=None):
        read_as = "".join(f" ({old.strip('/')} read as {new.strip('/')})" for old, new in (entry.get("read_as") or {}).items() if new != "/")
        return Document(f"{entry['source']} {path}{read_as}", entry["kind"], version, source.obtained, entry["publisher"], operations, entry.get("modules"), tuple(entry.get("values") or ()), judge)


def _with_references(read):
    return lambda fetch, path, entry: read(References(fetch), path, entry)


_READERS = {
    "openapi": _with_references(openapi.read),
    "discovery": _with_references(discovery.read),
    "telegram": _with_references(methods.read_telegram),
    "vk": _with_references(methods.read_vk),
    "proto": proto.read,
    "stone": stone.read,
}


def _check(key, entry):
    unknown = set(entry) - _FIELDS
    if unknown or ("path" in entry) == ("paths" in entry) or entry.get("kind") not in (*DESCRIPTIONS, *TEXTS) or entry.get("publisher") not in _PUBLISHERS:
        raise Unavailable(f"documents.yaml, {key}: an entry has source, kind, publisher ({', '.join(_PUBLISHERS)}) and one of path and paths; {', '.join(sorted(unknown)) or entry}")
