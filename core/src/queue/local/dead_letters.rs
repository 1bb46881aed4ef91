//! Dead letters in the embedded data file; a queue without a file keeps none.

use std::ops::Bound;
use std::time::Duration;

use async_trait::async_trait;
use redb::ReadableTable;

use super::super::dead_letters::{DeadLetterPage, DeadLetters, Letter, decode};
use super::super::{QueueError, wire};
use super::{LocalQueue, unavailable};
use crate::clock::Millis;
use crate::embedded::expiry::{self, Expired, Kind};
use crate::embedded::tables::{DEAD_LETTERS, Tables};
use crate::embedded::{Embedded, EmbeddedError};
use crate::ids::{ExecutionId, OrganizationId};
use crate::job::Job;

/// Life of a dead letter.
const LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Durable when it returns. Burying a job again replaces its letter.
pub(in crate::queue) async fn bury(file: &Embedded, job: &Job, reason: &str, starts: u32) -> Result<(), EmbeddedError> {
    let at = file.clock().now();
    let key = job.execution_id.as_str().to_owned();
    let letter = wire::encode_dead_letter(job, reason, starts, at);
    file.write(letter.len(), move |tables| {
        tables.dead_letters()?.insert(key.as_str(), letter.as_ref())?;
        expiry::note(tables, Kind::DeadLetter, &key, at.plus(LIFE))
    })
    .await
}

/// In the order of their execution ids, which is that of their acceptance.
#[async_trait]
impl DeadLetters for LocalQueue {
    async fn list(
        &self,
        organization: Option<&OrganizationId>,
        from: Option<&str>,
        limit: usize,
    ) -> Result<DeadLetterPage, QueueError> {
        let Some(file) = &self.inner.file else { return Ok(DeadLetterPage::default()) };
        let (organization, from) = (organization.cloned(), from.unwrap_or_default().to_owned());
        let page = file.read_long(move |transaction| {
            let table = transaction.open_table(DEAD_LETTERS)?;
            let mut page = DeadLetterPage::default();
            for entry in table.range::<&str>((Bound::Included(from.as_str()), Bound::Unbounded))? {
                let (id, letter) = entry?;
                let letter = Letter::found(ExecutionId::trusted(id.value()), letter.value());
                if !is_of(&letter, organization.as_ref()) {
                    continue;
                }
                if page.letters.len() == limit {
                    page.next = Some(id.value().to_owned());
                    break;
                }
                page.letters.push(letter);
            }
            Ok(page)
        });
        page.await.map_err(unavailable)
    }

    async fn get(&self, organization: Option<&OrganizationId>, id: &ExecutionId) -> Result<Option<Letter>, QueueError> {
        let Some(file) = &self.inner.file else { return Ok(None) };
        let key = id.as_str().to_owned();
        let read = file.read_long(move |transaction| {
            let table = transaction.open_table(DEAD_LETTERS)?;
            Ok(table.get(key.as_str())?.map(|letter| letter.value().to_vec()))
        });
        let letter = read.await.map_err(unavailable)?.map(|bytes| Letter::found(id.clone(), &bytes));
        Ok(letter.filter(|letter| is_of(letter, organization)))
    }

    async fn remove(&self, id: &ExecutionId) -> Result<bool, QueueError> {
        let Some(file) = &self.inner.file else { return Ok(false) };
        let key = id.as_str().to_owned();
        let removed = file.write(key.len(), move |tables| Ok(tables.dead_letters()?.remove(key.as_str())?.is_some()));
        removed.await.map_err(unavailable)
    }
}

/// Whose an unreadable letter is only the letter could tell.
fn is_of(letter: &Letter, organization: Option<&OrganizationId>) -> bool {
    let Some(wanted) = organization else { return true };
    matches!(letter, Letter::Read(letter) if letter.job.organization == *wanted)
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
