"""YAML as the product reads it: version 1.2's booleans, so that a key `on` stays a word."""

import re

import yaml


class _Loader(yaml.CSafeLoader):
    """The fast loader without the YAML 1.1 words yes, no, on and off, and without dates."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp")]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
# Documents of others say `=` in a list of operators, a tag of YAML 1.1 that nothing constructs.
_Loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: loader.construct_scalar(node))


def parse(text):
    return yaml.load(text, Loader=_Loader)


def read(path):
    return parse(path.read_text(encoding="utf-8"))
