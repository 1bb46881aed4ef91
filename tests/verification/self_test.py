"""That the comparison sees what it is for: made-up documents against made-up calls. `tests/catalog-verify --self-test`."""

import json
import unittest

from .compare import compare
from .manifests import Call
from .paths import fits
from .published import Document
from .readers import client_code, discovery, graphql, openapi, proto, stone
from .references import References

_OPENAPI = {
    "openapi": "3.0.3",
    "info": {"version": "1.2"},
    "servers": [{"url": "https://{host}/api/{version}", "variables": {"host": {"default": "example.com"}, "version": {"default": "v2"}}}],
    "paths": {
        "/orders": {
            "get": {"parameters": [{"$ref": "#/components/parameters/limit"}, {"name": "shop", "in": "query", "required": True, "schema": {"type": "string"}}]},
            "post": {"requestBody": {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}}}}},
        },
        "/orders/{orderId}": {"$ref": "more.yaml#/order"},
        "/{kind}/{id}": {"put": {}},
    },
    "components": {
        "parameters": {"limit": {"name": "limit", "in": "query", "schema": {"type": "integer"}}},
        "schemas": {"Order": {"type": "object", "required": ["sku", "id"], "properties": {"id": {"type": "string", "readOnly": True}, "sku": {"type": "string"}, "note": {"type": "string", "nullable": True}, "parent": {"$ref": "#/components/schemas/Order"}}}},
    },
}
_MORE = "order:\n  get: {}\n  delete: {}\n"


def _call(method, path, manifest=None, **source):
    return Call("shop", "op", "api", method, path, path, {"method": method, "path": path, **source}, manifest or {})


def _document(kind, operations=(), judge=None, values=()):
    return Document("made up", kind, "", "registry", "vendor", list(operations), None, values, judge)


def _openapi():
    files = {"api.json": json.dumps(_OPENAPI), "more.yaml": _MORE}
    operations, version = openapi.read(References(files.__getitem__), "api.json", {})
    assert version == "1.2"
    return _document("openapi", operations)


class Addresses(unittest.TestCase):
    def test_names_of_parameters_may_differ(self):
        self.assertIsNotNone(fits("/a/{id}", "/a/{orderId}/"))
        self.assertIsNotNone(fits("/a/{id}:cancel", "/a/{name}:cancel"))

    def test_a_value_fits_their_parameter_where_it_is_listed(self):
        self.assertIsNotNone(fits("/crm/Leads/{id}", "/crm/{module}/{id}", ["Leads"]))
        self.assertIsNone(fits("/crm/Leads/{id}", "/crm/{module}/{id}"))
        self.assertIsNone(fits("/crm/{module}", "/crm/Leads"))

    def test_other_words_and_lengths_do_not_fit(self):
        self.assertIsNone(fits("/a/b", "/a/c"))
        self.assertIsNone(fits("/a/b", "/a/b/c"))
        self.assertIsNone(fits("/a/{id}:cancel", "/a/{name}:delete"))


class Descriptions(unittest.TestCase):
    def check(self, call):
        return compare(call, [_openapi()])[0]

    def test_agreement(self):
        verdict = self.check(_call("GET", "/api/v2/orders", query={"limit": {"type": "integer"}, "shop": {"type": "string"}}))
        self.assertTrue(verdict.agrees)
        self.assertEqual(verdict.findings, [])

    def test_path_and_method_that_are_not_there(self):
        self.assertFalse(self.check(_call("GET", "/api/v2/invoices")).path)
        verdict = self.check(_call("PATCH", "/api/v2/orders/{id}"))
        self.assertEqual((verdict.path, verdict.method, verdict.found), (True, False, "DELETE, GET /api/v2/orders/{orderId}"))

    def test_another_file_is_followed(self):
        self.assertTrue(self.check(_call("DELETE", "/api/v2/orders/{id}")).agrees)

    def test_parameters(self):
        verdict = self.check(_call("GET", "/api/v2/orders", query={"limit": {"type": "boolean"}, "size": {"type": "integer"}}))
        self.assertEqual(verdict.findings, ["query `limit` is boolean here, integer in the document", "query `size` is not in the document", "query `shop` is required in the document"])

    def test_bodies_and_examples(self):
        body = {"type": "object", "properties": {"sku": {"type": "string"}, "parent": {"type": "object", "properties": {"colour": {"type": "string"}}}}}
        good = self.check(_call("POST", "/api/v2/orders", body={"type": "object", "properties": {"sku": {"type": "string"}}}, request_example={"body": {"sku": "a", "note": None}}))
        self.assertEqual(good.findings, [])
        bad = self.check(_call("POST", "/api/v2/orders", body=body, request_example={"body": {"note": 5}}))
        self.assertEqual(bad.findings, ["body `parent.colour` is not in the document", "example: lacks sku", "example: note 5 is not of type 'string'"])

    def test_a_list_of_values_in_the_path_is_as_many_addresses(self):
        call = _call("GET", "/api/v2/{what}", path_params={"what": {"enum": ["orders", "invoices"]}})
        self.assertFalse(self.check(call).path)


class OtherFormats(unittest.TestCase):
    def test_discovery(self):
        root = {"servicePath": "gmail/v1/", "schemas": {"M": {"type": "object", "properties": {"raw": {"type": "string"}}}}, "resources": {"users": {"methods": {"send": {"httpMethod": "POST", "path": "users/{userId}/send", "parameters": {"userId": {"location": "path", "type": "string"}}, "request": {"$ref": "M"}}}}}}
        operations, _ = discovery.read(References(lambda name: json.dumps(root)), "x", {})
        verdict, _ = compare(_call("POST", "/gmail/v1/users/{id}/send", body={"type": "object", "properties": {"row": {"type": "string"}}}), [_document("discovery", operations)])
        self.assertEqual((verdict.agrees, verdict.findings), (True, ["body `row` is not in the document"]))

    def test_proto(self):
        text = 'package a.v1;\nservice S { rpc Do (DoRequest) returns (Answer) { option (google.api.http) = { post: "/v1/{name=things/*}:do" body: "*" }; } }\nmessage DoRequest {\n  string name = 1;\n  int32 page_size = 2;\n}\n'
        operations, _ = proto.read(lambda name: text, "x", {})
        verdict, _ = compare(_call("POST", "/v1/things/{id}:do", body={"type": "object", "properties": {"pageSize": {"type": "integer"}, "x": {"type": "string"}}}), [_document("proto", operations)])
        self.assertEqual((verdict.agrees, verdict.findings), (True, ["body `x` is not in the document"]))

    def test_stone(self):
        text = 'namespace files\n\nroute move:2 (MoveArg, Result, Error)\n    "Moves."\n\nstruct MoveArg\n    from_path String\n    autorename Boolean = false\n    example default\n        from_path = "/a"\n'
        operations, _ = stone.read(lambda name: text, "x", {})
        verdict, _ = compare(_call("POST", "/2/files/move_v2", body={"type": "object", "properties": {"autorename": {"type": "boolean"}}}, request_example={"body": {"autorename": True}}), [_document("stone", operations)])
        self.assertEqual((verdict.agrees, verdict.findings), (True, ["example: lacks from_path"]))

    def test_graphql(self):
        judge = graphql.judge_with("type Query { issue(id: ID!): Issue } type Issue { id: ID! title: String }")
        good = judge(_call("POST", "/graphql", request_example={"body": {"query": "query($id: ID!) { issue(id: $id) { title } }", "variables": {"id": "1"}}}))
        bad = judge(_call("POST", "/graphql", request_example={"body": {"query": "{ task { title } }"}}))
        self.assertEqual((good.agrees, good.findings), (True, []))
        self.assertFalse(bad.path)

    def test_client_code(self):
        judge = client_code.judge_with(["return self.client.get(f'/v1/orders/{order_id}/items')"], {})
        self.assertTrue(judge(_call("GET", "/v1/orders/{id}/items")).agrees)
        self.assertFalse(judge(_call("DELETE", "/v1/orders/{id}/items")).method)
        self.assertFalse(judge(_call("GET", "/v1/orders/{id}")).path)
        self.assertFalse(judge(_call("GET", "/v1/orders")).path)

    def test_a_query_behind_an_address_ends_it(self):
        judge = client_code.judge_with(['get(`/v1/orders/${id}${query ? `?${query}` : ""}`)', "get(`/v1/items/${rest}`)"], {})
        self.assertTrue(judge(_call("GET", "/v1/orders/{id}")).agrees)
        self.assertFalse(judge(_call("GET", "/v1/items")).path)

    def test_one_address_takes_the_name_in_the_body_too(self):
        judge = client_code.judge_with(["post('/service/', name)", "names = ['Docs.List', 'Docs.ReadAll']"], {})
        named = {name: _call("POST", "/service/", body={"properties": {"method": {"const": name}}}) for name in ("Docs.List", "Docs.Read")}
        self.assertTrue(judge(named["Docs.List"]).agrees)
        self.assertFalse(judge(named["Docs.Read"]).path)

    def test_what_is_signed_is_added(self):
        manifest = {"transport": {"body": {"key": "k"}, "signatures": {"all": {"body": {"sign": "s"}}, "other": {"modules": ["other"], "body": {"token": "t"}}}}}
        self.assertEqual(_call("POST", "/v1/orders", manifest=manifest).fixed_body, {"key", "sign"})


def run():
    return unittest.TextTestRunner().run(unittest.defaultTestLoader.loadTestsFromModule(__import__(__name__, fromlist=["run"]))).wasSuccessful()
