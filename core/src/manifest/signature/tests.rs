//! The language, and the example of RFC 5849. Vendors' schemes are compared in `executor`, with the shipped manifests.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use url::Url;

use super::*;
use crate::clock::Millis;
use crate::manifest::template::Variable;

struct Account(BTreeMap<&'static str, &'static str>);

impl FieldValues for Account {
    fn get(&self, variable: &Variable) -> Option<&str> {
        let Variable::Account(name) = variable else { return None };
        self.0.get(name.as_str()).copied()
    }

    fn is_optional(&self, variable: &Variable) -> bool {
        matches!(variable, Variable::Account(name) if name == "note")
    }

    fn is_secret(&self, _: &Variable) -> bool {
        true
    }
}

fn compiled(signature: Value) -> Result<CompiledSignature, SignatureError> {
    CompiledSignature::of(&serde_json::from_value(signature).unwrap())
}

const STAMP: Stamp = Stamp { at: Millis(1_700_000_000_500), nonce: [0x0f; 16] };

/// What is signed: a signature without a digest would be clearer, but there is none.
fn signed(parts: Value, account: &Account, url: &str, body: &str, form: BodyForm) -> Result<String, SigningError> {
    let signature = json!({"algorithm": "hmac_sha1", "key": "k", "parts": parts, "join": "|",
        "headers": {"X": "{signed}", "Y": "{signature}"}});
    let signature = compiled(signature).unwrap();
    let url = Url::parse(url).unwrap();
    let signable = Signable { method: "POST", url: &url, body: Some(body.as_bytes()), form };
    let placed = Signer::new(&signature, account, STAMP).after(signable)?;
    Ok(placed.headers[0].1.to_string())
}

#[test]
fn parts_say_what_is_signed() {
    let account = Account([("key", "S3cret-1"), ("empty", "")].into());
    let all = |parts: Value| {
        let body = r#"{"b": 1.50, "a": "ё", "deep": {"x": 1}, "no": null, "on": true}"#;
        signed(parts, &account, "https://api.example:8443/a%20b?q=1%2B2&z=", body, BodyForm::Json).unwrap()
    };
    assert_eq!(all(json!(["{request.method}", "{request.host}", "{request.path}"])), "POST|api.example:8443|/a%20b");
    assert_eq!(all(json!(["{request.query}"])), "q=1%2B2&z=");
    assert_eq!(all(json!(["{request.target}"])), "/a%20b?q=1%2B2&z=");
    assert_eq!(all(json!(["{request.url|percent}"])), "https%3A%2F%2Fapi.example%3A8443%2Fa%2520b");
    assert_eq!(all(json!(["{query.q}", "{query.none}", "{query.none?}", "{query.z}"])), "1+2||");
    assert_eq!(
        all(json!(["{body.b}", "{body.a|percent}", "{body.on}", "{body.no}", "{body.deep}"])),
        "1.50|%D1%91|true|{\"x\": 1}"
    );
    assert_eq!(all(json!(["{account.key|upper|underscore}", "{account.note}", "n={account.note?}"])), "S3CRET_1|n=");
    assert_eq!(
        all(json!(["{time.seconds}", "{time.millis}", "{time.iso}"])),
        "1700000000|1700000000500|2023-11-14T22:13:20Z"
    );
    assert_eq!(all(json!(["{nonce}"])), "0f".repeat(16));
    assert_eq!(all(json!(["{body.b|sha256}"])).len(), 64);
    assert_eq!(
        all(json!([{"fields": ["body"], "pair": "{value}", "add": {"aa": "{account.key}"}}])),
        "ёS3cret-11.50true"
    );
    let fields = json!([{"fields": ["query", "body"], "except": ["on"], "join": "&"}]);
    assert_eq!(all(fields), "a=ё&b=1.50&q=1+2&z=");
    assert_eq!(all(json!(["x", {"fields": ["query"], "prefix": "Shp_"}])), "x", "an empty list is left out");
}

#[test]
fn a_forms_fields_are_its_pairs() {
    let account = Account([].into());
    let parts = json!([{"fields": ["body"], "pair": "{name|percent}={value|percent}", "join": "&", "percent": true}]);
    let form = signed(parts, &account, "https://a.example/", "b=2&a=x+y&a=%2B", BodyForm::Form).unwrap();
    // Sorted as they are written: `%20` before `%2B`.
    assert_eq!(form, "a%3D%252B%26a%3Dx%2520y%26b%3D2");
}

#[test]
fn what_cannot_be_signed_is_said_without_values() {
    let account = Account([("key", "v")].into());
    let missing = signed(json!(["{account.other}"]), &account, "https://a.example/", "", BodyForm::Json);
    assert_eq!(missing, Err(SigningError::MissingField("other".to_owned())));
    let broken = signed(json!(["x"]), &account, "https://a.example/", "{\"a\"", BodyForm::Json);
    assert_eq!(broken, Err(SigningError::NotJson));
    let list = signed(json!(["{request.body}"]), &account, "https://a.example/", "[1]", BodyForm::Json);
    assert_eq!(list.as_deref(), Ok("[1]"));
}

#[test]
fn no_key_no_signature() {
    let signature = compiled(json!({"algorithm": "hmac_sha256", "key": "{account.note}", "parts": ["x"],
        "headers": {"X": "{signature}"}}))
    .unwrap();
    let url = Url::parse("https://a.example/").unwrap();
    let signable = Signable { method: "GET", url: &url, body: None, form: BodyForm::Json };
    let made = Signer::new(&signature, &Account([].into()), STAMP).after(signable).map(|_| ());
    assert_eq!(made, Err(SigningError::MissingField("note".to_owned())));
}

#[test]
fn texts_are_checked_when_the_manifest_is_read() {
    let with = |place: &str, text: &str| {
        let mut signature = json!({"algorithm": "sha256", "parts": ["{account.key}"], "headers": {"X": "{signature}"}});
        *signature.pointer_mut(place).unwrap() = json!(text);
        compiled(signature).map(|_| ()).map_err(|error| error.to_string())
    };
    for (place, text, why) in [
        ("/parts/0", "{account.key", "/parts/0: `{` without `}`"),
        ("/parts/0", "{vendor}", "{vendor} is not known"),
        ("/parts/0", "{account.}", "{account.} is not known"),
        ("/parts/0", "{account.key|rot13}", "\"rot13\" is no filter"),
        ("/parts/0", "{signature}", "a part is made of"),
        ("/parts/0", "{name}", "a part is made of"),
        ("/headers/X", "{request.body}", "/headers/X: \"{request.body}\": a placement is made of"),
    ] {
        let error = with(place, text).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn the_example_of_rfc_5849() {
    let signature = compiled(json!({
        "algorithm": "hmac_sha1", "encoding": "base64", "join": "&",
        "key": "{account.consumer_secret|percent}&{account.token_secret|percent}",
        "parts": ["{request.method}", "{request.url|percent}", {
            "fields": ["query"], "pair": "{name|percent}={value|percent}", "join": "&", "percent": true,
            "add": {
                "oauth_consumer_key": "{account.consumer_key}", "oauth_token": "{account.token}",
                "oauth_signature_method": "HMAC-SHA1", "oauth_timestamp": "137131202", "oauth_nonce": "chapoH",
            },
        }],
        "headers": {"Authorization": "OAuth oauth_signature=\"{signature|percent}\""},
    }))
    .unwrap();
    let account = Account(
        [
            ("consumer_key", "dpf43f3p2l4k3l03"),
            ("consumer_secret", "kd94hf93k423kf44"),
            ("token", "nnch734d00sl2jdk"),
            ("token_secret", "pfkkdhi9sl3r4s00"),
        ]
        .into(),
    );
    let url = Url::parse("http://photos.example.net/photos?file=vacation.jpg&size=original").unwrap();
    let signable = Signable { method: "GET", url: &url, body: None, form: BodyForm::Json };
    let placed = Signer::new(&signature, &account, STAMP).after(signable).unwrap();
    assert_eq!(placed.headers[0].1.as_str(), "OAuth oauth_signature=\"MdpQcU8iPSUjWoN%2FUDMsK2sui9I%3D\"");
    assert!(placed.derived.iter().any(|text| text.as_str() == "MdpQcU8iPSUjWoN/UDMsK2sui9I="), "scrubbed from answers");
}
