//! [`Connect`] over gRPC. A link that nobody was told leaves a sign-in unfinished that is forgotten, so making one may
//! be asked again at another replica; what a vendor or a person would see twice may not.

use std::time::Duration;

use async_trait::async_trait;
use plugboard_proto::auth::v1 as proto;
use plugboard_proto::auth::v1::connect_client::ConnectClient;

use super::links::{Caller, EndpointError, Links, Repeat};
use super::{CALL, LARGEST};
use crate::identity::{
    Account, ClientOwner, Connect, DeviceStatus, IdentityError, IssuedSession, NewConnectSession, NewOAuthClient,
    OAuthClient, SignIn, StartedDevice, StartedSignIn,
};
use crate::ids::{OrganizationId, ServiceKey};
use crate::secret::Secret;
use crate::tls::ServiceTls;

/// A vendor is asked meanwhile.
const WITH_VENDOR: Duration = Duration::from_secs(20);

/// Connecting, as gateways see it.
#[derive(Debug)]
pub struct GrpcConnect {
    links: Links,
}

impl GrpcConnect {
    /// As [`super::GrpcDirectory::new`].
    ///
    /// # Errors
    /// When there is no URL, or one is malformed.
    pub fn new(urls: &[String], token: &Secret, tls: Option<&ServiceTls>) -> Result<Self, EndpointError> {
        Ok(Self { links: Links::new(urls, token, tls)? })
    }
}

fn client(caller: Caller) -> ConnectClient<Caller> {
    ConnectClient::new(caller).max_decoding_message_size(LARGEST)
}

/// One call: how it may be repeated, how long it may take, and which method with which message.
macro_rules! ask {
    ($self:ident, $repeat:ident, $within:expr, $method:ident($request:expr)) => {{
        let request = $request;
        let ask = |caller| {
            let request = request.clone();
            async move { client(caller).$method(request).await }
        };
        $self.links.call(Repeat::$repeat, $within, ask).await?
    }};
}

#[async_trait]
impl Connect for GrpcConnect {
    async fn start_sign_in(&self, request: SignIn) -> Result<StartedSignIn, IdentityError> {
        Ok(ask!(self, Always, CALL, start_sign_in(proto::SignInRequest::from(request))).into())
    }

    async fn start_device(&self, request: SignIn) -> Result<StartedDevice, IdentityError> {
        Ok(ask!(self, IfNotSent, WITH_VENDOR, start_device(proto::SignInRequest::from(request))).into())
    }

    async fn device(&self, organization: &OrganizationId, id: &str) -> Result<DeviceStatus, IdentityError> {
        let organization_id = organization.as_str().to_owned();
        let request = proto::GetDeviceRequest { organization_id, id: id.to_owned() };
        ask!(self, AfterWaiting, WITH_VENDOR, get_device(request)).try_into()
    }

    async fn create_session(&self, request: NewConnectSession) -> Result<IssuedSession, IdentityError> {
        Ok(ask!(self, Always, CALL, create_session(proto::CreateSessionRequest::from(request))).into())
    }

    async fn redeem_claim(&self, organization: &OrganizationId, claim: &Secret) -> Result<Vec<Account>, IdentityError> {
        let organization_id = organization.as_str().to_owned();
        let request = proto::RedeemClaimRequest { organization_id, claim: claim.expose().to_owned() };
        let list = ask!(self, IfNotSent, CALL, redeem_claim(request));
        list.accounts.into_iter().map(Account::try_from).collect()
    }

    async fn set_client(&self, request: NewOAuthClient) -> Result<OAuthClient, IdentityError> {
        Ok(ask!(self, Always, CALL, set_client(proto::SetClientRequest::from(request))).into())
    }

    async fn clients(&self, owner: &ClientOwner) -> Result<Vec<OAuthClient>, IdentityError> {
        let list = ask!(self, Always, CALL, list_clients(proto::ListClientsRequest { owner: Some(owner.into()) }));
        Ok(list.clients.into_iter().map(OAuthClient::from).collect())
    }

    async fn remove_client(&self, owner: &ClientOwner, service: &ServiceKey) -> Result<OAuthClient, IdentityError> {
        let request = proto::RemoveClientRequest { owner: Some(owner.into()), service: service.as_str().to_owned() };
        Ok(ask!(self, IfNotSent, CALL, remove_client(request)).into())
    }
}
