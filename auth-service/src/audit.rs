//! Writing the audit log: entries are chained and the end of each chain is signed, in the same commit as what they tell.
//!
//! The signing key is derived from a master key, so whoever can write to the store alone cannot make a chain that holds.
//! A head that does not hold is never covered up by the next entry: it stays marked as broken from then on.

use std::collections::HashSet;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use plugboard_core::clock::Clock;
use plugboard_core::identity::{
    AuditEntry, AuditHead, AuditLink, AuditPage, AuditQuery, CallBatch, CallCount, IdentityError, PLATFORM, Target,
    actor, chain_start, link_hash,
};
use plugboard_core::ids::OrganizationId;
use plugboard_core::store::{Expect, Write};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::crypto::{MasterKey, MasterKeys};
use crate::records::{self, Records};

/// What the signing key is derived for.
const SIGNING: &str = "audit log";
/// Processes whose last batch of calls a chain remembers, to know one that comes twice.
const REMEMBERED: usize = 64;
/// Entries read at once while a filter finds nothing.
const READ: usize = 500;
/// Entries that one request looks at.
const LOOKED_AT: usize = 20_000;
/// Attempts to enter an entry that others race. Each failure is somebody else's success.
pub(crate) const ATTEMPTS: usize = 64;

/// Something to be entered.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    chain: String,
    action: &'static str,
    target: Option<Target>,
    note: Option<String>,
    batch: Option<Batch>,
}

#[derive(Debug, Clone)]
struct Batch {
    id: String,
    at: i64,
    calls: Vec<CallCount>,
    dropped: u64,
}

impl Event {
    pub(crate) fn of(organization: &OrganizationId, action: &'static str) -> Self {
        Self::on(organization.as_str(), action)
    }

    pub(crate) fn platform(action: &'static str) -> Self {
        Self::on(PLATFORM, action)
    }

    fn on(chain: &str, action: &'static str) -> Self {
        Self { chain: chain.to_owned(), action, target: None, note: None, batch: None }
    }

    pub(crate) fn target(mut self, kind: &str, id: impl std::fmt::Display) -> Self {
        self.target = Some(Target { kind: kind.to_owned(), id: id.to_string() });
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    fn calls(batch: &CallBatch) -> Self {
        let mut event = Self::of(&batch.organization, "calls");
        event.batch =
            Some(Batch { id: batch.id.clone(), at: batch.at, calls: batch.calls.clone(), dropped: batch.dropped });
        event
    }
}

/// The end of a chain as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct HeadRecord {
    pub seq: u64,
    pub hash: String,
    pub at: i64,
    pub key: String,
    pub signature: String,
    /// Entry before which a head did not hold.
    pub broken: Option<u64>,
    /// The last batch of calls of each process that sent some.
    pub batches: Vec<String>,
}

/// What signs.
#[derive(Clone)]
pub(crate) struct Scribe {
    masters: MasterKeys,
    clock: Arc<dyn Clock>,
}

/// The writes that enter an event, and the names that others may have written meanwhile.
pub(crate) struct Entering {
    pub writes: Vec<Write>,
    pub head: String,
    pub link: String,
}

impl Scribe {
    pub(crate) fn new(masters: MasterKeys, clock: Arc<dyn Clock>) -> Self {
        Self { masters, clock }
    }

    /// `None`: it is a batch that has been entered before.
    pub(crate) async fn enter(&self, records: &Records, event: &Event) -> Result<Option<Entering>, IdentityError> {
        let name = records::audit_head(&event.chain);
        let found: Option<(HeadRecord, u64)> = records.get(&name).await?;
        let expect = found.as_ref().map_or(Expect::Absent, |(_, version)| Expect::Version(*version));
        let old = found.map(|(head, _)| head);
        if let (Some(head), Some(batch)) = (&old, &event.batch)
            && head.batches.contains(&batch.id)
        {
            return Ok(None);
        }
        let now = self.clock.now().0;
        let seq = old.as_ref().map_or(0, |head| head.seq) + 1;
        let prev = old.as_ref().map_or_else(|| chain_start(&event.chain), |head| head.hash.clone());
        let entry = event.entry(seq, now)?;
        let link = AuditLink { seq, hash: link_hash(&prev, seq, &entry), prev, entry };

        let broken = match &old {
            Some(head) if head.broken.is_none() && !self.holds(&event.chain, head) => {
                tracing::error!(chain = event.chain, seq, "the head of an audit log does not hold: it was changed");
                Some(seq)
            }
            Some(head) => head.broken,
            None => None,
        };
        let mut head = HeadRecord {
            seq,
            hash: link.hash.clone(),
            at: now,
            key: String::new(),
            signature: String::new(),
            broken,
            batches: remembered(old.map(|head| head.batches).unwrap_or_default(), event.batch.as_ref()),
        };
        self.sign(&event.chain, &mut head);
        let link_name = records::audit_link(&event.chain, seq);
        Ok(Some(Entering {
            writes: vec![
                records::put(link_name.clone(), &link, Expect::Absent)?,
                records::put(name.clone(), &head, expect)?,
            ],
            head: name,
            link: link_name,
        }))
    }

    /// Signs a head with the present key.
    pub(crate) fn sign(&self, chain: &str, head: &mut HeadRecord) {
        let ring = self.masters.ring();
        head.key.clone_from(&ring.present().id);
        head.signature = hex::encode(signature(ring.present(), chain, head));
    }

    /// Whether a head was signed by somebody with the key that it names.
    pub(crate) fn holds(&self, chain: &str, head: &HeadRecord) -> bool {
        let ring = self.masters.ring();
        ring.by_id(&head.key).is_some_and(|master| {
            hex::encode(signature(master, chain, head)).as_bytes().ct_eq(head.signature.as_bytes()).into()
        })
    }
}

impl Event {
    fn entry(&self, seq: u64, now: i64) -> Result<String, IdentityError> {
        let entry = AuditEntry {
            seq,
            at: self.batch.as_ref().map_or(now, |batch| batch.at),
            actor: if self.batch.is_some() { plugboard_core::identity::Actor::default() } else { actor() },
            action: self.action.to_owned(),
            target: self.target.clone(),
            outcome: "ok".to_owned(),
            note: self.note.clone(),
            calls: self.batch.as_ref().map(|batch| batch.calls.clone()).unwrap_or_default(),
            dropped: self.batch.as_ref().map_or(0, |batch| batch.dropped),
        };
        serde_json::to_string(&entry)
            .map_err(|error| IdentityError::Unavailable(format!("an audit entry cannot be written: {error}")))
    }
}

/// A process sends its next batch only when the one before is answered, so of each the last is enough.
fn remembered(mut batches: Vec<String>, new: Option<&Batch>) -> Vec<String> {
    if let Some(new) = new {
        batches.retain(|old| sender(old) != sender(&new.id));
        batches.push(new.id.clone());
        batches.drain(..batches.len().saturating_sub(REMEMBERED));
    }
    batches
}

/// Batches are named `<process>/<number>`.
fn sender(batch: &str) -> &str {
    batch.split('/').next().unwrap_or(batch)
}

fn signature(master: &MasterKey, chain: &str, head: &HeadRecord) -> [u8; 32] {
    let key = master.key.derive(SIGNING);
    let mut mac = match Hmac::<Sha256>::new_from_slice(key.expose()) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes keys of any length"),
    };
    let broken = head.broken.unwrap_or(0).to_be_bytes();
    let (seq, at) = (head.seq.to_be_bytes(), head.at.to_be_bytes());
    let batches = head.batches.join("\n");
    let parts: [&[u8]; 7] =
        [chain.as_bytes(), &seq, head.hash.as_bytes(), &at, head.key.as_bytes(), &broken, batches.as_bytes()];
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Enters batches of calls, each once, in one commit.
pub(crate) async fn append_calls(records: &Records, batches: &[CallBatch]) -> Result<(), IdentityError> {
    let mut organizations = HashSet::new();
    for batch in batches {
        if OrganizationId::parse(batch.organization.as_str()).is_none() {
            return Err(crate::keys::NO_ORGANIZATION);
        }
        if !organizations.insert(&batch.organization) {
            return Err(IdentityError::invalid("organization", "has more than one batch"));
        }
    }
    match records.commit_told(Vec::new(), None, batches.iter().map(Event::calls).collect()).await? {
        Ok(()) => Ok(()),
        Err(_) => Err(records::contended()),
    }
}

/// The links that a query asks for, and the head as it is checked now.
pub(crate) async fn read(records: &Records, scribe: &Scribe, query: &AuditQuery) -> Result<AuditPage, IdentityError> {
    if let Some(organization) = &query.organization
        && OrganizationId::parse(organization.as_str()).is_none()
    {
        return Err(crate::keys::NO_ORGANIZATION);
    }
    let chain = query.chain();
    let wanted = query.limit.clamp(1, AuditQuery::MAX_LIMIT) as usize;
    let mut page = AuditPage { chain: chain.to_owned(), ..AuditPage::default() };
    let mut after = query.after;
    page.next = read_links(records, query, wanted, &mut after, &mut page.links).await?;
    let mut head = read_head(records, chain).await?;
    // What was entered since the links were read belongs to them: an end without its head would seem to be cut off.
    for _ in 0..ATTEMPTS {
        let (Some(end), None) = (&head, page.next) else { break };
        let before = after;
        if end.seq > after {
            page.next = read_links(records, query, wanted, &mut after, &mut page.links).await?;
        }
        if after == before {
            break;
        }
        head = read_head(records, chain).await?;
    }
    page.head = head.map_or_else(AuditHead::default, |head| AuditHead {
        valid: head.broken.is_none() && scribe.holds(chain, &head),
        seq: head.seq,
        hash: head.hash,
        at: head.at,
        key: head.key,
        signature: head.signature,
    });
    Ok(page)
}

async fn read_head(records: &Records, chain: &str) -> Result<Option<HeadRecord>, IdentityError> {
    Ok(records.get(&records::audit_head(chain)).await?.map(|(head, _)| head))
}

/// Adds links that fit; answers where to go on, `None` at the end.
async fn read_links(
    records: &Records,
    query: &AuditQuery,
    wanted: usize,
    after: &mut u64,
    links: &mut Vec<AuditLink>,
) -> Result<Option<u64>, IdentityError> {
    let chain = query.chain();
    let mut looked_at = 0;
    loop {
        let last = records::audit_link(chain, *after);
        let found: Vec<AuditLink> = records.page(&records::audit_of(chain), &last, READ).await?;
        let whole = found.len() == READ;
        for link in found {
            *after = link.seq;
            looked_at += 1;
            // An entry that cannot be read is shown: whoever checks the chain is to see it.
            if query.is_unfiltered() || serde_json::from_str(&link.entry).map_or(true, |entry| query.fits(&entry)) {
                links.push(link);
            }
            if links.len() == wanted {
                return Ok(Some(*after));
            }
        }
        if !whole {
            return Ok(None);
        }
        if looked_at >= LOOKED_AT {
            return Ok(Some(*after));
        }
    }
}
