//! An agent: what a program that acts on its own may use. Bound to a key, it narrows what that key may do.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, AgentId, OrganizationId, ServiceKey};
use crate::manifest::Effect;

/// What an agent may do. An absent list permits everything that its key permits, an empty one nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    pub id: AgentId,
    pub organization: OrganizationId,
    pub name: String,
    /// Connectors it may call.
    pub connectors: Option<BTreeSet<ServiceKey>>,
    /// Accounts granted to it.
    pub accounts: Option<BTreeSet<AccountId>>,
    /// Effect classes of the operations it may call.
    pub effects: Option<BTreeSet<Effect>>,
    pub created_at: i64,
    pub updated_at: i64,
}

/// A new agent, or what becomes of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentDraft {
    pub name: String,
    pub connectors: Option<BTreeSet<ServiceKey>>,
    pub accounts: Option<BTreeSet<AccountId>>,
    pub effects: Option<BTreeSet<Effect>>,
}

impl Agent {
    pub fn permits_connector(&self, service: &ServiceKey) -> bool {
        self.connectors.as_ref().is_none_or(|connectors| connectors.contains(service))
    }

    pub fn permits_account(&self, account: &AccountId) -> bool {
        self.accounts.as_ref().is_none_or(|accounts| accounts.contains(account))
    }

    pub fn permits_effect(&self, effect: Effect) -> bool {
        self.effects.as_ref().is_none_or(|effects| effects.contains(&effect))
    }
}
