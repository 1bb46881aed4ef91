"""Protocol buffers with `google.api.http` options: gRPC services that are also REST."""

import re

from ..published import Details, PublishedOperation

_RPC = re.compile(r"rpc\s+(\w+)\s*\(\s*(?:stream\s+)?([\w.]+)\s*\)\s*returns\s*\([^)]*\)\s*\{", re.DOTALL)
_BINDING = re.compile(r"\b(get|put|post|delete|patch)\s*:\s*\"([^\"]+)\"")
_MESSAGE = re.compile(r"^message\s+(\w+)\s*\{", re.MULTILINE)
_FIELD = re.compile(r"^\s*(repeated\s+|optional\s+)?(?:map\s*<[^>]+>|[\w.]+)\s+(\w+)\s*=\s*\d+", re.MULTILINE)


def read(fetch, name, entry):
    text = re.sub(r"//[^\n]*|/\*.*?\*/", "", fetch(name), flags=re.DOTALL)
    messages = {head.group(1): _block(text, head.end() - 1) for head in _MESSAGE.finditer(text)}
    found = []
    for rpc in _RPC.finditer(text):
        for verb, path in _BINDING.findall(_block(text, rpc.end() - 1)):
            template = re.sub(r"\{(\w[\w.]*)=([^}]*)\}", lambda match: match.group(2).replace("*", "{" + match.group(1) + "}"), path)
            found.append(PublishedOperation(verb.upper(), template, lambda message=rpc.group(2), path=path: _details(message, path, messages)))
    package = re.search(r"^package\s+([\w.]+)", text, re.MULTILINE)
    return found, package.group(1) if package else ""


def _block(text, start):
    depth = 0
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return text[start + 1 : position]
    return text[start + 1 :]


def _details(message, path, messages):
    """Names only: the JSON of a message has its fields in camel case, and takes them as they stand too."""
    if message not in messages:
        return Details(describes_body=False, describes_parameters=False)
    block = messages[message]
    while re.search(r"\{[^{}]*\}", block):
        # Options and nested messages go, the fields of a oneof stay.
        block = re.sub(r"oneof\s+\w+\s*\{([^{}]*)\}", r"\1", block) if re.search(r"oneof\s+\w+\s*\{[^{}]*\}", block) else re.sub(r"(?:message|enum)?\s*\w*\s*\{[^{}]*\}", "", block, count=1)
    names = [field.group(2) for field in _FIELD.finditer(re.sub(r"\[[^\]]*\]", "", block))]
    in_path = set(re.findall(r"\{(\w+)", path))
    properties = {spelling: {} for name in names if name not in in_path for spelling in (name, _camel(name))}
    return Details(body={"type": ["object"], "properties": properties} if properties else None, describes_parameters=False)


def _camel(name):
    return re.sub(r"_(\w)", lambda match: match.group(1).upper(), name)
