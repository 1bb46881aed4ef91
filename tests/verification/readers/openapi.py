"""OpenAPI 3.0 and 3.1, and Swagger 2.0."""

from urllib.parse import urlsplit

from ..published import Details, Parameter, PublishedOperation

METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
_FORMS = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data")


def read(references, name, entry):
    """The operations of one file. `prefix` of the entry stands in for the path of the document's own server."""
    root = references.file(name)
    prefix = entry.get("prefix")
    if prefix is None:
        prefix = _server(root)
    found = []
    paths, paths_file = references.follow(root.get("paths") or {}, name)
    for path, item in paths.items():
        item, file = references.follow(item, paths_file)
        if not isinstance(item, dict):
            continue
        for method in METHODS:
            if isinstance(item.get(method), dict):
                found.append(PublishedOperation(method.upper(), prefix.rstrip("/") + "/" + path.lstrip("/"), _details(references, file, name, root, item, item[method])))
    return found, str((root.get("info") or {}).get("version", ""))


def _server(root):
    if "swagger" in root:
        return root.get("basePath") or ""
    server = (root.get("servers") or [{}])[0]
    url = server.get("url", "")
    for name, variable in (server.get("variables") or {}).items():
        url = url.replace("{" + name + "}", str(variable.get("default", "")))
    return urlsplit(url.replace("{", "<").replace("}", ">")).path.replace("<", "{").replace(">", "}")


def _details(references, file, name, root, item, operation):
    def read_details():
        details = Details()
        operation_here, here = references.follow(operation, file)
        consumes = operation_here.get("consumes") or root.get("consumes") or []
        form = {}
        for raw in [*(item.get("parameters") or []), *(operation_here.get("parameters") or [])]:
            parameter, where = references.follow(raw, here)
            if not isinstance(parameter, dict) or "name" not in parameter and parameter.get("in") != "body":
                continue
            # Documents that were cut for a tool leave out where a parameter stands; a GET has only the address.
            place = parameter.get("in") or "query"
            if place == "body":
                details.body = references.schema(parameter.get("schema") or {}, where)
                details.body_required = bool(parameter.get("required"))
            elif place == "formData":
                form[parameter["name"]] = references.schema(_plain(parameter), where)
                details.body_required = details.body_required or parameter.get("required") is True
            else:
                details.parameters.append(Parameter(parameter["name"], place, parameter.get("required") is True, references.schema(_plain(parameter), where)))
        if form:
            details.body = {"type": ["object"], "properties": form}
        body, where = references.follow(operation_here.get("requestBody"), here)
        if isinstance(body, dict):
            details.body = _content(references, body.get("content") or {}, where)
            details.body_required = body.get("required") is True
        if details.body is None and consumes and not any(kind.split(";")[0] in _FORMS for kind in consumes):
            details.describes_body = False
        return details

    return read_details


def _plain(parameter):
    if isinstance(parameter.get("schema"), dict):
        return parameter["schema"]
    content = parameter.get("content")
    if isinstance(content, dict) and content:
        return {}
    return {key: value for key, value in parameter.items() if key in ("type", "items", "enum", "pattern", "minimum", "maximum")}


def _content(references, content, where):
    """The body of the kinds that ours can be: alternatives where a document has several."""
    schemas = [references.schema((media or {}).get("schema") or {}, where) for kind, media in content.items() if kind.split(";")[0].strip() in _FORMS or "json" in kind or kind == "*/*"]
    if len(schemas) == 1:
        return schemas[0]
    return {"anyOf": schemas} if schemas else None
