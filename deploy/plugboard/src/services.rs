//! One service each: arguments, telemetry, wiring, run, exit code.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use api_gateway::Entrance;
use axum::serve::ListenerExt;
use catalog_service::catalog::CatalogService;
use catalog_service::grpc::CatalogGrpc;
use plugboard_core::identity::{ServiceAuth, ServiceRole};
use plugboard_core::lifecycle::Lifecycle;
use plugboard_core::queue::nats::{NatsConfig, NatsQueueConfig};
use plugboard_core::readiness::{Health as UpOrDown, Readiness};
use plugboard_core::secret::Secret;
use plugboard_core::store::redis::RedisConfig;
use plugboard_core::telemetry::metrics::Service;
use plugboard_core::telemetry::{self, TelemetryGuard};
use plugboard_core::tls::{Listening, ServiceTls, Tls};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::cli::ServiceArgs;
use crate::health::{self, Health};
use crate::print_answer;
use crate::public::PublicListener;
use crate::sandbox::Door;
use crate::settings::{DEFAULTS, NatsSettings, QueueSettings, RedisSettings, Settings};
use crate::starting;

/// What every service begins with.
struct Start {
    settings: Settings,
    tls: Tls,
    life: Lifecycle,
    /// How long what was begun may take to end.
    drain: Duration,
    health: Health,
    _telemetry: TelemetryGuard,
}

async fn start(args: &ServiceArgs, name: &'static str, service: Service) -> anyhow::Result<Option<Start>> {
    if args.defaults {
        print_answer(DEFAULTS);
        return Ok(None);
    }
    let settings = Settings::load(args.config.as_deref())?;
    let drain = settings.drain(service)?;
    let instance = format!("{name}-{}", std::process::id());
    let telemetry = telemetry::init(&settings.telemetry, &format!("plugboard-{name}"), &instance)?;
    let health = health::open(&settings.mode.health_listen, name, &[service]).await?;
    let life = Lifecycle::new();
    let tls = open_tls(&settings, service, &life)?;
    let grace = match service {
        Service::Gateway => settings.gateway.stop_grace_ms,
        Service::Auth => settings.auth.stop_grace_ms,
        Service::Catalog => settings.catalog.stop_grace_ms,
        // Nobody comes to an executor: it fetches its jobs.
        Service::Executor => 0,
    };
    life.stop_on_signals(Duration::from_millis(grace.into()))?;
    Ok(Some(Start { settings, tls, life, drain, health, _telemetry: telemetry }))
}

/// The certificates, looked at from now on, and the addresses that must go with them.
fn open_tls(settings: &Settings, service: Service, life: &Lifecycle) -> anyhow::Result<Tls> {
    let role = match service {
        Service::Gateway => Some(ServiceRole::Gateway),
        Service::Executor => Some(ServiceRole::Executor),
        Service::Auth => Some(ServiceRole::Auth),
        // It calls nobody.
        Service::Catalog => None,
    };
    let tls = Tls::open(&settings.tls, role)?;
    let clear = settings.clear_addresses(service, tls.services.is_some())?;
    if !clear.is_empty() {
        tracing::warn!(
            addresses = clear.join(", "),
            "what is said to these is not encrypted; see [tls] of the settings"
        );
    }
    tls.follow(settings.tls.reload_every(), life);
    Ok(tls)
}

async fn finish(life: &Lifecycle, drain: Duration) -> anyhow::Result<ExitCode> {
    match life.run_until_stopped(drain).await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(why) => bail!("{why}"),
    }
}

pub async fn gateway(args: &ServiceArgs) -> anyhow::Result<ExitCode> {
    let Some(Start { mut settings, tls, life, drain, health, _telemetry }) =
        start(args, "gateway", Service::Gateway).await?
    else {
        return Ok(ExitCode::SUCCESS);
    };
    if tls.public.is_some() && settings.gateway.public_url.is_empty() {
        settings.gateway.public_url = format!("https://{}", settings.gateway.listen);
    }
    let listener = bind("gateway.listen", &settings.gateway.listen).await?;
    let listener = Listening::to_public(listener, tls.public.as_ref());
    let grpc = match settings.gateway.grpc_listen.as_str() {
        "" => None,
        address => Some(bind("gateway.grpc_listen", address).await?),
    };
    let callers = tls.services.clone();
    let remote = api_gateway::wiring::Remote {
        nats: nats(&settings.nats, &tls),
        queue: queue(&settings.queue),
        auth: settings.peers.auth.clone(),
        catalog: settings.peers.catalog.clone(),
        cluster_secret: settings.secrets.cluster_secret()?,
        ticket_key: settings.secrets.ticket_key()?,
        payload_key: settings.secrets.payload_key()?,
        sandbox: settings.mode.sandbox,
        tls,
    };
    let wired = health.serve(&life);
    let wiring = api_gateway::wiring::distributed(settings.gateway, remote, &life);
    let Some(gateway) = starting::answer_meanwhile(&listener, &life, wiring).await? else {
        return finish(&life, drain).await;
    };
    let (gateway, replies) = gateway?;
    wired.tell(gateway.readiness.clone());
    if let Some(listener) = grpc {
        let routes = api_gateway::grpc_routes(gateway.clone()).await?;
        let router = Server::builder().add_routes(routes);
        serve_grpc("gRPC listener", listener, callers.as_ref(), router, drain, &life)?;
    }
    let entrances = vec![Entrance::here(PublicListener::new(listener)?)];
    api_gateway::run(gateway, replies, entrances, axum::Router::new(), &life).await?;
    tracing::info!("gateway started");
    finish(&life, drain).await
}

pub async fn executor(args: &ServiceArgs) -> anyhow::Result<ExitCode> {
    let Some(Start { settings, tls, life, drain, health, _telemetry }) =
        start(args, "executor", Service::Executor).await?
    else {
        return Ok(ExitCode::SUCCESS);
    };
    let door = Door::new(settings.egress.policy()?, settings.mode.sandbox).await?;
    let remote = executor::wiring::Remote {
        nats: nats(&settings.nats, &tls),
        queue: queue(&settings.queue),
        auth: settings.peers.auth.clone(),
        catalog: settings.peers.catalog.clone(),
        cluster_secret: settings.secrets.cluster_secret()?,
        payload_key: settings.secrets.payload_key()?,
        // The built-in vendor has none.
        limits: (settings.executor.vendor_limits && !settings.mode.sandbox).then(|| redis(&settings.redis, &tls)),
        tls,
    };
    // Less than the drain limit, so that what is left is handed back before the process goes.
    let config = executor::Config { slots: settings.executor.slots, grace_seconds: drain.as_secs().saturating_sub(2) };
    let wired = health.serve(&life);
    let wiring = executor::wiring::distributed(config, remote, |catalog| door.open(catalog, &life), &life);
    let Some(executor) = starting::unless_stopped(&life, wiring).await else { return finish(&life, drain).await };
    let (executor, readiness) = executor?;
    wired.tell(readiness);
    life.supervise_result("executor", executor.run(life.stopping()));
    tracing::info!("executor started");
    finish(&life, drain).await
}

pub async fn auth(args: &ServiceArgs) -> anyhow::Result<ExitCode> {
    let Some(Start { settings, tls, life, drain, health, _telemetry }) = start(args, "auth", Service::Auth).await?
    else {
        return Ok(ExitCode::SUCCESS);
    };
    let listener = bind("auth.listen", &settings.auth.listen).await?;
    let door = Door::new(settings.egress.policy()?, settings.mode.sandbox).await?;
    let cluster_secret = settings.secrets.cluster_secret()?;
    let config = auth_service::Config {
        sandbox: settings.mode.sandbox,
        allow_private_hosts: settings.auth.allow_private_hosts || !settings.egress.allow.is_empty(),
        public_url: settings.auth.public_url.clone(),
    };
    let remote = auth_service::wiring::Remote {
        redis: redis(&settings.redis, &tls),
        catalog: settings.peers.catalog.clone(),
        cluster_secret: cluster_secret.clone(),
        master_keys: settings.secrets.master_keys()?,
        ticket_key: settings.secrets.ticket_key()?,
        tls: tls.clone(),
    };
    let (service, catalog) =
        auth_service::wiring::distributed(&config, remote, |catalog| door.open(catalog, &life), &life).await?;
    bootstrap(&service).await?;
    serve_pages(&settings.auth.http_listen, service.clone(), &tls, &life).await?;
    let store = service.clone();
    let readiness = tls
        .watched_by(Readiness::new(life.leaving()))
        .with("redis", move || UpOrDown::up_if(store.hears_store(), "no answer"))
        .with("catalog", move || catalog.health());
    let routes = auth_service::grpc::router(service, ServiceAuth::new(&cluster_secret));
    serve_grpc("auth listener", listener, tls.services.as_ref(), Server::builder().add_routes(routes), STREAMS, &life)?;
    health.serve(&life).tell(readiness);
    tracing::info!("auth started");
    finish(&life, drain).await
}

pub fn queue(settings: &QueueSettings) -> NatsQueueConfig {
    NatsQueueConfig { max_waiting_per_subject: settings.backlog_per_organization.into(), ..NatsQueueConfig::default() }
}

pub fn redis(settings: &RedisSettings, tls: &Tls) -> RedisConfig {
    RedisConfig {
        url: Secret::new(settings.url.as_str()),
        tls: tls.services.clone(),
        namespace: settings.namespace.clone(),
        allow_volatile: settings.allow_volatile,
        require_durable: settings.require_durable,
    }
}

/// Callback and pages for browsers: a listener of its own, because gRPC stays inside and this does not.
async fn serve_pages(
    address: &str,
    service: Arc<auth_service::AuthService>,
    tls: &Tls,
    life: &Lifecycle,
) -> anyhow::Result<()> {
    if address.is_empty() {
        return Ok(());
    }
    let listener = bind("auth.http_listen", address).await?;
    let listener = PublicListener::new(Listening::to_public(listener, tls.public.as_ref()))?;
    // With the caller's address, for the audit log.
    let router = auth_service::http::router(service).into_make_service_with_connect_info::<SocketAddr>();
    let stopping = life.stopping();
    life.supervise_result("auth pages", async move {
        axum::serve(listener.tap_io(|_| {}), router).with_graceful_shutdown(stopping.cancelled_owned()).await
    });
    Ok(())
}

/// The very first start of a deployment makes the operator's key and the organization `default`. Services have no
/// terminal to show a key at, so both must be preset.
async fn bootstrap(service: &auth_service::AuthService) -> anyhow::Result<()> {
    let seed = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty()).map(Secret::new);
    let (operator, api) = (seed("PLUGBOARD_SEED_OPERATOR_KEY"), seed("PLUGBOARD_SEED_API_KEY"));
    if operator.is_none() || api.is_none() {
        tracing::info!("PLUGBOARD_SEED_OPERATOR_KEY and PLUGBOARD_SEED_API_KEY are not set: no first keys are made");
        return Ok(());
    }
    service.bootstrap(operator, api).await?;
    Ok(())
}

pub async fn catalog(args: &ServiceArgs) -> anyhow::Result<ExitCode> {
    let Some(Start { settings, tls, life, drain, health, _telemetry }) =
        start(args, "catalog", Service::Catalog).await?
    else {
        return Ok(ExitCode::SUCCESS);
    };
    let listener = bind("catalog.listen", &settings.catalog.listen).await?;
    let config =
        catalog_service::config::Config { directories: settings.catalog.connectors.clone(), ..Default::default() };
    let service = CatalogService::open(config)?;
    life.supervise("manifest files", service.clone().follow_files(life.stopping()));
    let callers = ServiceAuth::new(&settings.secrets.cluster_secret()?);
    let grpc = CatalogGrpc::new(service, Some(callers), life.stopping()).into_server();
    serve_grpc(
        "catalog listener",
        listener,
        tls.services.as_ref(),
        Server::builder().add_service(grpc),
        STREAMS,
        &life,
    )?;
    // It stands on nothing but its files, which were read before it listened.
    health.serve(&life).tell(tls.watched_by(Readiness::new(life.leaving())));
    tracing::info!("catalog started");
    finish(&life, drain).await
}

async fn bind(setting: &str, address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{setting} = {address:?}"))
}

/// Change streams never end by themselves: when asked to stop, connections get a moment, then are closed.
const STREAMS: Duration = Duration::from_secs(2);

fn serve_grpc(
    name: &'static str,
    listener: TcpListener,
    tls: Option<&ServiceTls>,
    router: tonic::transport::server::Router,
    drain: Duration,
    life: &Lifecycle,
) -> anyhow::Result<()> {
    let incoming = Listening::to_services(listener, tls).accept()?;
    let stop = CancellationToken::new();
    let (stopping, stop_soon) = (life.stopping(), stop.clone());
    life.supervise_result(name, async move {
        let serving = router.serve_with_incoming_shutdown(incoming, stop.cancelled_owned());
        tokio::pin!(serving);
        tokio::select! {
            ended = &mut serving => return ended,
            () = stopping.cancelled() => stop_soon.cancel(),
        }
        tokio::time::timeout(drain, serving).await.unwrap_or(Ok(()))
    });
    Ok(())
}

pub fn nats(settings: &NatsSettings, tls: &Tls) -> NatsConfig {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    NatsConfig {
        urls: settings.urls.clone(),
        tls: tls.services.clone(),
        user: given(&settings.user),
        password: given(&settings.password).map(Secret::new),
        replicas: settings.replicas,
        namespace: settings.namespace.clone(),
        ..NatsConfig::default()
    }
}
