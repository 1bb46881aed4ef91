//! The protocol by hand, in both eras, so that a test sees exactly what was sent and what came.
#![allow(clippy::disallowed_types, reason = "a test speaks to the product from outside")]

use reqwest::RequestBuilder;
use serde_json::{Map, Value, json};

use crate::rest_client::{Reply, http};

pub const MODERN: &str = "2026-07-28";

/// One endpoint, one key, one revision.
#[derive(Debug, Clone)]
pub struct McpClient {
    url: String,
    key: String,
    revision: &'static str,
    /// Its connections are used once.
    closes: bool,
}

/// What a tool answered.
#[derive(Debug, Clone)]
pub struct ToolResult {
    pub structured: Value,
    pub text: String,
    pub is_error: bool,
}

impl McpClient {
    /// Without a session and without `initialize`.
    pub fn modern(base: &str, key: &str) -> Self {
        Self { url: format!("{base}/mcp"), key: key.to_owned(), revision: MODERN, closes: false }
    }

    /// After `initialize`, which must agree to the revision.
    pub async fn legacy(base: &str, key: &str, revision: &'static str) -> Self {
        let client = Self { url: format!("{base}/mcp"), key: key.to_owned(), revision, closes: false };
        let params = json!({
            "protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "plugboard-tests", "version": "1"}
        });
        let answer = client.request("initialize", params).await.expect(200);
        assert_eq!(answer["result"]["protocolVersion"], revision, "{answer}");
        assert!(answer["result"]["capabilities"]["tools"].is_object(), "{answer}");
        let done = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let accepted = client.post(&done.to_string(), "notifications/initialized", None).await;
        assert_eq!((accepted.status, accepted.text.as_str()), (202, ""));
        client
    }

    /// The same, with a connection of its own for each request.
    pub fn on_new_connections(mut self) -> Self {
        self.closes = true;
        self
    }

    pub fn is_modern(&self) -> bool {
        self.revision == MODERN
    }

    /// One JSON-RPC request with everything a conforming client sends.
    pub async fn request(&self, method: &str, params: Value) -> Reply {
        let name = params["name"].as_str().map(str::to_owned);
        self.post(&self.message(method, params).to_string(), method, name.as_deref()).await
    }

    /// The body of a request.
    pub fn message(&self, method: &str, mut params: Value) -> Value {
        if self.is_modern() {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": {"name": "plugboard-tests", "version": "1"},
            });
        }
        json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
    }

    /// Any body under the headers of a call of this tool.
    pub async fn post(&self, body: &str, method: &str, name: Option<&str>) -> Reply {
        Reply::of(self.prepare(body, method, name)).await
    }

    /// The same, where an answer may not come.
    ///
    /// # Errors
    /// When none came.
    pub async fn try_post(&self, body: &str, method: &str, name: Option<&str>) -> Result<Reply, reqwest::Error> {
        Reply::try_of(self.prepare(body, method, name)).await
    }

    fn prepare(&self, body: &str, method: &str, name: Option<&str>) -> RequestBuilder {
        let mut request = http()
            .post(&self.url)
            .header("Content-Type", "application/json")
            .header("Accept", "application/json, text/event-stream")
            .body(body.to_owned());
        if !self.key.is_empty() {
            request = request.bearer_auth(&self.key);
        }
        if self.closes {
            request = request.header("Connection", "close");
        }
        if method != "initialize" {
            request = request.header("MCP-Protocol-Version", self.revision);
        }
        if self.is_modern() {
            request = request.header("Mcp-Method", method);
            if let Some(name) = name {
                request = request.header("Mcp-Name", name);
            }
        }
        request
    }

    /// Calls a tool; checks everything that holds for every answer.
    ///
    /// # Panics
    /// When the answer is not a tool result of the contract.
    pub async fn tool(&self, name: &str, arguments: Value) -> ToolResult {
        self.try_tool(name, arguments).await.unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// # Errors
    /// When no answer came at all.
    pub async fn try_tool(&self, name: &str, arguments: Value) -> Result<ToolResult, reqwest::Error> {
        let body = self.message("tools/call", json!({"name": name, "arguments": arguments})).to_string();
        let reply = Reply::try_of(self.prepare(&body, "tools/call", Some(name))).await?;
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert!(reply.header("content-type").starts_with("application/json"), "{}", reply.header("content-type"));
        let result = &reply.json["result"];
        assert!(result.is_object(), "{}", reply.text);
        if self.is_modern() {
            assert_eq!(result["resultType"], "complete", "{}", reply.text);
            assert!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"].is_string(), "{}", reply.text);
        } else {
            assert!(result.get("resultType").is_none(), "{}", reply.text);
        }
        assert_eq!(result["content"][0]["type"], "text", "{}", reply.text);
        let text = result["content"][0]["text"].as_str().unwrap().to_owned();
        Ok(ToolResult {
            structured: result["structuredContent"].clone(),
            text,
            is_error: result["isError"].as_bool().unwrap_or(false),
        })
    }

    /// `connector_execute`: the envelope.
    ///
    /// # Panics
    /// When the answer is no envelope.
    pub async fn execute(&self, arguments: Value) -> Value {
        self.try_execute(arguments).await.unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// # Errors
    /// When no answer came at all.
    pub async fn try_execute(&self, arguments: Value) -> Result<Value, reqwest::Error> {
        let result = self.try_tool("connector_execute", arguments).await?;
        let envelope = result.structured;
        let text: Value = serde_json::from_str(&result.text).expect("the text block is the envelope");
        assert!(text == envelope, "text and structured content differ: {} / {envelope}", result.text);
        assert_envelope(&envelope, result.is_error);
        Ok(envelope)
    }
}

/// What holds for every envelope.
fn assert_envelope(envelope: &Value, is_error: bool) {
    let ok = envelope["ok"].as_bool().expect("ok");
    let state = envelope["state"].as_str().expect("state");
    let known = ["succeeded", "failed", "running", "unknown"];
    assert!(known.contains(&state), "{envelope}");
    assert_eq!(is_error, envelope["error"].is_object(), "{envelope}");
    let Some(error) = envelope["error"].as_object() else {
        assert!(ok && ["succeeded", "running"].contains(&state), "{envelope}");
        return;
    };
    assert!(!ok && ["failed", "unknown"].contains(&state), "{envelope}");
    let text = |name: &str| error[name].as_str().unwrap_or_else(|| panic!("{name}: {envelope}"));
    assert!(text("message").len() > 5, "{envelope}");
    let origins = ["caller", "policy", "platform", "credential", "network", "upstream"];
    assert!(origins.contains(&text("origin")), "{envelope}");
    let outcomes = ["not_sent", "rejected", "applied", "unknown"];
    assert!(outcomes.contains(&text("outcome")), "{envelope}");
    assert!(error["retryable"].is_boolean() && error["safe_to_retry"].is_boolean(), "{envelope}");
    // A repeat of what was never sent cannot double anything.
    assert!(text("outcome") != "not_sent" || error["safe_to_retry"] == true, "{envelope}");
    assert_eq!(state == "unknown", text("outcome") == "unknown", "{envelope}");
}

/// Arguments of a call, from pairs.
pub fn arguments<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Object(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}
