//! Messages in this executor's hands: which jobs of each are still open, and the hold of each job.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::super::ready::Waits;
use super::super::subjects::Source;
use super::super::{Hold, Share};
use crate::job::Job;

/// One stream message that is neither acked nor handed back.
pub(super) struct Held {
    /// Where its acks go; a redelivery of a message that is still here replaces it.
    pub(super) ack_to: String,
    /// The consumer that handed it out.
    pub(super) source: Source,
    /// The message, for jobs that leave it.
    pub(super) payload: Bytes,
    /// Jobs in it that have neither ended nor left.
    pub(super) open: u32,
    /// Starts of each job inside, this delivery included.
    pub(super) starts: u32,
    pub(super) last_beat: Instant,
    /// Every job in it has ended; it stays here until the server confirms the ack.
    pub(super) acked: bool,
}

/// What the keeper is asked to do.
pub(super) enum Command {
    Ack {
        message: u64,
        source: Source,
        ack_to: String,
    },
    /// Hand a message with one job back.
    Return {
        ack_to: String,
        delay: Duration,
    },
    /// Publish one job of a pack by itself.
    Leave {
        message: u64,
        job: u32,
        delay: Duration,
    },
    /// Publish a job that was fetched but not started again; this start does not count.
    NotStarted {
        message: u64,
        job: u32,
    },
    /// The same, to the bulk lanes: its organization has its part of the slots, and others wait behind it.
    ToBulk {
        message: u64,
        job: u32,
    },
    /// Publish every job of a redelivered pack by itself.
    Split {
        message: u64,
    },
}

/// Shared by the holds, the intake and the keeper.
#[derive(Default)]
pub(super) struct Ledger {
    messages: Mutex<HashMap<u64, Held>>,
    /// Open jobs over all messages.
    jobs: AtomicUsize,
    /// The intake wanted more and had no room: tell it when there is some.
    starved: AtomicBool,
    pub(super) room: Arc<Notify>,
}

impl Ledger {
    pub(super) fn insert(&self, message: u64, held: Held) {
        self.jobs.fetch_add(held.open as usize, Ordering::Relaxed);
        self.messages.lock().insert(message, held);
    }

    /// A redelivery of something that is still here: from now on, acks answer this delivery. The job is not started a
    /// second time beside itself.
    pub(super) fn adopt(&self, message: u64, ack_to: &str) -> Adopted {
        let mut messages = self.messages.lock();
        let Some(held) = messages.get_mut(&message) else { return Adopted::No };
        ack_to.clone_into(&mut held.ack_to);
        held.last_beat = Instant::now();
        if held.acked { Adopted::AckAgain } else { Adopted::Yes }
    }

    pub(super) fn jobs(&self) -> usize {
        self.jobs.load(Ordering::Relaxed)
    }

    /// Messages, those whose ack is not confirmed included.
    pub(super) fn messages(&self) -> usize {
        self.messages.lock().len()
    }

    pub(super) fn wait_for_room(&self) {
        self.starved.store(true, Ordering::Release);
    }

    /// One job of the message ended or left. Returns whose ack goes where when it was the last.
    pub(super) fn close_job(&self, message: u64) -> Option<(Source, String)> {
        self.free(1);
        let mut messages = self.messages.lock();
        let held = messages.get_mut(&message)?;
        held.open = held.open.saturating_sub(1);
        if held.open > 0 || held.acked {
            return None;
        }
        held.acked = true;
        Some((held.source, held.ack_to.clone()))
    }

    /// Takes a message out: it was handed back, or its ack was confirmed.
    pub(super) fn remove(&self, message: u64) -> Option<Held> {
        let held = self.messages.lock().remove(&message)?;
        self.free(held.open as usize);
        Some(held)
    }

    /// Where the message came from, its payload and the starts of its jobs.
    pub(super) fn content(&self, message: u64) -> Option<(Source, Bytes, u32)> {
        self.messages.lock().get(&message).map(|held| (held.source, held.payload.clone(), held.starts))
    }

    /// Where to send the ack of a message whose jobs have all ended; `None` when it is confirmed.
    pub(super) fn ack_to(&self, message: u64) -> Option<String> {
        self.messages.lock().get(&message).filter(|held| held.acked).map(|held| held.ack_to.clone())
    }

    /// Where to send a sign of life now.
    pub(super) fn beats_due(&self, heartbeat: Duration) -> Vec<String> {
        let now = Instant::now();
        let mut beats = Vec::new();
        for held in self.messages.lock().values_mut() {
            if !held.acked && now.duration_since(held.last_beat) >= heartbeat {
                held.last_beat = now;
                beats.push(held.ack_to.clone());
            }
        }
        beats
    }

    fn free(&self, jobs: usize) {
        if jobs > 0 {
            self.jobs.fetch_sub(jobs, Ordering::Relaxed);
            if self.starved.swap(false, Ordering::AcqRel) {
                self.room.notify_one();
            }
        }
    }
}

pub(super) enum Adopted {
    No,
    Yes,
    /// Every job in it has ended; only the ack did not arrive.
    AckAgain,
}

/// A job that was fetched and waits for a receiver.
pub(super) struct Fetched {
    pub(super) job: Job,
    pub(super) starts: u32,
    pub(super) source: Source,
    pub(super) since: Instant,
    pub(super) hold: JobHold,
}

impl Waits for Fetched {
    fn job(&self) -> &Job {
        &self.job
    }
}

/// The hold of one job.
pub(super) struct JobHold {
    ledger: Arc<Ledger>,
    keeper: mpsc::UnboundedSender<Command>,
    message: u64,
    /// Position in its pack; `None` for the only job of a message.
    position: Option<u32>,
    resolved: bool,
    /// While it runs.
    pub(super) share: Option<Share>,
}

impl JobHold {
    pub(super) fn new(
        ledger: Arc<Ledger>,
        keeper: mpsc::UnboundedSender<Command>,
        message: u64,
        position: Option<u32>,
    ) -> Self {
        Self { ledger, keeper, message, position, resolved: false, share: None }
    }

    /// Hands back a job that nobody received. A negative ack would count as a start, and five of those are the end.
    pub(super) fn not_started(mut self) {
        self.resolved = true;
        self.tell(Command::NotStarted { message: self.message, job: self.position.unwrap_or(0) });
    }

    /// Moves a job that nobody received to the bulk lanes.
    pub(super) fn move_to_bulk(mut self) {
        self.resolved = true;
        self.tell(Command::ToBulk { message: self.message, job: self.position.unwrap_or(0) });
    }

    fn give_back(&mut self, delay: Duration) {
        self.resolved = true;
        let command = match self.position {
            Some(job) => Command::Leave { message: self.message, job, delay },
            None => match self.ledger.remove(self.message) {
                Some(held) => Command::Return { ack_to: held.ack_to, delay },
                None => return,
            },
        };
        self.tell(command);
    }

    /// When the keeper is gone the process is ending, and the server hands the message out again.
    fn tell(&self, command: Command) {
        let _ = self.keeper.send(command);
    }
}

impl Hold for JobHold {
    fn ack(mut self: Box<Self>) {
        self.resolved = true;
        if let Some((source, ack_to)) = self.ledger.close_job(self.message) {
            self.tell(Command::Ack { message: self.message, source, ack_to });
        }
    }

    fn nack(mut self: Box<Self>, delay: Duration) {
        self.give_back(delay);
    }
}

impl Drop for JobHold {
    fn drop(&mut self) {
        if !self.resolved {
            self.give_back(Duration::ZERO);
        }
    }
}
