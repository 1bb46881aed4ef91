//! The built-in vendor, asked with requests that the executor itself builds.

use plugboard_core::egress::{Caps, EgressRequest, PoolClass, SentFlag};
use plugboard_core::job::Payload;
use plugboard_core::manifest::{Connector, Manifest};
use plugboard_core::secret::{AccountFields, SecretKey};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::*;
use crate::http::request::{Parts, build};
use crate::testing::{STAMP, catalog, diverted, fields, inline, job, manifest, operation, rpc_operation};

struct Stand {
    egress: plugboard_core::egress::Egress,
    _stop: tokio_util::sync::DropGuard,
}

async fn stand(manifests: &[Manifest]) -> Stand {
    let catalog = catalog(manifests);
    let stop = CancellationToken::new();
    tokio::spawn(Arc::clone(&catalog).follow(stop.clone()));
    catalog.ready().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let egress = diverted(listener.local_addr().unwrap());
    tokio::spawn(serve(listener, catalog, stop.clone()));
    Stand { egress, _stop: stop.drop_guard() }
}

impl Stand {
    async fn call(&self, manifest: &Manifest, operation: &str, path: &str, account: &AccountFields) -> (u16, Value) {
        self.call_with(manifest, operation, path, account, &json!({"a": 1})).await
    }

    async fn call_with(
        &self,
        manifest: &Manifest,
        operation: &str,
        path: &str,
        account: &AccountFields,
        body: &Value,
    ) -> (u16, Value) {
        let connector = Connector::from_manifest(manifest.clone()).unwrap();
        let mut job = job(&connector, operation, path);
        if job.method != "GET" {
            job.body = inline(body);
        }
        let body = match &job.body {
            Some(Payload::Inline(body)) => Some(body),
            _ => None,
        };
        let root = SecretKey::new([1; 32]);
        let parts =
            Parts { connector: &connector, job: &job, body, fields: account, idempotency_root: &root, stamp: STAMP };
        let outgoing = build(&parts).unwrap();
        self.send(EgressRequest {
            method: outgoing.method,
            url: outgoing.url,
            headers: outgoing.headers,
            body: outgoing.body,
            deadline: Instant::now() + Duration::from_secs(5),
            pool: PoolClass::Shared,
            caps: Caps::default(),
            binding: outgoing.binding,
            sent: SentFlag::default(),
        })
        .await
    }

    async fn send(&self, request: EgressRequest) -> (u16, Value) {
        let answer = self.egress.send(request).await.unwrap();
        (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap())
    }

    async fn post(&self, url: &str, form: &'static str) -> (u16, Value) {
        let binding = plugboard_core::egress::HostBinding::Any;
        let request = EgressRequest::parse(Method::POST, url, binding, Duration::from_secs(5)).unwrap();
        self.send(request.with_body(form)).await
    }
}

fn full() -> AccountFields {
    fields(&[("api_key", "k-123456789"), ("client_id", "shop"), ("host", "my.shop.example"), ("token", "tok")])
}

#[tokio::test]
async fn every_placement_of_a_credential_is_asked_for() {
    let transports = [
        json!({"headers": {"Authorization": "Bearer {account.api_key}", "Client-Id": "{account.client_id}", "X-Note": "{account.note}"}}),
        json!({"basic": {"username": "{account.client_id}", "password": "{account.api_key}"}}),
        json!({"query": {"key": "{account.api_key}"}}),
        json!({"body": {"key": "{account.api_key}"}}),
        json!({"headers": {"Authorization": "Bearer {token}"}}),
    ];
    for transport in transports {
        let signed = manifest(json!({ "transport": transport }));
        let unsigned = manifest(json!({}));
        let stand = stand(std::slice::from_ref(&signed)).await;
        let (status, body) = stand.call(&signed, "send", "/messages", &full()).await;
        assert_eq!((status, body), (200, json!({"example": "send"})), "{transport}");
        let (status, _) = stand.call(&unsigned, "send", "/messages", &full()).await;
        assert_eq!(status, 401, "{transport}");
    }
}

#[tokio::test]
async fn hosts_prefixes_and_methods_find_their_operation() {
    let rest = manifest(json!({"key": "rest"}));
    let rpc = manifest(json!({
        "key": "rpc",
        "modules": {
            "api": {"summary": "s", "style": "rpc", "base_url": "https://{account.host}/rest/{account.api_key}", "rpc": {"path": "/{method}.json"}},
        },
        "operations": [rpc_operation("add", "crm.deal.add", "once")],
    }));
    let mut below = operation("inner", "GET", "/orders", "read");
    below["module"] = json!("deep");
    let nested = manifest(json!({
        "key": "nested",
        "modules": {
            "api": {"summary": "s", "base_url": "https://x.example"},
            "deep": {"summary": "s", "base_url": "https://x.example/v2"},
        },
        "operations": [operation("outer", "GET", "/{rest+}", "read"), below],
    }));
    let stand = stand(&[rest.clone(), rpc.clone(), nested.clone()]).await;
    assert_eq!(stand.call(&rest, "list", "/orders", &full()).await.1, json!({"example": "list"}));
    assert_eq!(stand.call(&rest, "replace", "/orders/7", &full()).await.1, json!({"example": "replace"}));
    assert_eq!(stand.call(&rpc, "add", "", &full()).await.1, json!({"example": "add"}));
    assert_eq!(stand.call(&nested, "inner", "/orders", &full()).await.1, json!({"example": "inner"}));
    assert_eq!(stand.call(&nested, "outer", "/v1/orders", &full()).await.1, json!({"example": "outer"}));
    assert_eq!(stand.call(&rest, "list", "/nothing", &full()).await.0, 404);
}

/// An operation at `POST /api`, in a module of its own.
fn by_body(id: &str, schema: Value, example: &Value) -> Value {
    let mut operation = operation(id, "POST", "/api", "once");
    operation["module"] = json!(id);
    operation["body"] = schema;
    operation["request_example"] = json!({ "body": example });
    operation
}

#[tokio::test]
async fn operations_at_one_address_are_told_apart_by_the_body() {
    let method =
        |names: &[&str]| json!({"type": "object", "required": ["method"], "properties": {"method": {"enum": names}}});
    let query = |root: &str| json!({"type": "object", "required": ["query"], "properties": {"query": {"type": "string", "pattern": root}}});
    let operations = [
        by_body("read", method(&["get"]), &json!({"method": "get", "params": {"Ids": [1]}})),
        by_body("change", method(&["suspend", "resume"]), &json!({"method": "suspend", "params": {"Ids": [1]}})),
        by_body(
            "users",
            query("^query"),
            &json!({"query": "query { users { nodes { id name } pageInfo { endCursor } } }"}),
        ),
        by_body(
            "teams",
            query("^query"),
            &json!({"query": "query { teams { nodes { id name } pageInfo { endCursor } } }"}),
        ),
        by_body("write", query("^mutation"), &json!({"query": "mutation { users { id } }"})),
    ];
    let module = json!({"summary": "s", "base_url": "https://api.shop.example"});
    let modules: serde_json::Map<String, Value> =
        operations.iter().map(|one| (one["id"].as_str().unwrap().to_owned(), module.clone())).collect();
    let manifest = manifest(json!({
        "modules": modules, "operations": operations,
        // Credentials in the body are no part of what the caller wrote.
        "transport": {"body": {"key": "{account.api_key}"}},
    }));
    let stand = stand(std::slice::from_ref(&manifest)).await;
    for (body, expected) in [
        (json!({"method": "get", "params": {"Ids": [1]}}), "read"),
        (json!({"method": "get", "params": {"Ids": [1, 2]}, "Limit": 3}), "read"),
        (json!({"method": "resume"}), "change"),
        (json!({"query": "query { users { nodes { id name } pageInfo { endCursor } } }"}), "users"),
        (json!({"query": "query($n: Int) { teams(first: $n) { nodes { id } } }", "variables": {"n": 1}}), "teams"),
        (json!({"query": "query { users { nodes { email } } }"}), "users"),
        (json!({"query": "mutation { teams { id } }"}), "write"),
    ] {
        let (status, answer) = stand.call_with(&manifest, "read", "/api", &full(), &body).await;
        assert_eq!((status, answer), (200, json!({"example": expected})), "{body}");
    }
}

#[tokio::test]
async fn on_a_host_that_tenants_name_the_credentials_tell_whose_request_it_is() {
    let named = |key: &str, header: &str| {
        manifest(json!({
            "key": key,
            "modules": {"api": {"summary": "s", "base_url": "https://{account.host}"}},
            "transport": {"headers": {header: "{account.api_key}"}},
            "operations": [operation(key, "GET", "/orders", "read")],
        }))
    };
    let (one, other) = (named("one", "X-One"), named("other", "X-Other"));
    let stand = stand(&[one.clone(), other.clone()]).await;
    assert_eq!(stand.call(&one, "one", "/orders", &full()).await.1, json!({"example": "one"}));
    assert_eq!(stand.call(&other, "other", "/orders", &full()).await.1, json!({"example": "other"}));
}

#[tokio::test]
async fn the_token_endpoint_wants_its_client() {
    let signed = manifest(json!({"transport": {
        "headers": {"Authorization": "Bearer {token}"},
        "token": {"kind": "client_credentials", "url": "https://api.shop.example/oauth/token",
            "client_id": "{account.client_id}", "client_secret": "{account.api_key}"},
    }}));
    let stand = stand(&[signed]).await;
    let url = "https://api.shop.example/oauth/token";
    let (status, token) = stand.post(url, "grant_type=client_credentials&client_id=a&client_secret=b").await;
    assert_eq!(
        (status, &token["access_token"], &token["expires_in"]),
        (200, &json!("sandbox-token-shop"), &json!(3600))
    );
    for wrong in ["client_id=a&client_secret=b", "grant_type=client_credentials&client_id=a&client_secret="] {
        assert_eq!(stand.post(url, wrong).await.0, 401, "{wrong}");
    }
}
