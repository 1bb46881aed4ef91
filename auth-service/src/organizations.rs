//! Organizations, and what exists after the first start.

use std::time::Duration;

use plugboard_core::clock::Clock;
use plugboard_core::identity::{Change, IdentityError, IssuedKey, NewKey, Organization, Scopes};
use plugboard_core::ids::OrganizationId;
use plugboard_core::secret::Secret;
use plugboard_core::store::{Expect, Write};

use crate::api_key::{self, Kind};
use crate::audit::Event;
use crate::keys::{ATTEMPTS, Draft, Keys, checked_name};
use crate::records::{self, BootstrapRecord, OrganizationRecord, Records};

/// The organization that exists from the start.
const DEFAULT: &str = "default";
/// Life of the keys that are made with an organization: 365 days, the longest there is.
const LIFE: Duration = Duration::from_secs(24 * 60 * 60 * NewKey::MAX_DAYS as u64);

/// The keys made at the first start: readable now and never again. Both `None` ever after.
#[derive(Debug, Default)]
pub struct Bootstrap {
    /// `sk-op-…`
    pub operator_key: Option<Secret>,
    /// `sk-org-…` of the organization `default`, with every scope.
    pub api_key: Option<Secret>,
}

/// At the first start of all replicas together: makes the organization `default`, its key and the operator's.
pub(crate) async fn bootstrap(
    records: &Records,
    keys: &Keys,
    clock: &dyn Clock,
    seed_operator: Option<Secret>,
    seed_api: Option<Secret>,
) -> Result<Bootstrap, IdentityError> {
    // A bad seed is said even when it comes too late to matter: whoever set it believes that it works.
    let seed_operator = checked_seed("seed_operator_key", Kind::Operator, seed_operator)?;
    let seed_api = checked_seed("seed_api_key", Kind::Organization, seed_api)?;
    if records.get::<BootstrapRecord>(records::BOOTSTRAP).await?.is_some() {
        return Ok(Bootstrap::default());
    }
    let (organization, write) = draft_organization(clock, DEFAULT.to_owned())?;
    let operator = keys.draft(None, "operator".to_owned(), Scopes::default(), LIFE, seed_operator)?;
    let api = keys.draft(Some(organization.id), "first key".to_owned(), Scopes::all(), LIFE, seed_api)?;
    let mark = BootstrapRecord { operator_key: operator.pointer() };
    let mut writes = vec![records::put(records::BOOTSTRAP.to_owned(), &mark, Expect::Absent)?, write];
    writes.extend(operator.writes()?);
    writes.extend(api.writes()?);

    let created = api.record.organization.iter().map(|id| made(id).note(DEFAULT));
    let events = created.chain([Event::platform("platform.start")]).collect();
    let ours = match records.commit_told(writes, None, events).await {
        Ok(committed) => committed.is_ok(),
        // Whether it was written is not known; the mark tells, if it can be read.
        Err(error) => match records.get::<BootstrapRecord>(records::BOOTSTRAP).await? {
            Some((found, _)) => found.operator_key.id == mark.operator_key.id,
            None => return Err(error),
        },
    };
    // Another replica was first, and has shown its keys.
    Ok(if ours {
        Bootstrap { operator_key: Some(operator.secret), api_key: Some(api.secret) }
    } else {
        Bootstrap::default()
    })
}

pub(crate) async fn create(
    records: &Records,
    keys: &Keys,
    clock: &dyn Clock,
    name: &str,
) -> Result<(Organization, IssuedKey), IdentityError> {
    let (organization, write) = draft_organization(clock, checked_name("name", name)?)?;
    // All scopes: with it the organization makes its further keys.
    let first: Draft = keys.draft(Some(organization.id.clone()), "first key".to_owned(), Scopes::all(), LIFE, None)?;
    let mut writes = vec![write];
    writes.extend(first.writes()?);
    let events =
        vec![made(&organization.id), Event::platform("organization.create").target("organization", &organization.id)];
    match records.commit_told(writes, None, events).await? {
        Ok(()) => {
            let key = first.record.listed(&organization.id, None);
            Ok((organization, IssuedKey { key, secret: first.secret }))
        }
        Err(_) => Err(records::contended()),
    }
}

/// A new key for the operator, who lost the present one or wants another. The present one ends with it.
pub(crate) async fn replace_operator_key(records: &Records, keys: &Keys) -> Result<Secret, IdentityError> {
    for _ in 0..ATTEMPTS {
        let found: Option<(BootstrapRecord, _)> = records.get(records::BOOTSTRAP).await?;
        let Some((mark, version)) = found else {
            return Err(IdentityError::Unavailable("the first start has not happened yet".into()));
        };
        let next = keys.draft(None, "operator".to_owned(), Scopes::default(), LIFE, None)?;
        let new_mark = BootstrapRecord { operator_key: next.pointer() };
        let mut writes = vec![records::put(records::BOOTSTRAP.to_owned(), &new_mark, Expect::Version(version))?];
        writes.extend(next.writes()?);
        writes.push(Write::delete(records::key(&mark.operator_key.place), Expect::Anything));
        let event = Event::platform("operator_key.replace").target("key", &mark.operator_key.id);
        let change = Change::KeyRevoked(mark.operator_key.id);
        if records.commit_told(writes, Some(change), vec![event]).await?.is_ok() {
            return Ok(next.secret);
        }
    }
    Err(records::contended())
}

/// The first entry of an organization's log.
fn made(organization: &OrganizationId) -> Event {
    Event::of(organization, "organization.create").target("organization", organization)
}

fn draft_organization(clock: &dyn Clock, name: String) -> Result<(Organization, Write), IdentityError> {
    let record = OrganizationRecord { id: OrganizationId::generate(), name, created_at: clock.now().0 };
    let write = records::put(records::organization(&record.id), &record, Expect::Absent)?;
    Ok((Organization { id: record.id, name: record.name }, write))
}

fn checked_seed(field: &str, kind: Kind, seed: Option<Secret>) -> Result<Option<Secret>, IdentityError> {
    match seed {
        Some(seed) if api_key::parse(&seed) != Some(kind) => {
            let prefix = kind.prefix();
            let message = format!(
                "is no key of ours: `{prefix}`, 43 letters and digits, and 6 of checksum over all that precedes"
            );
            Err(IdentityError::invalid(field, message))
        }
        seed => Ok(seed),
    }
}
