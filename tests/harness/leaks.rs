//! Where a secret lies that should lie nowhere.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::json;

/// A text in the forms in which it could lie somewhere. Base64 at each alignment, without the ends that depend on the
/// neighbours.
fn forms(secret: &str) -> Vec<(String, Vec<u8>)> {
    let mut forms = vec![
        ("as it is".to_owned(), secret.as_bytes().to_vec()),
        ("hex".to_owned(), hex::encode(secret).into_bytes()),
        ("HEX".to_owned(), hex::encode_upper(secret).into_bytes()),
        (
            "url".to_owned(),
            percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC).to_string().into_bytes(),
        ),
        ("json".to_owned(), json!(secret).to_string().trim_matches('"').as_bytes().to_vec()),
        ("reversed".to_owned(), secret.bytes().rev().collect()),
    ];
    for shift in 0..3 {
        let padded = [&b"..."[..shift], secret.as_bytes()].concat();
        let text = STANDARD_NO_PAD.encode(&padded);
        let inner = &text.as_bytes()[if shift == 0 { 0 } else { 4 }..text.len() - 3];
        forms.push((format!("base64+{shift}"), inner.to_vec()));
        let url_safe: Vec<u8> = inner
            .iter()
            .map(|b| match b {
                b'+' => b'-',
                b'/' => b'_',
                other => *other,
            })
            .collect();
        forms.push((format!("base64url+{shift}"), url_safe));
    }
    forms
}

/// Where a secret lies, in which form.
pub fn found_in(secret: &str, places: &[(PathBuf, Vec<u8>)]) -> Vec<String> {
    let mut found = Vec::new();
    for (form, needle) in forms(secret) {
        for (place, bytes) in places {
            if memchr::memmem::find(bytes, &needle).is_some() {
                found.push(format!("{form} in {}", place.display()));
            }
        }
    }
    found
}
