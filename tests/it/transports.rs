//! Every operation of every shipped connector, as the vendor sees it.
//!
//! The call is the manifest's own example, the account one that was connected in each way the manifest offers. Where the
//! credential must be is written down a second time in `fixtures/placements.txt`, from the vendors' documentation, so
//! that a mistake in a manifest cannot agree with itself.

use std::panic::AssertUnwindSafe;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures::FutureExt;
use plugboard_core::manifest::{
    ArrayStyle, BodyEncoding, Effect, Flow, FlowKind, Idempotency, Manifest, Operation, Param, Signature, Style,
    TokenGrantKind,
};
use plugboard_tests::examples::{example_call, example_path, manifests};
use plugboard_tests::tenant::{Account, Tenant, unique};
use plugboard_tests::vendor::{Answer, Received};
use serde_json::{Value, json};

use crate::shared::Site;

pub(crate) async fn every_operation_reaches_its_vendor_as_the_manifest_says(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let mut failed = Vec::new();
    // One connector's failure, which has said what it is, does not hide another's.
    for manifest in manifests() {
        if AssertUnwindSafe(all_reach_their_vendor(site, &tenant, &manifest)).catch_unwind().await.is_err() {
            failed.push(manifest.key);
        }
    }
    assert!(failed.is_empty(), "{} connectors: {}", failed.len(), failed.join(", "));
}

async fn all_reach_their_vendor(site: &Site, tenant: &Tenant, manifest: &Manifest) {
    for (at, flow) in manifest.auth.flows.iter().enumerate().filter(|(_, flow)| can_be_played(manifest, flow)) {
        // A connector may offer one kind twice.
        let label = format!("{} {}", flow.kind.as_str(), at + 1);
        let account = tenant.connect_by(manifest, flow, &label, &site.vendor).await;
        // However an account was connected, the same place takes its credential: one call shows it.
        let count = if at == 0 { manifest.operations.len() } else { 1 };
        for operation in manifest.operations.iter().take(count) {
            reaches_its_vendor(site, tenant, manifest, operation, &account).await;
        }
    }
}

/// A code on another device ends in the same token as the browser does. A signed assertion cannot be told from another
/// one by a look at it; `auth-service` has its tests.
fn can_be_played(manifest: &Manifest, flow: &Flow) -> bool {
    let token = manifest.transport.token.as_ref().map(|grant| grant.kind);
    match flow.kind {
        FlowKind::Credentials => token != Some(TokenGrantKind::JwtBearer),
        FlowKind::PopupOauth => true,
        FlowKind::DeviceCode => false,
    }
}

async fn reaches_its_vendor(
    site: &Site,
    tenant: &Tenant,
    manifest: &Manifest,
    operation: &Operation,
    account: &Account,
) {
    let what = format!("{}/{} by {}", manifest.key, operation.id, account.label);
    site.vendor.on(&account.mark, Answer::json(200, &operation.response_example));
    let before = site.vendor.count(&account.mark);
    let mut call = example_call(manifest, operation);
    call["instance_id"] = json!(account.id);
    let envelope = tenant.mcp().execute(call).await;
    assert_eq!(envelope["ok"], true, "{what}: {envelope}");
    assert_eq!(envelope["data"], operation.response_example, "{what}");
    assert_eq!(envelope["account"]["id"], account.id.as_str(), "{what}");
    let received = site.vendor.received(&account.mark);
    assert_eq!(received.len(), before + 1, "{what}: one request");
    let received = &received[before];
    check_placement(received, manifest, account, &what);
    check_headers(received, manifest, operation, account, &what);
    check_address(received, manifest, operation, account, &what);
    check_query(received, manifest, operation, account, &what);
    check_body(received, manifest, operation, account, &what);
}

/// `{api_key}` with the account's value; `{token}` is the issued one unless the account has a field of that name.
fn filled(text: &str, account: &Account) -> String {
    let issued = account.token.iter().map(|token| ("token", token));
    let fields = account.fields.iter().map(|(name, value)| (name.as_str(), value));
    fields.chain(issued).fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

fn rendered(template: &str, account: &Account) -> String {
    plugboard_tests::tenant::rendered(template, &account.fields, account.token.as_deref())
}

/// What the vendor's documents say.
fn check_placement(received: &Received, manifest: &Manifest, account: &Account, what: &str) {
    let table = include_str!("../fixtures/placements.txt");
    let rows = table.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(" | ").collect::<Vec<_>>());
    let row = rows.into_iter().find(|row| row[0] == account.service);
    let row = row.unwrap_or_else(|| panic!("nobody wrote down where the credential of {} goes", account.service));
    assert!(received.host().ends_with(&filled(row[1], account)), "{what}: {}", received.host());
    for placement in row[2].split(" & ") {
        // What only another way to connect brings has no place here.
        let absent = filled(placement, account).split_once('{').map(|(_, rest)| rest.trim_end_matches('}').to_owned());
        if absent.is_some_and(|field| manifest.auth.flows.iter().any(|flow| flow.brings(&field))) {
            continue;
        }
        let value = |text: &str| filled(text, account);
        let pair = |text: &str| text.split_once('=').map(|(name, text)| (name.to_owned(), value(text))).unwrap();
        let right = match placement.split_once(' ').unwrap() {
            ("basic", pair) => received.header("authorization") == format!("Basic {}", STANDARD.encode(value(pair))),
            ("query", text) => received.query.contains(&pair(text)),
            ("body", text) => {
                let (name, value) = pair(text);
                received.json()[&name] == value || received.form().contains(&(name, value))
            }
            ("path", starts) => {
                let path = decoded(&received.path);
                starts.split(" or ").any(|start| path.starts_with(&value(start)))
            }
            (header, text) => received.header(&header.trim_end_matches(':').to_ascii_lowercase()) == value(text),
        };
        assert!(right, "{what}: not {placement}: {}", received.raw);
    }
    if account.token.is_some() && account.secret != account.mark {
        assert!(!received.raw.contains(&account.secret), "{what}: the password goes to the token endpoint only");
    }
}

/// What the manifest says, an absent optional field leaving its header out.
fn check_headers(received: &Received, manifest: &Manifest, operation: &Operation, account: &Account, what: &str) {
    for (name, template) in &manifest.transport.headers {
        let template = operation.headers.get(name).unwrap_or(template);
        let value = rendered(template, account);
        let expected = if value.contains("{account.") { "" } else { value.as_str() };
        assert_eq!(received.header(&name.to_ascii_lowercase()), expected, "{what}: {name}");
    }
}

fn check_address(received: &Received, manifest: &Manifest, operation: &Operation, account: &Account, what: &str) {
    let module = &manifest.modules[&operation.module];
    let base = rendered(&module.base_url, account);
    let rest = base.strip_prefix("https://").unwrap();
    let (host, prefix) = rest.split_once('/').map_or((rest, String::new()), |(host, path)| (host, format!("/{path}")));
    assert_eq!(received.host(), host, "{what}");
    let (verb, path) = match (module.style, &module.rpc) {
        (Style::Rpc, Some(shape)) => (shape.verb.as_str(), shape.path.replace("{method}", &operation.method)),
        _ => (operation.method.as_str(), example_path(operation)),
    };
    assert_eq!(received.method, verb, "{what}");
    assert_eq!(decoded(&received.path), decoded(&format!("{prefix}{path}")), "{what}");
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned()
}

/// How calls of the module are signed. What the signature says is compared with other implementations in `executor`.
fn signature_of<'m>(manifest: &'m Manifest, operation: &Operation) -> Option<&'m Signature> {
    let mut all = manifest.transport.signatures.values();
    all.find(|signature| signature.signs(&operation.module))
}

/// The JSON that was sent; the claims of a JWS that stands in its place.
fn sent_json(received: &Received, manifest: &Manifest, operation: &Operation) -> Value {
    let json = received.json();
    if signature_of(manifest, operation).is_none_or(|signature| signature.payload.is_none()) {
        return json;
    }
    let claims =
        json.as_str().and_then(|jws| jws.split('.').nth(1)).and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok());
    serde_json::from_slice(&claims.unwrap_or_else(|| panic!("no JWS: {}", received.raw))).unwrap()
}

fn check_query(received: &Received, manifest: &Manifest, operation: &Operation, account: &Account, what: &str) {
    let ours = manifest.transport.query.iter().map(|(name, template)| (name.clone(), rendered(template, account)));
    let mut expected: Vec<(String, String)> = ours.filter(|(_, value)| !value.contains("{account.")).collect();
    for (name, value) in operation.request_example.iter().flat_map(|example| &example.query) {
        pairs(name, value, operation.query.get(name), &mut expected);
    }
    let mut found = received.query.clone();
    if let Some(name) = key_of(manifest, operation).and_then(|rule| rule.query.as_ref())
        && expected.iter().all(|(given, _)| given != name)
    {
        let key = found.iter().find(|(given, key)| given == name && key.len() == 36);
        expected.push(key.unwrap_or_else(|| panic!("{what}: no {name}: {}", received.raw)).clone());
    }
    for name in signature_of(manifest, operation).iter().flat_map(|signature| signature.query.keys()) {
        let one = found.iter().find(|(given, value)| given == name && !value.is_empty());
        expected.push(one.unwrap_or_else(|| panic!("{what}: no {name}: {}", received.raw)).clone());
    }
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "{what}");
}

fn pairs(name: &str, value: &Value, parameter: Option<&Param>, out: &mut Vec<(String, String)>) {
    match value {
        Value::Array(items) => match parameter.map(|parameter| parameter.style).unwrap_or_default() {
            ArrayStyle::Comma => {
                let texts: Vec<String> = items.iter().map(text).collect();
                out.push((name.to_owned(), texts.join(",")));
            }
            ArrayStyle::Brackets => out.extend(items.iter().map(|item| (format!("{name}[]"), text(item)))),
            ArrayStyle::Repeat => out.extend(items.iter().map(|item| (name.to_owned(), text(item)))),
        },
        Value::Object(members) => {
            for (member, value) in members {
                pairs(&format!("{name}[{member}]"), value, parameter, out);
            }
        }
        other => out.push((name.to_owned(), text(other))),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn check_body(received: &Received, manifest: &Manifest, operation: &Operation, account: &Account, what: &str) {
    let mut example = operation.request_example.as_ref().and_then(|example| example.body.clone());
    if let Some(field) = &manifest.modules[&operation.module].body_field {
        example = Some(json!({field: example.unwrap_or_else(|| json!({})).to_string()}));
    }
    if received.method != "GET" {
        for name in signature_of(manifest, operation).iter().flat_map(|signature| signature.body.keys()) {
            let form = received.form().into_iter().find(|(given, _)| given == name).map(|(_, value)| json!(value));
            let value = form.unwrap_or_else(|| sent_json(received, manifest, operation)[name].clone());
            assert!(value.as_str().is_some_and(|value| !value.is_empty()), "{what}: no {name}: {}", received.raw);
            example.get_or_insert_with(|| json!({}))[name] = value;
        }
    }
    for (name, template) in &manifest.transport.body {
        let value = rendered(template, account);
        if received.method != "GET" && !value.contains("{account.") {
            example.get_or_insert_with(|| json!({}))[name] = json!(value);
        }
    }
    if let Some(name) = key_of(manifest, operation).and_then(|rule| rule.field.as_deref())
        && example.as_ref().is_none_or(|body| body.get(name).is_none())
    {
        let key = received.json()[name].clone();
        assert!(key.as_str().is_some_and(|key| key.len() == 36), "{what}: {name}: {}", received.raw);
        example.get_or_insert_with(|| json!({}))[name] = key;
    }
    let Some(body) = &example else {
        // An RPC without arguments may say so with an empty object.
        let nothing = received.body.is_empty() || received.json() == json!({});
        assert!(nothing, "{what}: {}", received.raw);
        return;
    };
    match operation.body_encoding.unwrap_or(manifest.modules[&operation.module].body) {
        BodyEncoding::Json => {
            // A vendor's own kind of JSON is a fixed header, and was looked at with the others.
            let own =
                [&manifest.transport.headers, &operation.headers].iter().any(|all| all.contains_key("Content-Type"));
            assert!(own || received.header("content-type").starts_with("application/json"), "{what}");
            assert_eq!(&sent_json(received, manifest, operation), body, "{what}");
        }
        BodyEncoding::Form => {
            assert_eq!(received.header("content-type"), "application/x-www-form-urlencoded", "{what}");
            let mut expected = Vec::new();
            for (name, value) in body.as_object().unwrap() {
                form(name, value, operation.body_arrays, &mut expected);
            }
            let mut found = received.form();
            expected.sort();
            found.sort();
            assert_eq!(found, expected, "{what}");
        }
        BodyEncoding::Multipart => {
            let kind = received.header("content-type");
            let boundary = kind.strip_prefix("multipart/form-data; boundary=").expect(what);
            let text = String::from_utf8_lossy(&received.body).into_owned();
            assert!(text.ends_with(&format!("--{boundary}--\r\n")), "{what}: {text}");
            for (name, value) in body.as_object().unwrap() {
                let part = match value.get("content").and_then(Value::as_str) {
                    None => format!("name=\"{name}\"\r\n\r\n{}\r\n--{boundary}", self::text(value)),
                    Some(content) => {
                        let file = value["filename"].as_str().unwrap();
                        let kind = value["content_type"].as_str().unwrap_or("application/octet-stream");
                        let content = STANDARD.decode(content).unwrap();
                        let content = String::from_utf8_lossy(&content);
                        format!(
                            "name=\"{name}\"; filename=\"{file}\"\r\nContent-Type: {kind}\r\n\r\n{content}\r\n--{boundary}"
                        )
                    }
                };
                assert!(text.contains(&part), "{what}: {name}: {text}");
            }
        }
    }
    if let Some(header) = manifest.idempotency.as_ref().and_then(|rule| rule.header.as_ref()) {
        let keyed = key_of(manifest, operation).is_some();
        assert_eq!(!received.header(&header.to_ascii_lowercase()).is_empty(), keyed, "{what}: {header}");
    }
}

/// How the vendor recognises a repeat of this operation.
fn key_of<'m>(manifest: &'m Manifest, operation: &Operation) -> Option<&'m Idempotency> {
    manifest.idempotency.as_ref().filter(|_| operation.effect == Effect::Keyed)
}

fn form(name: &str, value: &Value, arrays: Option<ArrayStyle>, out: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(member, value)| form(&format!("{name}[{member}]"), value, arrays, out));
        }
        Value::Array(items) if arrays == Some(ArrayStyle::Comma) => {
            out.push((name.to_owned(), items.iter().map(text).collect::<Vec<_>>().join(",")));
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(at, value)| {
            let name = match arrays {
                Some(ArrayStyle::Repeat) => name.to_owned(),
                Some(ArrayStyle::Brackets) => format!("{name}[]"),
                _ => format!("{name}[{at}]"),
            };
            form(&name, value, arrays, out);
        }),
        other => out.push((name.to_owned(), text(other))),
    }
}

pub(crate) async fn a_token_is_fetched_once_and_renewed_after_a_refusal(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let client = tenant.mcp();
    let account = tenant.connect("cdek", "Main", &site.vendor).await;
    let (first, second) = (unique(), unique());
    let token = |token: &str| Answer::json(200, &json!({"access_token": token, "expires_in": 3600}));
    site.vendor.in_turn(&account.secret, vec![token(&first), token(&second)]);
    let call = json!({"service": "cdek", "module": "api", "method": "GET", "path": "/location/cities", "query": {"city": "Москва"}});
    for _ in 0..3 {
        let envelope = client.execute(call.clone()).await;
        assert_eq!(envelope["ok"], true, "{envelope}");
    }
    let asked = site.vendor.only(&account.secret);
    assert_eq!((asked.host(), asked.path.as_str()), ("api.cdek.ru", "/v2/oauth/token"));
    let form = asked.form();
    let has = |name: &str, value: &str| form.contains(&(name.to_owned(), value.to_owned()));
    assert!(has("grant_type", "client_credentials") && has("client_id", &account.fields["client_id"]), "{form:?}");
    assert_eq!(site.vendor.count(&first), 3);

    // The vendor forgets the token: one new one, and the caller does not notice.
    site.vendor.on(&first, Answer::json(401, &json!({"errors": [{"code": "v2_token_expired", "message": "expired"}]})));
    let envelope = client.execute(call.clone()).await;
    assert_eq!(envelope["ok"], true, "{envelope}");
    assert_eq!(envelope["attempts"], 2);
    assert_eq!((site.vendor.count(&account.secret), site.vendor.count(&first), site.vendor.count(&second)), (2, 4, 1));

    // Wrong for good: the account is at fault, and the vendor is not asked for ever.
    let wrong = tenant.connect("cdek", "Wrong", &site.vendor).await;
    site.vendor.on(&wrong.secret, Answer::json(401, &json!({"error": "invalid_client"})));
    let mut call = call;
    call["service"] = json!("cdek:Wrong");
    for _ in 0..3 {
        let envelope = client.execute(call.clone()).await;
        assert_eq!(envelope["error"]["code"], "ACCOUNT_EXPIRED", "{envelope}");
        assert_eq!(envelope["error"]["fix"]["kind"], "reconnect");
        assert_eq!(envelope["error"]["outcome"], "not_sent");
        assert!(!envelope.to_string().contains(&wrong.secret));
    }
    assert_eq!(site.vendor.count(&wrong.secret), 1, "a refusal is remembered for a while");
}
