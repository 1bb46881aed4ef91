//! Jobs given up, in the embedded data file; kept 30 days.

use std::time::Duration;

use plugboard_proto::jobs::v1 as proto;
use prost::Message;
use redb::ReadableTable;

use super::{QueueError, wire};
use crate::clock::Millis;
use crate::embedded::expiry::{self, Expired, Kind};
use crate::embedded::tables::{DEAD_LETTERS, Tables};
use crate::embedded::{Embedded, EmbeddedError};
use crate::ids::ExecutionId;
use crate::job::Job;

/// Life of a dead letter.
const LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// A job given up, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    pub execution_id: ExecutionId,
    pub reason: String,
    /// How often it was started.
    pub starts: u32,
    pub at: Millis,
}

/// Durable when it returns. Burying a job again replaces its letter.
pub(super) async fn bury(file: &Embedded, job: &Job, reason: &str, starts: u32) -> Result<(), EmbeddedError> {
    let at = file.clock().now();
    let key = job.execution_id.as_str().to_owned();
    let letter = wire::encode_dead_letter(job, reason, starts, at);
    file.write(letter.len(), move |tables| {
        tables.dead_letters()?.insert(key.as_str(), letter.as_ref())?;
        expiry::note(tables, Kind::DeadLetter, &key, at.plus(LIFE))
    })
    .await
}

/// All of them, in the order of their execution ids, which is that of their acceptance.
pub(super) async fn list(file: &Embedded) -> Result<Vec<DeadLetter>, QueueError> {
    file.read_long(|transaction| {
        let table = transaction.open_table(DEAD_LETTERS)?;
        table.iter()?.map(|entry| Ok(decode(entry?.1.value()))).collect::<Result<Vec<_>, redb::Error>>()
    })
    .await
    .map_err(super::local::unavailable)?
    .into_iter()
    .collect()
}

fn decode(letter: &[u8]) -> Result<DeadLetter, QueueError> {
    let letter = proto::DeadLetter::decode(letter).map_err(|error| QueueError::Unreadable(error.to_string()))?;
    let job = letter.job.ok_or_else(|| QueueError::Unreadable("a dead letter without its job".to_owned()))?;
    Ok(DeadLetter {
        execution_id: ExecutionId::trusted(job.execution_id),
        reason: letter.reason,
        starts: letter.starts,
        at: Millis(letter.at_ms),
    })
}

pub(crate) fn expire(tables: &mut Tables<'_>, key: &str, now: Millis) -> Result<Expired, redb::Error> {
    let at = {
        let found = tables.read_dead_letters()?.get(key)?;
        found.and_then(|letter| decode(letter.value()).ok()).map(|letter| letter.at)
    };
    // Buried again since: it lives on, and a later note says so.
    if at.is_some_and(|at| now < at.plus(LIFE)) {
        return Ok((0, None));
    }
    tables.dead_letters()?.remove(key)?;
    Ok((1, None))
}
