//! The work queue: at least once, in any order, and an ack from whoever held the job once ends it, as with JetStream.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use plugboard_core::job::Job;
use plugboard_core::queue::{ACK_WAIT, DeadLetters, Delivery, Hold, JobQueue, NoDeadLetters, QueueError, Survey};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::process::{Fault, Process};
use super::world::World;

pub(super) struct Queue {
    world: Arc<World>,
    entries: Mutex<BTreeMap<String, Entry>>,
    pub(super) buried: Mutex<BTreeSet<String>>,
    changed: Notify,
}

struct Entry {
    job: Arc<Job>,
    starts: u32,
    place: Place,
}

enum Place {
    Waiting { due: Instant },
    Held { by: Arc<Process>, start: u32, last_beat: Instant, deaf: bool },
    Ended,
}

impl Queue {
    pub(super) fn new(world: &Arc<World>) -> Arc<Self> {
        Arc::new(Self {
            world: world.clone(),
            entries: Mutex::default(),
            buried: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// Every job has ended.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.lock().values().all(|entry| matches!(entry.place, Place::Ended))
    }

    /// Jobs that have not ended, and whether this one was ever stored.
    pub(super) fn left(&self) -> Vec<String> {
        let entries = self.entries.lock();
        entries.iter().filter(|(_, e)| !matches!(e.place, Place::Ended)).map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn has_stored(&self, id: &str) -> bool {
        self.entries.lock().contains_key(id)
    }

    /// Hears the signs of life, and gives away what has none.
    pub(super) async fn keep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let now = Instant::now();
            for (id, entry) in self.entries.lock().iter_mut() {
                let Place::Held { by, last_beat, deaf, .. } = &mut entry.place else { continue };
                if !by.is_still() && !*deaf {
                    *last_beat = now;
                } else if now - *last_beat >= ACK_WAIT {
                    self.world.note("queue", "no sign of life", id);
                    entry.place = Place::Waiting { due: now };
                    self.changed.notify_waiters();
                }
            }
        }
    }

    fn store(&self, job: &Arc<Job>) {
        let fresh = || Entry { job: job.clone(), starts: 0, place: Place::Waiting { due: Instant::now() } };
        self.entries.lock().entry(job.execution_id.to_string()).or_insert_with(fresh);
        self.changed.notify_waiters();
    }

    /// Any of the jobs that are due: nothing promises an order.
    fn take(&self, by: &Arc<Process>) -> Option<(Arc<Job>, u32)> {
        let now = Instant::now();
        let mut entries = self.entries.lock();
        let due = |entry: &&mut Entry| matches!(entry.place, Place::Waiting { due } if due <= now);
        let many = entries.values_mut().filter(due).count();
        if many == 0 {
            return None;
        }
        let nth = self.world.draw(|random| random.below(many as u64)) as usize;
        let entry = entries.values_mut().filter(due).nth(nth)?;
        entry.starts += 1;
        let deaf = self.world.fault(self.world.weather.deaf);
        entry.place = Place::Held { by: by.clone(), start: entry.starts, last_beat: now, deaf };
        Some((entry.job.clone(), entry.starts))
    }

    fn next_due(&self) -> Instant {
        let far = Instant::now() + Duration::from_secs(3600);
        let entries = self.entries.lock();
        let due = entries.values().filter_map(|entry| match entry.place {
            Place::Waiting { due } => Some(due),
            _ => None,
        });
        due.min().unwrap_or(far)
    }

    fn place(&self, id: &str, place: Place) {
        if let Some(entry) = self.entries.lock().get_mut(id)
            && !matches!(entry.place, Place::Ended)
        {
            entry.place = place;
        }
        self.changed.notify_waiters();
    }

    /// What holders send is lost: their job comes again.
    fn forget(&self, id: &str, start: u32) {
        if let Some(Entry { place: Place::Held { start: held, deaf, .. }, .. }) = self.entries.lock().get_mut(id)
            && *held == start
        {
            *deaf = true;
        }
    }

    fn is_held(&self, id: &str, start: u32) -> bool {
        let entries = self.entries.lock();
        matches!(entries.get(id), Some(Entry { place: Place::Held { start: held, .. }, .. }) if *held == start)
    }
}

/// The queue as one process sees it.
pub(super) struct QueuePort {
    pub(super) queue: Arc<Queue>,
    pub(super) process: Arc<Process>,
}

#[async_trait]
impl JobQueue for QueuePort {
    async fn publish(&self, job: Arc<Job>) -> Result<(), QueueError> {
        let id = job.execution_id.clone();
        match self.process.call("queue", &format!("publish {id}"), async { self.queue.store(&job) }).await {
            Ok(()) => Ok(()),
            Err(Fault::Lost) => Err(QueueError::Unconfirmed(id)),
            // The request or its answer was lost: nobody can tell.
            Err(Fault::Refused) if self.process.world.draw(|random| random.happens(5_000)) => {
                Err(QueueError::Unconfirmed(id))
            }
            Err(Fault::Refused) => Err(QueueError::Unavailable("simulated".into())),
        }
    }

    async fn receive(&self) -> Result<Delivery, QueueError> {
        loop {
            self.process.step("queue", "receive").await;
            let changed = self.queue.changed.notified();
            let away = self.process.world.weather.is_away("queue", self.process.world.elapsed());
            if !away && let Some((job, starts)) = self.queue.take(&self.process) {
                self.process.note("takes", &format!("{} start {starts}", job.execution_id));
                let (queue, process, id) = (self.queue.clone(), self.process.clone(), job.execution_id.to_string());
                return Ok(Delivery::new(
                    job,
                    starts,
                    Box::new(SimulatedHold { queue, process, id, starts, told: false }),
                ));
            }
            tokio::select! {
                biased;
                () = changed => {}
                () = tokio::time::sleep_until(self.queue.next_due().max(Instant::now() + Duration::from_millis(50))) => {}
            }
        }
    }

    async fn bury(&self, job: &Job, _: &str, _: u32) -> Result<(), QueueError> {
        let id = job.execution_id.to_string();
        self.process.note("buries", &id);
        let bury = async { self.queue.buried.lock().insert(id.clone()) };
        match self.process.call("queue", &format!("bury {id}"), bury).await {
            Ok(_) => Ok(()),
            Err(_) => Err(QueueError::Unavailable("simulated".into())),
        }
    }

    async fn survey(&self) -> Result<Survey, QueueError> {
        Ok(Survey::default())
    }

    fn wait_ahead(&self, _: &Job) -> Duration {
        Duration::ZERO
    }

    fn dead_letters(&self) -> &dyn DeadLetters {
        &NoDeadLetters
    }
}

struct SimulatedHold {
    queue: Arc<Queue>,
    process: Arc<Process>,
    id: String,
    starts: u32,
    told: bool,
}

impl SimulatedHold {
    fn tell(&mut self, what: &str, place: Place) {
        self.told = true;
        let world = &self.process.world;
        if self.process.is_still() || world.fault(world.weather.ack_lost) {
            self.process.note(&format!("{what}, unheard"), &self.id);
            self.queue.forget(&self.id, self.starts);
            return;
        }
        self.process.note(what, &self.id);
        self.queue.place(&self.id, place);
    }
}

impl Hold for SimulatedHold {
    /// Also from a holder that the queue has given up.
    fn ack(mut self: Box<Self>) {
        self.tell("acks", Place::Ended);
    }

    fn nack(mut self: Box<Self>, delay: Duration) {
        if self.queue.is_held(&self.id, self.starts) {
            self.tell("nacks", Place::Waiting { due: Instant::now() + delay });
        } else {
            self.told = true;
        }
    }
}

impl Drop for SimulatedHold {
    /// A live executor hands it back; of a dead one nothing is heard.
    fn drop(&mut self) {
        if !self.told && !self.process.is_dead() && self.queue.is_held(&self.id, self.starts) {
            self.tell("hands back", Place::Waiting { due: Instant::now() });
        }
    }
}
