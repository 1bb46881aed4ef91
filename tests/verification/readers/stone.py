"""Dropbox's own description language: routes with the struct that each takes."""

import re

from ..published import Details, PublishedOperation

_ROUTE = re.compile(r"^route\s+([\w/]+)(?::(\d+))?\s*\((\w[\w.]*|\w+)\s*,", re.MULTILINE)
_STRUCT = re.compile(r"^(struct|union|union_closed)\s+(\w+)(?:\s+extends\s+([\w.]+))?", re.MULTILINE)
_FIELD = re.compile(r"^    (?!example\b)(\w+)\s+([\w.]+)(\([^\n]*\))?(\?)?(\s*=\s*[^\n]+)?\s*$", re.MULTILINE)
_TYPES = {"String": "string", "Boolean": "boolean", "UInt32": "integer", "UInt64": "integer", "Int32": "integer", "Int64": "integer", "Float64": "number", "List": "array", "Timestamp": "string"}


def read(fetch, name, entry):
    text = fetch(name)
    namespace = re.search(r"^namespace\s+(\w+)", text, re.MULTILINE).group(1)
    structs = _structs(text)
    found = []
    for route in _ROUTE.finditer(text):
        path = f"/2/{namespace}/{route.group(1)}" + (f"_v{route.group(2)}" if route.group(2) else "")
        # Some routes carry their version in their name: search/continue:2 is called search/continue_v2.
        found.append(PublishedOperation("POST", path, lambda argument=route.group(3): _details(argument, structs)))
    return found, ""


def _structs(text):
    heads = list(_STRUCT.finditer(text))
    out = {}
    for index, head in enumerate(heads):
        end = heads[index + 1].start() if index + 1 < len(heads) else len(text)
        out[head.group(2)] = (head.group(1), head.group(3), text[head.end() : end])
    return out


def _details(argument, structs):
    if argument == "Void":
        return Details(body=None)
    properties, required, name = {}, [], argument
    while name in structs:
        kind, parent, block = structs[name]
        if kind != "struct":
            return Details(describes_body=False)
        block = re.split(r"^(?:route|struct|union|alias|annotation)\b", block, maxsplit=1, flags=re.MULTILINE)[0]
        for field in _FIELD.finditer(block):
            properties[field.group(1)] = {"type": [_TYPES[field.group(2)]]} if field.group(2) in _TYPES else {}
            if not field.group(4) and not field.group(5):
                required.append(field.group(1))
        name = parent
    if name and name not in structs and "." in name:
        return Details(describes_body=False)
    return Details(body={"type": ["object"], "properties": properties, "required": required})
