//! What holds for the repository itself: who depends on whom, what each part must not know, sizes, words, examples.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed expectation fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Every file that is, or is about to be, under version control.
fn files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).unwrap();
    names.split('\0').filter(|name| !name.is_empty() && root().join(name).is_file()).map(str::to_owned).collect()
}

fn read(name: &str) -> String {
    String::from_utf8_lossy(&std::fs::read(root().join(name)).unwrap()).into_owned()
}

fn has_extension(name: &str, wanted: &[&str]) -> bool {
    Path::new(name).extension().is_some_and(|extension| wanted.iter().any(|one| extension == *one))
}

/// Dependencies of each package of the workspace, all kinds together.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| {
            let names = package["dependencies"].as_array().unwrap().iter().map(|one| text(&one["name"]));
            (text(&package["name"]), names.collect())
        })
        .collect()
}

const SERVICES: [&str; 4] = ["api-gateway", "executor", "auth-service", "catalog-service"];

/// proto ← core ← services ← { the binary, tests }. No service knows another.
#[test]
fn arrows_between_crates() {
    let all = dependencies();
    let own: BTreeSet<&str> = all.keys().map(String::as_str).collect();
    let uses = |name: &str| -> BTreeSet<&str> {
        let found = all.get(name).unwrap_or_else(|| panic!("no package {name}"));
        found.iter().map(String::as_str).filter(|one| own.contains(one) && *one != name).collect()
    };
    let both = BTreeSet::from(["plugboard-core", "plugboard-proto"]);
    assert_eq!(uses("plugboard-proto"), BTreeSet::new());
    assert!(uses("plugboard-core").is_subset(&BTreeSet::from(["plugboard-proto"])), "{:?}", uses("plugboard-core"));
    for service in SERVICES {
        assert!(uses(service).is_subset(&both), "{service}: {:?}", uses(service));
    }
    for name in own.iter().filter(|name| !name.starts_with("plugboard-bench")) {
        let nobody = ["plugboard", "plugboard-tests"];
        let wrong: Vec<_> = uses(name).into_iter().filter(|one| nobody.contains(one)).collect();
        assert!(wrong.is_empty(), "{name} depends on {wrong:?}");
    }
}

/// Who may talk to the broker, to the store and to the outside, and who may encrypt. As deny.toml has it, and more.
#[test]
fn sensitive_crates_stay_where_they_belong() {
    let tests = ["plugboard-tests", "plugboard-bench"];
    let rules: [(&str, &[&str]); 14] = [
        ("async-nats", &["plugboard-core"]),
        ("redis", &["plugboard-core"]),
        ("redb", &["plugboard-core"]),
        ("aes-gcm", &["plugboard-core", "auth-service"]),
        ("reqwest", &["plugboard"]),
        ("hyper", &["plugboard-core", "api-gateway", "plugboard"]),
        ("hyper-util", &["plugboard-core", "api-gateway", "plugboard"]),
        ("hyper-rustls", &["plugboard-core"]),
        ("tokio-rustls", &["plugboard-core"]),
        ("x509-parser", &["plugboard-core"]),
        ("clap", &["plugboard"]),
        ("anyhow", &["plugboard"]),
        ("rmcp", &[]),
        ("axum", &["api-gateway", "executor", "auth-service", "plugboard"]),
    ];
    for (name, uses) in dependencies() {
        for (sensitive, allowed) in &rules {
            let fine = allowed.contains(&name.as_str()) || tests.contains(&name.as_str());
            assert!(!uses.contains(*sensitive) || fine, "{name} must not depend on {sensitive}");
        }
    }
}

/// What the sources of a part must not mention.
#[test]
fn what_each_part_does_not_know() {
    let rules: [(&str, &[&str], &[&str]); 7] = [
        ("core/src/", &["axum::", "clap::", "anyhow::"], &[]),
        ("core/src/manifest/", &["tokio::", "tonic::", "hyper", "async_nats", "redis::"], &[]),
        ("core/src/job/", &["tokio::", "tonic::", "hyper", "async_nats", "redis::"], &[]),
        (
            "api-gateway/src/",
            &["async_nats", "redis::", "aes_gcm", "core::egress", "$JS."],
            &["api-gateway/src/wiring.rs"],
        ),
        ("executor/src/", &["api_gateway", "jsonrpc", "MasterKey", "ApiKey"], &[]),
        ("auth-service/src/", &["plugboard_core::queue", "plugboard_core::journal", "jsonrpc"], &[]),
        (
            "catalog-service/src/",
            &["plugboard_core::queue", "plugboard_core::identity", "plugboard_core::secret"],
            &["catalog-service/src/grpc.rs"],
        ),
    ];
    let client_of_hyper = ["hyper::client", "hyper_util::client", "reqwest::"];
    for name in files().iter().filter(|name| has_extension(name, &["rs"])) {
        let text = read(name);
        if name.contains("tests/") && !name.starts_with("tests/") || name.ends_with("tests.rs") {
            continue;
        }
        for (folder, words, exempt) in &rules {
            if name.starts_with(folder) && !exempt.contains(&name.as_str()) {
                let found: Vec<_> = words.iter().filter(|word| text.contains(**word)).collect();
                assert!(found.is_empty(), "{name} knows {found:?}");
            }
        }
        // One door to the outside; the operator's commands and the tests speak to the product itself.
        let may_call =
            ["core/src/egress/", "deploy/plugboard/src/", "tests/"].iter().any(|start| name.starts_with(start));
        let found: Vec<_> = client_of_hyper.iter().filter(|word| text.contains(**word)).collect();
        assert!(may_call || found.is_empty(), "{name} opens its own way out: {found:?}");
    }
}

#[test]
fn files_are_short() {
    let counted = ["rs", "py", "sh", "mjs", "proto", "toml", "yml"];
    for name in files() {
        let script = Path::new(&name).extension().is_none() && read(&name).starts_with("#!");
        if has_extension(&name, &counted) || script {
            let lines = read(&name).lines().count();
            assert!(lines <= 600, "{name} has {lines} lines; is there a second responsibility in it?");
        }
    }
}

/// Put together here, so that this file does not hold what it looks for.
fn unwanted() -> Vec<String> {
    let join = |parts: &[&str]| parts.concat();
    vec![
        join(&["/wo", "rk/"]),
        join(&["/fa", "rm/"]),
        join(&["/ro", "ot/"]),
        join(&["crates", ".io"]),
        join(&["pypi", ".org"]),
        join(&["npmjs", "."]),
        join(&["python", "hosted"]),
        join(&["deb.deb", "ian.org"]),
        join(&["FIX", "ME"]),
        join(&["XX", "X:"]),
        join(&["todo", "!("]),
        join(&["unimple", "mented!("]),
        join(&["#[ign", "ore"]),
    ]
}

#[test]
fn no_machine_no_registry_nothing_unfinished() {
    let unwanted = unwanted();
    for name in files().iter().filter(|name| !has_extension(name, &["lock", "png", "ico", "woff2"])) {
        for (number, line) in read(name).lines().enumerate() {
            for word in &unwanted {
                assert!(!line.contains(word.as_str()), "{name}:{}: {word}: {line}", number + 1);
            }
        }
    }
    // A lock file that names where each package came from pins the machine's mirror as well.
    let locks: Vec<String> = files().into_iter().filter(|name| name.ends_with("package-lock.json")).collect();
    assert!(locks.is_empty(), "{locks:?}");
}

#[test]
fn versions_stand_once() {
    for name in files().iter().filter(|name| name.ends_with("/Cargo.toml")) {
        // A workspace of its own cannot point to ours.
        if read(name).lines().any(|line| line == "[workspace]") {
            continue;
        }
        let mut section = String::new();
        for line in read(name).lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if line.starts_with('[') {
                line.clone_into(&mut section);
            } else if section.contains("dependencies") {
                let shared = line.contains("workspace = true") || line.contains("path = ");
                assert!(shared, "{name}: versions stand in the workspace's manifest: {line}");
            }
        }
    }
}

/// What is counted is in the catalogue, and the other way round: a dashboard can rely on the one list.
#[test]
fn every_metric_is_in_the_catalogue() {
    use plugboard_core::telemetry::metrics::catalogue::METRICS;
    let counted = regex::Regex::new(r#"(?:counter|gauge|histogram)!\(\s*"([^"]+)""#).unwrap();
    let mut used = BTreeSet::new();
    for name in files().iter().filter(|name| has_extension(name, &["rs"])) {
        let test = name.starts_with("tests/") || name.contains("/tests/") || name.ends_with("tests.rs");
        if !test {
            used.extend(counted.captures_iter(&read(name)).map(|found| found[1].to_owned()));
        }
    }
    let known: BTreeSet<String> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
    let unknown: Vec<_> = used.difference(&known).collect();
    assert!(unknown.is_empty(), "not in the catalogue: {unknown:?}");
    let unused: Vec<_> = known.difference(&used).collect();
    assert!(unused.is_empty(), "nothing counts {unused:?}");
}

/// What the doctor asks for is what is installed.
#[test]
fn the_oldest_nats_server_is_one() {
    let script = read("deploy/local/install-servers");
    let wanted = script.lines().find_map(|line| line.strip_prefix("nats_version=")).unwrap();
    assert_eq!(wanted.trim_matches('"'), plugboard_core::doctor::nats::OLDEST);
}

/// Every example of a configuration has known keys with values of the right kind.
#[test]
fn shipped_configurations_load() {
    let load = |file: Option<&Path>| -> Value {
        plugboard_core::config::load(&read("deploy/config/default.toml"), file, Vec::new())
            .unwrap_or_else(|error| panic!("{file:?}: {error}"))
    };
    let defaults = load(None);
    let mut examples = 0;
    for name in files().iter().filter(|name| name.starts_with("deploy/config/") && has_extension(name, &["toml"])) {
        same_keys(&load(Some(&root().join(name))), &defaults, name);
        examples += 1;
    }
    assert!(examples >= 1);
    for value in defaults.as_object().unwrap().values() {
        assert!(value.is_object(), "settings stand in sections");
    }
}

fn same_keys(found: &Value, known: &Value, place: &str) {
    match (found, known) {
        (Value::Object(found), Value::Object(known)) => {
            for (key, value) in found {
                let place = format!("{place}: {key}");
                same_keys(value, known.get(key).unwrap_or_else(|| panic!("{place} is unknown")), &place);
            }
        }
        (found, known) => {
            let same = std::mem::discriminant(found) == std::mem::discriminant(known);
            assert!(same, "{place}: {found} where {known} is the default");
        }
    }
}

/// Shell scripts stop at the first failure, and may be run.
#[test]
fn scripts_are_strict_and_executable() {
    use std::os::unix::fs::PermissionsExt;
    for name in files() {
        let text = read(&name);
        if !text.starts_with("#!/") {
            continue;
        }
        let mode = std::fs::metadata(root().join(&name)).unwrap().permissions().mode();
        assert!(mode & 0o111 != 0, "{name} is not executable");
        if text.lines().next().unwrap().contains("bash") {
            let strict =
                text.contains("\nset -euo pipefail") || text.contains("\nset -uo pipefail") || text.contains("\nexec ");
            assert!(strict, "{name} does not stop at a failure");
        }
    }
}
