//! The drill: a backup while it runs, everything lost, and the same keys, accounts and logs again.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use plugboard_tests::stack::{Shape, Stack, binary};
use plugboard_tests::tenant::{Tenant, hubspot_read};
use plugboard_tests::vendor::Vendor;
use plugboard_tests::wait::eventually_blocking;
use serde_json::{Value, json};

use crate::commands::said;

/// How the store of a stack is named to the commands.
struct Place {
    words: Vec<String>,
    environment: Vec<(&'static str, String)>,
}

impl Place {
    fn of(stack: &Stack) -> Self {
        match stack.shape() {
            Shape::Embedded => Self::folder(&stack.data()),
            Shape::Distributed => {
                let secrets: Value =
                    serde_json::from_slice(&std::fs::read(stack.data().join("secrets.json")).unwrap()).unwrap();
                let text = |name: &str| secrets[name].as_str().unwrap().to_owned();
                let url = format!("redis://:{}@127.0.0.1:{}", text("redis"), redis_port(stack));
                // Quoted: digits only would be read as a number.
                let master = format!("{:?}", text("PLUGBOARD_SECRETS__MASTER_KEY"));
                let environment = vec![("PLUGBOARD_REDIS__URL", url), ("PLUGBOARD_SECRETS__MASTER_KEY", master)];
                Self { words: Vec::new(), environment }
            }
        }
    }

    fn folder(data: &Path) -> Self {
        Self { words: vec!["--data".to_owned(), data.to_str().unwrap().to_owned()], environment: Vec::new() }
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command.args(words).args(&self.words).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.output().unwrap()
    }

    /// What it answers.
    fn done(&self, words: &[&str]) -> Value {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Why it does not.
    fn refused(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(!output.status.success(), "{words:?}: {}", said(&output));
        assert!(output.stdout.is_empty(), "{}", said(&output));
        said(&output)
    }
}

fn redis_conf(stack: &Stack) -> PathBuf {
    stack.data().join("redis/redis.conf")
}

fn redis_port(stack: &Stack) -> u16 {
    let conf = std::fs::read_to_string(redis_conf(stack)).unwrap();
    conf.lines().find_map(|line| line.strip_prefix("port ")).unwrap().parse().unwrap()
}

/// The redis-server of a cluster of which nothing else runs.
struct Redis(Child);

impl Redis {
    fn start(stack: &Stack) -> Self {
        let program = std::env::var("PLUGBOARD_REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
        let child = Command::new(program).arg(redis_conf(stack)).stdout(Stdio::null()).spawn().unwrap();
        let port = redis_port(stack);
        eventually_blocking("redis answers", Duration::from_secs(20), || TcpStream::connect(("127.0.0.1", port)).ok());
        Self(child)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It fsyncs what it confirms.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The disk with the store is gone. The master key was elsewhere.
fn lose(stack: &Stack) {
    match stack.shape() {
        Shape::Embedded => std::fs::remove_file(stack.data().join("plugboard.redb")).unwrap(),
        Shape::Distributed => std::fs::remove_dir_all(stack.data().join("redis/appendonlydir")).unwrap(),
    }
}

/// A tenant with an account, of before.
struct Before {
    tenant: Tenant,
    account: String,
}

impl Before {
    async fn works(&self, stack: &Stack, vendor: &Vendor, mark: &str) {
        let seen = vendor.count(mark);
        let envelope = stack.mcp(&self.tenant.key).execute(hubspot_read()).await;
        assert_eq!((&envelope["ok"], &envelope["account"]["id"]), (&json!(true), &json!(self.account)), "{envelope}");
        assert_eq!(vendor.count(mark), seen + 1, "with the same credential");
    }
}

fn verified(stack: &Stack, key: &str) {
    let mut command = Command::new(binary());
    command.args(["audit", "verify"]).env("PLUGBOARD_URL", stack.url()).env("PLUGBOARD_API_KEY", key);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

pub(crate) async fn a_backup_brings_everything_back(shape: Shape) {
    let vendor = Vendor::start();
    let mut stack = Stack::options(shape).vendor(&vendor).without_limits().start();
    let tenant = Tenant::new(&stack).await;
    let account = tenant.connect("hubspot", "Main", &vendor).await;
    let before = Before { tenant, account: account.id.clone() };
    before.works(&stack, &vendor, &account.mark).await;

    // While calls go on.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    let to = file.to_str().unwrap();
    let place = Place::of(&stack);
    let told = place.done(&["backup", "--to", to]);
    assert_eq!(
        (&told["records"]["accounts"], &told["needs_master_keys"]["1"]["accounts"]),
        (&json!(1), &json!(1)),
        "{told}"
    );
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let bytes = std::fs::read(&file).unwrap();
    for secret in account.secrets() {
        assert!(memchr::memmem::find(&bytes, secret.as_bytes()).is_none(), "a credential is in the backup");
    }
    assert!(place.refused(&["backup", "--to", to]).contains("there already"));
    let running = place.refused(&["restore", "--replace", "--from", to]);
    assert!(running.contains("stop"), "{running}");
    let late = Tenant::new(&stack).await;
    before.works(&stack, &vendor, &account.mark).await;

    assert_eq!(stack.terminate().0, 0);
    lose(&stack);
    let redis = (shape == Shape::Distributed).then(|| Redis::start(&stack));
    let cut = folder.path().join("cut");
    std::fs::write(&cut, &bytes[..bytes.len() - 1]).unwrap();
    assert!(place.refused(&["restore", "--from", cut.to_str().unwrap()]).contains("too early"));
    let told = place.done(&["restore", "--from", to]);
    assert_eq!(told["revocations_kept"], 0, "{told}");
    assert!(place.refused(&["restore", "--from", to]).contains("--replace"), "it is not empty any more");
    if shape == Shape::Distributed {
        in_one_process(&place, &before, &file, &account.mark, &vendor).await;
    }
    drop(redis);

    stack.try_start().unwrap();
    assert_eq!(stack.ready()["api_key"].as_str(), None, "no first start");
    before.works(&stack, &vendor, &account.mark).await;
    verified(&stack, &before.tenant.key);
    let unknown = stack.mcp(&late.key).request("tools/list", json!({})).await;
    assert_eq!(unknown.status, 401, "what came after the backup is gone: {}", unknown.text);
    stack.rest(stack.operator_key()).post("/api/v1/organizations", &json!({"name": "Later"})).await.expect(201);
}

/// The backup of a cluster, under `plugboard up`.
async fn in_one_process(cluster: &Place, before: &Before, file: &Path, mark: &str, vendor: &Vendor) {
    let home = tempfile::Builder::new().prefix("plugboard-it-").tempdir().unwrap().keep();
    let data = home.join("data");
    let place = Place::folder(&data);
    let from = file.to_str().unwrap();
    assert!(place.refused(&["restore", "--from", from]).contains("master.key"));
    std::fs::create_dir(&data).unwrap();
    let (_, master) = cluster.environment.iter().find(|(name, _)| name.ends_with("MASTER_KEY")).unwrap();
    std::fs::write(data.join("master.key"), master.trim_matches('"')).unwrap();
    place.done(&["restore", "--from", from]);
    let stack = Stack::embedded().vendor(vendor).start_in(home);
    before.works(&stack, vendor, mark).await;
    verified(&stack, &before.tenant.key);
}
