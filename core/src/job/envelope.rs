//! The response envelope of the public contract, the same over MCP and gRPC.

use serde::{Deserialize, Serialize};

use crate::error::CallError;

/// Everything about a call's end except the vendor's data, which is spliced in as raw JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// Nothing went wrong so far: it succeeded, or is under way. Always the first member.
    pub ok: bool,
    pub state: CallState,
    /// The vendor's HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<Page>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated: Option<TruncatedData>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitUse>,
    /// Requests made to the vendor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// From acceptance to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayed: Option<bool>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CallError>,
}

impl Envelope {
    pub fn new(state: CallState) -> Self {
        Self {
            ok: matches!(state, CallState::Succeeded | CallState::Running),
            state,
            status: None,
            execution_id: None,
            service: None,
            module: None,
            operation: None,
            account: None,
            page: None,
            truncated: None,
            limits: None,
            attempts: None,
            duration_ms: None,
            replayed: None,
            warnings: Vec::new(),
            error: None,
        }
    }

    /// A call that failed. `OUTCOME_UNKNOWN` is the only failure whose state is `unknown`.
    pub fn failed(error: CallError) -> Self {
        let state = match error.outcome {
            crate::error::EffectOutcome::Unknown => CallState::Unknown,
            _ => CallState::Failed,
        };
        Self { error: Some(error), ..Self::new(state) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    Succeeded,
    Failed,
    Running,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRef {
    pub id: String,
    pub label: String,
}

/// Where the next page is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// Cursor, URL, offset or page number to send next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<serde_json::Value>,
    pub has_more: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

/// The vendor's limit that the call spent from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitUse {
    pub bucket: String,
    /// Requests that could go at once after this one.
    pub remaining: u32,
    /// Until the bucket is full again, if nobody asks meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_ms: Option<u64>,
    /// How long the call waited for its turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited_ms: Option<u64>,
}

/// The answer is kept; read it by `result_id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TruncatedData {
    pub result_id: String,
    pub bytes: u64,
    /// Its first levels: names and sizes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outline: Option<serde_json::Value>,
}
