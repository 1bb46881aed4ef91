//! Values that must not be seen: redacted in Debug, not serializable, wiped on drop.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use secrecy::{ExposeSecret, SecretString};

/// A secret text. Reading it takes a visible [`Secret::expose`].
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl PartialEq for Secret {
    /// Constant time in the content.
    fn eq(&self, other: &Self) -> bool {
        use subtle::ConstantTimeEq;
        self.expose().as_bytes().ct_eq(other.expose().as_bytes()).into()
    }
}

/// 32 bytes of key material, from configuration or derived.
#[derive(Clone)]
pub struct SecretKey(zeroize::Zeroizing<[u8; 32]>);

impl SecretKey {
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(zeroize::Zeroizing::new(bytes))
    }

    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self::new(bytes))
    }

    /// 64 hex digits, surrounding white space ignored.
    ///
    /// # Errors
    /// When the text is anything else; the text itself is not in the message.
    pub fn from_hex(text: &str) -> Result<Self, BadKey> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.trim(), &mut bytes).map_err(|_| BadKey)?;
        Ok(Self::new(bytes))
    }

    pub fn to_hex(&self) -> Secret {
        Secret::new(hex::encode(*self.0))
    }

    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// An independent key for one purpose (HKDF-SHA-256, RFC 5869).
    pub fn derive(&self, purpose: &str) -> Self {
        let mut out = [0; 32];
        // Expanding to 32 bytes cannot fail: the limit is 255 × 32.
        let _ = hkdf::Hkdf::<sha2::Sha256>::new(None, self.expose()).expand(purpose.as_bytes(), &mut out);
        Self::new(out)
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a key is 64 hexadecimal digits (32 bytes)")]
pub struct BadKey;

/// The credential fields of one account, decrypted for one call.
#[derive(Clone, Default)]
pub struct AccountFields {
    /// Fields that may be shown, e.g. a host or a client id.
    pub public: BTreeMap<String, String>,
    pub secret: BTreeMap<String, Secret>,
    /// Obtained by the manifest's token grant.
    pub token: Option<Secret>,
    prepared: Prepared,
}

/// Not copied with the fields: a copy is made to be changed.
#[derive(Default)]
struct Prepared(OnceLock<Arc<dyn Any + Send + Sync>>);

impl Clone for Prepared {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl AccountFields {
    /// What `make` makes of these fields, made once and kept exactly as long as they are. Of one type only: for another
    /// it is made anew each time.
    pub fn prepared<T: Any + Send + Sync>(self: &Arc<Self>, make: impl Fn(&Self) -> T) -> Arc<T> {
        let kept = self.prepared.0.get_or_init(|| Arc::new(make(self))).clone();
        kept.downcast().unwrap_or_else(|_| Arc::new(make(self)))
    }

    pub fn get(&self, field: &str) -> Option<&str> {
        self.secret.get(field).map(Secret::expose).or_else(|| self.public.get(field).map(String::as_str))
    }

    /// Everything that must not come back in an answer.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.secret.values().chain(&self.token).map(Secret::expose)
    }
}

impl std::fmt::Debug for AccountFields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountFields")
            .field("public", &self.public.keys().collect::<Vec<_>>())
            .field("secret", &self.secret.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_prints_a_secret() {
        let mut fields = AccountFields::default();
        fields.secret.insert("api_token".into(), Secret::new("canary"));
        fields.token = Some(Secret::new("canary"));
        let key = SecretKey::new([0xca; 32]);
        assert!(!format!("{fields:?} {:?} {key:?}", Secret::new("canary")).contains("canary"));
        assert!(!format!("{key:?}").contains("ca"));
    }

    #[test]
    fn what_is_prepared_is_made_once_and_not_copied() {
        let mut fields = AccountFields::default();
        fields.token = Some(Secret::new("one"));
        let fields = Arc::new(fields);
        let length = |fields: &AccountFields| fields.secrets().map(str::len).sum::<usize>();
        assert!(Arc::ptr_eq(&fields.prepared(length), &fields.prepared(length)));
        assert_eq!(*fields.prepared(|fields| fields.secrets().map(str::to_owned).collect::<Vec<_>>()), ["one"]);
        let mut changed = (*fields).clone();
        changed.token = Some(Secret::new("three"));
        assert_eq!(*Arc::new(changed).prepared(length), 5);
    }

    #[test]
    fn derived_keys_differ_by_purpose() {
        let key = SecretKey::new([1; 32]);
        assert_ne!(key.derive("a").expose(), key.derive("b").expose());
        assert_eq!(key.derive("a").expose(), key.derive("a").expose());
    }

    #[test]
    fn keys_from_hex() {
        assert!(SecretKey::from_hex(&format!(" {}\n", "ab".repeat(32))).is_ok());
        assert!(SecretKey::from_hex("abc").is_err());
    }
}
