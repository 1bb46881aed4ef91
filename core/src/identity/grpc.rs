//! The auth service over gRPC: [`Directory`] and [`Vault`] that cannot be told apart from the service itself.
//!
//! | what | value |
//! | --- | --- |
//! | one call, all replicas together | 2 s |
//! | `resolve`, which may have to fetch a token from a vendor | 10 s |
//! | connecting to one replica | 500 ms |
//! | a replica that failed is asked last for | 1 s |
//! | largest answer | 64 MiB |
//!
//! Reads, and writes that may be repeated, go to another replica when one does not answer. Writes that may not
//! (creating things) move on only when it is certain that nothing was sent.

mod connect;
mod custody;
mod links;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use plugboard_proto::auth::v1 as proto;
use plugboard_proto::auth::v1::directory_client::DirectoryClient;
use plugboard_proto::auth::v1::vault_client::VaultClient;

pub use connect::GrpcConnect;
pub use custody::GrpcCustody;
pub use links::EndpointError;
use links::{Caller, Links, Repeat};

use super::{
    Account, AccountChange, Change, Directory, Grant, IdentityError, IssuedKey, Key, NewAccount, NewKey, Organization,
    Principal, Vault,
};
use crate::ids::{AccountId, KeyId, OrganizationId};
use crate::secret::{AccountFields, Secret};
use crate::tls::ServiceTls;

const CALL: Duration = Duration::from_secs(2);
const RESOLVE: Duration = Duration::from_secs(10);
const LARGEST: usize = 64 << 20;

/// The auth service as gateways see it.
#[derive(Debug)]
pub struct GrpcDirectory {
    links: Links,
}

/// The auth service as executors see it.
#[derive(Debug)]
pub struct GrpcVault {
    links: Links,
}

impl GrpcDirectory {
    /// `urls`: every replica, `http://host:port`, or `https://` with `tls`. `token`: see [`super::service_token`]. Connects
    /// on first use.
    ///
    /// # Errors
    /// When there is no URL, or one is malformed or does not go with `tls`.
    pub fn new(urls: &[String], token: &Secret, tls: Option<&ServiceTls>) -> Result<Self, EndpointError> {
        Ok(Self { links: Links::new(urls, token, tls)? })
    }
}

impl GrpcVault {
    /// As [`GrpcDirectory::new`].
    ///
    /// # Errors
    /// When there is no URL, or one is malformed.
    pub fn new(urls: &[String], token: &Secret, tls: Option<&ServiceTls>) -> Result<Self, EndpointError> {
        Ok(Self { links: Links::new(urls, token, tls)? })
    }
}

fn directory(caller: Caller) -> DirectoryClient<Caller> {
    DirectoryClient::new(caller).max_decoding_message_size(LARGEST)
}

fn vault(caller: Caller) -> VaultClient<Caller> {
    VaultClient::new(caller).max_decoding_message_size(LARGEST)
}

#[async_trait]
impl Directory for GrpcDirectory {
    async fn verify_key(&self, key: &Secret) -> Result<Principal, IdentityError> {
        let ask = |caller| async move {
            directory(caller).verify_key(proto::VerifyKeyRequest { key: key.expose().to_owned() }).await
        };
        self.links.call(Repeat::Always, CALL, ask).await?.try_into()
    }

    async fn accounts(&self, organization: &OrganizationId) -> Result<Vec<Account>, IdentityError> {
        let ask = |caller| async move {
            let organization_id = organization.as_str().to_owned();
            directory(caller).list_accounts(proto::ListAccountsRequest { organization_id }).await
        };
        let list = self.links.call(Repeat::Always, CALL, ask).await?;
        list.accounts.into_iter().map(Account::try_from).collect()
    }

    async fn changes(&self) -> Result<BoxStream<'static, Change>, IdentityError> {
        let (pings, sent) = watch::pings();
        let open = |caller| {
            let pings = pings.clone();
            async move { directory(caller).watch(pings.start()).await }
        };
        let stream = self.links.call(Repeat::Always, CALL, open).await?;
        Ok(watch::changes(stream, sent))
    }

    async fn create_organization(&self, name: &str) -> Result<(Organization, IssuedKey), IdentityError> {
        let ask = |caller| async move {
            directory(caller).create_organization(proto::CreateOrganizationRequest { name: name.to_owned() }).await
        };
        let created = self.links.call(Repeat::IfNotSent, CALL, ask).await?;
        let organization = Organization { id: OrganizationId::trusted(created.id), name: created.name };
        let key =
            created.key.ok_or_else(|| IdentityError::Unavailable("an organization came without its key".into()))?;
        Ok((organization, key.try_into()?))
    }

    async fn issue_key(&self, request: NewKey) -> Result<IssuedKey, IdentityError> {
        let request = proto::IssueKeyRequest::from(request);
        let ask = |caller| {
            let request = request.clone();
            async move { directory(caller).issue_key(request).await }
        };
        self.links.call(Repeat::IfNotSent, CALL, ask).await?.try_into()
    }

    async fn keys(&self, organization: &OrganizationId) -> Result<Vec<Key>, IdentityError> {
        let ask = |caller| async move {
            let organization_id = organization.as_str().to_owned();
            directory(caller).list_keys(proto::ListKeysRequest { organization_id }).await
        };
        let list = self.links.call(Repeat::Always, CALL, ask).await?;
        Ok(list.keys.into_iter().map(Key::from).collect())
    }

    async fn revoke_key(&self, organization: &OrganizationId, key: &KeyId) -> Result<Key, IdentityError> {
        let ask = |caller| async move {
            let request = proto::RevokeKeyRequest {
                organization_id: organization.as_str().to_owned(),
                key_id: key.as_str().to_owned(),
            };
            directory(caller).revoke_key(request).await
        };
        Ok(self.links.call(Repeat::Always, CALL, ask).await?.into())
    }

    async fn create_account(&self, request: NewAccount) -> Result<Account, IdentityError> {
        let request = proto::CreateAccountRequest::from(request);
        let ask = |caller| {
            let request = request.clone();
            async move { directory(caller).create_account(request).await }
        };
        self.links.call(Repeat::IfNotSent, CALL, ask).await?.try_into()
    }

    async fn update_account(&self, request: AccountChange) -> Result<Account, IdentityError> {
        // The same change twice leaves the same account.
        let request = proto::UpdateAccountRequest::from(request);
        let ask = |caller| {
            let request = request.clone();
            async move { directory(caller).update_account(request).await }
        };
        self.links.call(Repeat::Always, CALL, ask).await?.try_into()
    }

    async fn delete_account(
        &self,
        organization: &OrganizationId,
        account: &AccountId,
    ) -> Result<Account, IdentityError> {
        // Not repeated: the second answer would be that there is no such account.
        let ask = |caller| async move {
            let request = proto::DeleteAccountRequest {
                organization_id: organization.as_str().to_owned(),
                account_id: account.as_str().to_owned(),
            };
            directory(caller).delete_account(request).await
        };
        self.links.call(Repeat::IfNotSent, CALL, ask).await?.try_into()
    }
}

#[async_trait]
impl Vault for GrpcVault {
    async fn resolve(&self, grant: &Grant) -> Result<Arc<AccountFields>, IdentityError> {
        let ask = |caller| async move { vault(caller).resolve(proto::ResolveRequest::from(grant)).await };
        let fields = self.links.call(Repeat::AfterWaiting, RESOLVE, ask).await?;
        Ok(Arc::new(fields.into()))
    }

    async fn changes(&self) -> Result<BoxStream<'static, Change>, IdentityError> {
        let (pings, sent) = watch::pings();
        let open = |caller| {
            let pings = pings.clone();
            async move { vault(caller).watch(pings.start()).await }
        };
        let stream = self.links.call(Repeat::Always, CALL, open).await?;
        Ok(watch::changes(stream, sent))
    }
}
