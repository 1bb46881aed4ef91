//! `plugboard doctor`: what is wrong with a deployment, in plain words.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use plugboard_core::clock::{Clock, SystemClock};
use plugboard_core::tls::{Tls, TlsConfig};
use serde_json::{Value, json};

use crate::call::{call_tool, http};
use crate::cli::{ClientArgs, DoctorArgs};
use crate::print_answer;
use crate::settings::Settings;

/// In seconds.
const DAY: i64 = 86_400;
/// Whoever renews certificates does so when a third of their time is left; with half of that gone, nobody does.
const LAST_PART: i64 = 6;

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

pub async fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let client = &args.client;
    let mut findings = certificates(&Settings::load(args.config.as_deref())?.tls);
    let reachable = reachable(client).await?;
    let answers = reachable.good;
    findings.push(reachable);
    if answers {
        findings.push(ready(client).await?);
        findings.push(tools(client).await);
    }
    for finding in &findings {
        print_answer(&format!("{}  {}", if finding.good { "ok  " } else { "FAIL" }, finding.what));
    }
    let healthy = findings.iter().all(|finding| finding.good);
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Which there are, and when they end; without any, nothing.
fn certificates(config: &TlsConfig) -> Vec<Finding> {
    let tls = match Tls::open(config, None) {
        Ok(tls) => tls,
        Err(error) => return vec![bad(error.to_string())],
    };
    let now = SystemClock.now().0 / 1000;
    let told = tls.describe().into_iter().map(|each| {
        let days = (each.ends - now) / DAY;
        let names = if each.names.is_empty() { String::new() } else { format!(" for {}", each.names.join(", ")) };
        let what = format!("{} = {:?}{names} ends in {days} days, at {}", each.setting, each.path, each.ends_at());
        if each.ends - now < (each.ends - each.begins) / LAST_PART {
            bad(format!("{what}: it should have been renewed by now"))
        } else {
            good(what)
        }
    });
    told.collect()
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
