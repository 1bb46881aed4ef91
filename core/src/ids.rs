//! Identifiers. Newtypes, so that an organization is never passed where an account belongs. Shared, since a call passes
//! each of them on a dozen times.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use uuid::fmt::Simple;

/// Space: no text of ours begins with less.
const FIRST_OF_TEXT: u8 = b' ';

/// Digits of the longest id.
const LONGEST: usize = 44;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal $(, or $digits:expr)?) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// A new one: time-ordered, 74 random bits (UUIDv7, RFC 9562 §5.7).
            pub fn generate() -> Self {
                let mut digits = [0; Simple::LENGTH];
                let digits = Uuid::now_v7().simple().encode_lower(&mut digits);
                Self([$prefix, digits].concat().into())
            }

            /// Accepts what is generated and nothing else: the prefix and 32 lower-case hex digits, or as many as said.
            pub fn parse(text: &str) -> Option<Self> {
                Self::digits(text).map(|_| Self(text.into()))
            }

            /// What is behind the prefix of one that was generated.
            fn digits(text: &str) -> Option<&str> {
                let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
                let long = |digits: &str| [Simple::LENGTH $(, $digits)?].contains(&digits.len());
                text.strip_prefix($prefix).filter(|digits| long(digits) && digits.bytes().all(hex))
            }

            /// For the wire: the bare bytes of one that was generated, half as long as its text; of any other, its text.
            pub fn with_bytes<T>(&self, write: impl FnOnce(&[u8]) -> T) -> T {
                let mut bare = [0; LONGEST / 2];
                let bare = Self::digits(&self.0).and_then(|digits| {
                    let bare = &mut bare[..digits.len() / 2];
                    hex::decode_to_slice(digits, bare).ok().map(|()| &*bare)
                });
                // The first bytes of a UUIDv7 are the time, so for some centuries none begins like a text.
                let bare = bare.filter(|bytes| bytes.first().is_some_and(|first| *first < FIRST_OF_TEXT));
                write(bare.unwrap_or(self.0.as_bytes()))
            }

            /// What [`Self::with_bytes`] made, or the text that earlier versions wrote. `None`: neither.
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                let mut text = [0; $prefix.len() + LONGEST];
                let text = match bytes.first() {
                    Some(first) if *first < FIRST_OF_TEXT => {
                        let text = text.get_mut(..$prefix.len() + bytes.len() * 2)?;
                        let (prefix, digits) = text.split_at_mut($prefix.len());
                        prefix.copy_from_slice($prefix.as_bytes());
                        hex::encode_to_slice(bytes, digits).ok()?;
                        &*text
                    }
                    _ => bytes,
                };
                std::str::from_utf8(text).ok().map(Self::trusted)
            }

            /// Takes a value from one of our own records or services as it is.
            pub fn trusted(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// One accepted call, over all its attempts. Those of gateways tell more: [`crate::job::ExecutionIds`].
    ExecutionId, "ex_", or LONGEST
);
id!(
    /// A tenant.
    OrganizationId, "org_"
);
id!(
    /// A connected account of a service; `instance_id` of the public contract.
    AccountId, "acc_"
);
id!(
    /// An API key (its public handle, not the secret).
    KeyId, "key_"
);
id!(
    /// A program that acts on its own, as an organization knows it.
    AgentId, "agent_"
);
id!(
    /// One running process of ours, as owner of an intent or address of a reply.
    InstanceId, "in_"
);

impl AccountId {
    /// The account that every organization has for every service in sandbox mode.
    pub fn sandbox() -> Self {
        Self("acc_sandbox".into())
    }

    pub fn is_sandbox(&self) -> bool {
        *self.0 == *"acc_sandbox"
    }

    /// What stands for an access token in sandbox mode. It names the service, since some vendors serve several of them
    /// at one address.
    pub fn sandbox_token(service: &str) -> String {
        format!("sandbox-token-{service}")
    }
}

/// An end user of a tenant, in the tenant's own words.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Subject(pub String);

/// A connector's canonical key.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServiceKey(Arc<str>);

impl ServiceKey {
    /// `[a-z0-9][a-z0-9_]*`, at most 32 characters; a dynamic connector adds `.<slug>`.
    pub fn parse(text: &str) -> Option<Self> {
        let word = |part: &str, extra: &[u8]| {
            !part.is_empty()
                && part.len() <= 32
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || extra.contains(&b))
        };
        let valid = match text.split_once('.') {
            Some((kind, slug)) => word(kind, b"_") && word(slug, b"_-"),
            None => word(text, b"_"),
        };
        valid.then(|| Self(text.into()))
    }

    pub fn trusted(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_refuse_other_kinds() {
        let id = ExecutionId::generate();
        assert_eq!(ExecutionId::parse(id.as_str()), Some(id.clone()));
        assert_eq!(OrganizationId::parse(id.as_str()), None);
        assert_eq!(ExecutionId::parse("ex_../../../../../../../../../../.."), None);
        assert_eq!(ExecutionId::parse(""), None);
        let long = ExecutionId::trusted(format!("{id}0123456789ab"));
        assert_eq!(ExecutionId::parse(long.as_str()), Some(long));
        let organization = format!("{}0123456789ab", OrganizationId::generate());
        assert_eq!(OrganizationId::parse(&organization), None);
    }

    #[test]
    fn on_the_wire_an_id_is_short_and_any_other_text_is_itself() {
        let id = AccountId::generate();
        assert_eq!(id.with_bytes(|bytes| (bytes.len(), AccountId::from_bytes(bytes))), (16, Some(id.clone())));
        // As written by earlier versions.
        assert_eq!(AccountId::from_bytes(id.as_str().as_bytes()), Some(id));
        for text in ["acc_sandbox", "", "another form", "acc_ffffffffffffffffffffffffffffffff"] {
            let id = AccountId::trusted(text);
            assert_eq!(id.with_bytes(AccountId::from_bytes), Some(id));
        }
        assert_eq!(AccountId::from_bytes(&[0xff, 0xfe]), None);
        assert_eq!(AccountId::from_bytes(&[1; 23]), None);
    }

    #[test]
    fn service_keys() {
        for good in ["ozon", "2gis", "custom_api.my-crm", "yandex_metrika"] {
            assert!(ServiceKey::parse(good).is_some(), "{good}");
        }
        for bad in ["", "Ozon", "a b", "a.b.c", "a/../b", "a.", "ozon:Top", &"a".repeat(33)] {
            assert!(ServiceKey::parse(bad).is_none(), "{bad}");
        }
    }
}
