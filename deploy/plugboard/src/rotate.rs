//! `plugboard rotate`: master keys, by way of the public API, so that it works on every shape while it runs.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};

use crate::call::http;
use crate::cli::RotateArgs;
use crate::operator::{operator, request};
use crate::print_answer;

/// How often it looks how far the rotation is.
const LOOK_EVERY: Duration = Duration::from_millis(300);

pub async fn run(args: RotateArgs) -> anyhow::Result<ExitCode> {
    let client = operator(&args.client);
    let url = format!("{}/api/v1/master-keys", client.url.trim_end_matches('/'));
    if args.status {
        show(&request(&client, http(&client)?.get(&url)).await?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(id) = &args.retire {
        show(&request(&client, http(&client)?.delete(format!("{url}/{id}"))).await?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let wanted = args.to.as_ref().map_or_else(|| json!({}), |to| json!({"to": to}));
    let mut status = request(&client, http(&client)?.post(format!("{url}/rotate")).json(&wanted)).await?;
    while !args.no_wait && status["rotation"]["done"] == false {
        tokio::time::sleep(LOOK_EVERY).await;
        status = request(&client, http(&client)?.get(&url)).await?;
    }
    show(&status)?;
    let unreadable = status["rotation"]["unreadable"].as_u64().unwrap_or(0);
    if unreadable > 0 {
        bail!("{unreadable} records could not be opened and stay as they are; the log of the auth service names them");
    }
    Ok(ExitCode::SUCCESS)
}

fn show(status: &Value) -> anyhow::Result<()> {
    print_answer(&serde_json::to_string_pretty(status)?);
    Ok(())
}
