//! The built-in vendor, asked with requests that the executor itself builds.

use plugboard_core::egress::{Caps, EgressRequest, PoolClass, SentFlag};
use plugboard_core::job::Payload;
use plugboard_core::manifest::{Connector, Manifest};
use plugboard_core::secret::{AccountFields, SecretKey};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::*;
use crate::http::request::{Parts, build};
use crate::testing::{catalog, diverted, fields, inline, job, manifest, operation, rpc_operation};

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
        let connector = Connector::from_manifest(manifest.clone()).unwrap();
        let mut job = job(&connector, operation, path);
        if job.method != "GET" {
            job.body = inline(&json!({"a": 1}));
        }
        let body = match &job.body {
            Some(Payload::Inline(body)) => Some(body),
            _ => None,
        };
        let root = SecretKey::new([1; 32]);
        let parts = Parts { connector: &connector, job: &job, body, fields: account, idempotency_root: &root };
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
    assert_eq!((status, &token["access_token"], &token["expires_in"]), (200, &json!("sandbox-token"), &json!(3600)));
    for wrong in ["client_id=a&client_secret=b", "grant_type=client_credentials&client_id=a&client_secret="] {
        assert_eq!(stand.post(url, wrong).await.0, 401, "{wrong}");
    }
}
