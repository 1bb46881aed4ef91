//! Asking the client for input: what is asked, what came back, and the seal on the state between.

use std::hash::{BuildHasher as _, RandomState};

use api_gateway::mcp::{ClientCapabilities, InputRequired, RpcError, ToolReply};
use serde_json::{Value, json};

use crate::Cx;

/// Marks states with a keyed hash of this process. Enough to notice a changed state in a test; a product seals with
/// authenticated encryption and binds caller and expiry too.
#[derive(Default)]
pub(crate) struct Sealer(RandomState);

impl Sealer {
    pub(crate) fn seal(&self, tool: &str, state: &str) -> String {
        format!("{state}.{:016x}", self.0.hash_one((tool, state)))
    }

    pub(crate) fn open<'a>(&self, tool: &str, sealed: &'a str) -> Result<&'a str, RpcError> {
        let (state, _) = sealed.split_once('.').unwrap_or((sealed, ""));
        if self.seal(tool, state) == sealed {
            Ok(state)
        } else {
            Err(RpcError::invalid_params("requestState was not issued by this server"))
        }
    }
}

/// The client's answer under `key`, if it is an object.
pub(crate) fn answer(cx: &Cx, key: &str) -> Option<Value> {
    let responses: Value = serde_json::from_str(cx.input.responses.as_ref()?).ok()?;
    responses.get(key).filter(|answer| answer.is_object()).cloned()
}

/// The value of a form's field.
pub(crate) fn field(answer: &Value, name: &str) -> String {
    answer["content"][name].as_str().unwrap_or_default().to_owned()
}

/// Asks, if the client declared what that takes.
pub(crate) fn ask(declared: ClientCapabilities, requests: &Value, state: Option<String>) -> ToolReply {
    for request in requests.as_object().into_iter().flat_map(|requests| requests.values()) {
        let missing = match request["method"].as_str() {
            Some("elicitation/create") if !declared.elicitation_form => r#"{"elicitation":{}}"#,
            Some("sampling/createMessage") if !declared.sampling => r#"{"sampling":{}}"#,
            Some("roots/list") if !declared.roots => r#"{"roots":{}}"#,
            _ => continue,
        };
        return ToolReply::Error(RpcError::missing_capability(missing));
    }
    ToolReply::InputRequired(InputRequired { requests: Some(requests.to_string().into()), state })
}

/// A form with one required field.
pub(crate) fn form(message: &str, field: &str, kind: &str) -> Value {
    full_form(message, &json!({field: {"type": kind}}), &json!([field]))
}

pub(crate) fn full_form(message: &str, properties: &Value, required: &Value) -> Value {
    let schema = json!({"type": "object", "properties": properties, "required": required});
    json!({"method": "elicitation/create", "params": {"mode": "form", "message": message, "requestedSchema": schema}})
}

pub(crate) fn sampling(prompt: &str) -> Value {
    let message = json!({"role": "user", "content": {"type": "text", "text": prompt}});
    json!({"method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": 100}})
}

pub(crate) fn roots() -> Value {
    json!({"method": "roots/list", "params": {}})
}
