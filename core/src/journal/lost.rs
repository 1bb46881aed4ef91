//! Answers that were never delivered.
//!
//! A client whose stream broke makes its call again, as a new one. For a call that may not happen twice the gateway
//! notes, when a caller leaves before its answer, which execution that was; an equal call of the next ten minutes gets
//! that outcome instead of a second effect. Equal means: same organization, end user, account and request.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::keys::Earlier;
use super::{Journal, JournalError, JournalState, Revision, digest, subject_of};
use crate::clock::Millis;
use crate::ids::ExecutionId;
use crate::job::Job;

const REMEMBERED: Duration = Duration::from_secs(10 * 60);

#[derive(Serialize, Deserialize)]
struct Note {
    execution_id: ExecutionId,
    deadline_ms: i64,
    at_ms: i64,
    /// Somebody has got the answer since.
    #[serde(default)]
    delivered: bool,
}

impl Journal {
    /// The caller of this job has left without its answer.
    ///
    /// # Errors
    /// When the journal cannot answer.
    pub async fn note_lost(&self, job: &Job) -> Result<(), JournalError> {
        let name = name_of(job);
        let note = Note {
            execution_id: job.execution_id.clone(),
            deadline_ms: job.deadline.0,
            at_ms: self.clock.now().0,
            delivered: false,
        };
        let note = encode(&note)?;
        loop {
            let written = match self.store.get(&name).await? {
                None => self.store.create(&name, note.clone()).await?,
                Some((_, revision)) => self.store.update(&name, note.clone(), revision).await?,
            };
            if written.is_some() {
                return Ok(());
            }
        }
    }

    /// An equal call whose answer was lost, to be told instead of making this one. `None`: there is none, or it sent
    /// nothing.
    ///
    /// # Errors
    /// When the journal cannot answer.
    pub async fn lost(&self, job: &Job) -> Result<Option<(Earlier, LostNote)>, JournalError> {
        let name = name_of(job);
        // Every call asks, and hardly one finds something. A note is written when a connection is seen to be gone: whoever
        // calls again faster than that is not known to repeat anything, wherever this is read.
        let Some((bytes, revision)) = self.store.get_recent(&name).await? else { return Ok(None) };
        let note: Note = serde_json::from_slice(&bytes).map_err(|error| JournalError::Unreadable(error.to_string()))?;
        if note.delivered || self.clock.now() > Millis(note.at_ms).plus(REMEMBERED) {
            return Ok(None);
        }
        match self.look(&note.execution_id).await? {
            None => Ok(None),
            Some(record) if record.state == JournalState::Closed => Ok(None),
            Some(record) => {
                let earlier = Earlier {
                    execution_id: note.execution_id.clone(),
                    deadline: Millis(note.deadline_ms),
                    outcome: record.outcome,
                };
                Ok(Some((earlier, LostNote { name, note, revision })))
            }
        }
    }

    /// The answer is on its way now: the next equal call is a new one.
    ///
    /// # Errors
    /// When the journal cannot answer.
    pub async fn delivered(&self, lost: LostNote) -> Result<(), JournalError> {
        let LostNote { name, note, revision } = lost;
        // Whoever was faster has delivered it too.
        self.store.update(&name, encode(&Note { delivered: true, ..note })?, revision).await.map(drop)
    }
}

/// See [`Journal::lost`].
pub struct LostNote {
    name: String,
    note: Note,
    revision: Revision,
}

fn encode(note: &Note) -> Result<Bytes, JournalError> {
    serde_json::to_vec(note).map(Bytes::from).map_err(|error| JournalError::Unreadable(error.to_string()))
}

fn name_of(job: &Job) -> String {
    let parts =
        [job.organization.as_str().as_bytes(), subject_of(job), job.account.as_str().as_bytes(), &job.request_hash];
    format!("lost_{}", digest(&parts))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::memory::MemoryJournal;
    use super::super::{Claim, Finished};
    use super::*;
    use crate::clock::FakeClock;
    use crate::ids::{InstanceId, Subject};
    use crate::manifest::Effect;
    use crate::testing::{JobBuilder, outcome};

    fn world() -> (Arc<FakeClock>, Journal) {
        let clock = Arc::new(FakeClock::at(1_000));
        let store = Arc::new(MemoryJournal::new(clock.clone()));
        (clock.clone(), Journal::new(store, clock, InstanceId::generate()))
    }

    fn again(job: &Job) -> Job {
        Job { execution_id: ExecutionId::generate(), ..job.clone() }
    }

    #[tokio::test]
    async fn a_lost_answer_is_told_once() {
        let (_, journal) = world();
        let job = JobBuilder::new(Effect::Once).build();
        let Ok(Claim::Granted(intent)) = journal.claim(&job).await else { panic!("not granted") };
        assert!(journal.lost(&again(&job)).await.unwrap().is_none(), "its caller is still there");
        journal.note_lost(&job).await.unwrap();
        let (earlier, _) = journal.lost(&again(&job)).await.unwrap().unwrap();
        assert_eq!((&earlier.execution_id, &earlier.outcome), (&job.execution_id, &None), "under way");
        let done = outcome(&job.execution_id, b"done");
        assert_eq!(journal.finish(&intent, &done).await.unwrap(), Finished::Recorded);

        let other = Job { request_hash: [9; 32], ..again(&job) };
        let boris = Job { subject: Some(Subject("boris".into())), ..again(&job) };
        for stranger in [other, boris] {
            assert!(journal.lost(&stranger).await.unwrap().is_none());
        }
        let (earlier, note) = journal.lost(&again(&job)).await.unwrap().unwrap();
        assert_eq!(earlier.outcome, Some(done));
        journal.delivered(note).await.unwrap();
        assert!(journal.lost(&again(&job)).await.unwrap().is_none());
        // And may be lost again.
        journal.note_lost(&job).await.unwrap();
        assert!(journal.lost(&again(&job)).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn what_sent_nothing_or_is_long_ago_is_made_anew() {
        let (clock, journal) = world();
        let unsent = JobBuilder::new(Effect::Once).build();
        journal.close(&unsent, &outcome(&unsent.execution_id, b"unsent")).await.unwrap();
        journal.note_lost(&unsent).await.unwrap();
        assert!(journal.lost(&again(&unsent)).await.unwrap().is_none());
        let old = JobBuilder::new(Effect::Once).build();
        let Ok(Claim::Granted(_)) = journal.claim(&old).await else { panic!("not granted") };
        journal.note_lost(&old).await.unwrap();
        clock.advance(Duration::from_secs(601));
        assert!(journal.lost(&again(&old)).await.unwrap().is_none());
    }
}
