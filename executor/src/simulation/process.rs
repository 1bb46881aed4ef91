//! One life of an executor, or the gateway: who calls a port, and what may happen to it there.

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
    mortal: bool,
    dead: CancellationToken,
    still_until: Mutex<Instant>,
}

impl Process {
    pub(super) fn executor(world: &Arc<World>, number: usize, life: u32) -> Arc<Self> {
        Self::new(world, format!("ex{number}.{life}"), true)
    }

    /// It neither dies nor stands still: what its callers are told is what is checked.
    pub(super) fn gateway(world: &Arc<World>) -> Arc<Self> {
        Self::new(world, "gateway".to_owned(), false)
    }

    fn new(world: &Arc<World>, name: String, mortal: bool) -> Arc<Self> {
        let still_until = Mutex::new(Instant::now());
        Arc::new(Self { world: world.clone(), name, mortal, dead: CancellationToken::new(), still_until })
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.is_cancelled()
    }

    pub(super) async fn death(&self) {
        self.dead.cancelled().await;
    }

    /// Nobody hears from it.
    pub(super) fn is_still(&self) -> bool {
        self.is_dead() || (!self.world.is_calm() && Instant::now() < *self.still_until.lock())
    }

    pub(super) fn note(&self, what: &str, about: &str) {
        self.world.note(&self.name, what, about);
    }

    /// A call of a port: any of the faults, around what the port does.
    pub(super) async fn call<T>(
        &self,
        port: &'static str,
        about: &str,
        act: impl Future<Output = T>,
    ) -> Result<T, Fault> {
        self.step(port, about).await;
        let weather = &self.world.weather;
        let away = weather.is_away(port, self.world.elapsed());
        if away || self.world.fault(weather.refused) {
            self.note(&format!("{port} refused"), about);
            return Err(Fault::Refused);
        }
        self.note(port, about);
        let answer = act.await;
        self.step(port, about).await;
        if self.world.fault(weather.lost) {
            self.note(&format!("{port} answer lost"), about);
            return Err(Fault::Lost);
        }
        Ok(answer)
    }

    /// A moment in which the process may die, stand still or be slow. Does not come back in a dead one.
    pub(super) async fn step(&self, port: &'static str, about: &str) {
        let world = &self.world;
        if self.mortal && !self.is_dead() {
            if world.fault(world.weather.crash) {
                self.note(&format!("dies at {port}"), about);
                self.dead.cancel();
            } else if world.fault(world.weather.pause) {
                let rest = world.draw(|random| random.millis(5_000, 30_000));
                self.note("stands still", &format!("{port} {about} {rest:?}"));
                *self.still_until.lock() = Instant::now() + rest;
            }
        }
        if self.is_dead() {
            return std::future::pending().await;
        }
        let slow = world.fault(world.weather.slow);
        let wait = world.draw(|random| if slow { random.millis(1, 3_000) } else { random.millis(0, 4) });
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        while self.is_still() {
            if self.is_dead() {
                return std::future::pending().await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
