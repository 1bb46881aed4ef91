//! What custody costs: resolving an account and checking a key, asked over gRPC of the cluster's auth service (on Redis
//! with fsync always), and from memory as executors and gateways do in steady state.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use plugboard_core::clock::{Clock, SystemClock};
use plugboard_core::identity::{
    CachedDirectory, CachedVault, Directory, Grant, GrpcDirectory, GrpcVault, ServiceRole, Vault, service_token,
};
use plugboard_core::ids::ExecutionId;
use plugboard_core::job::{TicketFacts, TicketKey};
use plugboard_core::secret::{Secret, SecretKey};
use tokio_util::sync::CancellationToken;

const CALLERS: [usize; 2] = [1, 64];

/// How to reach the auth service of a running cluster, from the environment of its gateway.
struct Reach {
    auth: Vec<String>,
    cluster_secret: SecretKey,
    tickets: TicketKey,
}

impl Reach {
    fn of(data: &Path) -> anyhow::Result<Self> {
        let pid = std::fs::read_to_string(data.join("run/gateway-1.pid")).context("no gateway runs")?;
        let environment = std::fs::read(format!("/proc/{}/environ", pid.trim()))?;
        let variables: HashMap<String, String> = environment
            .split(|byte| *byte == 0)
            .filter_map(|pair| std::str::from_utf8(pair).ok()?.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
            .collect();
        let text = |name: &str| variables.get(name).cloned().with_context(|| format!("the gateway has no {name}"));
        Ok(Self {
            auth: serde_json::from_str(&text("PLUGBOARD_PEERS__AUTH")?)?,
            cluster_secret: SecretKey::from_hex(&text("PLUGBOARD_SECRETS__CLUSTER_SECRET")?)?,
            tickets: TicketKey::new(SecretKey::from_hex(&text("PLUGBOARD_SECRETS__TICKET_KEY")?)?),
        })
    }
}

/// The table of custody: per second and p99, with one and with many callers.
///
/// # Errors
/// When the cluster cannot be asked.
pub async fn measure(data: &Path, key: &str, seconds: Duration) -> anyhow::Result<String> {
    let reach = Reach::of(data)?;
    let gateway = service_token(&reach.cluster_secret, ServiceRole::Gateway);
    let executor = service_token(&reach.cluster_secret, ServiceRole::Executor);
    let directory: Arc<dyn Directory> = Arc::new(GrpcDirectory::new(&reach.auth, &gateway, None)?);
    let vault: Arc<dyn Vault> = Arc::new(GrpcVault::new(&reach.auth, &executor, None)?);
    let secret = Arc::new(Secret::new(key));
    let grant = Arc::new(grant(&reach, directory.as_ref(), &secret).await?);

    let stop = CancellationToken::new();
    let _stops = stop.clone().drop_guard();
    let cached_directory = CachedDirectory::new(directory.clone(), Arc::new(SystemClock));
    let cached_vault = CachedVault::new(vault.clone());
    tokio::spawn(cached_directory.clone().follow(stop.clone()));
    tokio::spawn(cached_vault.clone().follow(stop.clone()));
    while !(cached_directory.is_fresh() && cached_vault.is_fresh()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let mut table = String::from(
        "| custody | per second, 1 caller | p50 ms | p99 ms | per second, 64 callers | p99 ms |\n\
         | --- | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let (asked, for_grant) = (vault, grant.clone());
    row(&mut table, "resolve, asked", seconds, move || {
        let (vault, grant) = (asked.clone(), for_grant.clone());
        async move { vault.resolve(&grant).await.map(drop) }
    })
    .await?;
    row(&mut table, "resolve, from memory (2 s)", seconds, move || {
        let (vault, grant) = (cached_vault.clone(), grant.clone());
        async move { vault.resolve(&grant).await.map(drop) }
    })
    .await?;
    let (asked, for_secret) = (directory, secret.clone());
    row(&mut table, "key check, asked", seconds, move || {
        let (directory, secret) = (asked.clone(), for_secret.clone());
        async move { directory.verify_key(&secret).await.map(drop) }
    })
    .await?;
    row(&mut table, "key check, from memory", seconds, move || {
        let (directory, secret) = (cached_directory.clone(), secret.clone());
        async move { directory.verify_key(secret.expose()).await.map(drop) }
    })
    .await?;
    Ok(table)
}

/// A grant as a gateway would mint it, for the organization's only account.
async fn grant(reach: &Reach, directory: &dyn Directory, key: &Secret) -> anyhow::Result<Grant> {
    let principal = directory.verify_key(key).await?;
    let organization = principal.organization.context("not an organization's key")?;
    let account = directory.accounts(&organization).await?.into_iter().next().context("no account")?;
    let (execution_id, deadline) = (ExecutionId::generate(), SystemClock.now().plus(Duration::from_secs(900)));
    let facts = TicketFacts {
        execution_id: &execution_id,
        organization: &organization,
        service: &account.service,
        account: &account.id,
        request_hash: &[9; 32],
        deadline,
    };
    Ok(Grant {
        ticket: reach.tickets.sign(facts),
        account: account.id.clone(),
        service: account.service.clone(),
        request_hash: [9; 32],
        refresh: false,
        organization,
        execution_id,
        deadline,
    })
}

async fn row<A, F, E>(table: &mut String, name: &str, seconds: Duration, ask: A) -> anyhow::Result<()>
where
    A: Fn() -> F + Clone + Send + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: std::fmt::Display + Send + 'static,
{
    let mut cells = Vec::new();
    for callers in CALLERS {
        let until = Instant::now() + seconds;
        let callers = (0..callers).map(|_| tokio::spawn(closed_loop(ask.clone(), until)));
        let mut took = Vec::new();
        for caller in callers.collect::<Vec<_>>() {
            took.extend(caller.await??);
        }
        took.sort_unstable();
        let at =
            |share: f64| took.get((took.len() as f64 * share) as usize).map_or(f64::NAN, |d| d.as_secs_f64() * 1e3);
        cells.push((took.len() as f64 / seconds.as_secs_f64(), at(0.5), at(0.99)));
    }
    let [(one, p50, p99), (many, _, many_p99)] = cells.as_slice() else { return Ok(()) };
    writeln!(table, "| {name} | {one:.0} | {p50:.3} | {p99:.3} | {many:.0} | {many_p99:.3} |")?;
    Ok(())
}

async fn closed_loop<F, E>(ask: impl Fn() -> F, until: Instant) -> anyhow::Result<Vec<Duration>>
where
    F: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    let mut took = Vec::new();
    let mut now = Instant::now();
    while now < until {
        ask().await.map_err(|error| anyhow!("{error}"))?;
        let after = Instant::now();
        took.push(after - now);
        now = after;
        // What is answered from memory never waits: the other callers want their turn.
        tokio::task::consume_budget().await;
    }
    Ok(took)
}
