//! Agents, the keys that are bound to them, and the rotation of keys.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use plugboard_core::identity::{AgentDraft, CachedDirectory, IdentityError, IssuedKey, NewKey, RotateKey, Scopes};
use plugboard_core::ids::{AgentId, KeyId, OrganizationId, ServiceKey, Subject};
use plugboard_core::manifest::Effect;

use crate::support::{Ports, eventually, on_both, text};

on_both!(
    a_key_carries_its_agents_limits,
    limits_follow_at_once,
    an_agent_with_keys_is_not_removed,
    a_key_is_rotated_with_an_overlap,
    a_key_is_rotated_at_once,
);

fn draft(name: &str) -> AgentDraft {
    AgentDraft {
        name: name.to_owned(),
        connectors: Some(BTreeSet::from([ServiceKey::trusted("ozon")])),
        accounts: None,
        effects: Some(BTreeSet::from([Effect::Read])),
    }
}

fn new_key(organization: &OrganizationId, agent: Option<AgentId>) -> NewKey {
    NewKey {
        organization: organization.clone(),
        name: "agent's".into(),
        scopes: Scopes::default_for_keys(),
        expires_in_days: 30,
        subject: Some(Subject("anna".into())),
        agent,
    }
}

async fn bound_key(ports: &Ports) -> (OrganizationId, AgentId, IssuedKey) {
    let organization = ports.organization().await.id;
    let agent = ports.custody.create_agent(&organization, &draft("Buyer")).await.unwrap();
    let key = ports.directory.issue_key(new_key(&organization, Some(agent.id.clone()))).await.unwrap();
    assert_eq!(key.key.agent.as_ref(), Some(&agent.id));
    (organization, agent.id, key)
}

async fn a_key_carries_its_agents_limits(ports: Ports) {
    let (organization, agent, key) = bound_key(&ports).await;
    let principal = ports.directory.verify_key(&key.secret).await.unwrap();
    let bound = principal.agent.unwrap();
    assert_eq!((bound.id.clone(), bound.name.as_str()), (agent.clone(), "Buyer"));
    assert!(bound.permits_connector(&ServiceKey::trusted("ozon")) && !bound.permits_effect(Effect::Once));
    assert_eq!(ports.directory.keys(&organization).await.unwrap()[1].agent, Some(agent.clone()));
    // Another organization's agent is nobody here.
    let elsewhere = ports.organization().await.id;
    let error = ports.directory.issue_key(new_key(&elsewhere, Some(agent))).await.unwrap_err();
    assert!(matches!(&error, IdentityError::Invalid { field, .. } if field == "agent"), "{error}");
    let unnamed = AgentDraft { name: " ".into(), ..draft("") };
    assert!(text(ports.custody.create_agent(&organization, &unnamed).await).contains("name"));
}

async fn limits_follow_at_once(ports: Ports) {
    let (organization, agent, key) = bound_key(&ports).await;
    let cached = CachedDirectory::new(ports.directory.clone(), Arc::new(ports.world.clock.clone()));
    tokio::spawn(cached.clone().follow(ports.world.stop_token()));
    eventually("the stream is alive", async || cached.is_fresh()).await;
    assert!(
        !cached.verify_key(key.secret.expose()).await.unwrap().agent.as_ref().unwrap().permits_effect(Effect::Once)
    );
    let wider = AgentDraft { effects: None, ..draft("Buyer") };
    ports.custody.update_agent(&organization, &agent, &wider).await.unwrap();
    let took = eventually("the new limits hold", async || {
        let principal = cached.verify_key(key.secret.expose()).await.unwrap();
        principal.agent.as_ref().unwrap().permits_effect(Effect::Once)
    })
    .await;
    assert!(took < Duration::from_secs(1), "{took:?}");
}

async fn an_agent_with_keys_is_not_removed(ports: Ports) {
    let (organization, agent, key) = bound_key(&ports).await;
    let refused = text(ports.custody.delete_agent(&organization, &agent).await);
    assert!(refused.contains(key.key.id.as_str()), "{refused}");
    ports.directory.revoke_key(&organization, &key.key.id).await.unwrap();
    ports.custody.delete_agent(&organization, &agent).await.unwrap();
    assert_eq!(text(ports.custody.delete_agent(&organization, &agent).await), r#"NotFound { what: "the agent" }"#);
    assert!(ports.custody.agents(&organization).await.unwrap().is_empty());
}

fn rotate(organization: &OrganizationId, key: &KeyId, overlap_hours: u32) -> RotateKey {
    RotateKey { organization: organization.clone(), key: key.clone(), overlap_hours }
}

async fn a_key_is_rotated_with_an_overlap(ports: Ports) {
    let (organization, agent, old) = bound_key(&ports).await;
    let new = ports.custody.rotate_key(&rotate(&organization, &old.key.id, 24)).await.unwrap();
    assert_ne!(new.secret.expose(), old.secret.expose());
    assert_eq!((new.key.agent, new.key.scopes), (Some(agent), old.key.scopes));
    assert_eq!(new.key.subject, old.key.subject);
    // Both work, for a day.
    for secret in [&old.secret, &new.secret] {
        ports.directory.verify_key(secret).await.unwrap();
    }
    ports.world.clock.advance(Duration::from_secs(24 * 60 * 60));
    assert_eq!(text(ports.directory.verify_key(&old.secret).await), "KeyRefused");
    ports.directory.verify_key(&new.secret).await.unwrap();
    assert!(text(ports.custody.rotate_key(&rotate(&organization, &old.key.id, 24)).await).contains("ended"));
    assert!(text(ports.custody.rotate_key(&rotate(&organization, &new.key.id, 721)).await).contains("overlap_hours"));
    let absent = ports.custody.rotate_key(&rotate(&organization, &KeyId::generate(), 1)).await;
    assert_eq!(text(absent), r#"NotFound { what: "the API key" }"#);
}

async fn a_key_is_rotated_at_once(ports: Ports) {
    let (organization, _, old) = bound_key(&ports).await;
    let new = ports.custody.rotate_key(&rotate(&organization, &old.key.id, 0)).await.unwrap();
    assert_eq!(text(ports.directory.verify_key(&old.secret).await), "KeyRefused");
    ports.directory.verify_key(&new.secret).await.unwrap();
}
