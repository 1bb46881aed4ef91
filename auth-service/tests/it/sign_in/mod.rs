//! Sign-ins against a real authorization server on loopback, by two replicas on one store.

#[path = "../../../../tests/harness/oauth_provider.rs"]
#[allow(dead_code, reason = "shared with the end-to-end tests")]
mod oauth_provider;

mod attacks;
mod connecting;
mod custody;
mod refresh;
mod screen;
mod sessions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use auth_service::key_source::FixedKeys;
use auth_service::{AuthService, Config, Deps, MasterKeys};
use http::Method;
use plugboard_core::catalog::{CatalogHandle, ManifestDocument};
use plugboard_core::clock::{Clock, FakeClock};
use plugboard_core::egress::{Egress, EgressPolicy, EgressRequest, HostBinding};
use plugboard_core::identity::{
    Account, ClientOwner, Connect, Directory, Grant, IdentityError, NewOAuthClient, SignIn, Vault,
};
use plugboard_core::ids::{AccountId, ExecutionId, KeyId, OrganizationId, ServiceKey};
use plugboard_core::job::{TicketFacts, TicketKey};
use plugboard_core::manifest::{Manifest, document};
use plugboard_core::secret::{AccountFields, Secret, SecretKey};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::oauth_provider::{CLIENT_ID, CLIENT_SECRET, Provider};
use crate::support::{START, TestCatalog, TestStore, master_key};

pub(crate) struct Place {
    pub(crate) provider: Provider,
    pub(crate) store: TestStore,
    pub(crate) clock: FakeClock,
    pub(crate) organization: OrganizationId,
    keys: Arc<FixedKeys>,
    egress: Egress,
    tickets: TicketKey,
    stop: CancellationToken,
    _stops_at_the_end: DropGuard,
}

/// The query of a callback.
pub(crate) type Answer = Vec<(String, String)>;

pub(crate) fn service_key(key: &str) -> ServiceKey {
    ServiceKey::trusted(key)
}

impl Place {
    pub(crate) async fn new() -> (Self, Arc<AuthService>) {
        let stop = CancellationToken::new();
        let policy = EgressPolicy::default().with_allowance("127.0.0.1".parse().unwrap());
        let mut place = Self {
            provider: Provider::start(),
            store: TestStore::default(),
            clock: FakeClock::at(START),
            organization: OrganizationId::generate(),
            keys: Arc::new(FixedKeys::in_memory(vec![master_key("1", 5)])),
            egress: Egress::new(policy).unwrap(),
            tickets: TicketKey::new(SecretKey::new([7; 32])),
            _stops_at_the_end: stop.clone().drop_guard(),
            stop,
        };
        place.provider.set(|behaviour| behaviour.issuer = Some(String::new()));
        let issuer = place.provider.url();
        place.provider.set(|behaviour| behaviour.issuer = Some(issuer));
        let service = place.replica().await;
        place.organization = service.create_organization("Acme").await.unwrap().0.id;
        for key in ["mock", "other"] {
            service.set_client(place.client(key)).await.unwrap();
        }
        (place, service)
    }

    pub(crate) fn client(&self, key: &str) -> NewOAuthClient {
        NewOAuthClient {
            owner: ClientOwner::Organization(self.organization.clone()),
            service: service_key(key),
            client_id: CLIENT_ID.to_owned(),
            client_secret: Some(Secret::new(CLIENT_SECRET)),
        }
    }

    fn manifests(&self) -> Vec<ManifestDocument> {
        ["mock", "other"]
            .map(|key| {
                let yaml = self.provider.manifest(key);
                let manifest: Manifest = plugboard_core::testing::manifest(&yaml);
                document(&manifest).unwrap()
            })
            .to_vec()
    }

    pub(crate) async fn replica(&self) -> Arc<AuthService> {
        let catalog = CatalogHandle::new(Arc::new(TestCatalog(self.manifests())));
        tokio::spawn(catalog.clone().follow(self.stop.clone()));
        catalog.ready().await;
        let deps = Deps {
            store: Arc::new(self.store.clone()),
            catalog,
            egress: Arc::new(self.egress.clone()),
            clock: Arc::new(self.clock.clone()),
            master_keys: MasterKeys::read(self.keys.as_ref()).await.unwrap(),
            key_source: self.keys.clone(),
            revoker: None,
            ticket_key: self.tickets.clone(),
        };
        let config = Config { public_url: "https://plugboard.example".into(), ..Config::default() };
        let service = AuthService::new(&config, deps);
        service.open_key_ring().await.unwrap();
        service
    }

    pub(crate) fn sign_in(&self, key: &str) -> SignIn {
        SignIn {
            organization: self.organization.clone(),
            key: KeyId::generate(),
            service: service_key(key),
            label: None,
            owner: None,
            fields: BTreeMap::new(),
            account: None,
            return_url: None,
        }
    }

    /// A browser at the vendor: what it comes back with.
    pub(crate) async fn at_vendor(&self, url: &str) -> Answer {
        let request = EgressRequest::parse(Method::GET, url, HostBinding::Any, Duration::from_secs(10)).unwrap();
        let answer = self.egress.send(request).await.unwrap();
        let location = answer.headers["location"].to_str().unwrap();
        url::Url::parse(location).unwrap().query_pairs().into_owned().collect()
    }

    /// From the link to the vendor and back, by one browser.
    pub(crate) async fn signed_in(&self, service: &AuthService, request: SignIn, browser: &Secret) -> (String, Answer) {
        let started = service.start_sign_in(request).await.unwrap();
        let link = started.url.strip_prefix("https://plugboard.example/oauth/start/").unwrap();
        let url = service.follow(&Secret::new(link), browser).await.unwrap();
        let answer = self.at_vendor(&url).await;
        (url, answer)
    }

    /// A claimed account that has signed in.
    pub(crate) async fn connected(&self, service: &AuthService) -> Account {
        let browser = Secret::new("browser-1");
        let (_, answer) = self.signed_in(service, self.sign_in("mock"), &browser).await;
        let arrival = service.callback(&service_key("mock"), &answer, &[browser]).await.unwrap();
        let auth_service::oauth::Next::Show(claim) = arrival.next else { panic!("{:?}", arrival.next) };
        let claimed = service.redeem_claim(&self.organization, &claim).await.unwrap();
        claimed.into_iter().next().unwrap()
    }

    pub(crate) fn grant(&self, account: &AccountId, refresh: bool) -> Grant {
        let (execution_id, service) = (ExecutionId::generate(), service_key("mock"));
        let deadline = self.clock.now().plus(Duration::from_secs(30));
        let facts = TicketFacts {
            execution_id: &execution_id,
            organization: &self.organization,
            service: &service,
            account,
            request_hash: &[9; 32],
            deadline,
        };
        Grant {
            ticket: self.tickets.sign(facts),
            organization: self.organization.clone(),
            account: account.clone(),
            request_hash: [9; 32],
            deadline,
            refresh,
            execution_id,
            service,
        }
    }

    pub(crate) async fn resolve(
        &self,
        service: &AuthService,
        account: &AccountId,
    ) -> Result<Arc<AccountFields>, IdentityError> {
        service.resolve(&self.grant(account, false)).await
    }

    pub(crate) async fn token(&self, service: &AuthService, account: &AccountId) -> String {
        let fields = self.resolve(service, account).await.unwrap();
        fields.token.as_ref().unwrap().expose().to_owned()
    }

    pub(crate) async fn account(&self, service: &AuthService, id: &AccountId) -> Account {
        let accounts = service.accounts(&self.organization).await.unwrap();
        accounts.into_iter().find(|account| account.id == *id).unwrap()
    }

    /// State and reason.
    pub(crate) async fn state(&self, service: &AuthService, id: &AccountId) -> (&'static str, String) {
        let account = self.account(service, id).await;
        (account.state.as_str(), account.state_reason)
    }

    /// A token that the provider's API accepts.
    pub(crate) async fn token_of_somebody(&self, service: &AuthService) -> String {
        let account = self.connected(service).await;
        self.token(service, &account.id).await
    }
}
