//! The product itself, started as its users start it: the real binary, in either shape, in a directory of its own.
//!
//! `PLUGBOARD_BIN` names the binary; without it the one of this build's profile is taken.

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::mcp_client::McpClient;
use crate::rest_client::Rest;
use crate::vendor::Vendor;
use crate::wait::eventually_blocking;

/// A cluster installs nothing here, but on a busy machine its nine processes take their time.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// How the same parts are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// `plugboard up`.
    Embedded,
    /// `deploy/local/cluster up`.
    Distributed,
}

/// What to start.
#[derive(Debug, Clone)]
pub struct Options {
    shape: Shape,
    gateways: usize,
    executors: usize,
    auths: usize,
    catalogs: usize,
    balanced: bool,
    nats: usize,
    relays: Vec<u16>,
    tls: Option<PathBuf>,
    sandbox: bool,
    upstream: Option<String>,
    egress_allow: Vec<String>,
    connectors: Vec<PathBuf>,
    environment: Vec<(String, String)>,
}

impl Options {
    pub fn gateways(mut self, number: usize) -> Self {
        self.gateways = number;
        self
    }

    /// Three form a cluster; each fsyncs what it is given.
    pub fn nats(mut self, number: usize) -> Self {
        self.nats = number;
        self
    }

    /// Ports at which services reach each nats-server, then redis, then limits.
    pub fn relays(mut self, ports: Vec<u16>) -> Self {
        self.relays = ports;
        self
    }

    /// Certificates of a cluster that speaks TLS.
    pub fn tls(mut self, folder: &Path) -> Self {
        self.tls = Some(folder.to_owned());
        self
    }

    pub fn executors(mut self, number: usize) -> Self {
        self.executors = number;
        self
    }

    pub fn auths(mut self, number: usize) -> Self {
        self.auths = number;
        self
    }

    /// Several need a balancer.
    pub fn catalogs(mut self, number: usize) -> Self {
        self.catalogs = number;
        self
    }

    /// HAProxy in front of gateways, auth services and catalogs; what is asked of the stack goes by it.
    pub fn balanced(mut self) -> Self {
        self.balanced = true;
        self
    }

    pub fn sandbox(mut self) -> Self {
        self.sandbox = true;
        self
    }

    /// Every outbound call goes to this vendor, which may be reached although it is on loopback.
    pub fn vendor(self, vendor: &Vendor) -> Self {
        self.upstream(vendor.url()).egress_allow("127.0.0.0/8")
    }

    pub fn upstream(mut self, url: impl Into<String>) -> Self {
        self.upstream = Some(url.into());
        self
    }

    pub fn egress_allow(mut self, allowance: impl Into<String>) -> Self {
        self.egress_allow.push(allowance.into());
        self
    }

    /// Further manifests.
    pub fn connectors(mut self, folder: impl Into<PathBuf>) -> Self {
        self.connectors.push(folder.into());
        self
    }

    /// The vendor of the test may be asked as often as the test likes.
    pub fn without_limits(self) -> Self {
        self.environment("PLUGBOARD_EXECUTOR__VENDOR_LIMITS", "false")
    }

    /// A cluster hands little of its environment to its children.
    pub fn environment(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// # Panics
    /// When it does not become ready; the message has the end of its log.
    pub fn start(self) -> Stack {
        self.start_in(tempfile::Builder::new().prefix("plugboard-it-").tempdir().unwrap().keep())
    }

    /// In this directory, which is removed in the end.
    ///
    /// # Panics
    /// When it does not become ready; the message has the end of its log.
    pub fn start_in(self, home: PathBuf) -> Stack {
        let mut stack = Stack {
            options: self,
            home,
            ready: Value::Null,
            process: None,
            operator_key: String::new(),
            api_key: String::new(),
        };
        if let Err(problem) = stack.try_start() {
            panic!("{problem}");
        }
        stack
    }

    fn command(&self, data: &Path) -> Command {
        let mut command = match self.shape {
            Shape::Embedded => {
                let mut command = Command::new(binary());
                command.args(["up", "--listen", "127.0.0.1:0"]);
                command
            }
            Shape::Distributed => {
                let mut command = Command::new(repository().join("deploy/local/cluster"));
                command.env("PLUGBOARD_BIN", binary());
                command.args(["up", "--port", "0", "--executors", &self.executors.to_string()]);
                command.args(["--auths", &self.auths.to_string(), "--gateways", &self.gateways.to_string()]);
                if self.balanced {
                    command.args(["--balancer", "--catalogs", &self.catalogs.to_string()]);
                }
                if self.nats > 1 {
                    command.args(["--nats", &self.nats.to_string(), "--sync", "always"]);
                }
                if let Some(folder) = &self.tls {
                    command.arg("--tls").arg(folder);
                }
                if !self.relays.is_empty() {
                    let ports: Vec<String> = self.relays.iter().map(u16::to_string).collect();
                    command.args(["--relays", &ports.join(",")]);
                }
                command
            }
        };
        command.arg("--json").arg("--data").arg(data);
        if self.sandbox {
            command.arg("--sandbox");
        }
        if let Some(upstream) = &self.upstream {
            command.args(["--upstream", upstream]);
        }
        for allowance in &self.egress_allow {
            command.args(["--egress-allow", allowance]);
        }
        for folder in &self.connectors {
            command.arg("--connectors").arg(folder);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A running system.
#[derive(Debug)]
pub struct Stack {
    options: Options,
    home: PathBuf,
    ready: Value,
    process: Option<Leashed>,
    operator_key: String,
    api_key: String,
}

impl Stack {
    pub fn options(shape: Shape) -> Options {
        Options {
            shape,
            gateways: 1,
            executors: 2,
            auths: 1,
            catalogs: 1,
            balanced: false,
            nats: 1,
            relays: Vec::new(),
            tls: None,
            sandbox: false,
            upstream: None,
            egress_allow: Vec::new(),
            connectors: Vec::new(),
            environment: Vec::new(),
        }
    }

    pub fn embedded() -> Options {
        Self::options(Shape::Embedded)
    }

    pub fn cluster() -> Options {
        Self::options(Shape::Distributed)
    }

    /// Starts it on its data; keys of an earlier start are kept.
    ///
    /// # Errors
    /// When it is not ready in time: the end of its log.
    pub fn try_start(&mut self) -> Result<(), String> {
        let data = self.data();
        let process = Leashed::start(&self.options.command(&data), &self.home);
        let began = Instant::now();
        let line = loop {
            let line = std::fs::read_to_string(process.stdout()).unwrap_or_default();
            if line.ends_with('\n') {
                break line;
            }
            if let Some(code) = process.exit_code() {
                return Err(format!("plugboard ended with {code} before it was ready:\n{}", self.log_end()));
            }
            if began.elapsed() > READY_WITHIN {
                return Err(format!("plugboard is not ready after {READY_WITHIN:?}:\n{}", self.log_end()));
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        self.process = Some(process);
        self.ready = serde_json::from_str(line.lines().next().unwrap_or_default())
            .map_err(|error| format!("the ready line is not JSON ({error}): {line}"))?;
        if let Some(key) = self.ready["operator_key"].as_str() {
            key.clone_into(&mut self.operator_key);
        }
        if let Some(key) = self.ready["api_key"].as_str() {
            key.clone_into(&mut self.api_key);
        }
        Ok(())
    }

    pub fn shape(&self) -> Shape {
        self.options.shape
    }

    /// The ready line of the last start.
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    pub fn url(&self) -> &str {
        self.ready["url"].as_str().unwrap()
    }

    /// Where a service of a cluster serves its operator: `gateway`, `executor`, `auth` or `catalog`.
    pub fn health_urls(&self, role: &str) -> Vec<String> {
        let urls = self.ready["health_urls"][role].as_array().unwrap_or_else(|| panic!("{role}: {}", self.ready));
        urls.iter().map(|url| url.as_str().unwrap().to_owned()).collect()
    }

    /// `--data`.
    pub fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    pub fn api_key(&self) -> &str {
        &self.api_key
    }

    pub fn operator_key(&self) -> &str {
        &self.operator_key
    }

    /// Management with any key.
    pub fn rest(&self, key: &str) -> Rest {
        Rest::new(self.url(), key)
    }

    /// The newest protocol with any key.
    pub fn mcp(&self, key: &str) -> McpClient {
        McpClient::modern(self.url(), key)
    }

    /// SIGTERM; returns the exit code, and how long it took.
    pub fn terminate(&mut self) -> (i32, Duration) {
        let process = self.process.take().unwrap();
        let began = Instant::now();
        signal(process.pid, "TERM");
        let code = eventually_blocking("plugboard ends after SIGTERM", Duration::from_secs(60), || process.exit_code());
        (code, began.elapsed())
    }

    /// `kill -9` of the whole embedded shape.
    pub fn kill(&mut self) {
        assert_eq!(self.shape(), Shape::Embedded, "a cluster is killed process by process");
        signal(self.main_pid(), "KILL");
        self.ends();
    }

    /// Waits for the whole embedded shape to end by itself.
    pub fn ends(&mut self) {
        assert_eq!(self.shape(), Shape::Embedded, "a cluster starts anew what ends");
        let process = self.process.take().unwrap();
        eventually_blocking("the process ends", Duration::from_secs(10), || process.exit_code());
    }

    /// A connection to the broker of a cluster, with a gateway's rights.
    pub async fn broker(&self) -> async_nats::Client {
        let conf = std::fs::read_to_string(self.data().join("nats/nats-1.conf")).unwrap();
        let after = |start: &str, end: char| {
            let rest = &conf[conf.find(start).unwrap() + start.len()..];
            rest[..rest.find(end).unwrap()].to_owned()
        };
        let (address, password) = (after("listen: ", '\n'), after("user: gateway, password: \"", '"'));
        let options = async_nats::ConnectOptions::with_user_and_password("gateway".to_owned(), password);
        options.connect(format!("nats://{address}")).await.unwrap()
    }

    /// The process that was started: the whole of the embedded shape, or the supervisor of a cluster.
    pub fn main_pid(&self) -> u32 {
        self.process.as_ref().unwrap().pid
    }

    /// A process of a cluster, by name.
    pub fn pid(&self, name: &str) -> u32 {
        eventually_blocking(&format!("{name} runs"), Duration::from_secs(20), || self.pid_now(name))
    }

    /// The same, if it runs now.
    pub fn pid_now(&self, name: &str) -> Option<u32> {
        let file = self.data().join("run").join(format!("{name}.pid"));
        std::fs::read_to_string(file).ok()?.trim().parse().ok()
    }

    /// Lets a cluster keep the first so many of its executors; the others end, and are started again when more are wanted.
    ///
    /// # Panics
    /// When its supervisor cannot be told.
    pub fn scale_executors(&self, wanted: usize) {
        let mut command = Command::new(repository().join("deploy/local/cluster"));
        command.args(["scale", "--executors", &wanted.to_string(), "--data"]).arg(self.data());
        assert!(command.status().unwrap().success(), "the cluster is not scaled");
    }

    /// Sends a signal to a process of a cluster.
    pub fn signal(&self, name: &str, number: &str) {
        signal(self.pid(name), number);
    }

    /// Everything the system has written so far, by file: logs, stores, files of the broker. Without the files that
    /// hold a deployment's own secrets by design.
    pub fn written(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        collect(&self.home, &mut files);
        files.retain(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let by_design = ["secrets.json", "master.key", "local.key", "stdout"].contains(&name.as_ref())
                || name.ends_with(".conf");
            !by_design
        });
        files.into_iter().filter_map(|path| std::fs::read(&path).ok().map(|bytes| (path, bytes))).collect()
    }

    /// The logs of all processes.
    pub fn logs(&self) -> String {
        let mut text = std::fs::read_to_string(self.home.join("stderr")).unwrap_or_default();
        for entry in std::fs::read_dir(self.data().join("log")).into_iter().flatten().flatten() {
            let log = std::fs::read(entry.path()).unwrap_or_default();
            text.push_str(&format!("\n== {}\n{}", entry.file_name().display(), String::from_utf8_lossy(&log)));
        }
        text
    }

    fn log_end(&self) -> String {
        let logs = self.logs();
        let lines: Vec<&str> = logs.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the end of the logs of {}\n{}", self.home.display(), self.log_end());
        }
        // The leash ends it and removes its files.
        drop(self.process.take());
        if std::env::var_os("PLUGBOARD_KEEP").is_none() {
            let _ = std::fs::remove_dir_all(&self.home);
        }
    }
}

/// The process under test. It ends when this is dropped, and also when the test binary dies before it can drop
/// anything: a shell waits for its standard input to end with us.
#[derive(Debug)]
struct Leashed {
    shell: Child,
    leash: Option<ChildStdin>,
    home: PathBuf,
    pid: u32,
}

impl Leashed {
    fn start(command: &Command, home: &Path) -> Self {
        // A cluster's supervisor must hear SIGTERM to stop its children; plugboard itself may be cut off.
        const SCRIPT: &str = r#"
            trap '' INT HUP
            home="$1"; keep="$2"; shift 2
            cd "$home"
            "$@" >stdout 2>>stderr </dev/null &
            child=$!
            echo $child >pid.new && mv pid.new pid
            exec 3<&0
            (
                cat <&3 >/dev/null
                [ ! -e code ] || exit
                kill -TERM $child 2>/dev/null
                for _ in $(seq 200); do kill -0 $child 2>/dev/null || break; sleep 0.1; done
                kill -KILL $child 2>/dev/null
                [ -n "$keep" ] || { cd /; rm -rf "$home"; }
            ) &
            watcher=$!
            exec 3<&-
            wait $child
            echo $? >code.new && mv code.new code
            wait $watcher
        "#;
        for name in ["pid", "code", "stdout"] {
            let _ = std::fs::remove_file(home.join(name));
        }
        let keep = if std::env::var_os("PLUGBOARD_KEEP").is_some() { "yes" } else { "" };
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "sh"]).arg(home).arg(keep).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let leash = shell.stdin.take();
        let pid = eventually_blocking("the process starts", Duration::from_secs(20), || {
            std::fs::read_to_string(home.join("pid")).ok()?.trim().parse().ok()
        });
        Self { shell, leash, home: home.to_owned(), pid }
    }

    fn stdout(&self) -> PathBuf {
        self.home.join("stdout")
    }

    fn exit_code(&self) -> Option<i32> {
        std::fs::read_to_string(self.home.join("code")).ok()?.trim().parse().ok()
    }
}

impl Drop for Leashed {
    fn drop(&mut self) {
        // Where it has ended by itself the shell knows: its number may be somebody else's by now, and the files stay.
        self.leash = None;
        let _ = self.shell.wait();
    }
}

/// Sends a signal by name (`TERM`, `KILL`, `STOP`, `CONT`).
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().unwrap();
    assert!(status.success(), "kill -{name} {pid}");
}

/// The checkout.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The binary under test.
pub fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("PLUGBOARD_BIN") {
        return PathBuf::from(named).canonicalize().expect("PLUGBOARD_BIN names no file");
    }
    // target/<profile>/deps/it-… → target/<profile>/plugboard
    let own = std::env::current_exe().unwrap();
    let folder = own.ancestors().nth(2).unwrap();
    let found = folder.join("plugboard");
    assert!(found.is_file(), "{} is not built: cargo build --release", found.display());
    found
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}
