//! Each rule about sign-ins and tokens, broken once in a manifest that is otherwise clean.

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
    - kind: popup_oauth
      label: Sign in
      fields:
        shop: {label: Shop, secret: false, pattern: "[a-z0-9-]+", sandbox: demo}
      oauth:
        authorize_url: "https://{account.shop}.shop.example/oauth/authorize"
        token_url: "https://{account.shop}.shop.example/oauth/token"
        issuer: https://shop.example
        scopes: [read]
        token_params: {shop: "{account.shop}"}
        keep:
          api_host: {token: /api_domain, host: true}
          tenant: {callback: tenantId, pattern: "[0-9]+"}
        discovery: {url: "https://{account.api_host}/me"}
        account_name: {discovery: /email}
        dialect: {callback: {code: shop_code}}
    - kind: device_code
      label: Code
      fields:
        shop: {label: Shop, secret: false, pattern: "[a-z0-9-]+", sandbox: demo}
      oauth:
        device_url: https://shop.example/device
        token_url: https://shop.example/token
        keep:
          api_host: {token: /api_domain, host: true}
          tenant: {token: /tenant, pattern: "[0-9]+"}
        token_params: {shop: "{account.shop}"}
transport:
  headers: {Authorization: "Bearer {token}"}
modules:
  orders: {summary: Orders, base_url: "https://{account.api_host}/{account.tenant}"}
operations:
  - id: list_orders
    module: orders
    method: GET
    path: /orders
    summary: Orders.
    effect: read
    response_example: {items: []}
verified: {how: documentation, on: "2026-11-22"}
"##;

#[test]
fn the_example_is_clean() {
    assert_eq!(lint(CLEAN.to_owned()), Vec::<String>::new());
}

#[test]
fn every_rule_is_noticed_where_it_is_broken() {
    let rules = [
        ("device_url: https://", "device_url: http://", "auth.flows.1.oauth.device_url: must begin with https"),
        ("        device_url: https://shop.example/device\n", "", "auth.flows.1.oauth: needs device_url"),
        ("shop}.shop.example/oauth/token", "tenant}.shop.example/{token}", "there is no {token} yet"),
        ("https://{account.api_host}/me", "https://{account.host}/me", "the field host is not known by then"),
        (
            "authorize_url: \"https://{account.shop}",
            "authorize_url: \"https://{account.tenant}",
            "auth.flows.0.oauth.authorize_url: the field tenant is not known by then",
        ),
        (
            "{token: /api_domain, host: true}\n          tenant: {c",
            "{token: /api_domain, discovery: /x, host: true}\n          tenant: {c",
            "needs exactly one of callback, token, discovery",
        ),
        ("account_name: {discovery: /email}", "account_name: {discovery: email}", "is no JSON pointer"),
        ("        discovery: {url: \"https://{account.api_host}/me\"}\n", "", "there is no discovery call"),
        (
            "{callback: {code: shop_code}}",
            "{callback: {kode: shop_code}}",
            "dialect.callback.kode: there are code, state",
        ),
        (
            "{callback: {code: shop_code}}",
            "{authorize: {state: \"\"}}",
            "dialect.authorize.state: must not be left out",
        ),
        (
            "        issuer:",
            "        token_field: token\n        issuer:",
            "no credentials flow has a secret field token",
        ),
        (
            "{callback: tenantId, pattern: \"[0-9]+\"}",
            "{callback: tenantId}",
            "keep.tenant: is part of a URL, so it needs a pattern",
        ),
        ("          tenant: {token: /tenant, pattern: \"[0-9]+\"}\n", "", "every flow needs the field tenant"),
    ];
    each_is_noticed(CLEAN, &rules);
}

#[test]
fn grants_have_what_they_need() {
    let with = |grant: &str| lint(CLEAN.replace("  headers: {Auth", &format!("  token: {grant}\n  headers: {{Auth")));
    let url = "url: https://shop.example/t";
    for (grant, expected) in [
        (format!("{{kind: client_credentials, {url}}}"), "needs client_id"),
        (format!("{{kind: login, {url}}}"), "needs `login`"),
        (format!("{{kind: jwt_bearer, {url}}}"), "needs `assertion`"),
        (
            format!("{{kind: login, {url}, login: {{body: {{a: \"{{account.nobody}}\"}}}}}}"),
            "no flow has a field nobody",
        ),
        (
            format!("{{kind: jwt_bearer, {url}, assertion: {{key: a, issuer: b, lifetime_seconds: 7200}}}}"),
            "is at most 3600",
        ),
    ] {
        let findings = with(&grant);
        assert!(findings.iter().any(|finding| finding.contains(expected)), "{grant}: {findings:#?}");
    }
}
