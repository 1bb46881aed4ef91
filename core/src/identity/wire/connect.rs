//! Domain types of connecting ↔ protobuf.

use plugboard_proto::auth::v1 as proto;

use super::{exposed, hidden, unreadable};
use crate::clock::Millis;
use crate::identity::{
    ClientOwner, DeviceStatus, IdentityError, IssuedSession, NewConnectSession, NewOAuthClient, OAuthClient, SignIn,
    StartedDevice, StartedSignIn,
};
use crate::ids::{AccountId, KeyId, OrganizationId, ServiceKey, Subject};
use crate::secret::Secret;

impl From<SignIn> for proto::SignInRequest {
    fn from(request: SignIn) -> Self {
        Self {
            organization_id: request.organization.as_str().to_owned(),
            key_id: request.key.as_str().to_owned(),
            service: request.service.as_str().to_owned(),
            label: request.label,
            owner: request.owner.map(|owner| owner.0),
            fields: exposed(&request.fields),
            account_id: request.account.map(|account| account.as_str().to_owned()),
            return_url: request.return_url,
        }
    }
}

impl From<proto::SignInRequest> for SignIn {
    fn from(message: proto::SignInRequest) -> Self {
        Self {
            organization: OrganizationId::trusted(message.organization_id),
            key: KeyId::trusted(message.key_id),
            service: ServiceKey::trusted(message.service),
            label: message.label,
            owner: message.owner.map(Subject),
            fields: hidden(message.fields),
            account: message.account_id.map(AccountId::trusted),
            return_url: message.return_url,
        }
    }
}

impl From<StartedSignIn> for proto::StartedSignIn {
    fn from(started: StartedSignIn) -> Self {
        Self { url: started.url, expires_at_ms: started.expires_at.0 }
    }
}

impl From<proto::StartedSignIn> for StartedSignIn {
    fn from(message: proto::StartedSignIn) -> Self {
        Self { url: message.url, expires_at: Millis(message.expires_at_ms) }
    }
}

impl From<StartedDevice> for proto::StartedDevice {
    fn from(started: StartedDevice) -> Self {
        Self {
            id: started.id,
            user_code: started.user_code,
            verification_uri: started.verification_uri,
            verification_uri_complete: started.verification_uri_complete,
            interval_seconds: started.interval_seconds,
            expires_at_ms: started.expires_at.0,
        }
    }
}

impl From<proto::StartedDevice> for StartedDevice {
    fn from(message: proto::StartedDevice) -> Self {
        Self {
            id: message.id,
            user_code: message.user_code,
            verification_uri: message.verification_uri,
            verification_uri_complete: message.verification_uri_complete,
            interval_seconds: message.interval_seconds,
            expires_at: Millis(message.expires_at_ms),
        }
    }
}

impl From<DeviceStatus> for proto::DeviceStatus {
    fn from(status: DeviceStatus) -> Self {
        use proto::device_status::{Denied, Expired, Status};
        Self {
            status: Some(match status {
                DeviceStatus::Pending { interval_seconds } => Status::Pending(interval_seconds),
                DeviceStatus::Connected(account) => Status::Connected(account.into()),
                DeviceStatus::Denied => Status::Denied(Denied {}),
                DeviceStatus::Expired => Status::Expired(Expired {}),
                DeviceStatus::Failed(why) => Status::Failed(why),
            }),
        }
    }
}

impl TryFrom<proto::DeviceStatus> for DeviceStatus {
    type Error = IdentityError;

    fn try_from(message: proto::DeviceStatus) -> Result<Self, IdentityError> {
        use proto::device_status::Status;
        Ok(match message.status.ok_or_else(|| unreadable("a device sign-in"))? {
            Status::Pending(interval_seconds) => Self::Pending { interval_seconds },
            Status::Connected(account) => Self::Connected(account.try_into()?),
            Status::Denied(_) => Self::Denied,
            Status::Expired(_) => Self::Expired,
            Status::Failed(why) => Self::Failed(why),
        })
    }
}

impl From<NewConnectSession> for proto::CreateSessionRequest {
    fn from(request: NewConnectSession) -> Self {
        Self {
            organization_id: request.organization.as_str().to_owned(),
            key_id: request.key.as_str().to_owned(),
            subject: request.subject.map(|subject| subject.0),
            services: request.services.iter().map(|service| service.as_str().to_owned()).collect(),
            return_url: request.return_url,
            by_call: request.by_call,
            mend_only: request.mend_only,
        }
    }
}

impl From<proto::CreateSessionRequest> for NewConnectSession {
    fn from(message: proto::CreateSessionRequest) -> Self {
        Self {
            organization: OrganizationId::trusted(message.organization_id),
            key: KeyId::trusted(message.key_id),
            subject: message.subject.map(Subject),
            services: message.services.into_iter().map(ServiceKey::trusted).collect(),
            return_url: message.return_url,
            by_call: message.by_call,
            mend_only: message.mend_only,
        }
    }
}

impl From<IssuedSession> for proto::IssuedSession {
    fn from(issued: IssuedSession) -> Self {
        Self {
            id: issued.id,
            token: issued.token.expose().to_owned(),
            url: issued.url.expose().to_owned(),
            expires_at_ms: issued.expires_at.0,
            claim: issued.claim.map(|claim| claim.expose().to_owned()),
        }
    }
}

impl From<proto::IssuedSession> for IssuedSession {
    fn from(message: proto::IssuedSession) -> Self {
        Self {
            id: message.id,
            token: Secret::new(message.token),
            url: Secret::new(message.url),
            expires_at: Millis(message.expires_at_ms),
            claim: message.claim.map(Secret::new),
        }
    }
}

impl From<&ClientOwner> for proto::ClientOwner {
    fn from(owner: &ClientOwner) -> Self {
        match owner {
            ClientOwner::Organization(id) => Self { organization_id: Some(id.as_str().to_owned()) },
            ClientOwner::Platform => Self { organization_id: None },
        }
    }
}

impl TryFrom<Option<proto::ClientOwner>> for ClientOwner {
    type Error = IdentityError;

    /// A lost owner must not turn a tenant's request into the platform's.
    fn try_from(message: Option<proto::ClientOwner>) -> Result<Self, IdentityError> {
        let message = message.ok_or_else(|| unreadable("a client without an owner"))?;
        Ok(message.organization_id.map_or(Self::Platform, |id| Self::Organization(OrganizationId::trusted(id))))
    }
}

impl From<NewOAuthClient> for proto::SetClientRequest {
    fn from(request: NewOAuthClient) -> Self {
        Self {
            owner: Some((&request.owner).into()),
            service: request.service.as_str().to_owned(),
            client_id: request.client_id,
            client_secret: request.client_secret.map(|secret| secret.expose().to_owned()),
        }
    }
}

impl TryFrom<proto::SetClientRequest> for NewOAuthClient {
    type Error = IdentityError;

    fn try_from(message: proto::SetClientRequest) -> Result<Self, IdentityError> {
        Ok(Self {
            owner: message.owner.try_into()?,
            service: ServiceKey::trusted(message.service),
            client_id: message.client_id,
            client_secret: message.client_secret.map(Secret::new),
        })
    }
}

impl From<OAuthClient> for proto::OAuthClient {
    fn from(client: OAuthClient) -> Self {
        Self {
            service: client.service.as_str().to_owned(),
            client_id: client.client_id,
            has_secret: client.has_secret,
            redirect_uri: client.redirect_uri,
            updated_at_ms: client.updated_at.0,
        }
    }
}

impl From<proto::OAuthClient> for OAuthClient {
    fn from(message: proto::OAuthClient) -> Self {
        Self {
            service: ServiceKey::trusted(message.service),
            client_id: message.client_id,
            has_secret: message.has_secret,
            redirect_uri: message.redirect_uri,
            updated_at: Millis(message.updated_at_ms),
        }
    }
}
