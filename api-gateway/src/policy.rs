//! What an agent may do: the limits of the agent that a key is bound to.

use plugboard_core::error::{CallError, ErrorCode, Fix, FixKind};
use plugboard_core::identity::{Account, Agent, Principal};
use plugboard_core::ids::ServiceKey;
use plugboard_core::manifest::Effect;
use serde_json::{Value, json};

use crate::accounts::{self, Chosen, Named};

/// # Errors
/// `POLICY_DENIED` when the principal's agent may not call this connector.
pub fn connector(principal: &Principal, service: &ServiceKey) -> Result<(), CallError> {
    let Some(agent) = &principal.agent else { return Ok(()) };
    if agent.permits_connector(service) {
        return Ok(());
    }
    let allowed = agent.connectors.iter().flatten().map(|one| Value::from(one.as_str()));
    Err(denied(agent, "service", format!("may not call {service}"), allowed))
}

/// # Errors
/// `POLICY_DENIED` when the principal's agent may not make calls of this effect.
pub fn effect(principal: &Principal, effect: Effect) -> Result<(), CallError> {
    let Some(agent) = &principal.agent else { return Ok(()) };
    if agent.permits_effect(effect) {
        return Ok(());
    }
    let name = |effect: Effect| serde_json::to_value(effect).unwrap_or_default();
    let what = format!("may not make calls of the class {}", name(effect));
    Err(denied(agent, "method", what, agent.effects.iter().flatten().map(|one| name(*one))))
}

/// The account of a call, among those that the agent was granted.
///
/// # Errors
/// As [`accounts::choose`], and `POLICY_DENIED` when only the agent's limits stand in the way.
pub fn account(
    all: &[Account],
    principal: &Principal,
    service: &ServiceKey,
    named: Named<'_>,
    sandbox: bool,
) -> Result<Chosen, CallError> {
    let limits = principal.agent.as_ref().filter(|agent| agent.accounts.is_some());
    let Some(agent) = limits else { return accounts::choose(all, principal, service, named, sandbox) };
    let granted: Vec<Account> = all.iter().filter(|account| agent.permits_account(&account.id)).cloned().collect();
    let chosen = accounts::choose(&granted, principal, service, named, sandbox);
    if let Ok(chosen) = &chosen
        && agent.permits_account(&chosen.id)
    {
        return Ok(chosen.clone());
    }
    // Without the limits it would be the same failure: then that is what is wrong.
    if let Err(error) = chosen
        && accounts::choose(all, principal, service, named, sandbox).is_err_and(|other| other.code == error.code)
    {
        return Err(error);
    }
    let options = accounts::visible(&granted, principal)
        .filter(|account| account.service == *service)
        .map(|account| json!({"instance_id": account.id.as_str(), "label": account.label}));
    Err(denied(agent, "instance_id", format!("was not granted this {service} account"), options))
}

fn denied(agent: &Agent, field: &str, what: String, allowed: impl Iterator<Item = Value>) -> CallError {
    let hint = format!("An admin of the organization changes what it may do under /api/v1/agents/{}.", agent.id);
    CallError::new(ErrorCode::PolicyDenied, format!("The agent {:?} {what}.", agent.name))
        .field(field)
        .fix(Fix::new(FixKind::Contact).field(field).hint(hint).options(allowed))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use plugboard_core::clock::Millis;
    use plugboard_core::identity::{AccountState, Scopes};
    use plugboard_core::ids::{AccountId, AgentId, KeyId, OrganizationId};

    use super::*;

    fn agent(connectors: Option<&[&str]>, accounts: Option<&[&Account]>, effects: Option<&[Effect]>) -> Principal {
        let organization = OrganizationId::generate();
        let agent = Agent {
            id: AgentId::generate(),
            organization: organization.clone(),
            name: "Buyer".into(),
            connectors: connectors.map(|keys| keys.iter().map(|key| ServiceKey::trusted(*key)).collect()),
            accounts: accounts.map(|accounts| accounts.iter().map(|account| account.id.clone()).collect()),
            effects: effects.map(|effects| effects.iter().copied().collect::<BTreeSet<_>>()),
            created_at: 0,
            updated_at: 0,
        };
        Principal {
            key_id: KeyId::generate(),
            organization: Some(organization),
            scopes: Scopes::default_for_keys(),
            subject: None,
            agent: Some(Arc::new(agent)),
            expires_at: Millis(i64::MAX),
        }
    }

    fn ozon_account(label: &str) -> Account {
        Account {
            id: AccountId::generate(),
            organization: OrganizationId::generate(),
            service: ServiceKey::trusted("ozon"),
            label: label.to_owned(),
            owner: None,
            state: AccountState::Connected,
            state_reason: String::new(),
            state_since: Millis(0),
            public_fields: BTreeMap::new(),
            created_at: Millis(0),
            updated_at: Millis(0),
        }
    }

    fn ozon() -> ServiceKey {
        ServiceKey::trusted("ozon")
    }

    #[test]
    fn connectors_and_effects() {
        let free = agent(None, None, None);
        assert!(connector(&free, &ozon()).is_ok() && effect(&free, Effect::Once).is_ok());
        let bound = agent(Some(&["stripe"]), None, Some(&[Effect::Read]));
        let error = connector(&bound, &ozon()).unwrap_err();
        assert_eq!((error.code, error.field.as_deref()), (ErrorCode::PolicyDenied, Some("service")));
        assert_eq!(error.fix.clone().unwrap().options, [Value::from("stripe")]);
        assert!(connector(&bound, &ServiceKey::trusted("stripe")).is_ok());
        assert!(effect(&bound, Effect::Read).is_ok());
        let error = effect(&bound, Effect::Once).unwrap_err();
        assert_eq!(
            (error.field.as_deref(), error.fix.clone().unwrap().options),
            (Some("method"), vec![Value::from("read")])
        );
        // An empty list permits nothing.
        assert!(connector(&agent(Some(&[]), None, None), &ozon()).is_err());
        assert!(effect(&agent(None, None, Some(&[])), Effect::Read).is_err());
    }

    #[test]
    fn accounts_are_those_that_were_granted() {
        let all = vec![ozon_account("North"), ozon_account("South")];
        let bound = agent(None, Some(&[&all[0]]), None);
        // Of two accounts only one is granted: it needs no name.
        assert_eq!(account(&all, &bound, &ozon(), Named::default(), false).unwrap().label, "North");
        let south = Named { label: Some("South"), ..Named::default() };
        let error = account(&all, &bound, &ozon(), south, false).unwrap_err();
        assert_eq!(error.code, ErrorCode::PolicyDenied);
        assert_eq!(error.fix.clone().unwrap().options[0]["label"], "North");
        let nobody = Named { label: Some("East"), ..Named::default() };
        assert_eq!(account(&all, &bound, &ozon(), nobody, false).unwrap_err().code, ErrorCode::InvalidArgument);
        // Nothing is granted; and in the sandbox the account that everybody has is not granted either.
        let none = agent(None, Some(&[]), None);
        assert_eq!(account(&all, &none, &ozon(), Named::default(), false).unwrap_err().code, ErrorCode::PolicyDenied);
        assert_eq!(account(&[], &none, &ozon(), Named::default(), false).unwrap_err().code, ErrorCode::NotConnected);
        assert_eq!(account(&[], &none, &ozon(), Named::default(), true).unwrap_err().code, ErrorCode::PolicyDenied);
    }
}
