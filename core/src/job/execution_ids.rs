//! Execution ids that say by themselves that a call was accepted.
//!
//! A caller that leaves with a handle may ask for it before any executor has begun, and then the journal knows nothing
//! yet. A note for each accepted call would tell "not yet" from "never heard of", at the price of a durable write a call and
//! of more room than the job itself takes. So the id carries what the note would say, under a MAC that only gateways can
//! make, for exactly this organization and end user:
//!
//! `ex_` · UUIDv7 (RFC 9562 §5.7), its time that of acceptance · 10 bits: seconds to the deadline, rounded up ·
//! 2 bits: the effect class · 36 bits: the MAC
//!
//! Whoever forges one learns and ends nothing of anybody else's: another id is another entry in the journal. So a short MAC
//! will do.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::{NoContext, Timestamp, Uuid};

use crate::clock::Millis;
use crate::ids::{ExecutionId, OrganizationId, Subject};
use crate::manifest::Effect;
use crate::secret::SecretKey;

/// Hex digits of the facts and of the MAC.
const FACTS: usize = 3;
const MAC: usize = 9;
/// `ex_`, a UUID without dashes, and these.
const LENGTH: usize = 3 + 32 + FACTS + MAC;
const LONGEST_SECONDS: u64 = (1 << 10) - 1;

/// A call that was accepted, as its id tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    pub execution_id: ExecutionId,
    pub organization: OrganizationId,
    /// The end user whose call it is; `None`: anybody's of the organization.
    pub subject: Option<Subject>,
    pub effect: Effect,
    /// Not before the call's own.
    pub deadline: Millis,
}

/// What an id is issued for.
#[derive(Debug, Clone, Copy)]
pub struct Acceptance<'a> {
    pub organization: &'a OrganizationId,
    pub subject: Option<&'a Subject>,
    pub effect: Effect,
    pub accepted_at: Millis,
    pub deadline: Millis,
}

/// Issues ids, and reads them back. All gateways of a deployment have the same key.
#[derive(Clone)]
pub struct ExecutionIds {
    /// With its key taken in.
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for ExecutionIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl ExecutionIds {
    pub fn new(key: &SecretKey) -> Self {
        match Hmac::<Sha256>::new_from_slice(key.expose()) {
            Ok(mac) => Self { mac },
            Err(_) => unreachable!("HMAC takes keys of any length"),
        }
    }

    pub fn issue(&self, of: Acceptance<'_>) -> ExecutionId {
        let at = u64::try_from(of.accepted_at.0).unwrap_or_default();
        let nanoseconds = u32::try_from(at % 1_000).unwrap_or_default() * 1_000_000;
        let uuid = Uuid::new_v7(Timestamp::from_unix(NoContext, at / 1_000, nanoseconds));
        let left = of.accepted_at.until(of.deadline);
        let seconds = left.as_millis().div_ceil(1_000).min(LONGEST_SECONDS.into());
        let facts = u16::try_from(seconds).unwrap_or_default() << 2 | bits(of.effect);
        let mut text = String::with_capacity(LENGTH);
        text.push_str("ex_");
        text.push_str(uuid.simple().encode_lower(&mut Uuid::encode_buffer()));
        text.push_str(&hex::encode(facts.to_be_bytes())[size_of_val(&facts) * 2 - FACTS..]);
        let mac = self.short_mac(&text, of.organization, of.subject);
        text.push_str(&mac);
        ExecutionId::trusted(text)
    }

    /// What the id says, if it was issued to this organization, and to this end user or to nobody in particular.
    pub fn read(&self, id: &ExecutionId, organization: &OrganizationId, subject: Option<&Subject>) -> Option<Accepted> {
        let (text, mac) = id.as_str().split_at_checked(id.as_str().len().checked_sub(MAC)?)?;
        let digits = text.strip_prefix("ex_")?;
        let (uuid, facts) = digits.split_at_checked(digits.len().checked_sub(FACTS)?)?;
        let (seconds, nanoseconds) = Uuid::try_parse(uuid).ok()?.get_timestamp()?.to_unix();
        let accepted_at = seconds.checked_mul(1_000)?.checked_add(u64::from(nanoseconds / 1_000_000))?;
        let facts = u16::from_str_radix(facts, 16).ok()?;
        let issued_to = |subject: Option<&Subject>| self.short_mac(text, organization, subject) == mac;
        let subject = match subject {
            _ if issued_to(None) => None,
            Some(subject) if issued_to(Some(subject)) => Some(subject.clone()),
            _ => return None,
        };
        Some(Accepted {
            execution_id: id.clone(),
            organization: organization.clone(),
            subject,
            effect: effect(facts),
            deadline: Millis(i64::try_from(accepted_at).ok()?).plus(Duration::from_secs((facts >> 2).into())),
        })
    }

    fn short_mac(&self, text: &str, organization: &OrganizationId, subject: Option<&Subject>) -> String {
        let mut mac = self.mac.clone();
        for part in [text, organization.as_str(), subject.map_or("", |subject| &subject.0)] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        let digest: [u8; 32] = mac.finalize().into_bytes().into();
        let mut digits = hex::encode(&digest[..MAC.div_ceil(2)]);
        digits.truncate(MAC);
        digits
    }
}

fn bits(effect: Effect) -> u16 {
    match effect {
        Effect::Read => 0,
        Effect::Idempotent => 1,
        Effect::Keyed => 2,
        Effect::Once => 3,
    }
}

fn effect(facts: u16) -> Effect {
    match facts & 3 {
        0 => Effect::Read,
        1 => Effect::Idempotent,
        2 => Effect::Keyed,
        _ => Effect::Once,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> ExecutionIds {
        ExecutionIds::new(&SecretKey::new([7; 32]))
    }

    #[test]
    fn an_id_tells_its_own_people_what_was_accepted() {
        let (organization, other) = (OrganizationId::generate(), OrganizationId::generate());
        let (ann, bob) = (Subject("ann".to_owned()), Subject("bob".to_owned()));
        let now = Millis(1_764_000_000_123);
        for (effect, subject) in
            [(Effect::Read, None), (Effect::Idempotent, Some(&ann)), (Effect::Keyed, None), (Effect::Once, Some(&ann))]
        {
            for ms in [0, 1, 60_000, 899_001, 900_000] {
                let deadline = now.plus(Duration::from_millis(ms));
                let id = ids().issue(Acceptance {
                    organization: &organization,
                    subject,
                    effect,
                    accepted_at: now,
                    deadline,
                });
                assert_eq!(ExecutionId::parse(id.as_str()), Some(id.clone()));
                let told = ids().read(&id, &organization, Some(&ann)).unwrap();
                assert_eq!((told.effect, told.subject.as_ref()), (effect, subject));
                let late = deadline.until(told.deadline);
                assert!(told.deadline >= deadline && late < Duration::from_secs(1), "{late:?}");
                assert_eq!(ids().read(&id, &other, subject), None);
                assert_eq!(ids().read(&id, &organization, Some(&bob)).is_some(), subject.is_none());
                assert_eq!(ids().read(&id, &organization, None).is_some(), subject.is_none());
                assert_eq!(ExecutionIds::new(&SecretKey::new([8; 32])).read(&id, &organization, subject), None);
            }
        }
    }

    #[test]
    fn nothing_else_is_taken_for_one() {
        let organization = OrganizationId::generate();
        let (accepted_at, deadline) = (Millis(1_764_000_000_000), Millis(1_764_000_060_000));
        let of = Acceptance { organization: &organization, subject: None, effect: Effect::Once, accepted_at, deadline };
        let id = ids().issue(of);
        let digits = id.as_str().len();
        for at in 3..digits {
            let mut text = id.as_str().to_owned().into_bytes();
            text[at] = if text[at] == b'0' { b'1' } else { b'0' };
            let text = ExecutionId::trusted(String::from_utf8(text).unwrap());
            assert_eq!(ids().read(&text, &organization, None), None, "{text}");
        }
        for text in ["", "ex_", "ex_0123", "ääääääääää", ExecutionId::generate().as_str(), "org_0123456789abcdef"]
        {
            assert_eq!(ids().read(&ExecutionId::trusted(text), &organization, None), None, "{text}");
        }
    }
}
