//! Each rule about signatures, broken once in a manifest that is otherwise clean.

use super::tests::{each_is_noticed, lint};

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
      label: Keys
      fields:
        shop: {label: Shop, secret: false}
        password: {label: Password}
        digest: {label: Digest, secret: false, optional: true, default: md5, pattern: "^(md5|sha256)$", sandbox: sha256}
transport:
  headers: {X-Shop: "{account.shop}"}
  caller_headers: [X-Note]
  signatures:
    calls:
      modules: [calls]
      algorithm: md5
      algorithm_field: digest
      parts: ["{account.shop}", "{body.key}", "{account.password}"]
      body: {sign: "{signature}"}
    files:
      modules: [files]
      algorithm: hmac_sha256
      key: "{account.password}"
      parts: ["{request.method}", {fields: [query]}]
      headers: {X-Sign: "{signature}"}
      query: {at: "{time.seconds}"}
modules:
  calls: {summary: Calls, base_url: "https://api.shop.example", body: form, body_field: key}
  files: {summary: Files, base_url: "https://files.shop.example"}
idempotency: {query: repeat, retention_seconds: 60}
operations:
  - id: make_call
    module: calls
    method: POST
    path: /calls
    summary: Call.
    effect: once
    body: {type: object, properties: {sum: {type: integer}}}
    response_example: {id: 1}
  - id: list_files
    module: files
    method: GET
    path: /files
    summary: Files.
    effect: read
    query: {page: {type: integer}}
    response_example: {files: []}
verified: {how: documentation, on: "2026-11-22"}
"##;

#[test]
fn the_example_is_clean() {
    assert_eq!(lint(CLEAN.to_owned()), Vec::<String>::new());
}

#[test]
fn every_rule_is_noticed_where_it_is_broken() {
    let rules = [
        ("modules: [files]", "modules: [folders]", "module folders does not exist"),
        ("modules: [files]", "modules: [files, calls]", "module calls is signed twice"),
        ("      key: \"{account.password}\"\n", "", "an HMAC needs a key"),
        ("algorithm: md5", "algorithm: md5\n      key: \"{account.password}\"", "a digest takes no key"),
        ("\"{body.key}\", \"{account.password}\"", "\"{body.key}\"", "names no secret, so anybody could make it"),
        ("{account.password}\"]", "{account.pass}\"]", "no flow has a field pass"),
        ("sign: \"{signature}\"", "sign: \"{nonce}\"", "goes nowhere"),
        ("sign: \"{signature}\"", "sign: \"{signed}.{signature}\"", "{signed} would carry the secret that is signed"),
        ("sign: \"{signature}\"", "sign: \"{request.body}\"", "a placement is made of"),
        ("{body.key}", "{body.kye}", "no operation that it signs has a body field kye"),
        ("{request.method}", "{query.pgae}", "no operation that it signs has a query parameter pgae"),
        ("{request.method}", "{request.verb}", "{request.verb} is not known to signatures"),
        ("{fields: [query]}", "{fields: []}", "is empty: say query, body or both"),
        ("{fields: [query]}", "{fields: [query], pair: \"{body.x}\"}", "a pair is made of"),
        ("^(md5|sha256)$", "^[a-z0-9]+$", "needs a pattern of names that can stand in algorithm"),
        ("algorithm_field: digest", "algorithm_field: hash", "a flow has no field hash"),
        ("X-Sign:", "X-Shop:", "collides: something else sets this header"),
        ("X-Sign:", "X-Note:", "collides: something else sets this header"),
        ("X-Sign:", "\"X Sign\":", "is no header name"),
        ("query: {at:", "query: {page:", "collides: something else sets this parameter"),
        ("query: {at:", "query: {repeat:", "collides: something else sets this parameter"),
        ("body: {sign:", "body: {key:", "collides: something else sets this field"),
        ("query: {at: \"{time.seconds}\"}", "body: {at: \"{time.seconds}\"}", "list_files has no body to sign in"),
        ("body: form, body_field", "body: json, body_field", "belongs to body: form"),
    ];
    each_is_noticed(CLEAN, &rules);
}
