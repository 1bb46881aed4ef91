//! What a gateway says to everybody.

use std::collections::BTreeMap;
use std::time::Duration;

use plugboard_core::clock::{Clock, SystemClock};
use plugboard_core::doctor::clocks::{self, Look, http_date};
use plugboard_core::doctor::{Check, Finding, Part, catalog, shown};
use reqwest::Response;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Hearing;
use crate::call::{call_tool, http};
use crate::cli::ClientArgs;

const WITHIN: Duration = Duration::from_secs(5);

/// `Date` has no parts of a second.
const GRAIN: Duration = Duration::from_secs(1);

/// How the deployment of the gateway is put together, as far as it lets one see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    Embedded,
    Services,
    #[default]
    Unknown,
}

/// What others compare with.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    shape: Shape,
    /// Name and description by key.
    pub connectors: Option<BTreeMap<String, String>>,
}

impl Shape {
    /// Why a setting's subject is not looked at.
    pub fn why_not(self, setting: &str, inside: &str) -> String {
        match self {
            Self::Embedded => format!("embedded: {inside}"),
            Self::Services => format!("{setting} is not in the settings given here: run this with those of a service"),
            Self::Unknown => {
                format!("{setting} is not in the settings given here (--config, or the environment of a service)")
            }
        }
    }
}

/// [`Shape::Unknown`] where no gateway answers, or none is asked.
pub async fn shape(hearing: Hearing) -> Shape {
    heard(hearing).await.unwrap_or_default().shape
}

pub async fn heard(mut hearing: Hearing) -> Option<Asked> {
    hearing.wait_for(Option::is_some).await.ok()?.clone()
}

/// Tells `asked` in any case, and early: others wait for it, the catalog's check among them.
pub fn check(client: ClientArgs, asked: watch::Sender<Option<Asked>>) -> Check {
    Check::new(&[Part::Gateway, Part::Clock, Part::Catalog], async move {
        let client = ClientArgs { url: client.url.trim_end_matches('/').to_owned(), ..client };
        let (mut findings, answers) = alive(&client).await;
        if !answers {
            asked.send_replace(Some(Asked::default()));
            return findings;
        }
        let (ready, shape) = ready(&client).await;
        asked.send_replace(Some(Asked { shape, connectors: connectors(&client).await }));
        findings.push(ready);
        findings.push(tools(&client).await);
        findings
    })
}

async fn get(client: &ClientArgs, path: &str) -> anyhow::Result<Response> {
    Ok(http(client)?.get(format!("{}{path}", client.url)).timeout(WITHIN).send().await?)
}

/// Whether it answers at all; with its clock.
async fn alive(client: &ClientArgs) -> (Vec<Finding>, bool) {
    let address = shown(&client.url);
    let before = SystemClock.now();
    let answer = get(client, "/healthz").await;
    let after = SystemClock.now();
    let response = match answer {
        Ok(response) if response.status().is_success() => response,
        Ok(response) => {
            let said = format!("{address} answers {} to /healthz", response.status());
            return (vec![Part::Gateway.fail(said, "is it a Plugboard gateway? Give its address by --url")], false);
        }
        Err(_) => {
            let remedy = "is `plugboard up`, or a gateway, running? Is PLUGBOARD_URL right?";
            return (vec![Part::Gateway.fail(format!("nothing answers at {address}"), remedy)], false);
        }
    };
    let took = before.until(after).as_millis();
    let mut findings = vec![Part::Gateway.ok(format!("answers at {address} in {took} ms"))];
    let date = response.headers().get("date").and_then(|date| http_date(date.to_str().ok()?));
    findings.push(match date {
        Some(told) => clocks::judge("the gateway", &Look { before, told, after, grain: GRAIN }),
        None => Part::Clock.skipped("the gateway tells no time (a proxy in front of it may have taken `Date` away)"),
    });
    (findings, true)
}

async fn ready(client: &ClientArgs) -> (Finding, Shape) {
    let (is_ready, report) = match get(client, "/readyz").await {
        Ok(response) => (response.status().is_success(), response.json::<Value>().await.unwrap_or_default()),
        Err(_) => (false, Value::Null),
    };
    let shape = match report["parts"].as_object() {
        Some(parts) if parts.contains_key("nats") => Shape::Services,
        Some(parts) if parts.contains_key("auth") => Shape::Embedded,
        _ => Shape::Unknown,
    };
    let finding = if is_ready {
        Part::Gateway.ok("is ready: it hears the catalog and the auth service")
    } else {
        let remedy = "wait when it is only starting; else see what is said of that part, and the gateway's log";
        Part::Gateway.fail(format!("is not ready: {}", report["parts"]), remedy)
    };
    (finding, shape)
}

async fn connectors(client: &ClientArgs) -> Option<BTreeMap<String, String>> {
    let rows: Vec<Value> = get(client, "/connectors.json").await.ok()?.json().await.ok()?;
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let rows = rows.iter().map(|row| (text(row, "key"), catalog::row(&text(row, "name"), &text(row, "description"))));
    Some(rows.collect())
}

async fn tools(client: &ClientArgs) -> Finding {
    if client.key.is_none() {
        return Part::Gateway.warn("there is no API key to try the tools with", "set PLUGBOARD_API_KEY, or give --key");
    }
    match tokio::time::timeout(WITHIN, call_tool(client, "list_services", json!({}))).await {
        Ok(Ok(list)) => {
            let services = list["services"].as_array().map_or(0, Vec::len);
            Part::Gateway.ok(format!("takes the API key and lists {services} services"))
        }
        Ok(Err(error)) => {
            let remedy = "is the key of this deployment, neither ended nor revoked, and has it the scope read:tools?";
            Part::Gateway.fail(format!("the tools do not answer: {error:#}"), remedy)
        }
        Err(_) => Part::Gateway.fail(
            format!("the tools have not answered within {} s", WITHIN.as_secs()),
            "see what is said of the auth service's store, and the gateway's log",
        ),
    }
}
