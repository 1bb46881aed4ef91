//! The service over gRPC: who calls, protobuf ↔ use cases, and the change stream.

mod connect;

use std::collections::VecDeque;
use std::sync::Arc;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use plugboard_core::identity::{
    AccountChange, Directory, Grant, IdentityError, NewAccount, NewKey, ServiceAuth, ServiceRole, Vault, to_status,
};
use plugboard_core::ids::{AccountId, KeyId, OrganizationId};
use plugboard_core::secret::Secret;
use plugboard_core::telemetry::{CallTrace, SPANS, SpanKind, received_trace};
use plugboard_proto::auth::v1 as proto;
use plugboard_proto::auth::v1::audit_sink_server::AuditSinkServer;
use plugboard_proto::auth::v1::connect_server::ConnectServer;
use plugboard_proto::auth::v1::custody_server::CustodyServer;
use plugboard_proto::auth::v1::directory_server::{self, DirectoryServer};
use plugboard_proto::auth::v1::vault_server::{self, VaultServer};
use tokio::time::Instant;
use tonic::service::{Interceptor, Routes};
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument;
use tracing::field::Empty;

use crate::actor_scope::ActorScope;
use crate::changes::Tick;
use crate::service::AuthService;

/// Pings remembered while the change log is read.
const PINGS: usize = 16;

/// All services, for a tonic server: `Directory`, `Connect` and `Custody` answer gateways only, `Vault` executors only,
/// except that executors enter their calls in the audit log. Everybody may ask for the health.
pub fn router(service: Arc<AuthService>, auth: ServiceAuth) -> Routes {
    let auth = Arc::new(auth);
    let gate = |roles| Gate { auth: auth.clone(), roles };
    let (gateway, executor) = (&[ServiceRole::Gateway], &[ServiceRole::Executor]);
    let desk = Desk(service);
    Routes::new(ActorScope(DirectoryServer::with_interceptor(desk.clone(), gate(gateway))))
        .add_service(ActorScope(ConnectServer::with_interceptor(desk.clone(), gate(gateway))))
        .add_service(ActorScope(CustodyServer::with_interceptor(desk.clone(), gate(gateway))))
        .add_service(AuditSinkServer::with_interceptor(
            desk.clone(),
            gate(&[ServiceRole::Gateway, ServiceRole::Executor]),
        ))
        .add_service(VaultServer::with_interceptor(desk, gate(executor)))
        .add_service(tonic_health::server::health_reporter().1)
}

/// Lets in these roles.
#[derive(Clone)]
struct Gate {
    auth: Arc<ServiceAuth>,
    roles: &'static [ServiceRole],
}

impl Interceptor for Gate {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let role = self.auth.caller(&request)?;
        if self.roles.contains(&role) {
            return Ok(request);
        }
        let wanted = self.roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
        Err(Status::permission_denied(format!("this is for a {wanted}, not for a {role}")))
    }
}

/// Decode, call, encode.
#[derive(Clone)]
pub(crate) struct Desk(pub(crate) Arc<AuthService>);

pub(crate) type Answer<T> = Result<Response<T>, Status>;

fn answer<T, M: From<T>>(result: Result<T, IdentityError>) -> Answer<M> {
    result.map(|value| Response::new(value.into())).map_err(|error| to_status(&error))
}

#[tonic::async_trait]
impl directory_server::Directory for Desk {
    type WatchStream = BoxStream<'static, Result<proto::Change, Status>>;

    async fn verify_key(&self, request: Request<proto::VerifyKeyRequest>) -> Answer<proto::Principal> {
        answer(self.0.verify_key(&Secret::new(request.into_inner().key)).await)
    }

    async fn list_accounts(&self, request: Request<proto::ListAccountsRequest>) -> Answer<proto::AccountList> {
        let organization = OrganizationId::trusted(request.into_inner().organization_id);
        let accounts = self.0.accounts(&organization).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(proto::AccountList { accounts: accounts.into_iter().map(Into::into).collect() }))
    }

    async fn watch(&self, request: Request<Streaming<proto::WatchRequest>>) -> Answer<Self::WatchStream> {
        watch(&self.0, request.into_inner())
    }

    async fn create_organization(
        &self,
        request: Request<proto::CreateOrganizationRequest>,
    ) -> Answer<proto::CreatedOrganization> {
        let created = self.0.create_organization(&request.into_inner().name).await;
        let (organization, key) = created.map_err(|error| to_status(&error))?;
        Ok(Response::new(proto::CreatedOrganization {
            id: organization.id.as_str().to_owned(),
            name: organization.name,
            key: Some(key.into()),
        }))
    }

    async fn issue_key(&self, request: Request<proto::IssueKeyRequest>) -> Answer<proto::IssuedKey> {
        let request = NewKey::try_from(request.into_inner()).map_err(|error| to_status(&error))?;
        answer(self.0.issue_key(request).await)
    }

    async fn list_keys(&self, request: Request<proto::ListKeysRequest>) -> Answer<proto::KeyList> {
        let organization = OrganizationId::trusted(request.into_inner().organization_id);
        let keys = self.0.keys(&organization).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(proto::KeyList { keys: keys.into_iter().map(Into::into).collect() }))
    }

    async fn revoke_key(&self, request: Request<proto::RevokeKeyRequest>) -> Answer<proto::Key> {
        let request = request.into_inner();
        let organization = OrganizationId::trusted(request.organization_id);
        answer(self.0.revoke_key(&organization, &KeyId::trusted(request.key_id)).await)
    }

    async fn create_account(&self, request: Request<proto::CreateAccountRequest>) -> Answer<proto::Account> {
        answer(self.0.create_account(NewAccount::from(request.into_inner())).await)
    }

    async fn update_account(&self, request: Request<proto::UpdateAccountRequest>) -> Answer<proto::Account> {
        answer(self.0.update_account(AccountChange::from(request.into_inner())).await)
    }

    async fn delete_account(&self, request: Request<proto::DeleteAccountRequest>) -> Answer<proto::Account> {
        let request = request.into_inner();
        let organization = OrganizationId::trusted(request.organization_id);
        answer(self.0.delete_account(&organization, &AccountId::trusted(request.account_id)).await)
    }
}

#[tonic::async_trait]
impl vault_server::Vault for Desk {
    type WatchStream = BoxStream<'static, Result<proto::Change, Status>>;

    async fn resolve(&self, request: Request<proto::ResolveRequest>) -> Answer<proto::ResolvedAccount> {
        let received = received_trace(request.metadata());
        let trace = CallTrace::join(
            "resolve",
            SpanKind::Server,
            &received,
            || tracing::info_span!(target: SPANS, "resolve", otel.kind = "server", otel.status_code = Empty),
        );
        let grant = Grant::try_from(request.into_inner()).map_err(|error| to_status(&error))?;
        let resolved = self.0.resolve(&grant).instrument(trace.span()).await;
        trace.ended(resolved.is_err(), Vec::new);
        let fields = resolved.map_err(|error| to_status(&error))?;
        Ok(Response::new(fields.as_ref().into()))
    }

    async fn watch(&self, request: Request<Streaming<proto::WatchRequest>>) -> Answer<Self::WatchStream> {
        watch(&self.0, request.into_inner())
    }
}

/// One watcher's stream; ends when its pings do, or when the service stops.
fn watch(
    service: &AuthService,
    incoming: Streaming<proto::WatchRequest>,
) -> Answer<BoxStream<'static, Result<proto::Change, Status>>> {
    let ticks = service.feed.ticks().map_err(|error| to_status(&error))?;
    let watcher = (ticks, incoming, Pings::default());
    let stream = stream::unfold(watcher, |(mut ticks, mut incoming, mut pings)| async move {
        let message = next(&mut ticks, &mut incoming, &mut pings).await?;
        Some((Ok(message), (ticks, incoming, pings)))
    });
    Ok(Response::new(stream.boxed()))
}

async fn next(
    ticks: &mut (impl Stream<Item = Tick> + Unpin),
    incoming: &mut Streaming<proto::WatchRequest>,
    pings: &mut Pings,
) -> Option<proto::Change> {
    loop {
        tokio::select! {
            tick = ticks.next() => {
                let what = match tick? {
                    Tick::Told(change) => return Some((&change).into()),
                    Tick::Beat { read_at } => proto::Beat { ping: pings.before(read_at) },
                };
                return Some(proto::Change { what: Some(proto::change::What::Beat(what)) });
            }
            request = incoming.message() => pings.arrived(request.ok()??.ping),
        }
    }
}

/// Which pings have arrived, and when.
#[derive(Default)]
struct Pings {
    newest_before: u64,
    arrived: VecDeque<(u64, Instant)>,
}

impl Pings {
    fn arrived(&mut self, ping: u64) {
        self.arrived.push_back((ping, Instant::now()));
        if self.arrived.len() > PINGS {
            self.arrived.pop_front();
        }
    }

    /// The newest one that had arrived before the change log was read.
    fn before(&mut self, read_at: Instant) -> u64 {
        while let Some((ping, at)) = self.arrived.front()
            && *at <= read_at
        {
            self.newest_before = *ping;
            self.arrived.pop_front();
        }
        self.newest_before
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_beat_answers_a_ping_that_came_before_it_was_read() {
        let mut pings = Pings::default();
        assert_eq!(pings.before(Instant::now()), 0);
        pings.arrived(1);
        tokio::time::advance(Duration::from_millis(10)).await;
        let read_at = Instant::now();
        tokio::time::advance(Duration::from_millis(10)).await;
        pings.arrived(2);
        assert_eq!(pings.before(read_at), 1);
        assert_eq!(pings.before(Instant::now()), 2);
        // Nothing new: the answer is as old as its ping, and the watcher sees that.
        assert_eq!(pings.before(Instant::now()), 2);
    }
}
