//! Signatures of the shipped manifests against those that other implementations made: `tests/fixtures/signatures` says
//! which, and holds the scripts. What must not be different between two tries of a call, and what must.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use plugboard_core::clock::Millis;
use plugboard_core::manifest::signature::Stamp;
use plugboard_core::manifest::{Connector, Manifest, RequestExample};
use plugboard_core::secret::{AccountFields, Secret, SecretKey};
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::http::request::{BuildError, Outgoing, Parts, build};
use crate::scrub::Scrubber;
use crate::testing::{self, STAMP, connector, fields, inline, job, operation};

#[derive(Deserialize)]
struct Vector {
    name: String,
    by: String,
    connector: Option<String>,
    /// A transport that no shipped manifest has.
    inline: Option<Inline>,
    #[serde(default)]
    operation: String,
    path: Option<String>,
    account: BTreeMap<String, String>,
    time_ms: i64,
    nonce: String,
    #[serde(default)]
    query: Vec<(String, String)>,
    body: Option<String>,
    expect: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Inline {
    base_url: String,
    path: String,
    signature: Value,
}

fn vectors() -> Vec<Vector> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/signatures");
    let read =
        |name: &str| -> Vec<Vector> { serde_json::from_slice(&std::fs::read(root.join(name)).unwrap()).unwrap() };
    read("python.json").into_iter().chain(read("node.json")).collect()
}

fn shipped(key: &str) -> Manifest {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../catalog-service/connectors");
    let files = std::fs::read_dir(root).unwrap().flatten().map(|category| category.path().join(format!("{key}.yaml")));
    let file: PathBuf = files.into_iter().find(|file| file.exists()).unwrap_or_else(|| panic!("no {key}"));
    serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

impl Vector {
    fn manifest(&self) -> (Manifest, String) {
        match (&self.connector, &self.inline) {
            (Some(key), None) => (shipped(key), self.operation.clone()),
            (None, Some(inline)) => {
                let manifest = testing::manifest(json!({
                    "auth": {"flows": [{"kind": "credentials", "label": "Keys", "fields":
                        self.account.keys().map(|name| (name.clone(), json!({"label": name}))).collect::<serde_json::Map<_, _>>()}]},
                    "modules": {"api": {"summary": "s", "base_url": inline.base_url}},
                    "operations": [operation("list", "GET", &inline.path, "read")],
                    "transport": {"signatures": {"s": inline.signature}},
                }));
                (manifest, "list".to_owned())
            }
            _ => panic!("{}: a connector or a transport", self.name),
        }
    }

    fn account(&self, manifest: &Manifest) -> AccountFields {
        let mut account = AccountFields::default();
        let described = &manifest.auth.flows[0].fields;
        for (name, value) in &self.account {
            let field = described.get(name).unwrap_or_else(|| panic!("{}: no field {name}", self.name));
            match field.secret {
                true => account.secret.insert(name.clone(), Secret::new(value.clone())).map(|_| ()),
                false => account.public.insert(name.clone(), value.clone()).map(|_| ()),
            };
        }
        account
    }

    fn build(&self) -> (Outgoing, AccountFields) {
        let (manifest, operation) = self.manifest();
        let account = self.account(&manifest);
        let connector = Connector::from_manifest(manifest).unwrap();
        let path = match (&self.path, &self.inline, connector.operation(&operation)) {
            (Some(path), ..) => path.clone(),
            (None, Some(inline), _) => inline.path.clone(),
            (None, None, Some((operation, _))) => operation.path.clone().unwrap_or_default(),
            (None, None, None) => panic!("{}: no operation {operation}", self.name),
        };
        let mut job = job(&connector, &operation, &path);
        job.query = self.query.clone();
        let body = self.body.clone().map(Bytes::from);
        let mut nonce = [0; 16];
        hex::decode_to_slice(&self.nonce, &mut nonce).unwrap();
        let parts = Parts {
            connector: &connector,
            job: &job,
            body: body.as_ref(),
            fields: &account,
            idempotency_root: &SecretKey::new([1; 32]),
            stamp: Stamp { at: Millis(self.time_ms), nonce },
        };
        (build(&parts).unwrap_or_else(|error| panic!("{}: {error}", self.name)), account)
    }
}

/// `OAuth a="b", c="d"`, in any order.
fn pairs_of(header: &str) -> Option<BTreeMap<&str, &str>> {
    let pairs = header.strip_prefix("OAuth ")?.split(',').map(|pair| pair.trim().split_once('='));
    pairs.map(|pair| pair.map(|(name, value)| (name, value.trim_matches('"')))).collect()
}

#[test]
fn signatures_are_those_of_other_implementations() {
    let vectors = vectors();
    assert!(vectors.len() > 20);
    for vector in vectors {
        let what = format!("{} (by {})", vector.name, vector.by);
        let (outgoing, account) = vector.build();
        let body = outgoing.body.clone().unwrap_or_default();
        for (place, expected) in &vector.expect {
            let (kind, name) = place.split_once(' ').unwrap_or((place, ""));
            let found = match kind {
                "header" => outgoing.headers[name].to_str().unwrap().to_owned(),
                "query" => one(outgoing.url.query_pairs(), name, &what),
                "form" => one(form_urlencoded::parse(&body), name, &what),
                "body" => serde_json::from_slice::<Value>(&body).unwrap()[name].as_str().unwrap_or_default().to_owned(),
                "payload" => String::from_utf8(body.to_vec()).unwrap(),
                _ => panic!("{what}: {place}"),
            };
            match (pairs_of(&found), pairs_of(expected)) {
                (Some(found), Some(expected)) => assert_eq!(found, expected, "{what}: {place}"),
                _ => assert_eq!(&found, expected, "{what}: {place}"),
            }
        }
        no_secret_is_seen(&outgoing, &account, &what);
    }
}

/// Of those with the name there is one.
fn one<'a>(
    pairs: impl Iterator<Item = (std::borrow::Cow<'a, str>, std::borrow::Cow<'a, str>)>,
    name: &str,
    what: &str,
) -> String {
    let found: Vec<String> = pairs.filter(|(known, _)| known == name).map(|(_, value)| value.into_owned()).collect();
    assert_eq!(found.len(), 1, "{what}: {name}: {found:?}");
    found.concat()
}

/// An echo of the request would come back without the secrets and without the signature.
fn no_secret_is_seen(outgoing: &Outgoing, account: &AccountFields, what: &str) {
    let derived: Vec<&str> = outgoing.derived.iter().map(|text| text.as_str()).collect();
    assert!(!derived.is_empty(), "{what}");
    let headers: String = outgoing.headers.values().map(|value| format!("{}\n", value.to_str().unwrap())).collect();
    let body = outgoing.body.clone().unwrap_or_default();
    let text = format!("{}\n{headers}\n{}", outgoing.url, String::from_utf8_lossy(&body));
    let scrubber = Scrubber::new(account.secrets().chain(derived.iter().copied()));
    let clean = scrubber.clean_text(&text).unwrap_or(text);
    for secret in account.secrets().chain(derived) {
        assert!(!clean.contains(secret), "{what}: {clean}");
    }
    let shown = format!("{outgoing:?}");
    assert!(account.secrets().all(|secret| !shown.contains(secret)), "{what}: {shown}");
}

fn signed() -> Value {
    json!({"transport": {"signatures": {"s": {
        "algorithm": "hmac_sha256", "key": "{account.api_key}", "join": "\n",
        "parts": ["{request.method}", "{request.target}", "{request.body}", "{time.millis}", "{nonce}"],
        "headers": {"X-Nonce": "{nonce}", "X-Time": "{time.millis}", "X-Sign": "{signature}"},
        "query": {"key": "{account.client_id}"},
        "body": {"shop": "{account.client_id}"},
    }}}})
}

fn built(connector: &Connector, job: &plugboard_core::job::Job, stamp: Stamp) -> Result<Outgoing, BuildError> {
    let body = match &job.body {
        Some(plugboard_core::job::Payload::Inline(body)) => Some(body),
        _ => None,
    };
    let account = fields(&[("api_key", "s3cret-0123456789"), ("client_id", "42")]);
    let idempotency_root = &SecretKey::new([1; 32]);
    build(&Parts { connector, job, body, fields: &account, idempotency_root, stamp })
}

#[test]
fn another_try_differs_in_its_stamp_and_signature_alone() {
    let connector = connector(signed());
    let mut job = job(&connector, "send", "/messages");
    job.body = inline(&json!({"text": "hi", "shop": "theirs"}));
    job.query = vec![("key".into(), "theirs".into()), ("page".into(), "2".into())];
    let hash = job.request_hash;
    let first = built(&connector, &job, STAMP).unwrap();
    let same = built(&connector, &job, STAMP).unwrap();
    assert_eq!((&first.headers, &first.url, &first.body), (&same.headers, &same.url, &same.body));
    let later = built(&connector, &job, Stamp { at: Millis(STAMP.at.0 + 1), nonce: [1; 16] }).unwrap();
    // What a take-over knows the call by is the caller's request, in which nothing of this stands.
    assert_eq!(job.request_hash, hash);
    assert_eq!((&first.url, &first.body), (&later.url, &later.body));
    let changed = first.headers.iter().filter(|(name, value)| later.headers[*name] != **value);
    let mut changed: Vec<&str> = changed.map(|(name, _)| name.as_str()).collect();
    changed.sort_unstable();
    assert_eq!(changed, ["x-nonce", "x-sign", "x-time"]);
    assert!(first.headers["x-sign"].is_sensitive());
    assert_eq!(first.url.query(), Some("page=2&key=42"), "the caller's is dropped");
    assert_eq!(first.body.as_deref(), Some(br#"{"text":"hi","shop":"42"}"#.as_slice()));
}

#[test]
fn a_body_that_is_only_signed_goes_byte_for_byte() {
    let mut parts = signed();
    parts["transport"]["signatures"]["s"].as_object_mut().unwrap().remove("body");
    let connector = connector(parts);
    let mut job = job(&connector, "send", "/messages");
    let text = br#"[ {"sum" : 1.10} ]"#;
    job.body = Some(plugboard_core::job::Payload::Inline(Bytes::from_static(text)));
    assert_eq!(built(&connector, &job, STAMP).unwrap().body.as_deref(), Some(text.as_slice()));
}

#[test]
fn a_caller_cannot_put_in_what_the_signature_does() {
    let mut parts = signed();
    parts["transport"]["caller_headers"] = json!(["X-Sign"]);
    let connector = connector(parts);
    let mut job = job(&connector, "list", "/orders");
    job.headers = vec![("x-sign".into(), "theirs".into())];
    assert!(matches!(built(&connector, &job, STAMP), Err(BuildError::CallerHeader(_))));
}

#[test]
fn an_account_that_cannot_sign_is_told_so_without_values() {
    let mut parts = signed();
    let signature = &mut parts["transport"]["signatures"]["s"];
    signature["algorithm_field"] = json!("note");
    signature["headers"] = json!({"X-Sign": "{signature}"});
    let connector = connector(parts);
    let job = job(&connector, "list", "/orders");
    let try_with = |account: &AccountFields| {
        let idempotency_root = &SecretKey::new([1; 32]);
        build(&Parts { connector: &connector, job: &job, body: None, fields: account, idempotency_root, stamp: STAMP })
    };
    let missing = try_with(&fields(&[("client_id", "42")])).unwrap_err();
    assert!(matches!(&missing, BuildError::MissingField(field) if field == "api_key"));
    // A digest without a key where an HMAC is meant would be nobody's signature.
    for wrong in ["sha256", "rot13"] {
        let account = fields(&[("api_key", "s3cret-0123456789"), ("client_id", "42"), ("note", wrong)]);
        let error = try_with(&account).unwrap_err();
        assert!(matches!(&error, BuildError::BadAlgorithm(field) if field == "note"), "{error}");
        assert!(!error.to_string().contains(wrong));
    }
}

/// The sandbox's own examples of every signed connector differ from one another's signatures, so nothing is left out of them
/// by a misspelt name.
#[test]
fn what_is_sent_changes_the_signature() {
    for (key, id, change) in [
        ("tinkoff_acquiring", "get_payment", "/PaymentId"),
        ("mango_office", "send_sms", "/text"),
        ("robokassa", "create_refund", "/OpKey"),
        ("robokassa", "charge_again", "/OutSum"),
    ] {
        let manifest = shipped(key);
        let account = testing::sandbox_fields(&manifest);
        let connector = Connector::from_manifest(manifest).unwrap();
        let (described, _) = connector.operation(id).unwrap();
        let RequestExample { body, .. } = described.request_example.clone().unwrap();
        let made = |body: &Value| {
            let job = job(&connector, id, described.path.as_deref().unwrap());
            let body = Bytes::from(body.to_string());
            let idempotency_root = &SecretKey::new([1; 32]);
            let parts = Parts {
                connector: &connector,
                job: &job,
                body: Some(&body),
                fields: &account,
                idempotency_root,
                stamp: STAMP,
            };
            build(&parts).unwrap().derived.last().unwrap().to_string()
        };
        let body = body.unwrap();
        let mut other = body.clone();
        *other.pointer_mut(change).unwrap() = json!("77.00");
        assert_ne!(made(&body), made(&other), "{key}: {id}");
    }
}
