//! Real servers, one of each for the whole test binary, and more for tests that kill them.
//!
//! `deploy/local/install-servers` installs the programs. nats-server is looked for in `PLUGBOARD_NATS_SERVER`, then in
//! `PATH`, then in `.tools/bin`; redis-server in `PLUGBOARD_REDIS_SERVER`, then in `PATH`.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// A namespace that nobody used before.
pub fn namespace() -> String {
    format!("t{}", uuid::Uuid::new_v4().simple())
}

/// A nats-server with JetStream on file storage.
#[derive(Debug)]
pub struct NatsServer {
    data: TempDir,
    config: PathBuf,
    running: Option<Leashed>,
    address: SocketAddr,
}

impl NatsServer {
    /// The one that all tests share; each uses a namespace of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<NatsServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// One of your own, to be killed.
    pub fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let config = data.path().join("nats.conf");
        let store = data.path().join("store");
        std::fs::write(
            &config,
            format!(
                "host: 127.0.0.1\nport: -1\nports_file_dir: {:?}\njetstream {{ store_dir: {store:?} }}\n",
                data.path()
            ),
        )
        .unwrap();
        let mut server = Self { data, config, running: None, address: ([127, 0, 0, 1], 0).into() };
        server.restart();
        server
    }

    /// `kill -9`. What the operating system had not yet been given is lost.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// On the same data, on another port.
    pub fn restart(&mut self) {
        self.running = None;
        let mut command = Command::new(nats_program());
        command.arg("-c").arg(&self.config);
        let running = Leashed::start(&command, &self.data.path().join("nats.log"));
        let ports = self.data.path().join(format!("nats-server_{}.ports", running.pid));
        self.address = eventually("nats-server listens", || {
            let text = std::fs::read_to_string(&ports).ok()?;
            let ports: serde_json::Value = serde_json::from_str(&text).ok()?;
            let address = ports["nats"][0].as_str()?.trim_start_matches("nats://").parse().ok()?;
            TcpStream::connect(address).ok().map(|_| address)
        });
        self.running = Some(running);
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Where the messages of a stream lie.
    pub fn stream_directory(&self, stream: &str) -> PathBuf {
        self.data.path().join("store/jetstream/$G/streams").join(stream)
    }
}

/// A redis-server that appends every write to a file before it answers.
#[derive(Debug)]
pub struct RedisServer {
    data: TempDir,
    append_only: bool,
    running: Option<Leashed>,
    address: SocketAddr,
}

impl RedisServer {
    /// The one that all tests share; each uses a namespace of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<RedisServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// One of your own, to be killed.
    pub fn start() -> Self {
        Self::with_append_only(true)
    }

    /// One that keeps nothing.
    pub fn volatile() -> Self {
        Self::with_append_only(false)
    }

    fn with_append_only(append_only: bool) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut server = Self { data, append_only, running: None, address: ([127, 0, 0, 1], 0).into() };
        server.restart();
        server
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// On the same data, on another port.
    pub fn restart(&mut self) {
        self.running = None;
        // Redis cannot choose a port by itself. Somebody else may take this one in between, so try a few.
        for _ in 0..5 {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let mut command = Command::new(program("redis-server", "PLUGBOARD_REDIS_SERVER"));
            command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
            command.arg("--dir").arg(self.data.path());
            command.args(["--appendonly", if self.append_only { "yes" } else { "no" }]);
            command.args(["--appendfsync", "always", "--save", "", "--daemonize", "no"]);
            let running = Leashed::start(&command, &self.data.path().join("redis.log"));
            let deadline = Instant::now() + STARTS_WITHIN / 5;
            while Instant::now() < deadline {
                if TcpStream::connect(address).is_ok() {
                    self.address = address;
                    self.running = Some(running);
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        panic!("redis-server does not start; see {:?}", self.data.path().join("redis.log"));
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }
}

/// A process that is killed when this is dropped, and also when the test binary dies before it can drop anything: a
/// shell holds the leash, and its standard input ends with us.
#[derive(Debug)]
struct Leashed {
    shell: Child,
    leash: Option<ChildStdin>,
    pid: u32,
}

impl Leashed {
    fn start(command: &Command, log: &Path) -> Self {
        const SCRIPT: &str = r#"
            trap '' INT TERM HUP
            log="$1"; pidfile="$2"; shift 2
            "$@" >>"$log" 2>&1 </dev/null &
            echo $! >"$pidfile.new" && mv "$pidfile.new" "$pidfile"
            cat >/dev/null
            kill -9 $! 2>/dev/null
            wait
        "#;
        let pidfile = log.with_extension("pid");
        let _ = std::fs::remove_file(&pidfile);
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(log)
            .arg(&pidfile)
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let leash = shell.stdin.take();
        let pid = eventually("a server process starts", || std::fs::read_to_string(&pidfile).ok()?.trim().parse().ok());
        Self { shell, leash, pid }
    }
}

impl Drop for Leashed {
    fn drop(&mut self) {
        self.leash = None;
        let _ = self.shell.wait();
    }
}

fn nats_program() -> PathBuf {
    let local = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/bin/nats-server");
    let found = find("nats-server", "PLUGBOARD_NATS_SERVER").or_else(|| local.is_file().then_some(local));
    found.expect("no nats-server: run deploy/local/install-servers")
}

fn program(name: &str, variable: &str) -> PathBuf {
    find(name, variable).unwrap_or_else(|| panic!("no {name}: run deploy/local/install-servers"))
}

fn find(name: &str, variable: &str) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(variable) {
        return Some(named.into());
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + STARTS_WITHIN;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {STARTS_WITHIN:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
