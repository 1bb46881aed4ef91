//! `plugboard keys`: a client of the public API, and the generator of a deployment's secrets.

use std::process::ExitCode;

use plugboard_core::secret::SecretKey;
use serde_json::{Value, json};

use crate::call::http;
use crate::cli::{ClientArgs, KeysCommand};
use crate::operator::request;
use crate::print_answer;

pub async fn run(command: KeysCommand) -> anyhow::Result<ExitCode> {
    let answer = match command {
        KeysCommand::Generate => generate()?,
        KeysCommand::List { client } => request(&client, http(&client)?.get(keys_url(&client))).await?,
        KeysCommand::Issue { name, scope, expires_in_days, subject, agent, client } => {
            let mut wanted = json!({"name": name, "expires_in_days": expires_in_days});
            if !scope.is_empty() {
                wanted["scopes"] = json!(scope);
            }
            if let Some(subject) = subject {
                wanted["subject"] = json!(subject);
            }
            if let Some(agent) = agent {
                wanted["agent"] = json!(agent);
            }
            request(&client, http(&client)?.post(keys_url(&client)).json(&wanted)).await?
        }
        KeysCommand::Rotate { id, overlap_hours, client } => {
            let wanted = json!({"overlap_hours": overlap_hours});
            request(&client, http(&client)?.post(format!("{}/{id}/rotate", keys_url(&client))).json(&wanted)).await?
        }
        KeysCommand::Revoke { id, client } => {
            request(&client, http(&client)?.delete(format!("{}/{id}", keys_url(&client)))).await?
        }
    };
    print_answer(&serde_json::to_string_pretty(&answer)?);
    Ok(ExitCode::SUCCESS)
}

fn keys_url(client: &ClientArgs) -> String {
    format!("{}/api/v1/organizations/me/api-keys", client.url.trim_end_matches('/'))
}

/// Everything a new deployment presets.
fn generate() -> anyhow::Result<Value> {
    let secret = || -> anyhow::Result<String> { Ok(SecretKey::generate()?.to_hex().expose().to_owned()) };
    let preset = |kind| -> anyhow::Result<String> { Ok(auth_service::api_key::generate(kind)?.expose().to_owned()) };
    Ok(json!({
        "PLUGBOARD_SECRETS__CLUSTER_SECRET": secret()?,
        "PLUGBOARD_SECRETS__TICKET_KEY": secret()?,
        "PLUGBOARD_SECRETS__PAYLOAD_KEY": secret()?,
        "PLUGBOARD_SECRETS__MASTER_KEY": secret()?,
        "PLUGBOARD_SEED_OPERATOR_KEY": preset(auth_service::api_key::Kind::Operator)?,
        "PLUGBOARD_SEED_API_KEY": preset(auth_service::api_key::Kind::Organization)?,
    }))
}
