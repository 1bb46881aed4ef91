//! A thousand manifests: how long they take to load, and how much memory they hold. In a process of its own, since memory
//! is counted by process.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failed expectation fails the test, and says its figures"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use catalog_service::catalog::CatalogService;
use catalog_service::config::Config;

const COUNT: usize = 1_000;

/// Resident and highest resident memory in MB.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mb = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    (mb("VmRSS:"), mb("VmHWM:"))
}

/// The shipped manifests again and again, under other keys.
fn write(folder: &Path) -> u64 {
    let shipped = catalog_service::load::directory(&Path::new(env!("CARGO_MANIFEST_DIR")).join("connectors")).unwrap();
    let mut bytes = 0;
    for (number, source) in shipped.iter().cycle().take(COUNT).enumerate() {
        let old = source.text.lines().find_map(|line| line.strip_prefix("key: ")).unwrap();
        let key = format!("{old}_{number}");
        let text = source.text.replacen(&format!("key: {old}"), &format!("key: {key}"), 1);
        let category = folder.join(Path::new(&source.file).parent().unwrap().file_name().unwrap());
        std::fs::create_dir_all(&category).unwrap();
        std::fs::write(category.join(format!("{key}.yaml")), &text).unwrap();
        bytes += text.len() as u64;
    }
    bytes
}

#[test]
fn a_thousand_manifests_load_quickly_and_take_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = write(folder.path());
    let (before, _) = memory();
    // The best of three: other tests run beside this one.
    let mut best = Duration::MAX;
    let mut service = None;
    for _ in 0..3 {
        drop(service.take());
        let began = Instant::now();
        let config = Config { built_in: false, directories: vec![folder.path().to_owned()], poll_ms: 0 };
        service = Some(CatalogService::open(config).unwrap());
        best = best.min(began.elapsed());
    }
    let snapshot = service.unwrap().snapshot();
    assert_eq!(snapshot.documents.len(), COUNT);
    let (resident, peak) = memory();
    println!(
        "{COUNT} manifests, {} MB of YAML: loaded in {best:?}; {before} MB before, {resident} MB with them, {peak} MB at the peak",
        bytes >> 20
    );
}
