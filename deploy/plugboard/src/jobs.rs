//! `plugboard jobs`: calls that were given up, by way of the public API.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::call::http;
use crate::cli::{ClientArgs, JobsCommand};
use crate::operator::{operator, request};
use crate::print_answer;

/// Most that one page gives.
const PAGE: usize = 200;

pub async fn run(command: JobsCommand) -> anyhow::Result<ExitCode> {
    match command {
        JobsCommand::List { limit, client } => list(&operator(&client), limit).await?,
        JobsCommand::Show { execution_id, client } => {
            let client = operator(&client);
            let letter = request(&client, http(&client)?.get(address(&client, &execution_id))).await?;
            print_answer(&serde_json::to_string_pretty(&letter)?);
        }
        JobsCommand::Replay { execution_id, accept_duplicate, client } => {
            let client = operator(&client);
            let url = format!("{}/replay", address(&client, &execution_id));
            let wanted = json!({"accept_duplicate": accept_duplicate});
            let replayed = request(&client, http(&client)?.post(url).json(&wanted)).await?;
            print_answer(replayed["execution_id"].as_str().unwrap_or_default());
        }
        JobsCommand::Drop { execution_id, client } => {
            let client = operator(&client);
            request(&client, http(&client)?.delete(address(&client, &execution_id))).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &ClientArgs, limit: usize) -> anyhow::Result<()> {
    let url = address(client, "");
    let (mut left, mut from) = (limit, None);
    while left > 0 {
        let mut query = vec![("limit", left.min(PAGE).to_string())];
        query.extend(from.map(|from: String| ("from", from)));
        let page = request(client, http(client)?.get(&url).query(&query)).await?;
        let letters = page["dead_letters"].as_array().cloned().unwrap_or_default();
        letters.iter().for_each(|letter| print_answer(&line(letter)));
        left = left.saturating_sub(letters.len());
        from = page["next"].as_str().map(str::to_owned);
        if from.is_none() {
            break;
        }
    }
    Ok(())
}

/// `ex_…  2026-01-01T00:00:00Z  org_…  ozon/seller/create_order  once  started 6 times …`
fn line(letter: &Value) -> String {
    let text = |name: &str| letter[name].as_str().unwrap_or_default().to_owned();
    if letter["readable"] == false {
        return [text("execution_id"), text("reason")].join("  ");
    }
    let operation = letter["operation"].as_str().map_or_else(|| text("method"), str::to_owned);
    let call = format!("{}/{}/{operation}", text("service"), text("module"));
    [text("execution_id"), text("given_up_at"), text("organization"), call, text("effect"), text("reason")].join("  ")
}

fn address(client: &ClientArgs, execution_id: &str) -> String {
    let url = format!("{}/api/v1/dead-letters", client.url.trim_end_matches('/'));
    if execution_id.is_empty() { url } else { format!("{url}/{execution_id}") }
}
