//! `plugboard call`: one call from a shell, over the public MCP endpoint.

use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};

use crate::cli::{CallArgs, ClientArgs};
use crate::print_answer;

pub async fn run(args: CallArgs) -> anyhow::Result<ExitCode> {
    let arguments = arguments(&args)?;
    let envelope = call_tool(&args.client, "connector_execute", arguments).await?;
    let ok = envelope["ok"].as_bool().unwrap_or(false);
    let shown = if args.envelope || !ok || envelope.get("data").is_none() { &envelope } else { &envelope["data"] };
    print_answer(&serde_json::to_string_pretty(shown)?);
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The arguments of `connector_execute` as typed in a shell.
fn arguments(args: &CallArgs) -> anyhow::Result<Value> {
    let mut arguments = json!({"service": args.service, "module": args.module, "method": args.method});
    let mut query = Map::new();
    let mut body = Map::new();
    for (at, item) in args.rest.iter().enumerate() {
        if at == 0 && item.starts_with('/') {
            arguments["path"] = json!(item);
        } else if let Some((name, value)) = item.split_once("==") {
            query.insert(name.to_owned(), json!(value));
        } else if let Some((name, value)) = item.split_once(":=") {
            let value = serde_json::from_str(value).with_context(|| format!("{item}: after := stands JSON"))?;
            body.insert(name.to_owned(), value);
        } else if let Some((name, value)) = item.split_once('=') {
            body.insert(name.to_owned(), json!(value));
        } else {
            bail!("{item}: write name==value for the query, name=value or name:=json for the body");
        }
    }
    if !query.is_empty() {
        arguments["query"] = Value::Object(query);
    }
    match &args.body {
        Some(_) if !body.is_empty() => bail!("give the body either by --body or by name=value"),
        Some(text) => arguments["body"] = serde_json::from_str(text).context("--body is not JSON")?,
        None if !body.is_empty() => arguments["body"] = Value::Object(body),
        None => {}
    }
    Ok(arguments)
}

/// Calls one tool and returns its structured content.
///
/// # Errors
/// When the gateway cannot be reached or turns the caller away.
pub async fn call_tool(client: &ClientArgs, tool: &str, arguments: Value) -> anyhow::Result<Value> {
    let request = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {
            "name": tool, "arguments": arguments,
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": {"name": "plugboard-cli", "version": env!("CARGO_PKG_VERSION")}
            }
        }
    });
    let sent = http(client)?
        .post(format!("{}/mcp", client.url.trim_end_matches('/')))
        .header("MCP-Protocol-Version", "2026-07-28")
        .header("Mcp-Method", "tools/call")
        .header("Mcp-Name", tool)
        .header("Accept", "application/json, text/event-stream")
        .bearer_auth(key(client)?)
        .json(&request)
        .send();
    let response = sent.await.with_context(|| format!("{} cannot be reached", client.url))?;
    let status = response.status();
    let text = response.text().await.context("the gateway's answer broke off")?;
    let reply: Value = serde_json::from_str(&text).with_context(|| format!("the gateway answered {status}"))?;
    if let Some(message) = reply.pointer("/error/message").and_then(Value::as_str) {
        bail!("{message}");
    }
    match reply.pointer("/result/structuredContent") {
        Some(content) => Ok(content.clone()),
        None => bail!("the gateway answered {status} without a result"),
    }
}

/// # Errors
/// When no key was given.
pub fn key(client: &ClientArgs) -> anyhow::Result<&str> {
    client.key.as_deref().context("no API key: set PLUGBOARD_API_KEY or give --key")
}

/// A client of the public API. Operator commands run at a person's side, outside the egress guard.
///
/// # Errors
/// When TLS cannot be set up.
#[allow(clippy::disallowed_types, reason = "a client of our own public API")]
pub fn http(_client: &ClientArgs) -> anyhow::Result<reqwest::Client> {
    let builder = reqwest::Client::builder().timeout(std::time::Duration::from_secs(65));
    builder.build().context("the HTTP client cannot be set up")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parse(words: &[&str]) -> anyhow::Result<Value> {
        let words = ["plugboard", "call"].iter().chain(words);
        match Cli::parse_from(words).command {
            Some(Command::Call(args)) => arguments(&args),
            _ => bail!("not a call"),
        }
    }

    #[test]
    fn shell_words_become_arguments() {
        let call =
            parse(&["wildberries", "statistics", "GET", "/api/v1/supplier/orders", "dateFrom==2026-04-15"]).unwrap();
        assert_eq!(call["path"], "/api/v1/supplier/orders");
        assert_eq!(call["query"]["dateFrom"], "2026-04-15");
        let call = parse(&["bitrix24", "rest", "crm.deal.list", "start:=50", "order=ID"]).unwrap();
        assert_eq!(call["body"], json!({"start": 50, "order": "ID"}));
        assert!(call.get("path").is_none());
        assert!(parse(&["a", "b", "GET", "/x", "nonsense"]).is_err());
        assert!(parse(&["a", "b", "GET", "/x", "a:=nojson"]).is_err());
    }
}
