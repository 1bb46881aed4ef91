//! A thousand manifests: how long they take to load, and how much memory they hold. In a process of its own, since
//! memory is counted by process.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failed expectation fails the test, and says its figures"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use catalog_service::catalog::CatalogService;
use catalog_service::config::Config;
use catalog_service::load;

const COUNT: usize = 1_000;

/// Resident memory in MB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// The built-in manifests again and again, in the form in which they are built in, under other keys.
fn write(folder: &Path) -> u64 {
    let mut bytes = 0;
    for (number, source) in load::built_in().unwrap().iter().cycle().take(COUNT).enumerate() {
        let key = load::manifest(source).unwrap().key;
        let text = source.text.replacen(&format!(r#""key":"{key}""#), &format!(r#""key":"{key}_{number}""#), 1);
        std::fs::write(folder.join(format!("{key}_{number}.yaml")), &text).unwrap();
        bytes += text.len() as u64;
    }
    bytes
}

#[test]
fn a_thousand_manifests_load_quickly_and_take_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = write(folder.path());
    let before = resident();
    let began = Instant::now();
    let config = Config { built_in: false, directories: vec![folder.path().to_owned()], poll_ms: 0 };
    let service = CatalogService::open(config).unwrap();
    let took = began.elapsed();
    let held = resident().saturating_sub(before);
    assert_eq!(service.snapshot().documents.len(), COUNT);
    println!("{COUNT} manifests, {} MB: loaded in {took:?}, {held} MB", bytes >> 20);
    // Meant to be one second; other tests run beside this one.
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(held < 60, "{held} MB");
}
