"""Google's discovery documents, as the Python client of Google's APIs carries them."""

from ..published import Details, Parameter, PublishedOperation


def read(references, name, entry):
    root = references.file(name)
    schemas = root.get("schemas") or {}
    base = "/" + root.get("servicePath", "").strip("/")
    found = []

    def walk(node):
        for method in (node.get("methods") or {}).values():
            found.append(PublishedOperation(method["httpMethod"], base.rstrip("/") + "/" + (method.get("flatPath") or method["path"]).lstrip("/"), _details(method, root, schemas)))
            if method.get("flatPath") and method["flatPath"] != method["path"]:
                found.append(PublishedOperation(method["httpMethod"], base.rstrip("/") + "/" + method["path"].lstrip("/").replace("{+", "{"), _details(method, root, schemas)))
        for resource in (node.get("resources") or {}).values():
            walk(resource)

    walk(root)
    return found, f"{root.get('version', '')} {root.get('revision', '')}".strip()


def _details(method, root, schemas):
    def read_details():
        details = Details()
        for name, parameter in {**(root.get("parameters") or {}), **(method.get("parameters") or {})}.items():
            schema = {"type": ["array"], "items": _kind(parameter)} if parameter.get("repeated") else _kind(parameter)
            details.parameters.append(Parameter(name, parameter.get("location", "query"), parameter.get("required") is True, schema))
        if method.get("request"):
            details.body = _schema({"$ref": method["request"]["$ref"]}, schemas, 9)
        return details

    return read_details


def _kind(parameter):
    """Discovery writes 64-bit integers as strings with a format; JSON takes either from us."""
    if parameter.get("format") in ("int64", "uint64"):
        return {"type": ["string", "integer"]}
    return {"type": [parameter["type"]]} if parameter.get("type") in ("string", "integer", "number", "boolean") else {}


def _schema(node, schemas, depth):
    if depth == 0:
        return {}
    if "$ref" in node:
        return _schema(schemas.get(node["$ref"], {}), schemas, depth - 1)
    if node.get("type") == "object" or "properties" in node:
        out = {"type": ["object"], "properties": {key: _schema(value, schemas, depth) for key, value in (node.get("properties") or {}).items()}}
        if "additionalProperties" in node:
            out["additionalProperties"] = _schema(node["additionalProperties"], schemas, depth)
        return out
    if node.get("type") == "array":
        return {"type": ["array"], "items": _schema(node.get("items") or {}, schemas, depth)}
    out = _kind(node)
    if out and "enum" in node:
        out["enum"] = node["enum"]
    return out
