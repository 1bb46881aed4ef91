//! Agents: what programs that act on their own may use.

use std::sync::Arc;

use plugboard_core::clock::Clock;
use plugboard_core::identity::{Agent, AgentDraft, Change, IdentityError};
use plugboard_core::ids::{AgentId, OrganizationId};
use plugboard_core::store::{Expect, Write};

use crate::audit::Event;
use crate::keys::{ATTEMPTS, NO_ORGANIZATION, checked_name};
use crate::records::{self, AgentRecord, KeyPointer, KeyRecord, OrganizationRecord, Records};

pub(crate) const NO_AGENT: IdentityError = IdentityError::NotFound { what: "the agent" };
/// Entries of one list of an agent.
const LONGEST_LIST: usize = 500;

pub(crate) struct Agents {
    pub records: Records,
    pub clock: Arc<dyn Clock>,
}

pub(crate) async fn get(
    records: &Records,
    organization: &OrganizationId,
    agent: &AgentId,
) -> Result<Option<Agent>, IdentityError> {
    let known = OrganizationId::parse(organization.as_str()).is_some() && AgentId::parse(agent.as_str()).is_some();
    if !known {
        return Ok(None);
    }
    let found: Option<(AgentRecord, _)> = records.get(&records::agent(organization, agent)).await?;
    // The record says whose it is; one in another's place is none.
    Ok(found.map(|(record, _)| record.0).filter(|found| found.organization == *organization && found.id == *agent))
}

impl Agents {
    pub(crate) async fn list(&self, organization: &OrganizationId) -> Result<Vec<Agent>, IdentityError> {
        if OrganizationId::parse(organization.as_str()).is_none() {
            return Ok(Vec::new());
        }
        let records: Vec<AgentRecord> = self.records.list(&records::agents_of(organization)).await?;
        Ok(records.into_iter().map(|record| record.0).collect())
    }

    pub(crate) async fn create(
        &self,
        organization: &OrganizationId,
        draft: &AgentDraft,
    ) -> Result<Agent, IdentityError> {
        if OrganizationId::parse(organization.as_str()).is_none() {
            return Err(NO_ORGANIZATION);
        }
        let found: Option<(OrganizationRecord, _)> = self.records.get(&records::organization(organization)).await?;
        found.ok_or(NO_ORGANIZATION)?;
        let now = self.clock.now().0;
        let mut agent = Agent {
            id: AgentId::generate(),
            organization: organization.clone(),
            name: String::new(),
            connectors: None,
            accounts: None,
            effects: None,
            created_at: now,
            updated_at: now,
        };
        apply(draft, &mut agent)?;
        let name = records::agent(organization, &agent.id);
        let write = records::put(name, AgentRecord(agent.clone()), Expect::Absent)?;
        let event = Event::of(organization, "agent.create").target("agent", &agent.id);
        match self.records.commit_told(vec![write], None, vec![event]).await? {
            Ok(()) => Ok(agent),
            Err(_) => Err(records::contended()),
        }
    }

    pub(crate) async fn update(
        &self,
        organization: &OrganizationId,
        id: &AgentId,
        draft: &AgentDraft,
    ) -> Result<Agent, IdentityError> {
        for _ in 0..ATTEMPTS {
            let (name, mut agent, version) = self.stored(organization, id).await?;
            apply(draft, &mut agent)?;
            agent.updated_at = self.clock.now().0;
            let write = records::put(name, AgentRecord(agent.clone()), Expect::Version(version))?;
            let event = Event::of(organization, "agent.update").target("agent", id);
            if self.records.commit_told(vec![write], Some(changed(organization)), vec![event]).await?.is_ok() {
                return Ok(agent);
            }
        }
        Err(records::contended())
    }

    pub(crate) async fn delete(&self, organization: &OrganizationId, id: &AgentId) -> Result<Agent, IdentityError> {
        for _ in 0..ATTEMPTS {
            let (name, agent, version) = self.stored(organization, id).await?;
            let bound = self.keys_bound_to(organization, id).await?;
            if !bound.is_empty() {
                let message = format!("keys are bound to the agent ({}): revoke them first", bound.join(", "));
                return Err(IdentityError::Conflict { message });
            }
            let write = Write::delete(name, Expect::Version(version));
            let event = Event::of(organization, "agent.delete").target("agent", id);
            if self.records.commit_told(vec![write], Some(changed(organization)), vec![event]).await?.is_ok() {
                return Ok(agent);
            }
        }
        Err(records::contended())
    }

    async fn stored(&self, organization: &OrganizationId, id: &AgentId) -> Result<(String, Agent, u64), IdentityError> {
        if OrganizationId::parse(organization.as_str()).is_none() || AgentId::parse(id.as_str()).is_none() {
            return Err(NO_AGENT);
        }
        let name = records::agent(organization, id);
        let found: Option<(AgentRecord, u64)> = self.records.get(&name).await?;
        let (record, version) = found.ok_or(NO_AGENT)?;
        Ok((name, record.0, version))
    }

    /// Keys that would be refused without it. One that is issued at this very moment is refused when it is used.
    async fn keys_bound_to(&self, organization: &OrganizationId, id: &AgentId) -> Result<Vec<String>, IdentityError> {
        let pointers: Vec<KeyPointer> = self.records.list(&records::keys_of(organization)).await?;
        let now = self.clock.now().0;
        let mut bound = Vec::new();
        for pointer in pointers {
            let found: Option<(KeyRecord, _)> = self.records.get(&records::key(&pointer.place)).await?;
            if let Some((key, _)) = found
                && key.agent.as_ref() == Some(id)
                && key.revoked_at.is_none()
                && key.expires_at > now
            {
                bound.push(key.id.as_str().to_owned());
            }
        }
        Ok(bound)
    }
}

fn apply(draft: &AgentDraft, agent: &mut Agent) -> Result<(), IdentityError> {
    agent.name = checked_name("name", &draft.name)?;
    for (field, length) in [
        ("connectors", draft.connectors.as_ref().map_or(0, std::collections::BTreeSet::len)),
        ("accounts", draft.accounts.as_ref().map_or(0, std::collections::BTreeSet::len)),
    ] {
        if length > LONGEST_LIST {
            return Err(IdentityError::invalid(field, format!("has at most {LONGEST_LIST} entries")));
        }
    }
    agent.connectors.clone_from(&draft.connectors);
    agent.accounts.clone_from(&draft.accounts);
    agent.effects.clone_from(&draft.effects);
    Ok(())
}

/// Gateways remember agents with the keys that are bound to them.
fn changed(organization: &OrganizationId) -> Change {
    Change::OrganizationChanged(organization.clone())
}
