use serde_json::json;

use super::*;
use crate::load;

const SHOP: &str = r#"
key: shop
name: Shop
tagline: Orders
description: A shop.
category: ecommerce
docs: https://shop.example/docs
version: "1"
auth: {flows: [{kind: credentials, label: Token, fields: {token: {label: Token}}}]}
transport: {caller_headers: [X-Note]}
modules:
  orders: {summary: Orders, base_url: "https://shop.example"}
  free: {summary: Anything, base_url: "https://shop.example/free", open: true}
enums: {state: {new: not seen, sent: on its way}}
operations:
  - id: list_orders
    module: orders
    method: GET
    path: /orders/{shop}
    summary: Orders.
    effect: read
    path_params: {shop: {type: integer}}
    query: {state: {type: string, x-enum: state}, limit: {type: integer, minimum: 1, maximum: 100}}
    response_example: []
  - id: create_order
    module: orders
    method: POST
    path: /orders
    summary: An order.
    effect: idempotent
    body:
      type: object
      required: [sku]
      properties: {sku: {type: string}, count: {type: number}, to: {type: object, additionalProperties: false, properties: {city: {type: string}}}}
    response_example: {}
verified: {how: documentation, on: "2026-11-22"}
"#;

fn manifest(text: &str) -> Manifest {
    load::manifest(&load::Source { file: "shop.yaml".to_owned(), text: text.to_owned() }).unwrap()
}

/// The differences after a replacement in the text.
fn after(from: &str, to: &str) -> Vec<String> {
    assert!(SHOP.contains(from), "{from}");
    connectors(&manifest(SHOP), &manifest(&SHOP.replacen(from, to, 1))).iter().map(ToString::to_string).collect()
}

#[test]
fn what_breaks_a_caller_is_told_from_what_does_not() {
    let list = "shop.list_orders";
    let create = "shop.create_order";
    let cases = [
        ("summary: Orders.", "summary: All orders.", vec![]),
        ("id: list_orders", "id: orders", vec![]),
        (
            "GET",
            "PUT",
            vec![
                format!("BREAKS {list}: removed: orders GET /orders/{{}}"),
                format!("       {list}: added: orders PUT /orders/{{}}"),
            ],
        ),
        ("effect: idempotent", "effect: once", vec![format!("BREAKS {create}: effect was idempotent, is once")]),
        ("effect: idempotent", "effect: read", vec![format!("       {create}: effect was idempotent, is read")]),
        (
            "limit: {type: integer,",
            "limit: {type: integer, required: true,",
            vec![format!("BREAKS {list}: query.limit is required now")],
        ),
        (
            "limit: {type: integer,",
            "limit: {type: string,",
            vec![format!("BREAKS {list}: query.limit was integer, is string")],
        ),
        (
            "limit: {type: integer,",
            "limit: {type: number,",
            vec![format!("       {list}: query.limit was integer, is number")],
        ),
        ("maximum: 100", "maximum: 50", vec![format!("BREAKS {list}: query.limit maximum was 100.0, is 50.0")]),
        ("minimum: 1,", "minimum: 0,", vec![format!("       {list}: query.limit minimum was 1.0, is 0.0")]),
        ("minimum: 1, ", "", vec![format!("       {list}: query.limit has no minimum any more")]),
        (
            ", limit: {type: integer, minimum: 1, maximum: 100}",
            "",
            vec![format!("BREAKS {list}: query.limit is refused")],
        ),
        (", limit:", ", page: {type: integer}, limit:", vec![format!("       {list}: query.page is new")]),
        (
            ", limit:",
            ", page: {type: integer, required: true}, limit:",
            vec![format!("BREAKS {list}: query.page is new and required")],
        ),
        (
            "{new: not seen, sent: on its way}",
            "{new: not seen, done: over}",
            vec![
                format!("BREAKS {list}: query.state does not take \"sent\""),
                format!("       {list}: query.state takes \"done\", too"),
            ],
        ),
        (", x-enum: state", "", vec![format!("       {list}: query.state takes other values, too")]),
        ("required: [sku]", "required: [sku, count]", vec![format!("BREAKS {create}: body.count is required now")]),
        (
            "required: [sku]",
            "required: [count]",
            vec![
                format!("BREAKS {create}: body.count is required now"),
                format!("       {create}: body.sku is not required any more"),
            ],
        ),
        (
            "{type: string}, count",
            "{type: string, pattern: a}, count",
            vec![format!("BREAKS {create}: body.sku pattern was none, is \"a\"")],
        ),
        (" count: {type: number},", "", vec![format!("       {create}: body.count is no longer described")]),
        ("{city: {type: string}}", "{}", vec![format!("BREAKS {create}: body.to.city is refused")]),
        (
            ", to: {type: object, additionalProperties: false, properties: {city: {type: string}}}",
            "",
            vec![format!("       {create}: body.to is no longer described")],
        ),
        (
            "caller_headers: [X-Note]",
            "caller_headers: [x-note, X-More]",
            vec!["       shop: header x-more taken".to_owned()],
        ),
        ("caller_headers: [X-Note]", "caller_headers: []", vec!["BREAKS shop: header x-note not taken".to_owned()]),
        (", open: true", "", vec!["BREAKS shop: module free takes described calls only".to_owned()]),
        ("version: \"1\"", "version: \"1\"\nadmin_only: true", vec!["BREAKS shop: is for admins only".to_owned()]),
    ];
    for (from, to, expected) in cases {
        assert_eq!(after(from, to), expected, "{from} → {to}");
    }
}

#[test]
fn names_of_path_parameters_are_ours() {
    let renamed = SHOP.replace("{shop}", "{store}").replace("path_params: {shop", "path_params: {store");
    assert_eq!(connectors(&manifest(SHOP), &manifest(&renamed)), []);
    let typed = renamed.replace("{store: {type: integer}}", "{store: {type: boolean}}");
    let changes = connectors(&manifest(SHOP), &manifest(&typed));
    assert_eq!(changes, [change(true, "shop.list_orders", "path.store was integer, is boolean")]);
}

#[test]
fn connectors_come_and_go() {
    let shop = [manifest(SHOP)];
    assert_eq!(catalogs(&shop, &shop), []);
    assert_eq!(catalogs(&shop, &[]), [change(true, "shop", "connector removed")]);
    assert_eq!(catalogs(&[], &shop), [change(false, "shop", "connector added")]);
}

#[test]
fn bounds_narrow_in_their_own_direction() {
    for (rule, before, after, narrower) in [
        ("minItems", json!(1), json!(2), true),
        ("minItems", json!(2), json!(1), false),
        ("exclusiveMinimum", json!(0), json!(1), true),
        ("maxLength", json!(5), json!(6), false),
        ("additionalProperties", json!(false), json!(true), false),
    ] {
        assert_eq!(narrows(rule, Some(&before), &after), narrower, "{rule} {before} {after}");
    }
    assert!(narrows("format", None, &json!("date")) && narrows("additionalProperties", None, &json!(false)));
}
