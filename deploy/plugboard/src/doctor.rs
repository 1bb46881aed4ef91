//! `plugboard doctor`: what is wrong with a deployment, in plain words.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::call::{call_tool, http};
use crate::cli::ClientArgs;
use crate::print_answer;

struct Finding {
    good: bool,
    what: String,
}

fn good(what: impl Into<String>) -> Finding {
    Finding { good: true, what: what.into() }
}

fn bad(what: impl Into<String>) -> Finding {
    Finding { good: false, what: what.into() }
}

pub async fn run(client: &ClientArgs) -> anyhow::Result<ExitCode> {
    let mut findings = vec![reachable(client).await?];
    if findings.iter().all(|finding| finding.good) {
        findings.push(ready(client).await?);
        findings.push(tools(client).await);
    }
    for finding in &findings {
        print_answer(&format!("{}  {}", if finding.good { "ok  " } else { "FAIL" }, finding.what));
    }
    let healthy = findings.iter().all(|finding| finding.good);
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn reachable(client: &ClientArgs) -> anyhow::Result<Finding> {
    let url = format!("{}/healthz", client.url.trim_end_matches('/'));
    let start = Instant::now();
    let answer = http(client)?.get(url).timeout(Duration::from_secs(5)).send().await;
    Ok(match answer {
        Ok(response) if response.status().is_success() => {
            good(format!("a gateway answers at {} in {} ms", client.url, start.elapsed().as_millis()))
        }
        Ok(response) => bad(format!("{} answers {}: is it a Plugboard gateway?", client.url, response.status())),
        Err(_) => bad(format!("nothing answers at {}: is `plugboard up` running? Is PLUGBOARD_URL right?", client.url)),
    })
}

async fn ready(client: &ClientArgs) -> anyhow::Result<Finding> {
    let url = format!("{}/readyz", client.url.trim_end_matches('/'));
    let response = http(client)?.get(url).timeout(Duration::from_secs(5)).send().await?;
    if response.status().is_success() {
        return Ok(good("the gateway hears the catalog and the auth service"));
    }
    let parts: Value = response.json().await.unwrap_or_default();
    Ok(bad(format!("the gateway is not ready: {parts}")))
}

async fn tools(client: &ClientArgs) -> Finding {
    if client.key.is_none() {
        return bad("no API key to try the tools with: set PLUGBOARD_API_KEY");
    }
    match call_tool(client, "list_services", json!({})).await {
        Ok(list) => {
            let services = list["services"].as_array().map_or(0, Vec::len);
            good(format!("the key is accepted; {services} services are listed"))
        }
        Err(error) => bad(format!("the tools do not answer: {error:#}")),
    }
}
