//! What the processes of a local cluster use: memory, processor time, and what went through NATS and Redis.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Clock ticks a second in `/proc/PID/stat`: USER_HZ, which Linux fixes for programs whatever the kernel's own.
const TICKS: f64 = 100.0;

/// The processes of a cluster by name (`executor-2`).
///
/// # Errors
/// When it is not known which there are.
pub fn pids(data: &Path) -> anyhow::Result<Vec<(String, u32)>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(data.join("run"))? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".pid")) else { continue };
        all.push((name.to_owned(), std::fs::read_to_string(&path)?.trim().parse()?));
    }
    all.sort();
    Ok(all)
}

/// Resident memory of each process of a cluster, by name, in bytes.
///
/// # Errors
/// When it is not known which there are.
pub fn resident(data: &Path) -> anyhow::Result<Vec<(String, u64)>> {
    Ok(pids(data)?.into_iter().map(|(name, pid)| (name, rss(pid))).collect())
}

/// Resident bytes; 0 when there is no such process.
pub fn rss(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or_default() * 1024
}

pub fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// What a cluster has used since it started.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Seconds of a processor, by role (`executor`).
    pub cpu: BTreeMap<String, f64>,
    pub nats_bytes: f64,
    pub nats_messages: f64,
    pub redis_commands: f64,
}

impl Usage {
    /// # Errors
    /// When a process or server cannot be asked.
    pub async fn of(data: &Path) -> anyhow::Result<Self> {
        let mut usage = Self::default();
        for (name, pid) in pids(data)? {
            let role = name.split('-').next().unwrap_or(&name).to_owned();
            let (user, kernel) = cpu_seconds(pid)?;
            *usage.cpu.entry(role).or_default() += user + kernel;
        }
        let conf = std::fs::read_to_string(data.join("nats/nats-1.conf"))?;
        let varz = ask_nats(setting(&conf, "http:")?).await?;
        let number = |name: &str| varz[name].as_f64().with_context(|| format!("NATS tells no {name}"));
        usage.nats_bytes = number("in_bytes")? + number("out_bytes")?;
        usage.nats_messages = number("in_msgs")? + number("out_msgs")?;
        for name in ["redis", "limits"] {
            let conf = std::fs::read_to_string(data.join(name).join("redis.conf"))?;
            usage.redis_commands += redis_commands(setting(&conf, "port")?, setting(&conf, "requirepass")?).await?;
        }
        Ok(usage)
    }

    pub fn since(&self, earlier: &Self) -> Self {
        let cpu = self
            .cpu
            .iter()
            .map(|(role, seconds)| (role.clone(), seconds - earlier.cpu.get(role).copied().unwrap_or_default()));
        Self {
            cpu: cpu.collect(),
            nats_bytes: self.nats_bytes - earlier.nats_bytes,
            nats_messages: self.nats_messages - earlier.nats_messages,
            redis_commands: self.redis_commands - earlier.redis_commands,
        }
    }
}

/// What a process has used since it started.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Seconds of a processor.
    pub user: f64,
    pub kernel: f64,
    /// Changes of context, of the threads it has now.
    pub switches: f64,
}

impl Times {
    /// # Errors
    /// When there is no such process.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let (user, kernel) = cpu_seconds(pid)?;
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))?.flatten();
        let of_task = |status: String| -> f64 {
            let lines = status.lines().filter(|line| line.contains("ctxt_switches:"));
            lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).sum()
        };
        let statuses = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
        Ok(Self { user, kernel, switches: statuses.map(of_task).sum() })
    }

    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            user: self.user - earlier.user,
            kernel: self.kernel - earlier.kernel,
            switches: self.switches - earlier.switches,
        }
    }
}

/// Seconds in which the machine's processors had nothing to do, of all of them together, since it started.
///
/// # Errors
/// Where there is no `/proc/stat`.
pub fn idle() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let ticks = stat.split_whitespace().nth(4).context("a short /proc/stat")?.parse::<f64>()?;
    Ok(ticks / TICKS)
}

/// In user and kernel mode.
fn cpu_seconds(pid: u32) -> anyhow::Result<(f64, f64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the program stands in brackets and may hold anything; what follows is counted from its end.
    let (_, rest) = stat.rsplit_once(')').context("an odd /proc/PID/stat")?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || -> anyhow::Result<f64> { Ok(fields.next().context("a short /proc/PID/stat")?.parse()?) };
    Ok((ticks()? / TICKS, ticks()? / TICKS))
}

/// The word after `name` at the begin of a line.
fn setting<'a>(conf: &'a str, name: &str) -> anyhow::Result<&'a str> {
    conf.lines()
        .find_map(|line| line.strip_prefix(name)?.split_whitespace().next())
        .with_context(|| format!("a configuration without {name}"))
}

async fn ask_nats(monitor: &str) -> anyhow::Result<serde_json::Value> {
    // To HTTP/1.1 it would answer in chunks.
    let answer = exchange(monitor, "GET /varz HTTP/1.0\r\n\r\n").await?;
    let (_, body) = answer.split_once("\r\n\r\n").context("NATS tells nothing of itself")?;
    Ok(serde_json::from_str(body)?)
}

async fn redis_commands(port: &str, password: &str) -> anyhow::Result<f64> {
    let questions = format!("AUTH {password}\r\nINFO stats\r\nQUIT\r\n");
    let answer = exchange(&format!("127.0.0.1:{port}"), &questions).await?;
    let Some(line) = answer.lines().find_map(|line| line.strip_prefix("total_commands_processed:")) else {
        bail!("Redis does not tell its commands: {answer}");
    };
    Ok(line.trim().parse()?)
}

/// What is said until the connection is closed.
async fn exchange(address: &str, questions: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
    stream.write_all(questions.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
