"""Lists of RPC methods in a vendor's own format: Telegram's Bot API, and VK's schema."""

from ..published import Details, Parameter, PublishedOperation

_TELEGRAM = {"Integer": "integer", "Float": "number", "Boolean": "boolean", "String": "string"}
# VK: every method takes the language, the version and the token.
_VK_GLOBAL = ("lang", "v", "access_token", "test_mode")


def read_telegram(references, name, entry):
    """`api.json` of telegram-bot-api-spec: what the page of the Bot API says, for machines."""
    root = references.file(name)
    found = []
    for method, described in root["methods"].items():
        details = _telegram_details(described)
        found += [PublishedOperation(verb, f"/bot{{token}}/{method}", details) for verb in ("GET", "POST")]
    return found, root.get("version", "")


def _telegram_details(described):
    def read_details():
        properties, required = {}, []
        for field in described.get("fields") or []:
            kinds = {_telegram_kind(kind) for kind in field.get("types") or []}
            properties[field["name"]] = {} if None in kinds else {"type": sorted(kinds)}
            if field.get("required"):
                required.append(field["name"])
        return Details(body={"type": ["object"], "properties": properties, "required": required})

    return read_details


def _telegram_kind(kind):
    if kind.startswith("Array of"):
        return "array"
    # InputFile and the other types of Telegram: an object, or for a file the name of one.
    return _TELEGRAM.get(kind) or (None if kind == "InputFile" else "object")


def read_vk(references, name, entry):
    """`methods.json` of one section of VK's schema."""
    root = references.file(name)
    found = []
    for method in root["methods"]:
        details = _vk_details(references, name, method)
        found += [PublishedOperation(verb, f"/method/{method['name']}", details) for verb in ("GET", "POST")]
    return found, str(root.get("version", ""))


def _vk_details(references, name, method):
    def read_details():
        properties, required = {word: {} for word in _VK_GLOBAL}, []
        for parameter in method.get("parameters") or []:
            schema = references.schema({key: value for key, value in parameter.items() if key in ("type", "items", "$ref", "enum", "minimum", "maximum")}, name)
            properties[parameter["name"]] = _as_text(schema)
            if parameter.get("required") is True:
                required.append(parameter["name"])
        return Details(body={"type": ["object"], "properties": properties, "required": required})

    return read_details


def _as_text(schema):
    """A form carries lists as text with commas and flags as 0 and 1."""
    kinds = schema.get("type") or []
    if "array" in kinds:
        return {"type": ["array", "string"]}
    if "boolean" in kinds:
        return {"type": ["boolean", "integer"]}
    return schema
