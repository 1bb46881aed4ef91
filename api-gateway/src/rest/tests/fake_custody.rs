//! Custody that remembers what it was asked.

use async_trait::async_trait;
use parking_lot::Mutex;
use plugboard_core::identity::{
    Actor, Agent, AgentDraft, AuditEntry, AuditHead, AuditLink, AuditPage, AuditQuery, CallBatch, Custody,
    IdentityError, IssuedKey, Key, MasterKeyStatus, MasterKeysStatus, RevocationReport, Revoke, RotateKey,
    RotationStatus, Scopes, actor, link_hash,
};
use plugboard_core::ids::{AgentId, KeyId, OrganizationId};
use plugboard_core::secret::Secret;

use super::support::NOW;

#[derive(Default)]
pub(super) struct FakeCustody {
    /// Each call, and on whose behalf.
    pub(super) asked: Mutex<Vec<(String, Actor)>>,
    agents: Mutex<Vec<Agent>>,
    pub(super) calls: Mutex<Vec<CallBatch>>,
}

impl FakeCustody {
    fn note(&self, what: String) {
        self.asked.lock().push((what, actor()));
    }

    pub(super) fn last(&self) -> (String, Actor) {
        self.asked.lock().last().cloned().unwrap()
    }

    fn status() -> MasterKeysStatus {
        let records = [("accounts".to_owned(), 3)].into();
        let key = MasterKeyStatus { id: "1".into(), held: true, present: true, retired: false, records };
        let rotation = RotationStatus { to: "1".into(), done: true, resealed: 3, ..RotationStatus::default() };
        MasterKeysStatus { present: "1".into(), keys: vec![key], rotation: Some(rotation) }
    }
}

#[async_trait]
impl Custody for FakeCustody {
    async fn master_keys(&self) -> Result<MasterKeysStatus, IdentityError> {
        Ok(Self::status())
    }

    async fn rotate_master_key(&self, to: Option<String>) -> Result<MasterKeysStatus, IdentityError> {
        self.note(format!("rotate {to:?}"));
        Ok(Self::status())
    }

    async fn retire_master_key(&self, id: &str) -> Result<MasterKeysStatus, IdentityError> {
        self.note(format!("retire {id}"));
        Err(IdentityError::Conflict { message: "\"1\" is still needed by 3 accounts".into() })
    }

    async fn revoke(&self, request: Revoke) -> Result<RevocationReport, IdentityError> {
        self.note(format!("revoke {:?} {:?} {}", request.organization, request.what, request.reason));
        Ok(RevocationReport::default())
    }

    async fn revocations(&self, organization: &OrganizationId) -> Result<RevocationReport, IdentityError> {
        self.note(format!("revocations {organization}"));
        Ok(RevocationReport::default())
    }

    async fn audit(&self, query: &AuditQuery) -> Result<AuditPage, IdentityError> {
        self.note(format!("audit {} after {} limit {} {:?}", query.chain(), query.after, query.limit, query.action));
        let entry = AuditEntry {
            seq: 1,
            at: 0,
            actor: Actor::default(),
            action: "organization.create".into(),
            target: None,
            outcome: "ok".into(),
            note: None,
            calls: Vec::new(),
            dropped: 0,
        };
        let entry = serde_json::to_string(&entry).unwrap();
        let hash = link_hash("", 1, &entry);
        let head = AuditHead { seq: 1, hash: hash.clone(), valid: true, ..AuditHead::default() };
        let links = vec![AuditLink { seq: 1, prev: String::new(), hash, entry }];
        Ok(AuditPage { chain: query.chain().to_owned(), links, next: None, head })
    }

    async fn append_calls(&self, batches: &[CallBatch]) -> Result<(), IdentityError> {
        self.calls.lock().extend_from_slice(batches);
        Ok(())
    }

    async fn create_agent(&self, organization: &OrganizationId, draft: &AgentDraft) -> Result<Agent, IdentityError> {
        let agent = Agent {
            id: AgentId::generate(),
            organization: organization.clone(),
            name: draft.name.clone(),
            connectors: draft.connectors.clone(),
            accounts: draft.accounts.clone(),
            effects: draft.effects.clone(),
            created_at: NOW.0,
            updated_at: NOW.0,
        };
        self.agents.lock().push(agent.clone());
        Ok(agent)
    }

    async fn agents(&self, organization: &OrganizationId) -> Result<Vec<Agent>, IdentityError> {
        Ok(self.agents.lock().iter().filter(|agent| agent.organization == *organization).cloned().collect())
    }

    async fn update_agent(
        &self,
        organization: &OrganizationId,
        agent: &AgentId,
        draft: &AgentDraft,
    ) -> Result<Agent, IdentityError> {
        let mut agents = self.agents.lock();
        let found = agents.iter_mut().find(|one| one.id == *agent && one.organization == *organization);
        let found = found.ok_or(IdentityError::NotFound { what: "the agent" })?;
        found.effects.clone_from(&draft.effects);
        Ok(found.clone())
    }

    async fn delete_agent(&self, organization: &OrganizationId, agent: &AgentId) -> Result<Agent, IdentityError> {
        let mut agents = self.agents.lock();
        let at = agents.iter().position(|one| one.id == *agent && one.organization == *organization);
        Ok(agents.remove(at.ok_or(IdentityError::NotFound { what: "the agent" })?))
    }

    async fn rotate_key(&self, request: &RotateKey) -> Result<IssuedKey, IdentityError> {
        self.note(format!("rotate {} {}", request.key, request.overlap_hours));
        let key = Key {
            id: KeyId::generate(),
            organization: request.organization.clone(),
            name: "second".into(),
            prefix: "sk-org-abcd".into(),
            scopes: Scopes::default_for_keys(),
            subject: None,
            agent: None,
            created_at: NOW,
            expires_at: NOW,
            revoked_at: None,
            last_used_at: None,
        };
        Ok(IssuedKey { key, secret: Secret::new("second-secret") })
    }
}
