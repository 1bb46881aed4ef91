//! Who is asking, for the audit log. It travels beside a request as a trace context does: in one process with the task,
//! between processes as metadata, so that no use case needs a parameter for it.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::Principal;
use crate::ids::Subject;

/// gRPC metadata that carries an actor, as JSON.
pub const ACTOR_METADATA: &str = "plugboard-actor-bin";

/// On whose behalf something is done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Absent: the platform itself, or somebody without a key, such as the holder of a connect link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Of a person on the connect pages: the session whose link they opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The platform's operator.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub operator: bool,
    /// The address the request came from, as the gateway's listener saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl Actor {
    pub fn of(principal: &Principal) -> Self {
        Self {
            key: Some(principal.key_id.as_str().to_owned()),
            subject: principal.subject.as_ref().map(|subject| subject.0.clone()),
            agent: principal.agent.as_ref().map(|agent| agent.id.as_str().to_owned()),
            session: None,
            operator: principal.is_operator(),
            source: None,
        }
    }

    /// Somebody who holds a link and no key, perhaps inside a connect session.
    pub fn person(session: Option<&str>, subject: Option<&Subject>) -> Self {
        Self {
            session: session.map(str::to_owned),
            subject: subject.map(|subject| subject.0.clone()),
            ..Self::default()
        }
    }
}

/// One request: its source is known from the start, its actor once the key is checked.
#[derive(Debug, Clone, Default)]
struct Asking {
    source: Option<IpAddr>,
    who: Arc<OnceLock<Actor>>,
}

tokio::task_local! {
    static ASKING: Asking;
}

/// Runs a request that came from `source`; [`identify`] tells later who it is.
pub async fn asked_from<T>(source: Option<IpAddr>, request: impl Future<Output = T>) -> T {
    ASKING.scope(Asking { source, who: Arc::default() }, request).await
}

/// Runs what is done for a known actor.
pub async fn on_behalf_of<T>(actor: Actor, work: impl Future<Output = T>) -> T {
    ASKING.scope(Asking { source: None, who: Arc::new(OnceLock::from(actor)) }, work).await
}

/// The present request is this actor's. Without a request around it, nothing happens.
pub fn identify(actor: Actor) {
    // The first word counts: a request has one key, or one session.
    let _ = ASKING.try_with(|asking| asking.who.set(actor));
}

/// Who asks now; the platform itself where nobody was named.
pub fn actor() -> Actor {
    let asked = ASKING.try_with(|asking| {
        let mut actor = asking.who.get().cloned().unwrap_or_default();
        if let Some(source) = asking.source {
            actor.source = Some(source.to_string());
        }
        actor
    });
    asked.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::Scopes;
    use super::*;
    use crate::clock::Millis;
    use crate::ids::KeyId;

    #[tokio::test]
    async fn an_actor_is_known_inside_its_request_only() {
        let principal = Principal {
            key_id: KeyId::generate(),
            organization: None,
            scopes: Scopes::default(),
            subject: Some(Subject("anna".into())),
            agent: None,
            expires_at: Millis(0),
        };
        assert_eq!(actor(), Actor::default());
        asked_from(Some([192, 0, 2, 7].into()), async {
            assert_eq!(actor().source.as_deref(), Some("192.0.2.7"));
            identify(Actor::of(&principal));
            tokio::task::yield_now().await;
            let seen = actor();
            assert_eq!(seen.key.as_deref(), Some(principal.key_id.as_str()));
            assert_eq!((seen.subject.as_deref(), seen.operator), (Some("anna"), true));
            assert_eq!(seen.source.as_deref(), Some("192.0.2.7"));
        })
        .await;
        assert_eq!(actor(), Actor::default());
    }
}
