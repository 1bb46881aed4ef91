//! Every operation of every shipped connector, as the vendor sees it.
//!
//! The call is the manifest's own example. Where the credential must be is written down here a second time, from the
//! vendors' documentation, so that a mistake in a manifest cannot agree with itself.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plugboard_core::manifest::{ArrayStyle, BodyEncoding, Manifest, Operation, Param, Style};
use plugboard_tests::examples::{example_call, example_path, manifests};
use plugboard_tests::tenant::{Account, Tenant, unique};
use plugboard_tests::vendor::{Answer, Received};
use serde_json::{Value, json};

use crate::shared::Site;

pub(crate) async fn every_operation_reaches_its_vendor_as_the_manifest_says(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let client = tenant.mcp();
    for manifest in manifests() {
        let account = tenant.connect(&manifest.key, "Main", &site.vendor).await;
        for operation in &manifest.operations {
            let what = format!("{}/{}", manifest.key, operation.id);
            site.vendor.on(&account.mark, Answer::json(200, &operation.response_example));
            let before = site.vendor.count(&account.mark);
            let envelope = client.execute(example_call(&manifest, operation)).await;
            assert_eq!(envelope["ok"], true, "{what}: {envelope}");
            assert_eq!(envelope["data"], operation.response_example, "{what}");
            assert_eq!(envelope["account"]["id"], account.id.as_str(), "{what}");
            let received = site.vendor.received(&account.mark);
            assert_eq!(received.len(), before + 1, "{what}: one request");
            let received = &received[before];
            check_credential(received, &account, &what);
            check_address(received, &manifest, operation, &account, &what);
            check_query(received, operation, &what);
            check_body(received, &manifest, operation, &what);
        }
    }
}

/// Host and credential by vendor.
fn check_credential(received: &Received, account: &Account, what: &str) {
    let secret = account.secret.as_str();
    let authorization = received.header("authorization");
    let bearer = format!("Bearer {secret}");
    let (host, right) = match account.service.as_str() {
        "wildberries" => (".wildberries.ru", authorization == secret),
        "ozon" => {
            let id = received.header("client-id") == "836271";
            ("api-seller.ozon.ru", id && received.header("api-key") == secret && authorization.is_empty())
        }
        "bitrix24" => ("lebed.bitrix24.ru", received.path.starts_with(&format!("/rest/17/{secret}/"))),
        "onec_odata" => {
            let pair = STANDARD.encode(format!("Иванов:{secret}"));
            ("1c.lebed-home.ru", authorization == format!("Basic {pair}"))
        }
        "telegram" => {
            let path = received.path.replace("%3A", ":");
            let bot = [format!("/bot{secret}/"), format!("/file/bot{secret}/")];
            ("api.telegram.org", bot.iter().any(|start| path.starts_with(start)))
        }
        "max_messenger" => (".max.ru", authorization == secret),
        "stripe" => ("api.stripe.com", authorization == bearer && !received.header("stripe-version").is_empty()),
        "github" => {
            let versioned = received.header("x-github-api-version") == "2022-11-28";
            ("api.github.com", authorization == bearer && versioned && !received.header("user-agent").is_empty())
        }
        "hubspot" => ("api.hubapi.com", authorization == bearer),
        "cdek" => ("api.cdek.ru", authorization == format!("Bearer {}", account.mark)),
        "yandex_metrika" => ("api-metrika.yandex.net", authorization == format!("OAuth {secret}")),
        "supadata" => ("api.supadata.ai", received.header("x-api-key") == secret),
        other => panic!("{other} is shipped, and nobody wrote down where its credential goes"),
    };
    assert!(right, "{what}: {}", received.raw);
    assert!(received.host().ends_with(host), "{what}: {}", received.host());
    if account.service == "cdek" {
        assert!(!received.raw.contains(secret), "{what}: the password goes to the token endpoint only");
    }
}

fn check_address(received: &Received, manifest: &Manifest, operation: &Operation, account: &Account, what: &str) {
    let module = &manifest.modules[&operation.module];
    let mut base = module.base_url.clone();
    let fields = [
        ("portal_host", "lebed.bitrix24.ru"),
        ("webhook_user_id", "17"),
        ("webhook_code", &account.secret),
        ("host", "1c.lebed-home.ru"),
        ("publication", "base/ut"),
        ("bot_token", &account.secret),
    ];
    for (name, value) in fields {
        base = base.replace(&format!("{{account.{name}}}"), value);
    }
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

fn check_query(received: &Received, operation: &Operation, what: &str) {
    let mut expected = Vec::new();
    for (name, value) in operation.request_example.iter().flat_map(|example| &example.query) {
        pairs(name, value, operation.query.get(name), &mut expected);
    }
    let mut found = received.query.clone();
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
                pairs(&format!("{name}[{member}]"), value, None, out);
            }
        }
        other => out.push((name.to_owned(), text(other))),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn check_body(received: &Received, manifest: &Manifest, operation: &Operation, what: &str) {
    let example = operation.request_example.as_ref().and_then(|example| example.body.as_ref());
    let Some(body) = example else {
        // An RPC without arguments may say so with an empty object.
        let nothing = received.body.is_empty() || received.json() == json!({});
        assert!(nothing, "{what}: {}", received.raw);
        return;
    };
    match operation.body_encoding.unwrap_or(manifest.modules[&operation.module].body) {
        BodyEncoding::Json => {
            assert!(received.header("content-type").starts_with("application/json"), "{what}");
            assert_eq!(&received.json(), body, "{what}");
        }
        BodyEncoding::Form => {
            assert_eq!(received.header("content-type"), "application/x-www-form-urlencoded", "{what}");
            let mut expected = Vec::new();
            for (name, value) in body.as_object().unwrap() {
                form(name, value, &mut expected);
            }
            let mut found = received.form();
            expected.sort();
            found.sort();
            assert_eq!(found, expected, "{what}");
        }
    }
    let keyed = operation.effect == plugboard_core::manifest::Effect::Keyed;
    let key = manifest.idempotency.as_ref().map(|rule| rule.header.to_ascii_lowercase());
    if let Some(header) = key {
        assert_eq!(!received.header(&header).is_empty(), keyed, "{what}: {header}");
    }
}

fn form(name: &str, value: &Value, out: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(member, value)| form(&format!("{name}[{member}]"), value, out))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, value)| form(&format!("{name}[{at}]"), value, out))
        }
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
    assert!(has("grant_type", "client_credentials") && has("client_id", "cdek-account"), "{form:?}");
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
