//! Domain ↔ protobuf for what travels on the queue. Refuses formats it does not know.

use bytes::Bytes;
use plugboard_proto::jobs::v1 as wire;
use prost::Message;

use super::QueueError;
use super::message_writer::MessageWriter;
use crate::blobs::BlobId;
use crate::clock::Millis;
use crate::ids::{AccountId, ExecutionId, InstanceId, KeyId, OrganizationId, ServiceKey, Subject};
use crate::job::{Job, Outcome, Payload, TraceContext};
use crate::manifest::Effect;
use crate::telemetry::metrics::StageTimes;

/// Of what has a job in it. The one before had ids as texts, which are understood still.
const JOB_FORMAT: u32 = 2;
const JOB_FORMATS: std::ops::RangeInclusive<u32> = 1..=JOB_FORMAT;
/// Of everything else.
const FORMAT: u32 = 1;

/// Room for a usual job, and for what an outcome has beside its envelope and data.
const ROOM_FOR_JOB: usize = 1_024;
const ROOM_BESIDE_OUTCOME: usize = 128;

/// One queue message with one job. Messages joined end to end are one message with the jobs of all.
pub fn encode_job(job: &Job) -> Bytes {
    let body = job.body.as_ref().and_then(inline).map_or(0, <[u8]>::len);
    let mut pack = MessageWriter::new(ROOM_FOR_JOB + body);
    pack.number(1, JOB_FORMAT.into());
    pack.message(2, |message| write_job(message, job));
    pack.finish()
}

/// # Errors
/// When the message is not of a known format.
pub fn decode_jobs(message: Bytes) -> Result<Vec<Job>, QueueError> {
    let pack = wire::JobPack::decode(message).map_err(|error| QueueError::Unreadable(error.to_string()))?;
    known_job(pack.format)?;
    pack.jobs.into_iter().map(job_from_wire).collect()
}

pub fn encode_outcomes(outcomes: &[Outcome]) -> Bytes {
    let mut pack = MessageWriter::new(outcomes.iter().map(outcome_bytes).sum());
    pack.number(1, FORMAT.into());
    outcomes.iter().for_each(|outcome| pack.message(2, |message| write_outcome(message, outcome)));
    pack.finish()
}

/// # Errors
/// When the message is not of a known format.
pub fn decode_outcomes(message: Bytes) -> Result<Vec<Outcome>, QueueError> {
    let pack = wire::OutcomePack::decode(message).map_err(|error| QueueError::Unreadable(error.to_string()))?;
    known(pack.format)?;
    Ok(pack.outcomes.into_iter().map(outcome_from_wire).collect())
}

/// What an executor tells about jobs of the express lane.
#[derive(Debug, Default)]
pub struct ExpressNews {
    pub outcomes: Vec<Outcome>,
    pub running: Vec<ExecutionId>,
    pub refused: Vec<ExecutionId>,
}

impl ExpressNews {
    pub fn outcome(outcome: Outcome) -> Self {
        Self { outcomes: vec![outcome], ..Self::default() }
    }

    pub fn running(id: ExecutionId) -> Self {
        Self { running: vec![id], ..Self::default() }
    }

    pub fn refused(id: ExecutionId) -> Self {
        Self { refused: vec![id], ..Self::default() }
    }
}

/// One packet; joined end to end, packets are one with everything.
pub fn encode_express_news(news: &ExpressNews) -> Bytes {
    let mut packet = MessageWriter::new(64 + news.outcomes.iter().map(outcome_bytes).sum::<usize>());
    packet.number(1, FORMAT.into());
    news.outcomes.iter().for_each(|outcome| packet.message(2, |message| write_outcome(message, outcome)));
    packet.texts(3, news.running.iter().map(ExecutionId::as_str));
    packet.texts(4, news.refused.iter().map(ExecutionId::as_str));
    packet.finish()
}

/// # Errors
/// When the message is not of a known format.
pub fn decode_express_news(message: Bytes) -> Result<ExpressNews, QueueError> {
    let news = wire::ExpressNews::decode(message).map_err(|error| QueueError::Unreadable(error.to_string()))?;
    known(news.format)?;
    let ids = |texts: Vec<String>| texts.into_iter().map(ExecutionId::trusted).collect();
    Ok(ExpressNews {
        outcomes: news.outcomes.into_iter().map(outcome_from_wire).collect(),
        running: ids(news.running),
        refused: ids(news.refused),
    })
}

pub fn encode_dead_letter(job: &Job, reason: &str, starts: u32, at: Millis) -> Bytes {
    let mut letter = MessageWriter::new(ROOM_FOR_JOB);
    letter.number(1, JOB_FORMAT.into());
    letter.message(2, |message| write_job(message, job));
    letter.text(3, reason);
    letter.number(4, starts.into());
    letter.signed(5, at.0);
    letter.finish()
}

fn known(format: u32) -> Result<(), QueueError> {
    if format == FORMAT { Ok(()) } else { Err(QueueError::Unreadable(format!("format {format}"))) }
}

pub(super) fn known_job(format: u32) -> Result<(), QueueError> {
    if JOB_FORMATS.contains(&format) { Ok(()) } else { Err(QueueError::Unreadable(format!("format {format}"))) }
}

/// Format 1 had the digits themselves.
fn digest_from_wire(digest: &[u8]) -> String {
    match std::str::from_utf8(digest) {
        Ok(digits) if digits.len() == 64 => digits.to_owned(),
        _ => hex::encode(digest),
    }
}

pub(crate) fn effect_to_wire(effect: Effect) -> wire::Effect {
    match effect {
        Effect::Read => wire::Effect::Read,
        Effect::Idempotent => wire::Effect::Idempotent,
        Effect::Keyed => wire::Effect::Keyed,
        Effect::Once => wire::Effect::Once,
    }
}

/// What is not understood may have an effect once.
pub(crate) fn effect_from_wire(effect: wire::Effect) -> Effect {
    match effect {
        wire::Effect::Read => Effect::Read,
        wire::Effect::Idempotent => Effect::Idempotent,
        wire::Effect::Keyed => Effect::Keyed,
        wire::Effect::Once | wire::Effect::Unspecified => Effect::Once,
    }
}

fn write_job(message: &mut MessageWriter, job: &Job) {
    job.execution_id.with_bytes(|id| message.bytes(1, id));
    job.organization.with_bytes(|id| message.bytes(2, id));
    message.text(3, job.subject.as_ref().map_or("", |subject| &subject.0));
    job.key_id.with_bytes(|id| message.bytes(4, id));
    message.text(5, job.service.as_str());
    job.account.with_bytes(|id| message.bytes(6, id));
    message.text(7, &job.account_label);
    message.text(8, &job.module);
    message.text(9, job.operation.as_deref().unwrap_or_default());
    let mut digest = [0; 32];
    if hex::decode_to_slice(&job.manifest_digest, &mut digest).is_ok() {
        message.bytes(10, &digest);
    }
    message.choice(11, effect_to_wire(job.effect));
    message.text(12, &job.method);
    message.text(13, &job.path);
    write_pairs(message, 14, &job.query);
    message.optional_bytes(15, job.body.as_ref().and_then(inline));
    write_pairs(message, 16, &job.headers);
    message.text(17, job.body.as_ref().and_then(blob).unwrap_or_default());
    message.bytes(18, &job.request_hash);
    message.bytes(19, &job.ticket);
    message.signed(20, job.accepted_at.0);
    message.signed(21, job.deadline.0);
    message.text(22, job.reply_to.as_ref().map_or("", InstanceId::as_str));
    message.text(23, &job.trace.traceparent);
    message.text(24, &job.trace.tracestate);
}

pub(super) fn job_from_wire(job: wire::Job) -> Result<Job, QueueError> {
    let unreadable = |what: &str| QueueError::Unreadable(what.to_owned());
    let fixed = |bytes: &Bytes, what: &str| -> Result<[u8; 32], QueueError> {
        bytes.as_ref().try_into().map_err(|_| unreadable(what))
    };
    Ok(Job {
        effect: effect_from_wire(job.effect()),
        request_hash: fixed(&job.request_hash, "request hash")?,
        ticket: fixed(&job.ticket, "ticket")?,
        body: join(job.body, job.body_blob, 0),
        execution_id: ExecutionId::from_bytes(&job.execution_id).ok_or_else(|| unreadable("execution id"))?,
        organization: OrganizationId::from_bytes(&job.organization_id).ok_or_else(|| unreadable("organization"))?,
        subject: some(job.subject).map(Subject),
        key_id: KeyId::from_bytes(&job.key_id).ok_or_else(|| unreadable("key"))?,
        service: ServiceKey::trusted(job.service),
        account: AccountId::from_bytes(&job.connection_id).ok_or_else(|| unreadable("account"))?,
        account_label: job.connection_label,
        module: job.module,
        operation: some(job.operation),
        manifest_digest: digest_from_wire(&job.manifest_digest),
        method: job.method,
        path: job.path,
        query: pairs_from_wire(job.query),
        headers: pairs_from_wire(job.headers),
        accepted_at: Millis(job.accepted_at_ms),
        deadline: Millis(job.deadline_ms),
        reply_to: some(job.reply_to).map(InstanceId::trusted),
        trace: TraceContext { traceparent: job.traceparent, tracestate: job.tracestate },
    })
}

pub(crate) fn write_outcome(message: &mut MessageWriter, outcome: &Outcome) {
    let data = outcome.data.as_ref();
    message.text(1, outcome.execution_id.as_str());
    message.bytes(2, &outcome.envelope);
    message.optional_bytes(3, data.and_then(inline));
    message.text(4, data.and_then(blob).unwrap_or_default());
    message.number(5, data.map(Payload::len).unwrap_or_default());
    message.numbers(6, outcome.stages.as_micros());
}

/// Roughly.
pub(crate) fn outcome_bytes(outcome: &Outcome) -> usize {
    ROOM_BESIDE_OUTCOME + outcome.envelope.len() + outcome.data.as_ref().and_then(inline).map_or(0, <[u8]>::len)
}

pub(crate) fn outcome_from_wire(outcome: wire::Outcome) -> Outcome {
    Outcome {
        execution_id: ExecutionId::trusted(outcome.execution_id),
        envelope: outcome.envelope,
        data: join(outcome.data, outcome.data_blob, outcome.data_bytes),
        stages: StageTimes::from_micros(&outcome.stage_us),
    }
}

fn inline(payload: &Payload) -> Option<&[u8]> {
    match payload {
        Payload::Inline(data) => Some(data),
        Payload::Blob { .. } => None,
    }
}

fn blob(payload: &Payload) -> Option<&str> {
    match payload {
        Payload::Inline(_) => None,
        Payload::Blob { id, .. } => Some(id.as_str()),
    }
}

fn join(inline: Option<Bytes>, blob: String, bytes: u64) -> Option<Payload> {
    match some(blob) {
        Some(id) => Some(Payload::Blob { id: BlobId::trusted(id), bytes }),
        None => inline.map(Payload::Inline),
    }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn write_pairs(message: &mut MessageWriter, field: u32, pairs: &[(String, String)]) {
    for (name, value) in pairs {
        message.message(field, |pair| {
            pair.text(1, name);
            pair.text(2, value);
        });
    }
}

fn pairs_from_wire(pairs: Vec<wire::Pair>) -> Vec<(String, String)> {
    pairs.into_iter().map(|pair| (pair.name, pair.value)).collect()
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
