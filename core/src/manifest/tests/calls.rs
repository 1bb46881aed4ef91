//! `Connector::check`.

use super::*;
use crate::error::{EffectOutcome, ErrorCode};
use crate::manifest::Effect;

#[test]
fn a_good_call_becomes_a_request() {
    let call = json!({"module": "orders", "method": "get", "path": "/v1/orders", "query": {
        "dateFrom": "2026-04-15", "limit": 10, "archived": false, "ids": [1, 2], "tags": ["a", "b"], "names": ["x", "y"],
        "filter": {"a": {"b": 1}}, "status": null,
    }});
    let checked = check(&shop(), call).unwrap();
    assert_eq!(checked.operation.as_deref(), Some("list_orders"));
    assert_eq!((checked.method.as_str(), checked.effect, checked.body), ("GET", Effect::Read, None));
    let pairs: Vec<(&str, &str)> = checked.query.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(
        pairs,
        [
            ("dateFrom", "2026-04-15"),
            ("limit", "10"),
            ("archived", "false"),
            ("ids", "1,2"),
            ("tags[]", "a"),
            ("tags[]", "b"),
            ("names", "x"),
            ("names", "y"),
            ("filter[a][b]", "1"),
        ]
    );
}

#[test]
fn an_unknown_module_names_the_nearest() {
    let error = check(&shop(), json!({"module": "order", "method": "GET", "path": "/v1/orders"})).unwrap_err();
    assert_eq!(error.code, ErrorCode::UnknownModule);
    assert_eq!(error.fix.clone().unwrap().options[0], "orders");
    let error = check(&shop(), json!({"method": "GET", "path": "/v1/orders"})).unwrap_err();
    assert_eq!((error.code, error.field.as_deref()), (ErrorCode::InvalidArgument, Some("module")));
    let long = "m".repeat(100_000);
    assert!(check(&shop(), json!({"module": long, "method": "GET", "path": "/"})).unwrap_err().message.len() < 1_000);
}

#[test]
fn the_only_module_need_not_be_named() {
    let mut manifest = manifest(SHOP);
    manifest.modules.retain(|name, _| name == "orders");
    manifest.operations.retain(|operation| operation.module == "orders");
    let shop = Connector::from_manifest(manifest).unwrap();
    for call in
        [json!({"method": "GET", "path": "/v1/orders"}), json!({"module": "", "method": "GET", "path": "/v1/orders"})]
    {
        assert_eq!(check(&shop, call).unwrap().module, "orders");
    }
}

#[test]
fn an_unknown_path_names_the_nearest_recipe() {
    let error = check(&shop(), get("/v1/order")).unwrap_err();
    assert_eq!((error.code, error.field.as_deref()), (ErrorCode::UnknownOperation, Some("path")));
    assert_eq!(error.fix.clone().unwrap().options[0], "GET /v1/orders");
    assert_eq!(error.outcome, EffectOutcome::NotSent);
    // Another verb, another module.
    let error = check(&shop(), json!({"module": "orders", "method": "DELETE", "path": "/v1/orders"})).unwrap_err();
    assert_eq!((error.code, error.field.as_deref()), (ErrorCode::UnknownOperation, Some("method")));
    assert_eq!(error.fix.clone().unwrap().options, [json!("GET"), json!("POST")]);
    let error = check(&shop(), get("/files/a.txt")).unwrap_err();
    assert_eq!(error.fix.clone().unwrap().options, [json!("files")]);
    let error = check(&shop(), get(&format!("/{}", "a".repeat(2_000)))).unwrap_err();
    assert!(error.message.len() < 1_000, "{}", error.message);
}

#[test]
fn an_unknown_verb_is_refused() {
    for method in ["", "FETCH", "CONNECT", "TRACE", "GET /v1/orders", "GET\r\nX: y"] {
        let error = check(&shop(), json!({"module": "orders", "method": method, "path": "/v1/orders"})).unwrap_err();
        assert_eq!((error.code, error.field.as_deref()), (ErrorCode::InvalidArgument, Some("method")), "{method:?}");
    }
}

#[test]
fn wrong_types_name_their_field() {
    for (query, field) in [
        (json!({"limit": "ten"}), "query.limit"),
        (json!({"limit": 0}), "query.limit"),
        (json!({"limit": 101}), "query.limit"),
        (json!({"limit": 1.5}), "query.limit"),
        (json!({"limit": [1]}), "query.limit"),
        (json!({"ratio": "NaN"}), "query.ratio"),
        (json!({"ratio": {}}), "query.ratio"),
        (json!({"archived": "yes"}), "query.archived"),
        (json!({"archived": 1}), "query.archived"),
        (json!({"dateFrom": "15.04.2026"}), "query.dateFrom"),
        (json!({"dateFrom": true}), "query.dateFrom"),
        (json!({"status": "gone"}), "query.status"),
        (json!({"ids": [1, "x"]}), "query.ids.1"),
        (json!({"ids": "1,x"}), "query.ids"),
        (json!({"ids": {"a": 1}}), "query.ids"),
        (json!({"filter": "a"}), "query.filter"),
        (json!({"code": "ABC"}), "query.code"),
        (json!({"code": "abcdef"}), "query.code"),
    ] {
        let error = check(&shop(), json!({"module": "orders", "method": "GET", "path": "/v1/orders", "query": query}));
        let error = error.unwrap_err();
        assert_eq!((error.code, error.field.as_deref()), (ErrorCode::InvalidArgument, Some(field)), "{error}");
        assert!(error.message.contains(field), "{error}");
    }
}

#[test]
fn numbers_and_booleans_may_come_as_text() {
    let query = json!({"limit": "10", "archived": "true", "ratio": "1.5", "ids": "1,2", "names": "x", "code": "abc"});
    check(&shop(), json!({"module": "orders", "method": "GET", "path": "/v1/orders", "query": query})).unwrap();
    let wide = json!({"ids": [18_446_744_073_709_551_615_u64]});
    check(&shop(), json!({"module": "orders", "method": "GET", "path": "/v1/orders", "query": wide})).unwrap();
}

#[test]
fn what_is_required_is_named_and_all_problems_come_at_once() {
    let report = |query: Value| {
        check(&shop(), json!({"module": "orders", "method": "GET", "path": "/v1/report", "query": query})).unwrap_err()
    };
    let error = report(json!({}));
    assert_eq!(fields(&error), ["query.dateFrom", "query.dateTo"]);
    assert!(error.message.starts_with("`query.dateFrom` is required: First day"), "{error}");
    assert_eq!(fields(&report(json!({"dateTo": "2026-04-15", "dateFrom": null}))), ["query.dateFrom"]);
    assert_eq!(
        fields(&report(json!({"datefrom": "2026-04-15", "dateTo": "x"}))),
        ["query.datefrom", "query.dateTo", "query.dateFrom",]
    );
    let error = report(json!({"dateFron": "2026-04-15", "dateTo": "2026-04-16"}));
    assert!(error.message.contains("did you mean dateFrom"), "{error}");
    assert_eq!(error.fix.clone().unwrap().options[0], "dateFrom");
}

#[test]
fn path_parameters_are_checked_decoded() {
    let checked = check(&shop(), get("/v1/orders/7")).unwrap();
    assert_eq!(checked.operation.as_deref(), Some("get_order"));
    for path in ["/v1/orders/seven", "/v1/orders/0", "/v1/orders/7%20"] {
        let error = check(&shop(), get(path)).unwrap_err();
        assert_eq!((error.code, error.field.as_deref()), (ErrorCode::InvalidArgument, Some("path.id")), "{path}");
    }
    // Patterns of one name in path and query do not mix.
    let good = json!({"module": "orders", "method": "GET", "path": "/v1/pages/a/abc", "query": {"name": "12"}});
    check(&shop(), good).unwrap();
    let bad = json!({"module": "orders", "method": "GET", "path": "/v1/pages/a/12", "query": {"name": "abc"}});
    assert_eq!(fields(&check(&shop(), bad).unwrap_err()), ["path.name", "query.name"]);
}

/// The effect decides what is repeated, so no spelling of a path may change it.
#[test]
fn an_encoded_path_cannot_pass_for_another_operation() {
    for path in ["/v1/orders/next", "/v1/orders/%6eext", "/v1/orders/n%65xt"] {
        let checked = check(&shop(), get(path)).unwrap();
        assert_eq!((checked.operation.as_deref(), checked.effect), (Some("next_order"), Effect::Once), "{path}");
        assert_eq!(checked.path, "/v1/orders/next");
    }
}

#[test]
fn hostile_paths_are_refused_in_every_module() {
    for module in ["orders", "files"] {
        for path in [
            "",
            "v1/orders",
            "https://evil.example/v1/orders",
            "//evil.example",
            "/v1/../admin",
            "/v1/%2e%2e/admin",
            "/v1/orders/..%2f..%2fadmin",
            "/v1//orders",
            "/v1/orders/",
            "/v1/orders?x=1",
            "/v1/orders#x",
            "/v1\\orders",
            "/v1/a%2fb",
            "/v1/a%5cb",
            "/v1/a%3fb",
            "/v1/a%23b",
            "/v1/%252e%252e",
            "/v1/a\r\nX: y",
            "/v1/a%0d%0aX",
            "/..;/a",
        ] {
            let error = check(&shop(), json!({"module": module, "method": "GET", "path": path})).unwrap_err();
            assert_eq!(
                (error.code, error.field.as_deref()),
                (ErrorCode::InvalidArgument, Some("path")),
                "{module} {path:?}"
            );
        }
    }
}

#[test]
fn encoded_slashes_stand_where_they_are_declared() {
    let checked = check(&shop(), get("/v1/pages/https%3a%2f%2fa.example%2F/abc")).unwrap();
    assert_eq!(checked.path, "/v1/pages/https%3A%2F%2Fa.example%2F/abc");
    let error = check(&shop(), get("/v1/pages/a/b%2Fc")).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("path"));
}

#[test]
fn a_closing_slash_stands_where_the_template_has_one() {
    let call = |path: &str| check(&shop(), json!({"module": "orders", "method": "DELETE", "path": path}));
    assert_eq!(call("/v1/folders/1/").unwrap().path, "/v1/folders/1/");
    assert_eq!(call("/v1/folders/1").unwrap_err().code, ErrorCode::UnknownOperation);
    let rest = check(&shop(), json!({"module": "files", "method": "GET", "path": "/files/a/b/"})).unwrap_err();
    assert_eq!(rest.field.as_deref(), Some("path"));
}

#[test]
fn headers_are_those_the_manifest_names() {
    let call = |headers: Value| {
        check(&shop(), json!({"module": "orders", "method": "GET", "path": "/v1/orders", "headers": headers}))
    };
    assert_eq!(
        call(json!({"x-request-note": "hi"})).unwrap().headers,
        [("X-Request-Note".to_owned(), "hi".to_owned())]
    );
    for (headers, field) in [
        (json!({"Authorization": "Bearer x"}), "headers.Authorization"),
        (json!({"X-Request-Note": "a\r\nAuthorization: b"}), "headers.X-Request-Note"),
        (json!({"X-Request-Note": "a\u{0}"}), "headers.X-Request-Note"),
        (json!({"X-Request-Note": "ключ"}), "headers.X-Request-Note"),
        (json!({"X-Request-Note": 1}), "headers.X-Request-Note"),
        (json!({"X-Request-Note": "a", "x-request-note": "b"}), "headers.x-request-note"),
        (json!({"X-Request-Note\r\nHost": "a"}), "headers.X-Request-Note\r\nHost"),
    ] {
        let error = call(headers).unwrap_err();
        assert_eq!((error.code, error.field.as_deref()), (ErrorCode::InvalidArgument, Some(field)));
    }
}

#[test]
fn body_errors_name_their_place() {
    let call =
        |body: Value| check(&shop(), json!({"module": "orders", "method": "POST", "path": "/v1/orders", "body": body}));
    let good = json!({"customer": {"name": "А"}, "lines": [{"sku": "1"}]});
    assert_eq!(serde_json::from_slice::<Value>(&call(good.clone()).unwrap().body.unwrap()).unwrap(), good);
    for (body, at) in [
        (json!({"customer": {}, "lines": []}), "body.customer.name"),
        (json!({"customer": {"name": 1}, "lines": []}), "body.customer.name"),
        (json!({"customer": {"name": "a"}, "lines": [{"sku": "1"}, {"count": 1}]}), "body.lines.1.sku"),
        (json!({"customer": {"name": "a"}, "lines": [{"sku": "1", "count": "x"}]}), "body.lines.0.count"),
        (json!({"customer": {"name": "a"}, "lines": [], "status": "gone"}), "body.status"),
        (json!({"customer": {"name": "a"}, "lines": [], "statuss": "new"}), "body.statuss"),
        (json!([]), "body"),
        (json!(null), "body"),
    ] {
        let error = call(body).unwrap_err();
        assert_eq!((error.code, error.field.as_deref()), (ErrorCode::InvalidArgument, Some(at)), "{error}");
    }
    let error = call(json!({"customer": {"name": "a"}, "lines": [], "statuss": "new"})).unwrap_err();
    assert!(error.message.contains("did you mean status"), "{error}");
    assert_eq!(call(json!({})).unwrap_err().detail.clone().unwrap()["problems"].as_array().unwrap().len(), 2);
    let error = check(&shop(), json!({"module": "orders", "method": "POST", "path": "/v1/orders"})).unwrap_err();
    assert!(error.message.contains("customer, lines"), "{error}");
}

#[test]
fn lists_and_formats_bind_in_a_body_too() {
    let users = |body: Value| check(&shop(), json!({"module": "rpc", "method": "user.list", "body": body}));
    for good in [
        json!({"levels": [1, 2], "state": "new", "since": "2026-04-15", "kind": "new"}),
        json!({"state": null, "kind": "of the vendor's own", "a/b": 1}),
    ] {
        users(good).unwrap();
    }
    for (body, field) in [
        (json!({"levels": [1, 3]}), "body.levels.1"),
        (json!({"levels": ["1"]}), "body.levels.0"),
        (json!({"state": "gone"}), "body.state"),
        (json!({"since": "15.04.2026"}), "body.since"),
        (json!({"a/b": "x"}), "body.a/b"),
    ] {
        let error = users(body).unwrap_err();
        assert_eq!((error.code, error.field.as_deref()), (ErrorCode::InvalidArgument, Some(field)), "{error}");
    }
    let error = users(json!({"state": "gone"})).unwrap_err();
    assert_eq!(error.fix.clone().unwrap().options, [json!("new"), json!("paid"), Value::Null]);
}

#[test]
fn a_call_without_a_body_takes_none() {
    let call =
        |body: Value| check(&shop(), json!({"module": "orders", "method": "GET", "path": "/v1/orders", "body": body}));
    assert_eq!(call(json!({"a": 1})).unwrap_err().field.as_deref(), Some("body"));
    // What clients send that fill in every argument.
    for empty in [json!({}), json!(null)] {
        assert_eq!(call(empty).unwrap().body, None);
    }
}

#[test]
fn rpc_has_a_method_and_a_body() {
    let call = |method: &str, rest: Value| {
        let mut call = json!({"module": "rpc", "method": method});
        call.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        check(&shop(), call)
    };
    let checked = call("user.list", json!({"body": {"start": 1}, "path": "", "query": {}})).unwrap();
    assert_eq!((checked.method.as_str(), checked.path.as_str()), ("user.list", ""));
    assert_eq!(call("user.list", json!({"path": "/user.list"})).unwrap_err().field.as_deref(), Some("path"));
    assert_eq!(call("user.list", json!({"query": {"start": 1}})).unwrap_err().field.as_deref(), Some("query"));
    assert_eq!(call("user.list", json!({"body": {"start": "x"}})).unwrap_err().field.as_deref(), Some("body.start"));
    let error = call("user.lst", json!({})).unwrap_err();
    assert_eq!((error.code, error.field.as_deref()), (ErrorCode::UnknownOperation, Some("method")));
    assert_eq!(error.fix.clone().unwrap().options, [json!("user.list")]);
    for method in ["", "a/b", "..", ".", "a..b", ".a", "a b", "a?b", "a%2fb", "a\r\nb", &"a".repeat(129)] {
        for module in ["rpc", "free"] {
            let error = check(&shop(), json!({"module": module, "method": method})).unwrap_err();
            assert_eq!(
                (error.code, error.field.as_deref()),
                (ErrorCode::InvalidArgument, Some("method")),
                "{method:?}"
            );
        }
    }
}

#[test]
fn an_open_module_passes_on_what_it_does_not_know_as_once() {
    let call =
        json!({"module": "files", "method": "GET", "path": "/other/thing", "query": {"a": [1, 2]}, "body": {"x": 1}});
    let checked = check(&shop(), call).unwrap();
    assert_eq!((checked.operation, checked.effect), (None, Effect::Once));
    assert_eq!(checked.query.len(), 2);
    let listed = check(&shop(), json!({"module": "files", "method": "GET", "path": "/files/a/b.txt"})).unwrap();
    assert_eq!((listed.operation.as_deref(), listed.effect), (Some("read_file"), Effect::Read));
    let listed = check(&shop(), json!({"module": "files", "method": "GET", "path": "/files/a"})).unwrap();
    assert_eq!(listed.operation.as_deref(), Some("read_index"));
    let rpc = check(&shop(), json!({"module": "free", "method": "sendMessage", "body": {"a": 1}})).unwrap();
    assert_eq!((rpc.operation, rpc.effect, rpc.method.as_str()), (None, Effect::Once, "sendMessage"));
    let mut deep = json!(1);
    for _ in 0..20 {
        deep = json!({ "a": deep });
    }
    let error =
        check(&shop(), json!({"module": "files", "method": "GET", "path": "/x", "query": {"q": deep}})).unwrap_err();
    assert!(error.field.clone().unwrap().starts_with("query.q"));
}
