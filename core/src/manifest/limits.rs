//! How much a vendor is asked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    pub scope: LimitScope,
    pub requests: u32,
    pub per_seconds: u32,
    /// How many may go at once; `requests` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitScope {
    Account,
    App,
    EgressIp,
}

/// Calls of one organization at once, where a manifest says nothing: more than vendors like, and few enough that one
/// connector does not take all that an organization has.
pub(super) fn concurrency() -> u32 {
    64
}

pub(super) fn is_default(value: &u32) -> bool {
    *value == concurrency()
}
