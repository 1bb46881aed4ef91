//! Plugboard itself, in both shapes, as its users run it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use crate::calls;
use crate::http::{Connection, address, post};
use crate::load::Target;
use crate::processes::rss;

pub const ORGANIZATIONS: usize = 100;
/// Organizations that are made at once.
const TOGETHER: usize = 16;

/// Proof of success in an answer.
const FINE: &str = "\"isError\":false";

/// How NATS brings writes to the disk.
#[derive(Clone, Copy)]
pub enum Sync {
    /// Every two minutes; the machine's own death in between loses what came since.
    Default,
    Always,
}

impl Sync {
    pub fn from_env() -> anyhow::Result<Self> {
        match std::env::var("BENCH_SYNC").as_deref() {
            Err(_) | Ok("default") => Ok(Self::Default),
            Ok("always") => Ok(Self::Always),
            Ok(other) => bail!("BENCH_SYNC={other}: it is default or always"),
        }
    }

    /// Of the local cluster.
    fn flag(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Always => "always",
        }
    }

    /// In a server's configuration.
    pub fn interval(self) -> &'static str {
        match self {
            Self::Default => "2m",
            Self::Always => "always",
        }
    }

    pub fn text(self) -> &'static str {
        match self {
            Self::Default => "default sync",
            Self::Always => "sync always",
        }
    }
}

/// A cluster as it is wanted.
pub struct Cluster<'a> {
    pub executors: usize,
    pub organizations: usize,
    pub sync: Sync,
    /// A folder of more connectors.
    pub connectors: Option<&'a Path>,
    /// Another binary than the one built beside this.
    pub binary: Option<&'a Path>,
    /// Environment.
    pub settings: &'a [(&'a str, &'a str)],
}

impl Default for Cluster<'_> {
    fn default() -> Self {
        Self {
            executors: 1,
            organizations: ORGANIZATIONS,
            sync: Sync::Default,
            connectors: None,
            binary: None,
            settings: &[],
        }
    }
}

/// Plugboard with organizations that have one account each.
pub struct System {
    url: String,
    keys: Vec<String>,
    child: Child,
}

impl Drop for System {
    fn drop(&mut self) {
        // SIGTERM, so that a supervisor stops what it started.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

impl System {
    /// `plugboard up`. `settings`: environment.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn up(data: &Path, vendor: &str, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut command = Command::new(binary()?);
        command.args(["up", "--listen", "127.0.0.1:0", "--data"]).arg(data);
        diverted(&mut command, vendor);
        command.envs(settings.iter().copied());
        let begun = Instant::now();
        let system = Self::start(command, &data.with_extension("log"), ORGANIZATIONS).await?;
        eprintln!("plugboard up is ready with {ORGANIZATIONS} organizations after {:?}", begun.elapsed());
        Ok(system)
    }

    /// The distributed shape, as processes of this machine.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn cluster(data: &Path, vendor: &str, plan: &Cluster<'_>) -> anyhow::Result<Self> {
        let mut command = Command::new(repository().join("deploy/local/cluster"));
        command.env("PLUGBOARD_BIN", plan.binary.map_or_else(binary, |path| Ok(path.to_owned()))?);
        command.args(["up", "--port", "0", "--executors", &plan.executors.to_string()]);
        command.args(["--sync", plan.sync.flag(), "--data"]).arg(data);
        diverted(&mut command, vendor);
        if let Some(connectors) = plan.connectors {
            command.arg("--connectors").arg(connectors);
        }
        command.envs(plan.settings.iter().copied());
        let system = Self::start(command, &data.with_extension("log"), plan.organizations).await?;
        // Give the servers a moment to write what the organizations left.
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(system)
    }

    async fn start(mut command: Command, log: &Path, organizations: usize) -> anyhow::Result<Self> {
        let log = std::fs::File::create(log)?;
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().context("starting plugboard")?;
        let stdout = child.stdout.take().context("no stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let ready: Value = serde_json::from_str(&line).context("no ready line")?;
        let text = |name: &str| ready[name].as_str().map(str::to_owned).with_context(|| format!("no {name}"));
        let mut system = Self { url: text("url")?, keys: Vec::new(), child };
        let operator = text("operator_key")?;
        let made = futures::stream::iter(0..organizations).map(|number| system.organization(&operator, number));
        system.keys = made.buffered(TOGETHER).try_collect().await?;
        Ok(system)
    }

    /// One organization with one account; its key.
    async fn organization(&self, operator: &str, number: usize) -> anyhow::Result<String> {
        let name = json!({"name": format!("bench {number}")});
        let organization = self.request("/api/v1/organizations", operator, &name).await?;
        let key = organization["api_key"].as_str().context("no api_key")?.to_owned();
        let account = json!({"service": "bench", "credentials": {"api_key": format!("bench-secret-{number:04}")}});
        self.request("/api/v1/connections", &key, &account).await?;
        Ok(key)
    }

    async fn request(&self, path: &str, key: &str, body: &Value) -> anyhow::Result<Value> {
        let address = address(&self.url);
        let request = post(address, path, &[("Authorization", &format!("Bearer {key}"))], &body.to_string());
        let mut connection = Connection::open(address).await?;
        let (status, answer) = connection.exchange(&request).await?;
        if status != 201 {
            bail!("{path} answered {status}: {}", String::from_utf8_lossy(answer));
        }
        Ok(serde_json::from_slice(answer)?)
    }

    /// A call of a tool, ready to be sent.
    fn tool_call(&self, key: &str, tool: &str, body: &str) -> Vec<u8> {
        calls::request(&self.url, &[("Authorization", &format!("Bearer {key}"))], tool, body)
    }

    pub fn targets(&self, name: &str) -> Vec<Target> {
        let one = &self.keys[..1];
        let target = |suffix: &str, keys: &[String], body| self.target(format!("{name}{suffix}"), keys, body);
        vec![
            target(", 1 org", one, calls::READ),
            target(", 100 orgs", &self.keys, calls::READ),
            target(", writes (once)", one, calls::WRITE),
        ]
    }

    /// Calls of ten organizations that are not the first.
    pub fn quiet_targets(&self) -> Vec<Target> {
        let ten = &self.keys[1..11];
        vec![
            self.target("reads".to_owned(), ten, calls::READ),
            self.target("writes (once)".to_owned(), ten, calls::WRITE),
        ]
    }

    /// Reads of all organizations in turn.
    pub fn reads(&self) -> Target {
        self.target("reads".to_owned(), &self.keys, calls::READ)
    }

    /// Calls with an effect, of all organizations in turn.
    pub fn writes(&self) -> Target {
        self.target("writes (once)".to_owned(), &self.keys, calls::WRITE)
    }

    fn target(&self, name: String, keys: &[String], body: &str) -> Target {
        let requests = keys.iter().map(|key| self.tool_call(key, "connector_execute", body)).collect();
        Target::new(name, &self.url, requests, FINE)
    }

    /// Writes whose answer nobody waits for, of the first so many organizations in turn.
    pub fn submissions(&self, organizations: usize) -> Target {
        let keys = self.keys.iter().take(organizations);
        let requests = keys.map(|key| self.tool_call(key, "connector_execute", calls::SUBMIT)).collect();
        Target::new("submissions".to_owned(), &self.url, requests, "\"running\"")
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// A key of one of the organizations.
    pub fn key(&self) -> &str {
        &self.keys[0]
    }

    /// A call of a tool by the first organization.
    pub fn call_of(&self, tool: &str, arguments: &str) -> Vec<u8> {
        self.tool_call(self.key(), tool, &calls::body(tool, arguments))
    }

    /// Resident memory of the process and its children, in MB.
    pub fn memory(&self) -> u64 {
        let own = rss(self.child.id());
        let tasks = format!("/proc/{0}/task/{0}/children", self.child.id());
        let children = std::fs::read_to_string(tasks).unwrap_or_default();
        (own + children.split_whitespace().filter_map(|pid| pid.parse().ok()).map(rss).sum::<u64>()) >> 20
    }
}

/// Bytes of all files below.
pub fn directory_bytes(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(about) if about.is_dir() => directory_bytes(&entry.path()),
            Ok(about) => about.len(),
            Err(_) => 0,
        })
        .sum()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn binary() -> anyhow::Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name("plugboard");
    if !beside.is_file() {
        bail!("{} is not built", beside.display());
    }
    Ok(beside)
}

/// Bytes of what is measured; 0 where it cannot be told.
pub fn binary_size() -> u64 {
    binary().and_then(|path| Ok(std::fs::metadata(path)?.len())).unwrap_or_default()
}

fn diverted(command: &mut Command, vendor: &str) {
    command
        .args(["--json", "--upstream", vendor, "--egress-allow"])
        .arg(format!("127.0.0.1/32:{}", vendor.rsplit(':').next().unwrap_or_default()))
        .arg("--connectors")
        .arg(connectors());
}

fn connectors() -> PathBuf {
    repository().join("tests/benchmark/connectors")
}

/// The manifest of what the benchmark calls.
///
/// # Errors
/// When the repository is not where it was built.
pub fn bench_connector() -> anyhow::Result<String> {
    let path = connectors().join("bench.yaml");
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}
