//! What an MCP client carries from a call that asked for an account to its repeat. It is sealed, so that nobody reads the
//! claim in it, and opens only for the same key and the same arguments.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use plugboard_core::clock::Millis;
use plugboard_core::ids::{KeyId, ServiceKey};
use plugboard_core::seal::Sealer;
use plugboard_core::secret::{Secret, SecretKey};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The call a state belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound<'a> {
    pub key: &'a KeyId,
    pub arguments: &'a str,
}

/// What the repeat needs.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    pub service: ServiceKey,
    pub claim: Secret,
    pub url: Secret,
    pub expires_at: Millis,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    service: ServiceKey,
    claim: String,
    url: String,
    expires_at: i64,
}

#[derive(Debug)]
pub(super) struct StateSeal(Sealer);

impl StateSeal {
    pub(super) fn new(key: &SecretKey) -> Self {
        Self(Sealer::new(key.derive("connect request state")))
    }

    /// `None`: the system gives no random numbers.
    pub(super) fn seal(&self, bound: Bound<'_>, state: &State) -> Option<String> {
        let sealed = Sealed {
            service: state.service.clone(),
            claim: state.claim.expose().to_owned(),
            url: state.url.expose().to_owned(),
            expires_at: state.expires_at.0,
        };
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(&sealed).ok()?);
        Some(URL_SAFE_NO_PAD.encode(self.0.seal(&bound.to_aad(), &plain).ok()?))
    }

    /// `None`: not ours, changed, of another key or other arguments, or too old.
    pub(super) fn open(&self, bound: Bound<'_>, text: &str, now: Millis) -> Option<State> {
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let plain = zeroize::Zeroizing::new(self.0.open(&bound.to_aad(), &sealed).ok()?);
        let Sealed { service, claim, url, expires_at } = serde_json::from_slice(&plain).ok()?;
        let state = State { service, claim: Secret::new(claim), url: Secret::new(url), expires_at: Millis(expires_at) };
        (state.expires_at > now).then_some(state)
    }
}

impl Bound<'_> {
    /// Clients may write the same arguments in another order.
    fn to_aad(self) -> Vec<u8> {
        let arguments = serde_json::from_str(self.arguments).map(sorted).unwrap_or_default();
        let digest = Sha256::digest(arguments.to_string());
        [b"connector_execute\0", self.key.as_str().as_bytes(), b"\0", &digest[..]].concat()
    }
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            members.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            Value::Object(Map::from_iter(members))
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            service: ServiceKey::trusted("ozon"),
            claim: Secret::new("claim-canary"),
            url: Secret::new("https://plugboard.example/connect/t"),
            expires_at: Millis(10),
        }
    }

    #[test]
    fn opens_for_the_same_call_only() {
        let seal = StateSeal::new(&SecretKey::new([1; 32]));
        let (key, arguments) = (KeyId::generate(), r#"{"service":"ozon","query":{"a":1,"b":[{"c":1,"d":2}]}}"#);
        let bound = Bound { key: &key, arguments };
        let text = seal.seal(bound, &state()).unwrap();
        assert!(!text.contains("canary"));
        assert_eq!(seal.open(bound, &text, Millis(9)), Some(state()));
        let reordered = r#"{ "query": {"b": [{"d": 2, "c": 1}], "a": 1}, "service": "ozon" }"#;
        assert_eq!(seal.open(Bound { arguments: reordered, ..bound }, &text, Millis(9)), Some(state()));

        assert_eq!(seal.open(bound, &text, Millis(10)), None, "too old");
        assert_eq!(seal.open(Bound { key: &KeyId::generate(), ..bound }, &text, Millis(9)), None);
        let other = r#"{"service":"ozon","query":{"a":2,"b":[{"c":1,"d":2}]}}"#;
        assert_eq!(seal.open(Bound { arguments: other, ..bound }, &text, Millis(9)), None);
        assert_eq!(StateSeal::new(&SecretKey::new([2; 32])).open(bound, &text, Millis(9)), None);
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(seal.open(bound, std::str::from_utf8(&changed).unwrap(), Millis(9)), None, "{at}");
        }
        for text in ["", "x", "!!!!", &text[..text.len() - 4]] {
            assert_eq!(seal.open(bound, text, Millis(9)), None);
        }
    }
}
