//! One life of an auth service: who calls a port, and what may happen to it there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::world::World;

/// Why a port did not answer as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing was done.
    Refused,
    /// It was done, and the answer is lost.
    Lost,
}

pub(super) struct Process {
    pub(super) world: Arc<World>,
    pub(super) name: String,
    dead: CancellationToken,
    still_until: Mutex<Instant>,
    /// Accounts whose refresh token may have left, and whose new one is not durable yet.
    pub(super) asking: Mutex<BTreeSet<usize>>,
}

impl Process {
    pub(super) fn new(world: &Arc<World>, number: usize, life: u32) -> Arc<Self> {
        Arc::new(Self {
            world: world.clone(),
            name: format!("auth{number}.{life}"),
            dead: CancellationToken::new(),
            still_until: Mutex::new(Instant::now()),
            asking: Mutex::default(),
        })
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.is_cancelled()
    }

    pub(super) async fn death(&self) {
        self.dead.cancelled().await;
    }

    pub(super) fn note(&self, what: &str, about: &str) {
        self.world.note(&self.name, what, about);
    }

    /// A call of a port: any of the faults, around what the port does.
    pub(super) async fn call<T>(&self, about: &str, act: impl Future<Output = T>) -> Result<T, Fault> {
        self.step(about).await;
        let weather = &self.world.weather;
        if self.world.store_is_away() || self.world.fault(weather.refused) {
            self.note("store refused", about);
            return Err(Fault::Refused);
        }
        let answer = act.await;
        self.step(about).await;
        if self.world.fault(weather.lost) {
            self.note("store answer lost", about);
            return Err(Fault::Lost);
        }
        Ok(answer)
    }

    /// A moment in which the service may die, stand still or be slow. Does not come back in a dead one.
    pub(super) async fn step(&self, about: &str) {
        let world = &self.world;
        if !self.is_dead() {
            if world.fault(world.weather.crash) {
                self.note("dies", about);
                self.explain("a service died");
                self.dead.cancel();
            } else if world.fault(world.weather.pause) {
                let rest = world.draw(|random| random.millis(5_000, 40_000));
                self.note("stands still", &format!("{about} {rest:?}"));
                *self.still_until.lock() = Instant::now() + rest;
            }
        }
        let slow = world.fault(world.weather.slow);
        let wait = world.draw(|random| if slow { random.millis(1, 3_000) } else { random.millis(0, 4) });
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        while !self.is_dead() && !world.is_calm() && Instant::now() < *self.still_until.lock() {
            // Whatever it asks for meanwhile, its lease runs out.
            self.explain("a service stood still");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    fn explain(&self, why: &str) {
        for account in self.asking.lock().iter() {
            if !self.world.is_explained(*account) {
                self.world.explain(*account, why);
            }
        }
    }
}
