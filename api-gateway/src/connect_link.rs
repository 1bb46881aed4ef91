//! The way out of a call whose account is missing or must be connected again: a link by which whoever called connects it.
//!
//! The link is a connect session for the caller's end user and that one service. Most callers find it in `fix.url`;
//! what is connected through it waits until the organization's backend redeems the claim that the browser brings back.
//! An MCP client that can send its person to a URL is asked to do so instead, and repeats the call: see [`resume`].
//!
//! A caller that asks again within a minute gets the same link.

mod resume;
mod state;

use std::sync::Arc;
use std::time::Duration;

use plugboard_core::error::{ErrorCode, Fix, FixKind};
use plugboard_core::identity::{Actor, IssuedSession, NewConnectSession, Principal, Scope, on_behalf_of};
use plugboard_core::ids::{KeyId, OrganizationId, ServiceKey};
use plugboard_core::secret::SecretKey;
use serde_json::Value;

pub use self::resume::{Ask, Resumed};
use self::state::StateSeal;
use crate::answer::Answer;
use crate::state::Gateway;

const SAME_LINK_FOR: Duration = Duration::from_secs(60);
const LINKS_KEPT: u64 = 10_000;

/// What links are made and remembered with.
pub struct ConnectLinks {
    recent: moka::future::Cache<Wanted, Arc<IssuedSession>>,
    seal: StateSeal,
}

/// Who gets a link, and for what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Wanted {
    key: KeyId,
    service: ServiceKey,
    by_call: bool,
}

impl ConnectLinks {
    /// `key`: the same in every gateway of a deployment, for any of them may get the repeat of a call.
    pub fn new(key: &SecretKey) -> Self {
        let recent = moka::future::Cache::builder().max_capacity(LINKS_KEPT).time_to_live(SAME_LINK_FOR).build();
        Self { recent, seal: StateSeal::new(key) }
    }
}

/// A call that failed for want of an account.
struct Lack {
    envelope: Value,
    service: ServiceKey,
}

impl Lack {
    fn of(answer: &Answer) -> Option<Self> {
        if answer.ok {
            return None;
        }
        let envelope: Value = serde_json::from_slice(&answer.json).ok()?;
        let code: ErrorCode = serde_json::from_value(envelope.pointer("/error/code")?.clone()).ok()?;
        if !matches!(code, ErrorCode::NotConnected | ErrorCode::AccountExpired | ErrorCode::AccountRevoked) {
            return None;
        }
        let service = ServiceKey::parse(envelope.get("service")?.as_str()?)?;
        Some(Self { envelope, service })
    }

    fn with_fix(mut self, fix: &Fix) -> Option<Answer> {
        *self.envelope.pointer_mut("/error/fix")? = serde_json::to_value(fix).ok()?;
        Some(Answer::whole(serde_json::to_vec(&self.envelope).ok()?.into(), false))
    }
}

impl Gateway {
    /// Adds a link to an answer that lacks an account; others pass as they are.
    pub async fn with_link(&self, principal: &Principal, answer: Answer) -> Answer {
        match Lack::of(&answer) {
            None => answer,
            Some(lack) => Box::pin(self.linked(principal, answer, lack)).await,
        }
    }

    async fn linked(&self, principal: &Principal, answer: Answer, lack: Lack) -> Answer {
        let Some(session) = self.connect_link(principal, &lack.service, false).await else { return answer };
        let hint = format!(
            "Open the link in a browser to connect {}. It works once, for 15 minutes; what is connected becomes usable \
             when an admin key redeems the code shown at the end (POST /api/v1/connect-sessions/claims).",
            self.service_name(&lack.service)
        );
        let mut fix = Fix::new(FixKind::Reconnect).field("service").hint(hint);
        fix.url = Some(session.url.expose().to_owned());
        lack.with_fix(&fix).unwrap_or(answer)
    }

    /// `None`: there is none for this caller, or none can be made now; the failure is told without it.
    async fn connect_link(
        &self,
        principal: &Principal,
        service: &ServiceKey,
        by_call: bool,
    ) -> Option<Arc<IssuedSession>> {
        let organization = principal.organization.as_ref()?;
        // What its person connects would not be granted to it.
        if principal.agent.as_ref().is_some_and(|agent| agent.accounts.is_some()) {
            return None;
        }
        let wanted = Wanted { key: principal.key_id.clone(), service: service.clone(), by_call };
        let create = self.connect.create_session(new_session(principal, organization, service, by_call));
        let create = on_behalf_of(Actor::of(principal), create);
        let session = self.connect_links.recent.try_get_with(wanted, async { create.await.map(Arc::new) });
        match session.await {
            Ok(session) => Some(session),
            Err(error) => {
                tracing::warn!(%error, "no link to connect an account could be made");
                None
            }
        }
    }

    /// As people know it.
    fn service_name(&self, service: &ServiceKey) -> String {
        let snapshot = self.catalog.snapshot();
        snapshot.listed(service).map_or_else(|| service.to_string(), |listed| listed.brief().name.clone())
    }
}

fn new_session(
    principal: &Principal,
    organization: &OrganizationId,
    service: &ServiceKey,
    by_call: bool,
) -> NewConnectSession {
    NewConnectSession {
        organization: organization.clone(),
        key: principal.key_id.clone(),
        subject: principal.subject.clone(),
        services: vec![service.clone()],
        return_url: None,
        by_call,
        // Accounts of everybody are an admin's to change; those of an end user are its own.
        mend_only: principal.subject.is_none() && !principal.scopes.has(Scope::Admin),
    }
}

#[cfg(test)]
mod tests {
    use plugboard_core::error::CallError;
    use plugboard_core::job::Envelope;

    use super::*;

    fn failed(code: ErrorCode, service: Option<&str>) -> Answer {
        let mut envelope = Envelope::failed(CallError::new(code, "no").fix(Fix::new(FixKind::Reconnect)));
        envelope.service = service.map(str::to_owned);
        Answer::of(&envelope)
    }

    #[test]
    fn only_a_missing_account_is_a_lack() {
        assert_eq!(Lack::of(&failed(ErrorCode::NotConnected, Some("ozon"))).unwrap().service.as_str(), "ozon");
        assert!(Lack::of(&failed(ErrorCode::AccountExpired, Some("ozon"))).is_some());
        assert!(Lack::of(&failed(ErrorCode::NotConnected, None)).is_none());
        assert!(Lack::of(&failed(ErrorCode::UpstreamRejected, Some("ozon"))).is_none());
    }

    #[test]
    fn the_rest_of_the_answer_stays() {
        let mut fix = Fix::new(FixKind::Reconnect);
        fix.url = Some("https://plugboard.example/connect/x".to_owned());
        let answer = Lack::of(&failed(ErrorCode::NotConnected, Some("ozon"))).unwrap().with_fix(&fix).unwrap();
        let envelope: Envelope = serde_json::from_slice(&answer.json).unwrap();
        assert!(!answer.ok && answer.json.starts_with(br#"{"ok":false"#));
        assert_eq!(envelope.service.as_deref(), Some("ozon"));
        assert_eq!(envelope.error.unwrap().fix.clone().unwrap().url, fix.url);
    }
}
