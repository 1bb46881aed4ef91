//! The service as one struct behind both ports.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use plugboard_core::catalog::CatalogHandle;
use plugboard_core::clock::Clock;
use plugboard_core::egress::Upstream;
use plugboard_core::identity::{
    Account, AccountChange, Agent, AgentDraft, AuditPage, AuditQuery, CallBatch, Change, ClientOwner, Connect, Custody,
    DeviceStatus, Directory, Grant, IdentityError, IssuedKey, IssuedSession, Key, MasterKeysStatus, NewAccount,
    NewConnectSession, NewKey, NewOAuthClient, OAuthClient, Organization, Principal, RevocationReport, Revoke,
    RotateKey, SignIn, StartedDevice, StartedSignIn, Vault,
};
use plugboard_core::ids::{AccountId, AgentId, KeyId, OrganizationId, ServiceKey};
use plugboard_core::job::TicketKey;
use plugboard_core::manifest::credentials::CredentialRules;
use plugboard_core::secret::{AccountFields, Secret};
use plugboard_core::store::Store;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::accounts::Accounts;
use crate::agents::Agents;
use crate::audit::{self, Scribe};
use crate::backup;
use crate::changes::Feed;
use crate::config::Config;
use crate::crypto::MasterKeys;
use crate::key_source::KeySource;
use crate::keyring::Keyring;
use crate::keys::Keys;
use crate::kill::{self, KillSwitch};
use crate::oauth::OAuth;
use crate::oauth::refresh::Refresh;
use crate::organizations::{self, Bootstrap};
use crate::records::Records;
use crate::revoker::{Revoker, VendorRevoker};
use crate::rotation::Rotations;
use crate::sessions::Sessions;
use crate::tokens::Tokens;
use crate::vault::{Resolves, VaultDesk};

/// What the service needs from the outside.
pub struct Deps {
    pub store: Arc<dyn Store>,
    /// Followed by whoever wires; until its first snapshot is in, accounts can be listed but not used or changed.
    pub catalog: Arc<CatalogHandle>,
    /// For token endpoints.
    pub egress: Arc<dyn Upstream>,
    pub clock: Arc<dyn Clock>,
    /// As read from the source at the start.
    pub master_keys: MasterKeys,
    pub key_source: Arc<dyn KeySource>,
    /// Tells vendors of revoked accounts; `None`: as their manifests say.
    pub revoker: Option<Arc<dyn VendorRevoker>>,
    /// Shared with the gateways.
    pub ticket_key: TicketKey,
}

/// Organizations, keys, accounts and the custody of their credentials.
pub struct AuthService {
    records: Records,
    clock: Arc<dyn Clock>,
    keys: Keys,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) oauth: Arc<OAuth>,
    pub(crate) sessions: Sessions,
    refresh: Arc<Refresh>,
    pub(crate) vault: VaultDesk,
    agents: Agents,
    pub(crate) kill: KillSwitch,
    keyring: Keyring,
    rotations: Rotations,
    revoker: Revoker,
    pub(crate) feed: Feed,
}

impl std::fmt::Debug for AuthService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthService").finish_non_exhaustive()
    }
}

impl AuthService {
    pub fn new(config: &Config, deps: Deps) -> Arc<Self> {
        let Deps { store, catalog, egress, clock, master_keys, key_source, revoker, ticket_key } = deps;
        let committed = Arc::new(Notify::new());
        let scribe = Scribe::new(master_keys.clone(), clock.clone());
        let records = Records::new(store.clone(), committed.clone(), scribe);
        let rules = CredentialRules { allow_private_hosts: config.allow_private_hosts };
        let accounts =
            Arc::new(Accounts::new(records.clone(), catalog.clone(), clock.clone(), master_keys.clone(), rules));
        let oauth = Arc::new(OAuth {
            records: records.clone(),
            catalog: catalog.clone(),
            clock: clock.clone(),
            masters: master_keys.clone(),
            egress: egress.clone(),
            rules,
            accounts: accounts.clone(),
            public_url: config.public_url.trim_end_matches('/').to_owned(),
        });
        let refresh = Refresh::new(oauth.clone());
        Arc::new(Self {
            sessions: Sessions::new(oauth.clone()),
            keys: Keys::new(records.clone(), clock.clone(), &master_keys),
            agents: Agents { records: records.clone(), clock: clock.clone() },
            kill: KillSwitch { records: records.clone(), masters: master_keys.clone(), clock: clock.clone() },
            keyring: Keyring::new(records.clone(), key_source, master_keys.clone(), clock.clone()),
            rotations: Rotations::new(records.clone(), master_keys.clone(), clock.clone()),
            revoker: Revoker {
                records: records.clone(),
                masters: master_keys.clone(),
                clock: clock.clone(),
                vendors: revoker.unwrap_or_else(|| oauth.clone()),
            },
            vault: VaultDesk {
                records: records.clone(),
                catalog,
                clock: clock.clone(),
                masters: master_keys,
                tickets: ticket_key,
                tokens: Tokens::new(egress, clock.clone()),
                refresh: refresh.clone(),
                sandbox: config.sandbox,
                resolves: Resolves::default(),
            },
            refresh,
            accounts,
            oauth,
            feed: Feed::new(store, committed),
            records,
            clock,
        })
    }

    /// At the very first start: makes the organization `default`, the operator's key and a key with all scopes for
    /// `default` (365 days each), and returns them. The seeds preset them. Safe to call from several replicas at once:
    /// one of them gets the keys, the others and all later starts get none.
    ///
    /// # Errors
    /// [`IdentityError::Invalid`] when a seed is no well-formed key of its kind; [`IdentityError::Unavailable`].
    pub async fn bootstrap(
        &self,
        seed_operator: Option<Secret>,
        seed_api: Option<Secret>,
    ) -> Result<Bootstrap, IdentityError> {
        organizations::bootstrap(&self.records, &self.keys, self.clock.as_ref(), seed_operator, seed_api).await
    }

    /// Gives the operator a new key and ends the present one. For whoever can reach the store: an operator who lost
    /// the key, or whose key nears its end.
    ///
    /// # Errors
    /// [`IdentityError::Unavailable`], also before the first [`AuthService::bootstrap`].
    pub async fn replace_operator_key(&self) -> Result<Secret, IdentityError> {
        organizations::replace_operator_key(&self.records, &self.keys).await
    }

    /// Takes over the ring as the store has it. Before anything else is done.
    ///
    /// # Errors
    /// When the present master key is not configured here, the store cannot be read, or a restore of it did not end.
    pub async fn open_key_ring(&self) -> Result<(), IdentityError> {
        backup::refuse_half_restored(&self.records).await?;
        self.keyring.reload().await.map(drop)
    }

    /// Follows the change log and tells watchers, notes which keys are used, and forgets sign-ins that nobody finished.
    /// Run it as a supervised task, once; when it ends, every change stream has ended and no refresh is under way. With it
    /// goes what custody does in the background: following the key ring, sealing anew after a rotation, telling vendors
    /// of revocations.
    pub async fn run_changes(self: Arc<Self>, stop: CancellationToken) {
        tokio::join!(
            self.feed.run(stop.clone()),
            self.keys.note_usage(stop.clone()),
            self.oauth.sweep(stop.clone()),
            self.keyring.run(stop.clone()),
            self.rotations.run(stop.clone()),
            self.revoker.run(stop),
        );
        self.refresh.drain().await;
    }

    /// Whether the store could be read when its change log was last looked at, some ten times a second.
    pub fn hears_store(&self) -> bool {
        self.feed.reads()
    }

    /// Browsers reach us over https, so cookies may insist on it.
    pub(crate) fn is_https(&self) -> bool {
        self.oauth.public_url.starts_with("https://")
    }

    fn watch(&self) -> Result<BoxStream<'static, Change>, IdentityError> {
        Ok(self.feed.changes()?.boxed())
    }
}

#[async_trait]
impl Directory for AuthService {
    async fn verify_key(&self, key: &Secret) -> Result<Principal, IdentityError> {
        self.keys.verify(key).await
    }

    async fn accounts(&self, organization: &OrganizationId) -> Result<Vec<Account>, IdentityError> {
        let (accounts, kill) = tokio::join!(self.accounts.list(organization), kill::of(&self.records, organization));
        Ok(kill?.shown(accounts?))
    }

    async fn changes(&self) -> Result<BoxStream<'static, Change>, IdentityError> {
        self.watch()
    }

    async fn create_organization(&self, name: &str) -> Result<(Organization, IssuedKey), IdentityError> {
        organizations::create(&self.records, &self.keys, self.clock.as_ref(), name).await
    }

    async fn issue_key(&self, request: NewKey) -> Result<IssuedKey, IdentityError> {
        self.keys.issue(request).await
    }

    async fn keys(&self, organization: &OrganizationId) -> Result<Vec<Key>, IdentityError> {
        self.keys.list(organization).await
    }

    async fn revoke_key(&self, organization: &OrganizationId, key: &KeyId) -> Result<Key, IdentityError> {
        self.keys.revoke(organization, key).await
    }

    async fn create_account(&self, request: NewAccount) -> Result<Account, IdentityError> {
        self.accounts.create(request).await
    }

    async fn update_account(&self, request: AccountChange) -> Result<Account, IdentityError> {
        self.accounts.update(request).await
    }

    async fn delete_account(
        &self,
        organization: &OrganizationId,
        account: &AccountId,
    ) -> Result<Account, IdentityError> {
        self.accounts.delete(organization, account).await
    }
}

#[async_trait]
impl Custody for AuthService {
    async fn master_keys(&self) -> Result<MasterKeysStatus, IdentityError> {
        self.keyring.status(&self.rotations).await
    }

    async fn rotate_master_key(&self, to: Option<String>) -> Result<MasterKeysStatus, IdentityError> {
        self.keyring.rotate(to).await?;
        self.keyring.status(&self.rotations).await
    }

    async fn retire_master_key(&self, id: &str) -> Result<MasterKeysStatus, IdentityError> {
        self.keyring.retire(id, &self.rotations).await?;
        self.keyring.status(&self.rotations).await
    }

    async fn revoke(&self, request: Revoke) -> Result<RevocationReport, IdentityError> {
        self.kill.revoke(request).await
    }

    async fn revocations(&self, organization: &OrganizationId) -> Result<RevocationReport, IdentityError> {
        self.kill.report(organization).await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<AuditPage, IdentityError> {
        audit::read(&self.records, self.records.scribe(), query).await
    }

    async fn append_calls(&self, batches: &[CallBatch]) -> Result<(), IdentityError> {
        audit::append_calls(&self.records, batches).await
    }

    async fn create_agent(&self, organization: &OrganizationId, draft: &AgentDraft) -> Result<Agent, IdentityError> {
        self.agents.create(organization, draft).await
    }

    async fn agents(&self, organization: &OrganizationId) -> Result<Vec<Agent>, IdentityError> {
        self.agents.list(organization).await
    }

    async fn update_agent(
        &self,
        organization: &OrganizationId,
        agent: &AgentId,
        draft: &AgentDraft,
    ) -> Result<Agent, IdentityError> {
        self.agents.update(organization, agent, draft).await
    }

    async fn delete_agent(&self, organization: &OrganizationId, agent: &AgentId) -> Result<Agent, IdentityError> {
        self.agents.delete(organization, agent).await
    }

    async fn rotate_key(&self, request: &RotateKey) -> Result<IssuedKey, IdentityError> {
        self.keys.rotate(request).await
    }
}

#[async_trait]
impl Vault for AuthService {
    async fn resolve(&self, grant: &Grant) -> Result<Arc<AccountFields>, IdentityError> {
        self.vault.resolve(grant).await
    }

    async fn changes(&self) -> Result<BoxStream<'static, Change>, IdentityError> {
        self.watch()
    }
}

#[async_trait]
impl Connect for AuthService {
    async fn start_sign_in(&self, request: SignIn) -> Result<StartedSignIn, IdentityError> {
        self.oauth.start_sign_in(request).await
    }

    async fn start_device(&self, request: SignIn) -> Result<StartedDevice, IdentityError> {
        self.oauth.start_device(request, None).await
    }

    async fn device(&self, organization: &OrganizationId, id: &str) -> Result<DeviceStatus, IdentityError> {
        self.oauth.device(organization, id, None).await
    }

    async fn create_session(&self, request: NewConnectSession) -> Result<IssuedSession, IdentityError> {
        self.sessions.create(request).await
    }

    async fn redeem_claim(&self, organization: &OrganizationId, claim: &Secret) -> Result<Vec<Account>, IdentityError> {
        self.oauth.redeem_claim(organization, claim).await
    }

    async fn set_client(&self, request: NewOAuthClient) -> Result<OAuthClient, IdentityError> {
        self.oauth.set_client(request).await
    }

    async fn clients(&self, owner: &ClientOwner) -> Result<Vec<OAuthClient>, IdentityError> {
        self.oauth.clients(owner).await
    }

    async fn remove_client(&self, owner: &ClientOwner, service: &ServiceKey) -> Result<OAuthClient, IdentityError> {
        self.oauth.remove_client(owner, service).await
    }
}
