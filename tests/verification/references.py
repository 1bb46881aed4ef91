"""Documents refer to their own parts and to other files. This follows them, and writes a schema out as one that a validator
of JSON Schema 2020-12 takes, with the dialects of Swagger 2 and OpenAPI 3.0 turned into it."""

import json
import posixpath
import re
from urllib.parse import unquote

from . import yaml_files

_TYPES = {"string", "integer", "number", "boolean", "array", "object", "null"}
_DROPPED = {"format", "discriminator", "example", "examples", "xml", "externalDocs", "title", "description", "deprecated", "default", "$schema", "$id", "id", "$comment", "nullable", "x-nullable", "readOnly", "writeOnly", "collectionFormat"}
_BRANCHES = ("allOf", "anyOf", "oneOf")
_NUMBERS = ("minimum", "maximum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
# Deeper than any body of ours; recursive schemas end here.
DEPTH = 9


class References:
    """The files of one document, read when something refers to them."""

    def __init__(self, fetch):
        self._fetch = fetch
        self._files = {}
        self._written = {}

    def file(self, name):
        if name not in self._files:
            text = self._fetch(name)
            self._files[name] = json.loads(text) if text.lstrip().startswith("{") else yaml_files.parse(text)
        return self._files[name]

    def follow(self, node, name):
        """The node that a chain of references ends at, and the file it stands in."""
        for _ in range(20):
            if not isinstance(node, dict) or not isinstance(node.get("$ref"), str):
                return node, name
            node, name = self._target(node["$ref"], name)
        return {}, name

    def _target(self, reference, name):
        file, _, pointer = reference.partition("#")
        if file.startswith(("http:", "https:")):
            return {}, name
        if file:
            name = posixpath.normpath(posixpath.join(posixpath.dirname(name), file))
        node = self.file(name)
        for part in pointer.split("/")[1:]:
            part = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(node, list):
                node = node[int(part)] if part.isdigit() and int(part) < len(node) else {}
            else:
                node = node.get(part, {}) if isinstance(node, dict) else {}
        return node, name

    def schema(self, node, name, depth=DEPTH):
        """A schema with nothing left to follow. What cannot be said in JSON Schema is left out: it then allows more."""
        if not isinstance(node, dict):
            return {}
        key = (name, node.get("$ref"), depth)
        if isinstance(node.get("$ref"), str) and key in self._written:
            return self._written[key]
        target, file = self.follow(node, name)
        written = self._write(target, file, depth) if isinstance(target, dict) and depth > 0 else {}
        if isinstance(node.get("$ref"), str):
            if node.get("nullable") is True:
                written = _or_null(written)
            self._written[key] = written
        return written

    def _write(self, node, name, depth):
        out = {}
        for word, value in node.items():
            if word in _DROPPED or word.startswith("x-"):
                continue
            if word == "properties" and isinstance(value, dict):
                out[word] = {key: self.schema(item, name, depth - 1) for key, item in value.items()}
            elif word in _BRANCHES and isinstance(value, list):
                # Alternatives of published documents often overlap, which `oneOf` would refuse.
                written = [self.schema(item, name, depth - 1) for item in value]
                out.setdefault("allOf" if word == "allOf" else "anyOf", []).extend(written)
            elif word == "items":
                out[word] = self.schema(value[0] if isinstance(value, list) and value else value, name, depth - 1)
            elif word == "additionalProperties":
                # `false` goes: names that a document lacks are reported by name, and branches of `allOf` refuse each other's.
                if value is not False:
                    out[word] = True if value is True else self.schema(value, name, depth - 1)
            elif word == "required":
                if isinstance(value, list):
                    out[word] = [key for key in value if isinstance(key, str) and not self._read_only(node, key, name)]
            elif word == "type":
                kinds = [kind for kind in (value if isinstance(value, list) else [value]) if kind in _TYPES]
                if kinds:
                    out[word] = kinds
            elif word in _NUMBERS:
                if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= (0 if word[3:] in ("Length", "Items", "Properties") else value):
                    out[word] = value
            elif word == "pattern":
                if isinstance(value, str) and _compiles(value):
                    out[word] = value
            elif word == "enum":
                if isinstance(value, list) and value:
                    out[word] = value
            elif word == "const":
                out[word] = value
        return _or_null(out) if node.get("nullable") is True or node.get("x-nullable") is True else out

    def _read_only(self, node, key, name):
        held = (node.get("properties") or {}).get(key)
        held, _ = self.follow(held, name) if isinstance(held, dict) else ({}, name)
        return isinstance(held, dict) and held.get("readOnly") is True


def _or_null(schema):
    return {"anyOf": [schema, {"type": ["null"]}]} if schema else {}


def _compiles(pattern):
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True
