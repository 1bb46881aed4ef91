//! Domain ↔ protobuf for what travels on the queue. Refuses formats it does not know.

use bytes::Bytes;
use plugboard_proto::jobs::v1 as wire;
use prost::Message;

use super::QueueError;
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

/// One queue message with one job. Messages joined end to end are one message with the jobs of all.
pub fn encode_job(job: &Job) -> Bytes {
    let pack = wire::JobPack { format: JOB_FORMAT, jobs: vec![job_to_wire(job.clone())] };
    pack.encode_to_vec().into()
}

/// # Errors
/// When the message is not of a known format.
pub fn decode_jobs(message: Bytes) -> Result<Vec<Job>, QueueError> {
    let pack = wire::JobPack::decode(message).map_err(|error| QueueError::Unreadable(error.to_string()))?;
    known_job(pack.format)?;
    pack.jobs.into_iter().map(job_from_wire).collect()
}

pub fn encode_outcomes(outcomes: Vec<Outcome>) -> Bytes {
    let pack = wire::OutcomePack { format: FORMAT, outcomes: outcomes.into_iter().map(outcome_to_wire).collect() };
    pack.encode_to_vec().into()
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
pub fn encode_express_news(news: ExpressNews) -> Bytes {
    let texts = |ids: Vec<ExecutionId>| ids.into_iter().map(|id| id.as_str().to_owned()).collect();
    let news = wire::ExpressNews {
        format: FORMAT,
        outcomes: news.outcomes.into_iter().map(outcome_to_wire).collect(),
        running: texts(news.running),
        refused: texts(news.refused),
    };
    news.encode_to_vec().into()
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
    let letter = wire::DeadLetter {
        format: JOB_FORMAT,
        job: Some(job_to_wire(job.clone())),
        reason: reason.to_owned(),
        starts,
        at_ms: at.0,
    };
    letter.encode_to_vec().into()
}

fn known(format: u32) -> Result<(), QueueError> {
    if format == FORMAT { Ok(()) } else { Err(QueueError::Unreadable(format!("format {format}"))) }
}

pub(super) fn known_job(format: u32) -> Result<(), QueueError> {
    if JOB_FORMATS.contains(&format) { Ok(()) } else { Err(QueueError::Unreadable(format!("format {format}"))) }
}

/// Hex digits as bytes.
fn digest_to_wire(digest: &str) -> Bytes {
    hex::decode(digest).unwrap_or_default().into()
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

fn job_to_wire(job: Job) -> wire::Job {
    let (body, body_blob) = split(job.body);
    wire::Job {
        execution_id: job.execution_id.to_bytes(),
        organization_id: job.organization.to_bytes(),
        subject: job.subject.map(|subject| subject.0).unwrap_or_default(),
        key_id: job.key_id.to_bytes(),
        service: job.service.as_str().to_owned(),
        connection_id: job.account.to_bytes(),
        connection_label: job.account_label,
        module: job.module,
        operation: job.operation.unwrap_or_default(),
        manifest_digest: digest_to_wire(&job.manifest_digest),
        effect: effect_to_wire(job.effect).into(),
        method: job.method,
        path: job.path,
        query: pairs_to_wire(job.query),
        body,
        headers: pairs_to_wire(job.headers),
        body_blob,
        request_hash: Bytes::copy_from_slice(&job.request_hash),
        ticket: Bytes::copy_from_slice(&job.ticket),
        accepted_at_ms: job.accepted_at.0,
        deadline_ms: job.deadline.0,
        reply_to: job.reply_to.map(|to| to.as_str().to_owned()).unwrap_or_default(),
        traceparent: job.trace.traceparent,
        tracestate: job.trace.tracestate,
    }
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

pub(crate) fn outcome_to_wire(outcome: Outcome) -> wire::Outcome {
    let data_bytes = outcome.data.as_ref().map(Payload::len).unwrap_or_default();
    let (data, data_blob) = split(outcome.data);
    wire::Outcome {
        execution_id: outcome.execution_id.as_str().to_owned(),
        envelope: outcome.envelope,
        data,
        data_blob,
        data_bytes,
        stage_us: outcome.stages.to_micros(),
    }
}

pub(crate) fn outcome_from_wire(outcome: wire::Outcome) -> Outcome {
    Outcome {
        execution_id: ExecutionId::trusted(outcome.execution_id),
        envelope: outcome.envelope,
        data: join(outcome.data, outcome.data_blob, outcome.data_bytes),
        stages: StageTimes::from_micros(&outcome.stage_us),
    }
}

fn split(payload: Option<Payload>) -> (Option<Bytes>, String) {
    match payload {
        None => (None, String::new()),
        Some(Payload::Inline(data)) => (Some(data), String::new()),
        Some(Payload::Blob { id, .. }) => (None, id.as_str().to_owned()),
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

fn pairs_to_wire(pairs: Vec<(String, String)>) -> Vec<wire::Pair> {
    pairs.into_iter().map(|(name, value)| wire::Pair { name, value }).collect()
}

fn pairs_from_wire(pairs: Vec<wire::Pair>) -> Vec<(String, String)> {
    pairs.into_iter().map(|pair| (pair.name, pair.value)).collect()
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
