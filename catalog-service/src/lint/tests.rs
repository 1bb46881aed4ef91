//! Each rule, broken once in a manifest that is otherwise clean.

use crate::load::Source;

const CLEAN: &str = r##"key: shop
name: Example Shop
tagline: Orders
description: A shop.
category: ecommerce
docs: https://shop.example/docs
version: "1"
keywords: [orders]
auth:
  flows:
    - kind: credentials
      label: API token
      fields:
        host: {label: Host, host: true, secret: false, sandbox: shop.example.com}
        token: {label: Token, pattern: "[a-z]+", sandbox: abc}
        area: {label: Area, pattern: "[a-z]+", sandbox: abc}
  test: list_orders
transport:
  headers: {Authorization: "Bearer {account.token}"}
  caller_headers: [X-Note]
modules:
  orders: {summary: Orders, base_url: "https://{account.host}/{account.area}"}
  rpc: {summary: Methods, base_url: "https://rpc.example.com", style: rpc, rpc: {path: "/{method}"}}
success: {all: [{pointer: /error, present: false}]}
errors:
  code: [/code]
  map: [{status: 400, code: "7", means: rate_limited}]
rate_limits:
  default: {scope: account, requests: 5, per_seconds: 1}
  slow: {scope: account, requests: 1, per_seconds: 60}
idempotency: {header: Idempotency-Key, retention_seconds: 3600}
enums:
  status: {new: not seen yet}
operations:
  - id: list_orders
    module: orders
    method: GET
    path: /orders
    summary: Orders.
    effect: read
    query:
      status: {type: string, x-enum: status}
      cursor: {type: string}
      limit: {type: integer, minimum: 1, default: 10}
      day: {type: string, format: date, pattern: "^2"}
    pagination: {kind: cursor, request: cursor, items: /items}
    rate_limit: slow
    response_example: {items: []}
  - id: get_order
    module: orders
    method: GET
    path: /orders/{id}
    summary: One order.
    effect: read
    path_params:
      id: {type: integer}
    request_example: {path_params: {id: 7}}
    response_example: {id: 7}
  - id: create_order
    module: orders
    method: POST
    path: /orders
    summary: A new order.
    effect: keyed
    body: {type: object, required: [name], properties: {name: {type: string}}}
    body_required: true
    request_example: {body: {name: a}}
    response_example: {id: 7}
  - id: list_users
    module: rpc
    method: user.list
    summary: Users.
    effect: read
    effect_reason: A query.
    response_example: {result: []}
verified: {how: documentation, on: "2026-11-22"}
"##;

pub(super) fn lint(text: String) -> Vec<String> {
    let source = Source { file: "connectors/ecommerce/shop.yaml".to_owned(), text };
    super::source(&source).iter().map(ToString::to_string).collect()
}

#[test]
fn the_example_is_clean() {
    assert_eq!(lint(CLEAN.to_owned()), Vec::<String>::new());
}

#[test]
fn every_rule_is_noticed_where_it_is_broken() {
    let rules = [
        ("key: shop", "key: shop2", "1: key: the file is called shop.yaml"),
        ("category: ecommerce", "category: data", "5: category: is data, but the folder is ecommerce"),
        ("tagline: Orders", "tagline: Orders and orders and orders again", "tagline: has 34 characters"),
        ("tagline: Orders", "tagline: Заказы", "tagline: must be English"),
        ("docs: https://", "docs: http://", "docs: must be an https"),
        ("on: \"2026-11-22\"", "on: yesterday", "verified.on: must be a date"),
        ("kind: credentials", "kind: popup_oauth", "auth.flows.0: needs `oauth`"),
        ("test: list_orders", "test: create_order", "auth.test: create_order is not a read"),
        ("test: list_orders", "test: get_order", "auth.test: get_order needs path.id"),
        ("test: list_orders", "test: nothing", "auth.test: no operation has the id nothing"),
        ("Bearer {account.token}", "Bearer {account.tokn}", "no flow has a field tokn"),
        ("Bearer {account.token}", "Bearer x", "auth.flows.0.fields.token: is asked for, but no template uses it"),
        ("Bearer {account.token}", "Bearer {account.token} {token}", "{token} needs transport.token"),
        ("Bearer {account.token}", "Bearer {account.token", "transport.headers.Authorization: `{` without `}`"),
        (
            "caller_headers: [X-Note]",
            "caller_headers: [Authorization]",
            "transport.caller_headers.0: Authorization carries",
        ),
        ("caller_headers: [X-Note]", "caller_headers: [Host]", "transport.caller_headers.0: Host frames"),
        (
            "caller_headers: [X-Note]",
            "trace: true\n  caller_headers: [Traceparent]",
            "transport.caller_headers.0: Traceparent is set by transport.trace",
        ),
        (
            "sandbox: abc}\n        area",
            "sandbox: ABC}\n        area",
            "auth.flows.0.fields.token.sandbox: does not match",
        ),
        ("sandbox: shop.example.com", "sandbox: localhost", "auth.flows.0.fields.host.sandbox"),
        ("host: true, secret: false", "secret: false", "auth.flows.0.fields.host: is the whole host of a URL"),
        (
            "Area, pattern: \"[a-z]+\", sandbox: abc",
            "Area",
            "auth.flows.0.fields.area: is part of a URL, so it needs a pattern",
        ),
        ("Area, pattern: \"[a-z]+\"", "Area, pattern: \"[a-z.]+\"", "its pattern allows \"..\""),
        ("https://{account.host}/", "http://{account.host}/", "modules.orders.base_url: must begin with https"),
        ("path: \"/{method}\"", "path: \"/x\"", "modules.rpc.rpc.path: needs {method}"),
        ("present: false", "present: false, empty: true", "success.all.0: needs exactly one of"),
        ("pointer: /error", "pointer: error", "\"error\" is no JSON pointer"),
        ("code: [/code]", "code: []", "errors.map.0: compares a code"),
        ("requests: 5", "requests: 0", "rate_limits.default.requests: must be more than 0"),
        ("rate_limit: slow", "rate_limit: slw", "operations.list_orders.rate_limit: rate_limits has no bucket slw"),
        ("    rate_limit: slow\n", "", "rate_limits.slow: no operation spends from this bucket"),
        ("x-enum: status", "x-enum: stats", "operations.list_orders.query.status.x-enum: enums has no list stats"),
        (", x-enum: status", "", "enums.status: no parameter and no body has x-enum"),
        ("format: date", "format: dat", "operations.list_orders.query.day.format: is one of"),
        ("pattern: \"^2\"", "pattern: \"(\"", "operations.list_orders.query.day.pattern: does not compile"),
        ("default: 10", "default: ten", "operations.list_orders.query.limit.default: \"ten\" is of another type"),
        (
            "request: cursor",
            "request: curser",
            "operations.list_orders.pagination.request: there is no query parameter",
        ),
        ("items: /items", "items: /rows", "operations.list_orders.response_example: has no list at \"/rows\""),
        ("{items: []}", "{error: 1, items: []}", "operations.list_orders.response_example: is not a success"),
        ("    response_example: {items: []}\n", "", "operations.list_orders: response_example is missing"),
        ("id: get_order", "id: list_orders", "operations.list_orders.id: list_orders stands twice"),
        ("id: get_order", "id: getOrder", "operations.getOrder.id: is snake_case"),
        ("path: /orders/{id}", "path: /orders/{id", "operations.get_order.path: `{` without `}`"),
        (
            "path: /orders/{id}",
            "path: /orders/{key}",
            "operations.get_order.path_params.id: does not stand in the path",
        ),
        ("path: /orders/{id}", "path: /orders?{id}", "operations.get_order.path: is written decoded"),
        (
            "{path_params: {id: 7}}",
            "{path_params: {id: seven}}",
            "operations.get_order.request_example.path_params.id: `path.id` must be an integer",
        ),
        ("    request_example: {path_params: {id: 7}}\n", "", "operations.get_order: needs a request_example"),
        (
            "{body: {name: a}}",
            "{body: {nam: a}}",
            "operations.create_order.request_example.body.name: `body.name` is required",
        ),
        (
            "required: [name]",
            "required: [nam]",
            "operations.create_order.body.required: nam is not among the properties",
        ),
        ("{name: {type: string}}", "{name: {type: text}}", "operations.create_order.body"),
        (
            "{name: {type: string}}",
            "{name: {$ref: \"#/x\"}}",
            "operations.create_order.body.properties.name.$ref: references",
        ),
        (
            "effect: keyed",
            "effect: idempotent",
            "operations.create_order.effect: is idempotent, but POST suggests once",
        ),
        (
            "idempotency: {header: Idempotency-Key, retention_seconds: 3600}\n",
            "",
            "operations.create_order.effect: keyed needs idempotency",
        ),
        ("    effect_reason: A query.\n", "", "operations.list_users.effect: is read, but POST suggests once"),
        (
            "    method: user.list",
            "    method: user.list\n    path: /x",
            "operations.list_users.path: an rpc operation has none",
        ),
        ("module: rpc", "module: rcp", "operations.list_users.module: module rcp does not exist"),
        ("summary: Users.", "sumary: Users.", "unknown key sumary (did you mean summary?)"),
        ("{result: []}", "null", "operations.list_users.response_example: this call has an answer"),
    ];
    each_is_noticed(CLEAN, &rules);
}

/// Each rule: what stands in the clean text, what is written instead, and what the finding says.
pub(super) fn each_is_noticed(clean: &str, rules: &[(&str, &str, &str)]) {
    for (from, to, expected) in rules {
        assert!(clean.contains(from), "{from}");
        let findings = lint(clean.replacen(from, to, 1));
        assert!(findings.iter().any(|finding| finding.contains(expected)), "{from} → {to}: {findings:#?}");
    }
}

#[test]
fn the_same_key_twice_is_noticed() {
    let file = |file: &str| Source { file: file.to_owned(), text: CLEAN.to_owned() };
    let findings = super::sources(&[file("a/ecommerce/shop.yaml"), file("b/ecommerce/shop.yaml")]);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].to_string(), "b/ecommerce/shop.yaml:1: key: shop is also defined by a/ecommerce/shop.yaml");
}
