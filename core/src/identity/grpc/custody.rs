//! [`Custody`] over gRPC.

use std::time::Duration;

use async_trait::async_trait;
use plugboard_proto::auth::v1 as proto;
use plugboard_proto::auth::v1::audit_sink_client::AuditSinkClient;
use plugboard_proto::auth::v1::custody_client::CustodyClient;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::{Response, Status};

use super::links::{Caller, EndpointError, Links, Repeat};
use super::{CALL, LARGEST};
use crate::identity::{
    Agent, AgentDraft, AuditPage, AuditQuery, CallBatch, Custody, IdentityError, IssuedKey, MasterKeysStatus,
    RevocationReport, Revoke, RotateKey,
};
use crate::ids::{AgentId, OrganizationId};
use crate::secret::Secret;
use crate::tls::ServiceTls;

/// Counting what is sealed under which key, or revoking every account of an organization, takes its time.
const LONG: Duration = Duration::from_secs(30);

/// The auth service as gateways manage custody through it, and as executors enter their calls.
#[derive(Debug)]
pub struct GrpcCustody {
    links: Links,
}

impl GrpcCustody {
    /// As [`super::GrpcDirectory::new`].
    ///
    /// # Errors
    /// When there is no URL, or one is malformed.
    pub fn new(urls: &[String], token: &Secret, tls: Option<&ServiceTls>) -> Result<Self, EndpointError> {
        Ok(Self { links: Links::new(urls, token, tls)? })
    }

    async fn ask<T, F, A>(&self, repeat: Repeat, within: Duration, asked: &impl Serialize, call: F) -> Answer<T>
    where
        T: DeserializeOwned,
        F: Fn(Caller, proto::Document) -> A,
        A: Future<Output = Result<Response<proto::Document>, Status>>,
    {
        let json = serde_json::to_vec(asked).map_err(|error| unreadable(&error))?;
        let ask = |caller| call(caller, proto::Document { json: json.clone() });
        let answer = self.links.call(repeat, within, ask).await?;
        serde_json::from_slice(&answer.json).map_err(|error| unreadable(&error))
    }
}

type Answer<T> = Result<T, IdentityError>;

fn client(caller: Caller) -> CustodyClient<Caller> {
    CustodyClient::new(caller).max_decoding_message_size(LARGEST)
}

fn unreadable(error: &serde_json::Error) -> IdentityError {
    IdentityError::Unavailable(format!("a document of the auth service cannot be read: {error}"))
}

/// Asks by a method of the client's.
macro_rules! by {
    ($method:ident) => {
        |caller, document| async move { client(caller).$method(document).await }
    };
}

#[async_trait]
impl Custody for GrpcCustody {
    async fn master_keys(&self) -> Answer<MasterKeysStatus> {
        self.ask(Repeat::Always, LONG, &(), by!(master_keys)).await
    }

    async fn rotate_master_key(&self, to: Option<String>) -> Answer<MasterKeysStatus> {
        self.ask(Repeat::IfNotSent, LONG, &to, by!(rotate_master_key)).await
    }

    async fn retire_master_key(&self, id: &str) -> Answer<MasterKeysStatus> {
        self.ask(Repeat::IfNotSent, LONG, &id, by!(retire_master_key)).await
    }

    async fn revoke(&self, request: Revoke) -> Answer<RevocationReport> {
        // Revoking twice is revoking once; and no answer must not mean that nothing was done.
        self.ask(Repeat::AfterWaiting, LONG, &request, by!(revoke)).await
    }

    async fn revocations(&self, organization: &OrganizationId) -> Answer<RevocationReport> {
        self.ask(Repeat::Always, LONG, organization, by!(revocations)).await
    }

    async fn audit(&self, query: &AuditQuery) -> Answer<AuditPage> {
        self.ask(Repeat::Always, LONG, query, by!(read_audit)).await
    }

    async fn append_calls(&self, batches: &[CallBatch]) -> Answer<()> {
        let enter = |caller, document| async move { AuditSinkClient::new(caller).append_calls(document).await };
        self.ask(Repeat::Always, CALL, &batches, enter).await
    }

    async fn create_agent(&self, organization: &OrganizationId, draft: &AgentDraft) -> Answer<Agent> {
        self.ask(Repeat::IfNotSent, CALL, &(organization, draft), by!(create_agent)).await
    }

    async fn agents(&self, organization: &OrganizationId) -> Answer<Vec<Agent>> {
        self.ask(Repeat::Always, CALL, organization, by!(list_agents)).await
    }

    async fn update_agent(&self, organization: &OrganizationId, agent: &AgentId, draft: &AgentDraft) -> Answer<Agent> {
        self.ask(Repeat::Always, CALL, &(organization, agent, draft), by!(update_agent)).await
    }

    async fn delete_agent(&self, organization: &OrganizationId, agent: &AgentId) -> Answer<Agent> {
        self.ask(Repeat::IfNotSent, CALL, &(organization, agent), by!(delete_agent)).await
    }

    async fn rotate_key(&self, request: &RotateKey) -> Answer<IssuedKey> {
        let ask = |caller| async move {
            let request = proto::RotateKeyRequest {
                organization_id: request.organization.as_str().to_owned(),
                key_id: request.key.as_str().to_owned(),
                overlap_hours: request.overlap_hours,
            };
            client(caller).rotate_key(request).await
        };
        self.links.call(Repeat::IfNotSent, CALL, ask).await?.try_into()
    }
}
