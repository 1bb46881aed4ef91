//! What the operator's commands share.

use anyhow::{Context, bail};
use serde_json::Value;

use crate::call::key;
use crate::cli::ClientArgs;

/// With the operator's key from its own variable, where none is given.
pub fn operator(client: &ClientArgs) -> ClientArgs {
    let preset = std::env::var("PLUGBOARD_OPERATOR_KEY").ok().filter(|key| !key.is_empty());
    ClientArgs { url: client.url.clone(), key: preset.or_else(|| client.key.clone()) }
}

/// # Errors
/// When the gateway cannot be reached or refuses, in its own words.
pub async fn request(client: &ClientArgs, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
    let sent = request.bearer_auth(key(client)?).send().await;
    let response = sent.with_context(|| format!("{} cannot be reached", client.url))?;
    let status = response.status();
    let text = response.text().await?;
    if text.is_empty() {
        return Ok(serde_json::json!({"ok": status.is_success()}));
    }
    let answer: Value = serde_json::from_str(&text).with_context(|| format!("the gateway answered {status}"))?;
    if !status.is_success() {
        bail!("{}", answer["detail"].as_str().unwrap_or("the gateway refused"));
    }
    Ok(answer)
}
