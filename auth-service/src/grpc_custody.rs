//! Custody over gRPC: documents in, documents out.

use plugboard_core::identity::{AgentDraft, Custody as _, IdentityError, Revoke, RotateKey, to_status};
use plugboard_core::ids::{AgentId, KeyId, OrganizationId};
use plugboard_proto::auth::v1 as proto;
use plugboard_proto::auth::v1::{audit_sink_server, custody_server};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::{Request, Response, Status};

use crate::grpc::{Answer, Desk};

fn read<T: DeserializeOwned>(request: Request<proto::Document>) -> Result<T, Status> {
    serde_json::from_slice(&request.into_inner().json).map_err(|_| {
        // serde's messages can quote what they stumble over.
        to_status(&IdentityError::Unavailable("a document cannot be read by this version".to_owned()))
    })
}

fn answer<T: Serialize>(result: Result<T, IdentityError>) -> Answer<proto::Document> {
    let value = result.map_err(|error| to_status(&error))?;
    let json = serde_json::to_vec(&value)
        .map_err(|error| to_status(&IdentityError::Unavailable(format!("an answer cannot be written: {error}"))))?;
    Ok(Response::new(proto::Document { json }))
}

#[tonic::async_trait]
impl custody_server::Custody for Desk {
    async fn master_keys(&self, _: Request<proto::Document>) -> Answer<proto::Document> {
        answer(self.0.master_keys().await)
    }

    async fn rotate_master_key(&self, request: Request<proto::Document>) -> Answer<proto::Document> {
        answer(self.0.rotate_master_key(read(request)?).await)
    }

    async fn retire_master_key(&self, request: Request<proto::Document>) -> Answer<proto::Document> {
        answer(self.0.retire_master_key(&read::<String>(request)?).await)
    }

    async fn revoke(&self, request: Request<proto::Document>) -> Answer<proto::Document> {
        answer(self.0.revoke(read::<Revoke>(request)?).await)
    }

    async fn revocations(&self, request: Request<proto::Document>) -> Answer<proto::Document> {
        answer(self.0.revocations(&read(request)?).await)
    }

    async fn read_audit(&self, request: Request<proto::Document>) -> Answer<proto::Document> {
        answer(self.0.audit(&read(request)?).await)
    }

    async fn create_agent(&self, request: Request<proto::Document>) -> Answer<proto::Document> {
        let (organization, draft): (OrganizationId, AgentDraft) = read(request)?;
        answer(self.0.create_agent(&organization, &draft).await)
    }

    async fn list_agents(&self, request: Request<proto::Document>) -> Answer<proto::Document> {
        answer(self.0.agents(&read(request)?).await)
    }

    async fn update_agent(&self, request: Request<proto::Document>) -> Answer<proto::Document> {
        let (organization, agent, draft): (OrganizationId, AgentId, AgentDraft) = read(request)?;
        answer(self.0.update_agent(&organization, &agent, &draft).await)
    }

    async fn delete_agent(&self, request: Request<proto::Document>) -> Answer<proto::Document> {
        let (organization, agent): (OrganizationId, AgentId) = read(request)?;
        answer(self.0.delete_agent(&organization, &agent).await)
    }

    async fn rotate_key(&self, request: Request<proto::RotateKeyRequest>) -> Answer<proto::IssuedKey> {
        let request = request.into_inner();
        let request = RotateKey {
            organization: OrganizationId::trusted(request.organization_id),
            key: KeyId::trusted(request.key_id),
            overlap_hours: request.overlap_hours,
        };
        let issued = self.0.rotate_key(&request).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(issued.into()))
    }
}

#[tonic::async_trait]
impl audit_sink_server::AuditSink for Desk {
    async fn append_calls(&self, request: Request<proto::Document>) -> Answer<proto::Document> {
        answer(self.0.append_calls(&read::<Vec<_>>(request)?).await)
    }
}
