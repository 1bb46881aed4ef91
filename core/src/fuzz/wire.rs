//! Any bytes as what travels or is kept: jobs, outcomes, news of the express lane, dead letters, journal entries. What can
//! be read is written again as it was understood, so that a relay changes nothing.

use bytes::Bytes;

use crate::clock::Millis;
use crate::ids::InstanceId;
use crate::job::Job;
use crate::journal::{JournalState, Record};
use crate::manifest::Effect;
use crate::queue::wire::{
    ExpressNews, decode_express_news, decode_jobs, decode_outcomes, encode_dead_letter, encode_express_news,
    encode_job, encode_outcomes,
};
use crate::queue::{DeadLetter, dead_letters};
use crate::testing::{JobBuilder, edited, outcome};

/// One kind of message: what can be read, written again.
struct Kind {
    valid: Bytes,
    again: fn(Bytes) -> Option<Bytes>,
}

pub fn wire(bytes: &[u8]) {
    // The first byte chooses; the rest is the message, and in another try what is changed in a valid one.
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let kinds = kinds();
    let Kind { valid, again } = &kinds[usize::from(*kind) % kinds.len()];
    for message in [Bytes::copy_from_slice(bytes), edited(valid, bytes).into()] {
        let Some(written) = again(message) else { continue };
        assert_eq!(again(written.clone()), Some(written));
    }
}

fn kinds() -> [Kind; 5] {
    let job = JobBuilder::new(Effect::Keyed).reply_to(&InstanceId::generate()).build();
    let id = &job.execution_id;
    let done = outcome(id, b"data");
    let news = ExpressNews { outcomes: vec![done.clone()], running: vec![id.clone()], refused: vec![id.clone()] };
    let entry =
        Record::intent(&job, &InstanceId::generate(), Millis(1)).ended(JournalState::Done, done.clone(), Millis(2));
    [
        Kind { valid: encode_job(&job), again: jobs },
        Kind {
            valid: encode_outcomes(&[done]),
            again: |bytes| decode_outcomes(bytes).ok().map(|outcomes| encode_outcomes(&outcomes)),
        },
        Kind {
            valid: encode_express_news(&news),
            again: |bytes| decode_express_news(bytes).ok().map(|news| encode_express_news(&news)),
        },
        Kind { valid: encode_dead_letter(&job, "five starts", 5, Millis(1)), again: dead_letter },
        Kind { valid: entry.encode(), again: |bytes| Record::decode(bytes).ok().map(|entry| entry.encode()) },
    ]
}

fn jobs(bytes: Bytes) -> Option<Bytes> {
    let jobs: Vec<Job> = decode_jobs(bytes).ok().filter(|jobs| !jobs.is_empty())?;
    // Packs are messages joined end to end.
    Some(jobs.iter().flat_map(encode_job).collect())
}

fn dead_letter(bytes: Bytes) -> Option<Bytes> {
    let DeadLetter { job, reason, starts, at } = dead_letters::decode(&bytes).ok()?;
    Some(encode_dead_letter(&job, &reason, starts, at))
}
