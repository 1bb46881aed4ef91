//! Stopping and starting every service, as a deployment does: the next one only when the last is ready.

use std::time::{Duration, Instant};

use plugboard_tests::rest_client::http;
use plugboard_tests::stack::Stack;
use plugboard_tests::wait::eventually;

use crate::tally::Tally;

/// Services of each kind.
pub(crate) const EACH: usize = 2;

/// In the order in which a deployment is upgraded: what is asked comes before whoever asks.
pub(crate) const KINDS: [&str; 4] = ["catalog", "auth", "executor", "gateway"];

const COMES_BACK: Duration = Duration::from_secs(60);
/// The balancer looks five times a second; as `minReadySeconds` of a Deployment.
const SETTLES: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Roll<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) tally: &'a Tally,
    pub(crate) signal: &'a str,
}

impl Roll<'_> {
    pub(crate) async fn every_service(&self, order: &[String]) {
        for kind in order {
            let health = self.stack.health_urls(kind);
            for (at, url) in health.iter().enumerate() {
                let name = format!("{kind}-{}", at + 1);
                let (calls, failed) = self.tally.counts();
                let began = Instant::now();
                self.replace(&name, url).await;
                let took = began.elapsed().as_secs_f64();
                tokio::time::sleep(SETTLES).await;
                let (now, failed_now) = self.tally.counts();
                println!("{name}: {took:.1} s, {} calls meanwhile, {} failed", now - calls, failed_now - failed);
            }
        }
    }

    async fn replace(&self, name: &str, health: &str) {
        let before = self.stack.pid(name);
        self.stack.signal(name, self.signal);
        eventually(&format!("another {name} is ready"), COMES_BACK, || async {
            let another = self.stack.pid_now(name).is_some_and(|pid| pid != before);
            (another && is_ready(health).await).then_some(())
        })
        .await;
    }
}

async fn is_ready(health: &str) -> bool {
    let answer = http().get(format!("{health}/readyz")).send().await;
    answer.is_ok_and(|answer| answer.status().is_success())
}
