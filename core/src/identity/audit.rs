//! The audit log: what is in an entry, how entries are chained, and how a chain is checked.
//!
//! Each entry's hash covers the hash before it, so an edit, a cut in the middle or another order shows. The last hash
//! and its number are signed by the auth service, so that neither an end cut off nor a chain written anew fits.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Actor;
use crate::ids::{AccountId, KeyId, OrganizationId, ServiceKey, Subject};

/// The chain of what concerns no organization.
pub const PLATFORM: &str = "platform";

/// What happened. Never any content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    pub seq: u64,
    /// Milliseconds since the epoch.
    pub at: i64,
    #[serde(default)]
    pub actor: Actor,
    /// `account.create`, `key.revoke`, `calls`, …
    pub action: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// `ok`, or the code of the failure.
    pub outcome: String,
    /// Names and numbers that say more, such as the reason of a revocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// For the action `calls`: the calls of at most a second, counted by who called what and how it ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<CallCount>,
    /// Calls that could not be entered because the store was away for too long.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What an action was done to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// `account`, `key`, `organization`, `connector`, `agent`, `master_key`, `session`.
    pub kind: String,
    pub id: String,
}

/// Calls that do not differ in what the log keeps of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallFacts {
    pub key: KeyId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    pub service: ServiceKey,
    /// Absent: refused before an account was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// `OK`, or the code of the failure.
    pub code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallCount {
    #[serde(flatten)]
    pub facts: CallFacts,
    pub count: u64,
}

/// The calls of at most a second, of one organization, as seen by one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallBatch {
    pub organization: OrganizationId,
    /// Unique: by it the log knows a batch that comes twice.
    pub id: String,
    /// When the first of the calls ended.
    pub at: i64,
    pub calls: Vec<CallCount>,
    pub dropped: u64,
}

/// An entry in its chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLink {
    pub seq: u64,
    /// Hex.
    pub prev: String,
    /// Hex; see [`link_hash`].
    pub hash: String,
    /// The [`AuditEntry`] as JSON, to the byte as it was hashed.
    pub entry: String,
}

/// The end of a chain, and whether the auth service's signature on it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// Number of the newest entry; 0: none.
    pub seq: u64,
    pub hash: String,
    /// When it was signed.
    pub at: i64,
    /// Master key that the signing key is derived from.
    pub key: String,
    /// HMAC-SHA-256, hex.
    pub signature: String,
    /// What the auth service found when it checked the signature just now.
    pub valid: bool,
}

/// Which entries to show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditQuery {
    /// `None`: the platform's own.
    pub organization: Option<OrganizationId>,
    pub after: u64,
    /// 1 to 1,000.
    pub limit: u32,
    /// Exactly this action, or every one below it: `account` matches `account.create`.
    #[serde(default)]
    pub action: Option<String>,
    /// Id of a key.
    #[serde(default)]
    pub key: Option<String>,
    #[serde(default)]
    pub subject: Option<String>,
    /// Id of what it was done to, or of an account that was called.
    #[serde(default)]
    pub target: Option<String>,
}

impl AuditQuery {
    pub const MAX_LIMIT: u32 = 1_000;

    /// The chain's name.
    pub fn chain(&self) -> &str {
        self.organization.as_ref().map_or(PLATFORM, OrganizationId::as_str)
    }

    pub fn is_unfiltered(&self) -> bool {
        self.action.is_none() && self.key.is_none() && self.subject.is_none() && self.target.is_none()
    }

    pub fn fits(&self, entry: &AuditEntry) -> bool {
        let action = self.action.as_deref().is_none_or(|wanted| {
            entry.action.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        let by = |wanted: &Option<String>, actor: &Option<String>, call: &dyn Fn(&CallFacts) -> bool| {
            wanted.is_none() || wanted == actor || entry.calls.iter().any(|one| call(&one.facts))
        };
        let key = by(&self.key, &entry.actor.key, &|facts| self.key.as_deref() == Some(facts.key.as_str()));
        let subject = by(&self.subject, &entry.actor.subject, &|facts| {
            facts.subject.as_ref().is_some_and(|subject| self.subject.as_ref() == Some(&subject.0))
        });
        let target = by(&self.target, &entry.target.as_ref().map(|target| target.id.clone()), &|facts| {
            facts.account.as_ref().is_some_and(|account| self.target.as_deref() == Some(account.as_str()))
        });
        action && key && subject && target
    }
}

/// A part of a chain. Without filters it has no gaps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPage {
    /// The chain's name, which its first hash depends on.
    pub chain: String,
    pub links: Vec<AuditLink>,
    /// Where the next page begins; absent: this was the last one.
    #[serde(default)]
    pub next: Option<u64>,
    pub head: AuditHead,
}

/// What stands before the first entry of a chain.
pub fn chain_start(chain: &str) -> String {
    hash(&[b"plugboard audit chain", chain.as_bytes()])
}

/// The hash of an entry in its place.
pub fn link_hash(prev: &str, seq: u64, entry: &str) -> String {
    hash(&[b"plugboard audit entry", prev.as_bytes(), &seq.to_be_bytes(), entry.as_bytes()])
}

/// Each part with its length before it, so that no two lists read the same.
fn hash(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

/// What is wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditFault {
    #[error("entry {found} stands where {expected} belongs: entries were removed or put in another order")]
    Gap { expected: u64, found: u64 },
    #[error("entry {0} does not follow from the one before it: the one before was changed or removed")]
    Broken(u64),
    #[error("entry {0} was changed: its content does not give its hash")]
    Edited(u64),
    #[error("entry {0} says that it is another: it was moved or relabelled")]
    Renumbered(u64),
    #[error("the log is empty, though its organization was entered when it was made: all of it was removed")]
    Empty,
    #[error(
        "the signed head says {head} entries, there are {found}: the end was cut off, or entries were added by hand"
    )]
    Length { head: u64, found: u64 },
    #[error("the last entry is not the one that was signed: the chain was written anew")]
    Head,
    #[error("the signature on the head does not hold: head and chain were made by somebody without the key")]
    Signature,
    #[error("entry {0}, seen by an earlier check, is gone or another: the log was put back to an earlier state")]
    Forgotten(u64),
}

/// Checks a chain from its start, page by page.
#[derive(Debug, Clone)]
pub struct ChainCheck {
    seq: u64,
    hash: String,
}

impl ChainCheck {
    pub fn new(chain: &str) -> Self {
        Self { seq: 0, hash: chain_start(chain) }
    }

    /// Number and hash of the last entry that was checked.
    pub fn at(&self) -> (u64, &str) {
        (self.seq, &self.hash)
    }

    /// # Errors
    /// The first fault.
    pub fn link(&mut self, link: &AuditLink) -> Result<(), AuditFault> {
        if link.seq != self.seq + 1 {
            return Err(AuditFault::Gap { expected: self.seq + 1, found: link.seq });
        }
        if link.prev != self.hash {
            return Err(AuditFault::Broken(link.seq));
        }
        if link_hash(&link.prev, link.seq, &link.entry) != link.hash {
            return Err(AuditFault::Edited(link.seq));
        }
        let says = serde_json::from_str::<AuditEntry>(&link.entry).map(|entry| entry.seq);
        if says.ok() != Some(link.seq) {
            return Err(AuditFault::Renumbered(link.seq));
        }
        self.seq = link.seq;
        self.hash.clone_from(&link.hash);
        Ok(())
    }

    /// After the last page.
    ///
    /// # Errors
    /// When the head is not that of what was checked.
    pub fn finish(&self, head: &AuditHead) -> Result<(), AuditFault> {
        if head.seq == 0 && self.seq == 0 {
            return Err(AuditFault::Empty);
        }
        if head.seq != self.seq {
            return Err(AuditFault::Length { head: head.seq, found: self.seq });
        }
        if head.hash != self.hash {
            return Err(AuditFault::Head);
        }
        if !head.valid {
            return Err(AuditFault::Signature);
        }
        Ok(())
    }
}
