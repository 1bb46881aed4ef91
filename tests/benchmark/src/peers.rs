//! What else people put in front of an API, as `tests/bench --peers` installs it: FastMCP's OpenAPI proxy, and the least
//! server on the Rust SDK. Each is one process that asks the vendor and answers: no accounts, no limits, no journal.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::calls;
use crate::load::Target;
use crate::yardsticks::{Part, start};

const TOOL: &str = "connector_execute";
/// The proxy's tool takes the operation's own parameters.
const FASTMCP_ARGUMENTS: &str = r#"{"n":1}"#;
/// The vendor's answer as text, whether or not there is another form of it.
const PROOF: &str = r#"{\"ok\":true,"#;

pub struct Peer {
    pub target: Target,
    _process: Part,
}

/// Both peers, in front of this vendor.
///
/// # Errors
/// When one of them is not installed, or does not start.
pub fn all(vendor: &str) -> anyhow::Result<[Peer; 2]> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let installed = here.join("../../.tools/peers");
    let python = installed.join("fastmcp/bin/python");
    let script = here.join("peers/fastmcp/proxy.py");
    let server = installed.join("rmcp/release/rmcp-peer");
    Ok([
        peer("FastMCP OpenAPI proxy", &python, &[script], vendor, &calls::body(TOOL, FASTMCP_ARGUMENTS))?,
        peer("rmcp server", &server, &[], vendor, calls::READ)?,
    ])
}

fn peer(name: &str, program: &Path, words: &[PathBuf], vendor: &str, body: &str) -> anyhow::Result<Peer> {
    if !program.is_file() {
        bail!("the peer \"{name}\" is not installed: tests/bench --peers does that");
    }
    let process =
        start(Command::new(program).args(words).arg(vendor)).with_context(|| format!("the peer \"{name}\""))?;
    let request = calls::request(&process.url, &[], TOOL, body);
    let target = Target::new(name.to_owned(), &process.url, vec![request], PROOF);
    Ok(Peer { target, _process: process })
}
