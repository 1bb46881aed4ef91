//! How accounts get connected by a person: protobuf ↔ use cases.

use plugboard_core::identity::{ClientOwner, Connect, NewOAuthClient, to_status};
use plugboard_core::ids::{OrganizationId, ServiceKey};
use plugboard_core::secret::Secret;
use plugboard_proto::auth::v1 as proto;
use plugboard_proto::auth::v1::connect_server;
use tonic::{Request, Response, Status};

use super::{Answer, Desk, answer};

fn owner(message: Option<proto::ClientOwner>) -> Result<ClientOwner, Status> {
    message.try_into().map_err(|error| to_status(&error))
}

#[tonic::async_trait]
impl connect_server::Connect for Desk {
    async fn start_sign_in(&self, request: Request<proto::SignInRequest>) -> Answer<proto::StartedSignIn> {
        answer(self.0.start_sign_in(request.into_inner().into()).await)
    }

    async fn start_device(&self, request: Request<proto::SignInRequest>) -> Answer<proto::StartedDevice> {
        answer(Connect::start_device(self.0.as_ref(), request.into_inner().into()).await)
    }

    async fn get_device(&self, request: Request<proto::GetDeviceRequest>) -> Answer<proto::DeviceStatus> {
        let request = request.into_inner();
        let organization = OrganizationId::trusted(request.organization_id);
        answer(Connect::device(self.0.as_ref(), &organization, &request.id).await)
    }

    async fn create_session(&self, request: Request<proto::CreateSessionRequest>) -> Answer<proto::IssuedSession> {
        answer(self.0.create_session(request.into_inner().into()).await)
    }

    async fn redeem_claim(&self, request: Request<proto::RedeemClaimRequest>) -> Answer<proto::AccountList> {
        let request = request.into_inner();
        let organization = OrganizationId::trusted(request.organization_id);
        let accounts = self.0.redeem_claim(&organization, &Secret::new(request.claim)).await;
        let accounts = accounts.map_err(|error| to_status(&error))?;
        Ok(Response::new(proto::AccountList { accounts: accounts.into_iter().map(Into::into).collect() }))
    }

    async fn set_client(&self, request: Request<proto::SetClientRequest>) -> Answer<proto::OAuthClient> {
        let request = NewOAuthClient::try_from(request.into_inner()).map_err(|error| to_status(&error))?;
        answer(self.0.set_client(request).await)
    }

    async fn list_clients(&self, request: Request<proto::ListClientsRequest>) -> Answer<proto::OAuthClientList> {
        let clients = self.0.clients(&owner(request.into_inner().owner)?).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(proto::OAuthClientList { clients: clients.into_iter().map(Into::into).collect() }))
    }

    async fn remove_client(&self, request: Request<proto::RemoveClientRequest>) -> Answer<proto::OAuthClient> {
        let request = request.into_inner();
        answer(self.0.remove_client(&owner(request.owner)?, &ServiceKey::trusted(request.service)).await)
    }
}
