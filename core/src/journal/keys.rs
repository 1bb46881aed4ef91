//! Idempotency keys: a caller's own name for a call, under which it happens once.
//!
//! A key is bound to an execution before that is published, by compare-and-set. Whoever comes with the same key later
//! gets that execution's outcome, or waits for it. A key whose call provably sent nothing is free again. The scope of a
//! key is organization, end user and service; it lives as long as the journal's entries, 24 hours.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Closed, Journal, JournalError, JournalState, digest, subject_of};
use crate::clock::Millis;
use crate::ids::ExecutionId;
use crate::job::{Job, Outcome};

/// An executor may take a job at the last moment of its deadline.
const MARGIN: Duration = Duration::from_secs(2);

/// Whose call a key stands for.
#[derive(Debug)]
pub enum Binding {
    /// This one's: publish it.
    Ours,
    /// Another request's.
    Conflict,
    /// The same request, under another id.
    Earlier(Earlier),
}

/// A call that was made before.
#[derive(Debug, Clone, PartialEq)]
pub struct Earlier {
    pub execution_id: ExecutionId,
    pub deadline: Millis,
    /// `None`: it is under way, or nobody knows.
    pub outcome: Option<Outcome>,
}

#[derive(Serialize, Deserialize)]
struct Bound {
    execution_id: ExecutionId,
    request_hash: String,
    deadline_ms: i64,
}

impl Bound {
    fn of(job: &Job) -> Self {
        Self {
            execution_id: job.execution_id.clone(),
            request_hash: hex::encode(job.request_hash),
            deadline_ms: job.deadline.0,
        }
    }

    fn encode(&self) -> Result<Bytes, JournalError> {
        serde_json::to_vec(self).map(Bytes::from).map_err(|error| JournalError::Unreadable(error.to_string()))
    }
}

impl Journal {
    /// Binds `key` to a job that is not published yet.
    ///
    /// # Errors
    /// When the journal cannot answer: then nothing may be published.
    pub async fn bind(&self, job: &Job, key: &str, unsent: &Outcome) -> Result<Binding, JournalError> {
        let name = name_of(job, key);
        let ours = Bound::of(job);
        loop {
            if self.store.create(&name, ours.encode()?).await?.is_some() {
                return Ok(Binding::Ours);
            }
            let Some((bytes, revision)) = self.store.get(&name).await? else { continue };
            let bound: Bound =
                serde_json::from_slice(&bytes).map_err(|error| JournalError::Unreadable(error.to_string()))?;
            // Our own write, whose answer was lost.
            if bound.execution_id == ours.execution_id {
                return Ok(Binding::Ours);
            }
            if bound.request_hash != ours.request_hash {
                return Ok(Binding::Conflict);
            }
            match self.earlier(job, &bound.execution_id, Millis(bound.deadline_ms), unsent).await? {
                Some(earlier) => return Ok(Binding::Earlier(earlier)),
                None if self.store.update(&name, ours.encode()?, revision).await?.is_some() => {
                    return Ok(Binding::Ours);
                }
                None => {}
            }
        }
    }

    /// What became of an execution of the same request. `None`: it sent nothing, and never will.
    async fn earlier(
        &self,
        job: &Job,
        id: &ExecutionId,
        deadline: Millis,
        unsent: &Outcome,
    ) -> Result<Option<Earlier>, JournalError> {
        let open = Earlier { execution_id: id.clone(), deadline, outcome: None };
        match self.look(id).await? {
            Some(record) if record.state == JournalState::Closed => Ok(None),
            Some(record) => Ok(Some(Earlier { outcome: record.outcome, ..open })),
            None if self.clock.now() <= deadline.plus(MARGIN) => Ok(Some(open)),
            // Its gateway died before it was published, or it still waits somewhere: an end in the journal is what no
            // executor gets past.
            None => {
                let job = Job { execution_id: id.clone(), deadline, ..job.clone() };
                let outcome = Outcome { execution_id: id.clone(), ..unsent.clone() };
                match self.close(&job, &outcome).await? {
                    Closed::Yes => Ok(None),
                    Closed::AlreadyEnded(_) | Closed::IntentOpen => {
                        let record = self.look(id).await?;
                        let closed = record.as_ref().is_some_and(|record| record.state == JournalState::Closed);
                        let outcome = record.and_then(|record| record.outcome);
                        Ok((!closed).then_some(Earlier { outcome, ..open }))
                    }
                }
            }
        }
    }
}

fn name_of(job: &Job, key: &str) -> String {
    let parts =
        [job.organization.as_str().as_bytes(), subject_of(job), job.service.as_str().as_bytes(), key.as_bytes()];
    format!("key_{}", digest(&parts))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::memory::MemoryJournal;
    use super::super::{Claim, Finished};
    use super::*;
    use crate::clock::{Clock, FakeClock};
    use crate::ids::{InstanceId, Subject};
    use crate::manifest::Effect;
    use crate::testing::{JobBuilder, outcome};

    struct World {
        clock: Arc<FakeClock>,
        journal: Journal,
    }

    impl World {
        fn new() -> Self {
            let clock = Arc::new(FakeClock::at(1_000));
            let store = Arc::new(MemoryJournal::new(clock.clone()));
            Self { journal: Journal::new(store, clock.clone(), InstanceId::generate()), clock }
        }

        fn job(&self) -> Job {
            Job { deadline: self.clock.now().plus(Duration::from_secs(60)), ..JobBuilder::new(Effect::Once).build() }
        }

        async fn bind(&self, job: &Job, key: &str) -> Binding {
            self.journal.bind(job, key, &outcome(&job.execution_id, b"unsent")).await.unwrap()
        }
    }

    /// The same request again, as another call.
    fn again(job: &Job) -> Job {
        Job { execution_id: ExecutionId::generate(), ..job.clone() }
    }

    #[tokio::test]
    async fn a_key_stands_for_one_call() {
        let world = World::new();
        let first = world.job();
        assert!(matches!(world.bind(&first, "k").await, Binding::Ours));
        assert!(matches!(world.bind(&first, "k").await, Binding::Ours), "an answer that was lost");
        let second = again(&first);
        let Binding::Earlier(earlier) = world.bind(&second, "k").await else { panic!("made twice") };
        assert_eq!((&earlier.execution_id, &earlier.outcome), (&first.execution_id, &None), "under way");

        let Ok(Claim::Granted(intent)) = world.journal.claim(&first).await else { panic!("not granted") };
        let done = outcome(&first.execution_id, b"done");
        assert_eq!(world.journal.finish(&intent, &done).await.unwrap(), Finished::Recorded);
        let Binding::Earlier(earlier) = world.bind(&second, "k").await else { panic!("made twice") };
        assert_eq!(earlier.outcome, Some(done));

        let other = Job { request_hash: [9; 32], ..again(&first) };
        assert!(matches!(world.bind(&other, "k").await, Binding::Conflict));
        assert!(matches!(world.bind(&other, "another").await, Binding::Ours));
    }

    #[tokio::test]
    async fn keys_of_others_are_other_keys() {
        let world = World::new();
        let job = world.job();
        assert!(matches!(world.bind(&job, "k").await, Binding::Ours));
        let boris = Job { subject: Some(Subject("boris".into())), ..again(&job) };
        let elsewhere = Job { service: crate::ids::ServiceKey::trusted("ozon"), ..again(&job) };
        let stranger = Job { organization: crate::ids::OrganizationId::generate(), ..again(&job) };
        for other in [boris, elsewhere, stranger] {
            assert!(matches!(world.bind(&other, "k").await, Binding::Ours));
        }
    }

    #[tokio::test]
    async fn what_sent_nothing_frees_its_key() {
        let world = World::new();
        let first = world.job();
        world.bind(&first, "k").await;
        world.journal.close(&first, &outcome(&first.execution_id, b"unsent")).await.unwrap();
        let second = again(&first);
        assert!(matches!(world.bind(&second, "k").await, Binding::Ours));
        let Binding::Earlier(earlier) = world.bind(&again(&first), "k").await else { panic!("made twice") };
        assert_eq!(earlier.execution_id, second.execution_id);
    }

    /// Its gateway died between binding and publishing; and if it did not, the job can no longer be started.
    #[tokio::test]
    async fn a_call_that_never_came_frees_its_key_after_its_deadline() {
        let world = World::new();
        let first = world.job();
        world.bind(&first, "k").await;
        world.clock.advance(Duration::from_secs(63));
        let second = Job { deadline: world.clock.now().plus(Duration::from_secs(60)), ..again(&first) };
        assert!(matches!(world.bind(&second, "k").await, Binding::Ours));
        assert!(matches!(world.journal.claim(&first).await.unwrap(), Claim::Ended(_)), "nobody may start it now");
    }

    #[tokio::test]
    async fn of_many_binders_one_wins() {
        let world = World::new();
        let first = world.job();
        let jobs: Vec<Job> = (0..16).map(|_| again(&first)).collect();
        let bound = futures::future::join_all(jobs.iter().map(|job| world.bind(job, "k"))).await;
        assert_eq!(bound.iter().filter(|one| matches!(one, Binding::Ours)).count(), 1);
    }
}
