"""GraphQL schemas: the query of an operation's example is checked against the schema, field by field."""

import json

from graphql import build_schema, parse, validate
from graphql.error import GraphQLError

from ..verdict import Verdict


def judge_with(text):
    """A judge of calls: the address and the method of GraphQL say nothing, the root fields are what is called."""
    schema = build_schema(text, assume_valid=True)

    def judge(call):
        example = call.example.get("body") or {}
        query = example.get("query")
        if not query:
            return Verdict(False, False, ["the example has no query"])
        try:
            document = parse(query)
        except GraphQLError as error:
            return Verdict(False, False, [f"the query of the example: {error.message}"])
        errors = [error.message for error in validate(schema, document)]
        roots = {field.name.value for definition in document.definitions for field in definition.selection_set.selections if hasattr(field, "name")}
        known = {name for root in (schema.query_type, schema.mutation_type) if root for name in root.fields}
        missing = sorted(roots - known - {"__typename"})
        errors += _unknown_variables(document, example.get("variables") or {})
        return Verdict(not missing, call.method == "POST", errors, found=f"POST {', '.join(sorted(roots))}")

    return judge


def _unknown_variables(document, variables):
    declared = {variable.variable.name.value for definition in document.definitions for variable in definition.variable_definitions or ()}
    return [f"variable {json.dumps(name)} is not declared by the query" for name in variables if name not in declared]
