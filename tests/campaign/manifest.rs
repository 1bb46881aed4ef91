//! The service that the campaign calls.

use std::net::SocketAddr;
use std::path::Path;

pub(crate) const SERVICE: &str = "faulty";
pub(crate) const ROTATING: &str = "rotating";

/// Where its modules lead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places {
    pub(crate) vendor: SocketAddr,
    /// Nobody listens there.
    pub(crate) closed: SocketAddr,
    /// Not among the addresses that may be dialled.
    pub(crate) canary: SocketAddr,
}

/// Writes the manifests into a folder that the catalog can read.
pub(crate) fn write(folder: &Path, places: Places, rotating: &str) {
    let data = folder.join("data");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join(format!("{SERVICE}.yaml")), faulty(places)).unwrap();
    std::fs::write(data.join(format!("{ROTATING}.yaml")), rotating).unwrap();
}

fn faulty(Places { vendor, closed, canary }: Places) -> String {
    format!(
        r#"key: {SERVICE}
name: Faulty
tagline: For tests
description: A vendor that fails in every way.
category: data
docs: https://faulty.example/docs
version: "1"
auth:
  flows:
    - kind: credentials
      label: Token
      fields:
        token: {{label: Token}}
  test: ping
transport:
  headers: {{Authorization: "Bearer {{account.token}}"}}
modules:
  api: {{summary: API, base_url: "http://{vendor}/api"}}
  closed: {{summary: Nobody is there, base_url: "http://{closed}/api"}}
  canary: {{summary: Nobody may go there, base_url: "http://{canary}/api"}}
idempotency: {{header: Idempotency-Key, retention_seconds: 86400}}
operations:
  - {{id: ping, module: api, method: GET, path: /ping, summary: Pings., effect: read, response_example: {{}}}}
  - id: look
    module: api
    method: GET
    path: /things/{{marker}}
    path_params: {{marker: {{type: string}}}}
    summary: Reads.
    effect: read
    response_example: {{}}
{writes}verified: {{how: documentation, on: "2026-11-22"}}
"#,
        writes = ["api", "closed", "canary"].map(writes).concat()
    )
}

fn writes(module: &str) -> String {
    [
        ("replace", "PUT", "/things", "idempotent"),
        ("charge", "POST", "/charges", "keyed"),
        ("send", "POST", "/messages", "once"),
    ]
    .map(|(id, method, path, effect)| {
        format!(
            r#"  - id: {id}_{module}
    module: {module}
    method: {method}
    path: {path}/{{marker}}
    path_params: {{marker: {{type: string}}}}
    summary: Writes.
    effect: {effect}
    effect_reason: The vendor of the campaign says so.
    body: {{type: object}}
    response_example: {{}}
"#
        )
    })
    .concat()
}
