//! Jobs and outcomes for tests.

use std::time::Duration;

use bytes::Bytes;

use crate::clock::{Clock, SystemClock};
use crate::ids::{AccountId, ExecutionId, InstanceId, KeyId, OrganizationId, ServiceKey, Subject};
use crate::job::{Job, Outcome, Payload, RequestParts, TraceContext};
use crate::manifest::Effect;
use crate::telemetry::metrics::StageTimes;

/// Builds a job with every field filled, unlike any other.
#[derive(Debug, Clone)]
pub struct JobBuilder(Job);

impl JobBuilder {
    /// A background job of an organization of its own, due in a minute.
    pub fn new(effect: Effect) -> Self {
        let now = SystemClock.now();
        let account = AccountId::generate();
        let query = vec![("dateFrom".to_owned(), "2026-04-15".to_owned()), ("empty".to_owned(), String::new())];
        let body = Bytes::from_static("{\"имя\":\"значение\"}".as_bytes());
        let request_hash = RequestParts {
            account: &account,
            module: "statistics",
            method: "POST",
            path: "/api/v1/supplier/orders",
            query: &query,
            headers: &[],
            body: Some(&body),
        }
        .hash();
        Self(Job {
            execution_id: ExecutionId::generate(),
            organization: OrganizationId::generate(),
            subject: Some(Subject("user-1".to_owned())),
            key_id: KeyId::generate(),
            service: ServiceKey::trusted("wildberries"),
            account,
            account_label: "Top Zip".to_owned(),
            module: "statistics".to_owned(),
            operation: Some("orders".to_owned()),
            manifest_digest: "0".repeat(64),
            effect,
            method: "POST".to_owned(),
            path: "/api/v1/supplier/orders".to_owned(),
            query,
            body: Some(Payload::Inline(body)),
            headers: vec![("x-trace".to_owned(), "1".to_owned())],
            request_hash,
            ticket: [7; 32],
            accepted_at: now,
            deadline: now.plus(Duration::from_secs(60)),
            reply_to: None,
            trace: TraceContext {
                traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
                tracestate: String::new(),
            },
        })
    }

    #[must_use]
    pub fn organization(mut self, organization: &OrganizationId) -> Self {
        self.0.organization = organization.clone();
        self
    }

    #[must_use]
    pub fn body(mut self, body: Option<Payload>) -> Self {
        self.0.body = body;
        self
    }

    /// Makes it interactive: somebody waits at `gateway`.
    #[must_use]
    pub fn reply_to(mut self, gateway: &InstanceId) -> Self {
        self.0.reply_to = Some(gateway.clone());
        self
    }

    pub fn build(self) -> Job {
        self.0
    }
}

/// An outcome that names its execution and carries `data`.
pub fn outcome(id: &ExecutionId, data: &[u8]) -> Outcome {
    Outcome {
        execution_id: id.clone(),
        envelope: Bytes::from(format!("{{\"ok\":true,\"execution_id\":\"{id}\"}}")),
        data: Some(Payload::Inline(Bytes::copy_from_slice(data))),
        stages: StageTimes::from_micros(&[0, 0, 7]),
    }
}
