//! `plugboard audit`: a reader of the public API that believes nothing: `verify` computes the chain anew.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use plugboard_core::identity::{AuditFault, AuditHead, AuditLink, ChainCheck};
use serde_json::{Value, json};

use crate::call::http;
use crate::cli::{AuditCommand, AuditFilter, ClientArgs};
use crate::operator::{operator, request};
use crate::print_answer;

const PAGE: u32 = 1_000;

pub async fn run(command: AuditCommand) -> anyhow::Result<ExitCode> {
    match command {
        AuditCommand::List { filter, platform, client } => {
            list(&whose(platform, client), &filter).await?;
            Ok(ExitCode::SUCCESS)
        }
        AuditCommand::Verify { remember, platform, client } => {
            verify(&whose(platform, client), remember.as_deref()).await
        }
    }
}

fn whose(platform: bool, client: ClientArgs) -> ClientArgs {
    if platform { operator(&client) } else { client }
}

/// One entry a line.
async fn list(client: &ClientArgs, filter: &AuditFilter) -> anyhow::Result<()> {
    let mut after = filter.after;
    let mut left = filter.limit;
    while left > 0 {
        let mut query = vec![("after", after.to_string()), ("limit", left.min(PAGE).to_string())];
        let given = [
            ("action", &filter.action),
            ("key", &filter.by_key),
            ("subject", &filter.subject),
            ("target", &filter.target),
        ];
        query.extend(given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
        let page = page(client, &query).await?;
        let entries = page["entries"].as_array().cloned().unwrap_or_default();
        for entry in &entries {
            print_answer(&entry["entry"].to_string());
        }
        left = left.saturating_sub(u32::try_from(entries.len()).unwrap_or(u32::MAX));
        match page["next"].as_u64() {
            Some(next) => after = next,
            None => break,
        }
    }
    Ok(())
}

async fn page(client: &ClientArgs, query: &[(&str, String)]) -> anyhow::Result<Value> {
    let url = format!("{}/api/v1/audit", client.url.trim_end_matches('/'));
    request(client, http(client)?.get(url).query(query)).await
}

/// What an earlier check saw, so that a log put back to an earlier state is noticed.
#[derive(serde::Serialize, serde::Deserialize)]
struct Seen {
    chain: String,
    seq: u64,
    hash: String,
}

async fn verify(client: &ClientArgs, remember: Option<&Path>) -> anyhow::Result<ExitCode> {
    let seen = remember.filter(|path| path.exists()).map(read_seen).transpose()?;
    match check(client, seen.as_ref()).await? {
        Ok(now) => {
            if let Some(path) = remember {
                let text = serde_json::to_string(&now)?;
                std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
            }
            let answer = json!({"ok": true, "chain": now.chain, "entries": now.seq, "head": now.hash});
            print_answer(&answer.to_string());
            Ok(ExitCode::SUCCESS)
        }
        Err(fault) => {
            print_answer(&json!({"ok": false, "fault": fault.to_string()}).to_string());
            Ok(ExitCode::FAILURE)
        }
    }
}

fn read_seen(path: &Path) -> anyhow::Result<Seen> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not what an earlier check wrote", path.display()))
}

async fn check(client: &ClientArgs, seen: Option<&Seen>) -> anyhow::Result<Result<Seen, AuditFault>> {
    let mut check: Option<(String, ChainCheck)> = None;
    let mut met = seen.is_none();
    loop {
        let after = check.as_ref().map_or(0, |(_, check)| check.at().0);
        let page = page(client, &[("after", after.to_string()), ("limit", PAGE.to_string())]).await?;
        let name = page["chain"].as_str().context("the answer names no chain")?.to_owned();
        if let Some(seen) = seen
            && seen.chain != name
        {
            bail!("the remembered check was of {}, this log is that of {name}", seen.chain);
        }
        let (_, chain) = check.get_or_insert_with(|| (name.clone(), ChainCheck::new(&name)));
        for entry in page["entries"].as_array().context("the answer has no entries")? {
            if let Err(fault) = chain.link(&link_of(entry)?) {
                return Ok(Err(fault));
            }
            if let Some(seen) = seen
                && chain.at().0 == seen.seq
            {
                if chain.at().1 != seen.hash {
                    return Ok(Err(AuditFault::Forgotten(seen.seq)));
                }
                met = true;
            }
        }
        if page["next"].is_null() {
            if let Err(fault) = chain.finish(&head_of(&page["head"])?) {
                return Ok(Err(fault));
            }
            if !met {
                return Ok(Err(AuditFault::Forgotten(seen.map_or(0, |seen| seen.seq))));
            }
            let (seq, hash) = chain.at();
            return Ok(Ok(Seen { chain: name, seq, hash: hash.to_owned() }));
        }
    }
}

fn link_of(entry: &Value) -> anyhow::Result<AuditLink> {
    let text = |name: &str| entry[name].as_str().map(str::to_owned).with_context(|| format!("an entry has no {name}"));
    Ok(AuditLink {
        seq: entry["seq"].as_u64().context("an entry has no seq")?,
        prev: text("prev")?,
        hash: text("hash")?,
        entry: text("raw")?,
    })
}

fn head_of(head: &Value) -> anyhow::Result<AuditHead> {
    serde_json::from_value(head.clone()).context("the head of the log cannot be read")
}
