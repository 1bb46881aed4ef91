//! `plugboard doctor`: a deployment that is well in both shapes, and servers that are not.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use plugboard_core::clock::SystemClock;
use plugboard_core::queue::Shares;
use plugboard_core::queue::nats::{NatsConfig, NatsLink, NatsQueue, NatsQueueConfig};
use plugboard_tests::servers::{NatsServer, RedisServer, namespace};
use plugboard_tests::stack::{Shape, Stack, binary};
use serde_json::Value;
use tokio::process::Command;

use crate::commands::{json_of, said};

type Settings = BTreeMap<String, String>;

/// As typed in a directory of its own, with nothing in the environment but these.
async fn doctor(settings: &Settings, words: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary());
    command.arg("doctor").args(words).env_clear().envs(settings).current_dir(folder.path());
    command.output().await.unwrap()
}

fn settings(pairs: &[(&str, &str)]) -> Settings {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What a gateway and an auth service of a cluster were given, and for `up` nothing; with the key.
fn settings_of(stack: &Stack) -> Settings {
    let mut settings = settings(&[("PLUGBOARD_URL", stack.url()), ("PLUGBOARD_API_KEY", stack.api_key())]);
    if stack.shape() == Shape::Embedded {
        return settings;
    }
    for process in ["gateway-1", "auth-1"] {
        let environment = std::fs::read(format!("/proc/{}/environ", stack.pid(process))).unwrap();
        let texts = environment.split(|byte| *byte == 0).filter_map(|pair| std::str::from_utf8(pair).ok());
        let pairs = texts.filter_map(|pair| pair.split_once('=')).filter(|(name, _)| name.starts_with("PLUGBOARD_"));
        settings.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    settings
}

/// `part state seen` of each finding.
fn findings(output: &Output) -> Vec<(String, String, String)> {
    let answer = json_of(output);
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    let rows = answer["findings"].as_array().unwrap().iter();
    rows.map(|row| (text(row, "part"), text(row, "state"), text(row, "seen"))).collect()
}

fn has(found: &[(String, String, String)], part: &str, state: &str, words: &str) -> bool {
    found.iter().any(|(its_part, its_state, seen)| its_part == part && its_state == state && seen.contains(words))
}

/// The deployment's own secrets, wherever they are kept.
fn secrets(stack: &Stack) -> Vec<String> {
    let read = |name: &str| std::fs::read_to_string(stack.data().join(name)).unwrap();
    let words = match stack.shape() {
        Shape::Embedded => format!("{} {}", read("master.key").replace(':', " "), read("local.key")),
        Shape::Distributed => read("secrets.json").replace('"', " "),
    };
    words.split_whitespace().filter(|word| word.len() >= 32 && !word.contains("__")).map(str::to_owned).collect()
}

pub(crate) async fn a_deployment_that_is_well(stack: &Stack) {
    let mut settings = settings_of(stack);
    let data = stack.data();
    let words = match stack.shape() {
        Shape::Embedded => vec!["--data", data.to_str().unwrap()],
        Shape::Distributed => vec![],
    };
    let plain = doctor(&settings, &words).await;
    assert!(plain.status.success(), "{}", said(&plain));
    let text = said(&plain);
    assert!(text.lines().any(|line| line.starts_with("ok       gateway  answers at http://127.0.0.1:")), "{text}");
    assert!(text.trim_end().ends_with("skipped") && text.contains(" 0 FAIL, "), "{text}");
    let secrets = secrets(stack);
    assert!(secrets.len() >= 2, "{}", secrets.len());
    for secret in secrets.iter().map(String::as_str).chain([stack.api_key()]) {
        assert!(!text.contains(secret), "a secret is told");
    }

    let output = doctor(&settings, &[&words[..], &["--json"]].concat()).await;
    assert_eq!(json_of(&output)["healthy"], true, "{}", said(&output));
    let found = findings(&output);
    assert!(found.iter().all(|(_, state, _)| state == "ok" || state == "skipped"), "{found:#?}");
    assert!(has(&found, "gateway", "ok", "services") && has(&found, "clock", "ok", "the gateway"), "{found:#?}");
    match stack.shape() {
        Shape::Embedded => {
            for part in ["nats", "queue", "redis", "catalog", "egress"] {
                assert!(has(&found, part, "skipped", "embedded: "), "{part}: {found:#?}");
            }
            assert!(has(&found, "keys", "ok", "the master key \"1\" is set"), "{found:#?}");
            assert!(has(&found, "keys", "skipped", "has it open"), "{found:#?}");
        }
        Shape::Distributed => {
            for (part, words) in [
                ("nats", "nats-server 2."),
                ("nats", "plugboard_JOBS"),
                ("nats", "KV_plugboard_journal"),
                ("queue", "all 18 consumers"),
                ("queue", "no call was given up"),
                ("redis", "appendfsync always"),
                ("keys", "secrets.payload_key is set"),
                ("keys", "master keys open all"),
                ("clock", "the NATS server"),
                ("clock", "Redis"),
                ("catalog", "connectors, revision"),
                ("catalog", "the gateway lists the same"),
            ] {
                assert!(has(&found, part, "ok", words), "{part} {words}: {found:#?}");
            }
            assert!(has(&found, "nats", "skipped", "sync_interval"), "{found:#?}");
            another_master_key_is_found(&mut settings).await;
            a_monitoring_port_says_how_nats_writes(&settings, &data).await;
        }
    }
}

async fn another_master_key_is_found(settings: &mut Settings) {
    let other = "8f1d3c5a7be94602d1c8ef35a0b47692e3581c7f09ad64b2c5f0913e7d8ab642";
    let own = settings.insert("PLUGBOARD_SECRETS__MASTER_KEY".to_owned(), other.to_owned()).unwrap();
    let output = doctor(settings, &["--only", "keys", "--json"]).await;
    assert!(!output.status.success(), "{}", said(&output));
    assert!(has(&findings(&output), "keys", "fail", "do not open"), "{}", said(&output));
    // One key for two things.
    let shared = settings["PLUGBOARD_SECRETS__TICKET_KEY"].clone();
    settings.insert("PLUGBOARD_SECRETS__MASTER_KEY".to_owned(), shared);
    let output = doctor(settings, &["--only", "keys", "--json"]).await;
    assert!(has(&findings(&output), "keys", "fail", "are the same key"), "{}", said(&output));
    settings.insert("PLUGBOARD_SECRETS__MASTER_KEY".to_owned(), own);
}

async fn a_monitoring_port_says_how_nats_writes(settings: &Settings, data: &Path) {
    let conf = std::fs::read_to_string(data.join("nats/nats-1.conf")).unwrap();
    let address = conf.lines().find_map(|line| line.strip_prefix("http: ")).unwrap();
    let monitor = format!("http://{address}");
    let output = doctor(settings, &["--only", "nats", "--json", "--nats-monitor", &monitor]).await;
    let found = findings(&output);
    assert!(output.status.success() && has(&found, "nats", "warn", "120 s later"), "{found:#?}");
    assert!(!has(&found, "nats", "skipped", ""), "nothing of NATS is left to say: {found:#?}");
}

/// What a stopped `up` has in its data is opened.
pub(crate) async fn the_data_of_up(shape: Shape) {
    assert_eq!(shape, Shape::Embedded);
    let mut stack = Stack::options(shape).sandbox().start();
    stack.terminate();
    let data = stack.data();
    let look = ["--data", data.to_str().unwrap(), "--only", "keys", "--json"];
    let output = doctor(&Settings::new(), &look).await;
    assert!(has(&findings(&output), "keys", "ok", "master keys open all"), "{}", said(&output));
    assert!(output.status.success(), "{}", said(&output));
    std::fs::write(data.join("master.key"), format!("1:{}\n", "ab".repeat(32))).unwrap();
    let output = doctor(&Settings::new(), &look).await;
    let found = findings(&output);
    assert!(!output.status.success() && has(&found, "keys", "fail", "can be guessed"), "{found:#?}");
    assert!(has(&found, "keys", "fail", "do not open"), "{found:#?}");
    let elsewhere = doctor(&Settings::new(), &["--data", "/nonexistent", "--only", "keys"]).await;
    assert!(!elsewhere.status.success() && said(&elsewhere).contains("holds no data"), "{}", said(&elsewhere));
}

pub(crate) async fn a_redis_that_forgets() {
    let redis = RedisServer::volatile();
    let url = format!("redis://:canary@{}/0", redis.address());
    let refused = doctor(&settings(&[("PLUGBOARD_REDIS__URL", &url)]), &["--only", "redis"]).await;
    assert!(!refused.status.success() && !said(&refused).contains("canary"), "{}", said(&refused));
    let own = settings(&[("PLUGBOARD_REDIS__URL", &redis.url())]);
    let output = doctor(&own, &["--only", "redis", "--only", "clock"]).await;
    assert!(!output.status.success(), "{}", said(&output));
    let text = said(&output);
    assert!(
        text.contains("FAIL     redis    appendonly is not yes") && text.contains("set `appendonly yes`"),
        "{text}"
    );
    assert!(text.contains("ok       clock    Redis and this machine agree"), "{text}");
    let away = settings(&[("PLUGBOARD_REDIS__URL", "redis://127.0.0.1:1")]);
    let output = doctor(&away, &["--only", "redis"]).await;
    assert!(!output.status.success() && said(&output).contains("does not answer"), "{}", said(&output));
}

pub(crate) async fn streams_and_consumers_that_are_missing() {
    let server = NatsServer::start();
    let namespace = namespace();
    let urls = format!("[\"{}\"]", server.url());
    let mut own = settings(&[("PLUGBOARD_NATS__URLS", &urls), ("PLUGBOARD_NATS__NAMESPACE", &namespace)]);
    let words = ["--only", "nats", "--only", "queue", "--json"];
    let found = findings(&doctor(&own, &words).await);
    for stream in ["JOBS", "DEAD", "PAYLOADS"] {
        assert!(has(&found, "nats", "fail", &format!("{namespace}_{stream} is not there")), "{found:#?}");
    }

    // Those of a gateway that no executor has joined; then wanted thrice.
    let config = NatsConfig { urls: vec![server.url()], namespace: namespace.clone(), ..NatsConfig::default() };
    let link = NatsLink::connect(&config).await.unwrap();
    NatsQueue::open(&link, NatsQueueConfig::default(), Shares::new(0), Arc::new(SystemClock)).await.unwrap();
    let output = doctor(&own, &words).await;
    let found = findings(&output);
    assert!(!output.status.success(), "{found:#?}");
    assert!(has(&found, "nats", "ok", &format!("stream {namespace}_JOBS: one copy")), "{found:#?}");
    assert!(has(&found, "nats", "fail", &format!("KV_{namespace}_journal is not there")), "{found:#?}");
    assert!(has(&found, "queue", "fail", "all of executors_waiting, executors_background"), "{found:#?}");
    own.insert("PLUGBOARD_NATS__REPLICAS".to_owned(), "3".to_owned());
    own.insert("PLUGBOARD_QUEUE__BACKLOG_PER_ORGANIZATION".to_owned(), "7".to_owned());
    let found = findings(&doctor(&own, &words).await);
    assert!(has(&found, "nats", "fail", "nats.replicas = 3, but"), "{found:#?}");
    assert!(has(&found, "nats", "fail", &format!("{namespace}_DEAD has num_replicas = 1")), "{found:#?}");
    assert!(has(&found, "nats", "warn", "max_msgs_per_subject = 50000, wanted is 7"), "{found:#?}");

    own.insert("PLUGBOARD_NATS__URLS".to_owned(), format!("[\"{}\", \"nats://u:canary@127.0.0.1:1\"]", server.url()));
    let output = doctor(&own, &words).await;
    let found = findings(&output);
    assert!(has(&found, "nats", "warn", "no connection to nats://127.0.0.1:1: "), "{found:#?}");
    assert!(!said(&output).contains("canary"), "{}", said(&output));
}

pub(crate) async fn settings_that_cannot_be_right() {
    let secret = "PLUGBOARD_SECRETS__CLUSTER_SECRET";
    let malformed = doctor(&settings(&[(secret, "canary-canary")]), &["--only", "keys"]).await;
    assert!(!malformed.status.success() && !said(&malformed).contains("canary"), "{}", said(&malformed));
    assert!(said(&malformed).contains("64 hexadecimal digits"), "{}", said(&malformed));
    let weak = "0123456789abcdef".repeat(4);
    let weak = doctor(&settings(&[(secret, &format!("\"{weak}\""))]), &["--only", "keys"]).await;
    assert!(!weak.status.success() && said(&weak).contains("can be guessed"), "{}", said(&weak));

    let catalog = settings(&[
        (secret, "8f1d3c5a7be94602d1c8ef35a0b47692e3581c7f09ad64b2c5f0913e7d8ab642"),
        ("PLUGBOARD_PEERS__CATALOG", "http://127.0.0.1:1"),
        ("PLUGBOARD_EGRESS__ALLOW", "[\"169.254.0.0/16\", \"10.0.0.0/8\"]"),
        ("PLUGBOARD_EGRESS__UPSTREAM", "http://127.0.0.1:9"),
        ("HTTPS_PROXY", "http://proxy:3128"),
    ]);
    let output = doctor(&catalog, &["--only", "catalog", "--only", "egress", "--json", "--egress", "a b"]).await;
    let found = findings(&output);
    assert!(has(&found, "catalog", "fail", "http://127.0.0.1:1 does not answer"), "{found:#?}");
    for (state, words) in [
        ("warn", "HTTPS_PROXY is set"),
        ("warn", "every outbound call goes to http://127.0.0.1:9"),
        ("fail", "169.254.169.254"),
        ("warn", "opens 10.0.0.0/8"),
        ("fail", "is no host"),
    ] {
        assert!(has(&found, "egress", state, words), "{state} {words}: {found:#?}");
    }
    let unknown = doctor(&Settings::new(), &["--only", "weather"]).await;
    assert!(!unknown.status.success() && said(&unknown).contains("gateway, tls, nats"), "{}", said(&unknown));
}
