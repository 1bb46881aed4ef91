//! The key by which a vendor recognises a repeat, and where it travels.

use hmac::{Hmac, KeyInit, Mac};
use plugboard_core::ids::{ExecutionId, OrganizationId};
use plugboard_core::manifest::{Effect, Idempotency};
use plugboard_core::secret::SecretKey;
use sha2::Sha256;

use crate::http::request::Parts;
use plugboard_core::broken::broken;

/// The key of a `keyed` call; nothing for any other.
#[derive(Default)]
pub(crate) struct Repeat<'a> {
    rule: Option<&'a Idempotency>,
    key: String,
}

impl<'a> Repeat<'a> {
    pub(crate) fn of(parts: &Parts<'a>) -> Self {
        let Parts { connector, job, idempotency_root, .. } = *parts;
        let rule = connector.manifest().idempotency.as_ref().filter(|_| job.effect == Effect::Keyed);
        let Some(rule) = rule else { return Self::default() };
        let digest = match broken("new_key_per_attempt") {
            true => digest(idempotency_root, &job.organization, &ExecutionId::generate()),
            false => digest(idempotency_root, &job.organization, &job.execution_id),
        };
        let key = if rule.header.is_some() { hex::encode(digest) } else { uuid(digest) };
        Self { rule: Some(rule), key }
    }

    /// Name and value.
    pub(crate) fn header(&self) -> Option<(&'a str, &str)> {
        self.placed(self.rule?.header.as_deref())
    }

    pub(crate) fn query(&self) -> Option<(&'a str, &str)> {
        self.placed(self.rule?.query.as_deref())
    }

    pub(crate) fn field(&self) -> Option<(&'a str, &str)> {
        self.placed(self.rule?.field.as_deref())
    }

    fn placed(&self, name: Option<&'a str>) -> Option<(&'a str, &str)> {
        Some((name?, &self.key))
    }
}

/// The same for every attempt of one execution, different for every other one, and of no use to guess from: tenants
/// who share a vendor's name space of keys cannot collide.
fn digest(root: &SecretKey, organization: &OrganizationId, execution: &ExecutionId) -> [u8; 32] {
    let key = root.derive(&format!("idempotency {organization}"));
    let mut mac = match Hmac::<Sha256>::new_from_slice(key.expose()) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes keys of any length"),
    };
    mac.update(execution.as_str().as_bytes());
    mac.finalize().into_bytes().into()
}

/// Fields and parameters have lengths and forms that a UUID (RFC 9562, version 8: of one's own making) fits.
fn uuid(digest: [u8; 32]) -> String {
    let mut text = hex::encode(&digest[..16]);
    text.replace_range(12..13, "8");
    text.replace_range(16..17, "a");
    for at in [20, 16, 12, 8] {
        text.insert(at, '-');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_an_executions_own() {
        let root = SecretKey::new([3; 32]);
        let (one, two) = (OrganizationId::generate(), OrganizationId::generate());
        let (first, second) = (ExecutionId::generate(), ExecutionId::generate());
        let key = digest(&root, &one, &first);
        assert_eq!(key, digest(&root, &one, &first));
        assert_ne!(key, digest(&root, &one, &second));
        assert_ne!(key, digest(&root, &two, &first));
        assert_ne!(key, digest(&SecretKey::new([4; 32]), &one, &first));
    }

    #[test]
    fn a_uuid_has_its_form() {
        assert_eq!(uuid([0x1f; 32]), "1f1f1f1f-1f1f-8f1f-af1f-1f1f1f1f1f1f");
    }
}
