//! What a newcomer's machine notices of it.

use std::time::{Duration, Instant};

use plugboard_tests::stack::{Stack, binary};
use plugboard_tests::wait::eventually;
use serde_json::json;

const MIB: u64 = 1024 * 1024;

/// What is released may have 43 MB; it is linked with LTO and better optimised, and has at most two thirds of the size of
/// what is tested here.
/// `tests/bench` builds the released one and prints its size.
const LARGEST: u64 = 43_000_000 / 2 * 3;

pub(crate) async fn small_and_quick() {
    let size = std::fs::metadata(binary()).unwrap().len();
    assert!(size <= LARGEST, "the binary has {} bytes", size);

    // The best of a few: other tests run beside this one.
    let mut best = Duration::MAX;
    let mut stack = None;
    for _ in 0..5 {
        drop(stack.take());
        let began = Instant::now();
        let started = Stack::embedded().sandbox().start();
        best = best.min(began.elapsed());
        assert!(!started.mcp(started.api_key()).tool("list_services", json!({})).await.is_error);
        stack = Some(started);
    }
    assert!(best <= Duration::from_secs(1), "ready after {best:?}");
    let stack = stack.unwrap();
    let resident = eventually("it settles", Duration::from_secs(5), || async {
        let memory = resident(stack.main_pid());
        (memory <= 36 * MIB).then_some(memory)
    })
    .await;
    eprintln!("binary {} MiB, ready after {best:?}, {} MiB of its own", size / MIB, resident / MIB);
}

/// What is its own. How many pages of the binary lie in memory beside it is the kernel's choice, and it can have them back.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
