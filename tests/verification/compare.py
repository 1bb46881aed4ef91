"""Compares one of our calls with the operations of the documents that cover it."""

from dataclasses import replace

from jsonschema import Draft202012Validator

from .paths import fits
from .verdict import Verdict

# Which of our types a document's type takes. Query and form values travel as text, so that any scalar is one.
_TAKES = {
    "string": {"string", "integer", "number", "boolean", "array"},
    "integer": {"integer", "string"},
    "number": {"number", "integer", "string"},
    "boolean": {"boolean", "string", "integer"},
    "array": {"array", "string"},
    "object": {"object", "string"},
    "null": {"null"},
}
_DEPTH = 6


def compare(call, documents):
    """The verdict of the closest operation, and the document it stands in. Texts are read only for what no description has."""
    best = _closest(call, documents)
    if best is not None and not best[0].agrees and (each := _values_in_path(call)):
        return _weakest([_closest(one, documents) for one in each])
    return best


def _closest(call, documents):
    best = None
    for document in documents:
        if not document.covers(call.module) or best and best[0].agrees and document.judge:
            continue
        verdict = document.judge(call) if document.judge else _against(call, document)
        if best is None or _rank(verdict) > _rank(best[0]):
            best = verdict, document
    return best


def _rank(verdict):
    return verdict.path, verdict.method, verdict.closeness, -len(verdict.findings)


def _values_in_path(call):
    """A parameter of the path with a list of values is as many addresses, where documents have an operation for each."""
    for name, parameter in call.path_params.items():
        values = parameter.get("enum") or list((call.manifest.get("enums") or {}).get(parameter.get("x-enum"), []))
        if values and "{" + name + "}" in call.path:
            return [replace(call, path=call.path.replace("{" + name + "}", str(value))) for value in values]
    return []


def _weakest(compared):
    compared = [one for one in compared if one is not None]
    return min(compared, key=lambda one: (one[0].path, one[0].method, -len(one[0].findings))) if compared else None


def _against(call, document):
    fitting = [(score, operation) for operation in document.operations if (score := fits(call.path, operation.path, document.values)) is not None]
    if not fitting:
        return Verdict(False, False)
    same = [(score, operation) for score, operation in fitting if operation.method == call.method]
    if not same:
        closest = max(fitting, key=lambda pair: pair[0])[1]
        methods = sorted({operation.method for _, operation in fitting if operation.path == closest.path})
        return Verdict(True, False, found=f"{', '.join(methods)} {closest.path}")
    top = max(score for score, _ in same)
    # Templates of parameters alone (`/{id}`) fit several operations; ours is the one that it differs from least.
    verdicts = [_described(call, operation, top) for score, operation in same if score == top]
    return max(verdicts, key=_rank)


def _described(call, operation, closeness):
    details = operation.details()
    return Verdict(True, True, [*_parameters(call, details), *_body(call, details)], found=f"{operation.method} {operation.path}", closeness=closeness)


def _parameters(call, details):
    if not details.describes_parameters:
        return []
    published = {}
    for parameter in details.parameters:
        if parameter.where == "query":
            published.setdefault(_plain_name(parameter.name), []).append(parameter)
    in_body = _names(details.body)[0] if details.body else {}
    findings = []
    for name, ours in call.query.items():
        theirs = published.get(_plain_name(name))
        if theirs is None:
            # Some documents list what travels in the query of a GET as the arguments of a method.
            if _plain_name(name) not in in_body or call.body is not None:
                findings.append(f"query `{name}` is not in the document")
        elif "[" not in name + theirs[0].name and not _compatible({ours.get("type")}, theirs[0].schema):
            findings.append(f"query `{name}` is {ours.get('type')} here, {_kinds_text(theirs[0].schema)} in the document")
    ours = {_plain_name(name) for name in call.query} | {_plain_name(name) for name in call.fixed_query}
    return findings + [f"query `{parameters[0].name}` is required in the document" for name, parameters in published.items() if parameters[0].required and name not in ours]


def _plain_name(name):
    """`ids[]`, `filter[name]` and `created.gte` are fields of what is named before."""
    return name.split("[")[0]


def _body(call, details):
    if not details.describes_body:
        return []
    if call.body is None:
        return ["a body is required in the document"] if details.body_required and details.body is not None and not call.query and not call.fixed_body else []
    if details.body is None:
        in_query = {parameter.name for parameter in details.parameters}
        left = [name for name in _names(call.body)[0] if name not in in_query and name not in call.fixed_body]
        return [f"body: not in the document ({', '.join(left[:5])})"] if left else []
    findings = []
    _fields("", call.body, details.body, findings, _DEPTH, call.fixed_body | {parameter.name for parameter in details.parameters})
    example = call.example.get("body")
    if example is not None:
        in_query = {parameter.name for parameter in details.parameters if parameter.where == "query"}
        findings += _example(example, details.body, call.fixed_body | in_query)
    return findings


def _fields(path, ours, theirs, findings, depth, allowed=frozenset()):
    if depth == 0:
        return
    names, is_open = _names(theirs)
    own, spelled = _names(ours)[0], {name.lower(): name for name in names}
    for name, schemas in own.items():
        place = f"{path}.{name}".lstrip(".")
        if name not in names and name.lower() in spelled:
            findings.append(f"body `{place}` is written `{spelled[name.lower()]}` in the document")
            continue
        if name not in names:
            if not is_open and names and name not in allowed:
                findings.append(f"body `{place}` is not in the document")
            continue
        union = {"anyOf": names[name]}
        for schema in schemas:
            kinds = {"string"} if _is_file(schema) else _kinds(schema)
            if kinds and not _compatible(kinds - {"null"}, union):
                findings.append(f"body `{place}` is {'/'.join(sorted(kinds))} here, {_kinds_text(union)} in the document")
            elif not _is_file(schema):
                _fields(place, schema, union, findings, depth - 1)
    mine, published = _items(ours), _items(theirs)
    if mine and published:
        _fields(f"{path}[]", {"anyOf": mine}, {"anyOf": published}, findings, depth - 1)


def _is_file(schema):
    """Files of a multipart body are objects with a name and a content here, and text to a document."""
    return isinstance(schema, dict) and {"filename", "content"} <= set(schema.get("properties") or {})


def _branches(schema):
    """A schema and its alternatives and parts, flat."""
    if not isinstance(schema, dict):
        return
    yield schema
    for word in ("allOf", "anyOf", "oneOf"):
        for branch in schema.get(word) or []:
            yield from _branches(branch)


def _names(schema):
    names, is_open = {}, False
    for branch in _branches(schema):
        for name, value in (branch.get("properties") or {}).items():
            names.setdefault(name, []).append(value)
        extra = branch.get("additionalProperties")
        is_open = is_open or bool(extra) or extra == {}
    return names, is_open


def _items(schema):
    return [branch["items"] for branch in _branches(schema) if isinstance(branch.get("items"), dict)]


def _kinds(schema):
    """Types that a schema names; nothing where it leaves them open."""
    kinds = set()
    for branch in _branches(schema):
        kind = branch.get("type")
        kinds |= set(kind if isinstance(kind, list) else [kind] if kind else [])
        if not kind and "properties" in branch:
            kinds.add("object")
    return kinds


def _kinds_text(schema):
    return "/".join(sorted(_kinds(schema)))


def _compatible(ours, theirs):
    kinds = _kinds(theirs)
    if not kinds or any(branch == {} for branch in _branches(theirs)):
        return True
    return all(any(kind in _TAKES[other] or kind == other for other in kinds) for kind in ours if kind)


def _example(example, schema, added):
    """The first faults of our example by the document's schema. What a transport adds is not in the example, and types of
    OData are optional where they are what a service expects (OData JSON 4.01, 4.6.3)."""
    findings = []
    for error in Draft202012Validator(schema).iter_errors(_files_as_text(example)):
        error = _deepest(error)
        if error.validator == "required":
            missing = [name for name in error.validator_value if isinstance(error.instance, dict) and name not in error.instance and name not in added and not name.startswith("@odata.")]
            if not missing:
                continue
            text = f"lacks {', '.join(missing)}"
        else:
            text = error.message if len(error.message) <= 120 else f"{error.message[:60]} … {error.message[-55:]}"
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path).lstrip(".")
        finding = f"example: {place + ' ' if place else ''}{text}"
        if finding not in findings:
            findings.append(finding)
        if len(findings) == 4:
            break
    return findings


def _files_as_text(example):
    if not isinstance(example, dict):
        return example
    return {name: value["content"] if isinstance(value, dict) and {"filename", "content"} <= set(value) else value for name, value in example.items()}


def _deepest(error):
    """Of alternatives that all fail, the one that came furthest says most."""
    while error.context:
        error = max(error.context, key=lambda inner: (len(inner.absolute_path), inner.validator != "type"))
    return error
