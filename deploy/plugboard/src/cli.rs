//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use plugboard_core::doctor::Part;

/// Lets agents and programs call business services with your own accounts.
///
/// Without a command: `plugboard up`, everything in one process.
#[derive(Debug, Parser)]
#[command(name = "plugboard", version, args_conflicts_with_subcommands = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub up: UpArgs,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in one process, with nothing else installed.
    Up(UpArgs),
    /// Run one gateway: MCP, REST and gRPC.
    Gateway(ServiceArgs),
    /// Run one executor.
    Executor(ServiceArgs),
    /// Run one auth service.
    Auth(ServiceArgs),
    /// Run the catalog service.
    Catalog(ServiceArgs),
    /// Make one call: `plugboard call wildberries statistics GET /api/v1/supplier/orders dateFrom==2026-04-15`.
    Call(CallArgs),
    /// Issue, list and revoke API keys; generate the secrets of a deployment.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Make another master key the present one and seal everything anew under it, while calls go on. Operator's key.
    Rotate(RotateArgs),
    /// Write organizations, keys, accounts and audit logs into one file, as of one moment, while everything runs. Accounts
    /// stay sealed: the master keys that the file needs are named, and are to be kept apart from it.
    Backup(BackupArgs),
    /// Read a backup back, into either kind of store. It is checked whole before anything is written. Services: stop gateways
    /// and auth services first.
    Restore(RestoreArgs),
    /// Read the audit log, or check that nobody has changed it.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Calls that were given up: see them, make them again, drop them.
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// Check, show and compare connector manifests.
    #[command(subcommand)]
    Connectors(ConnectorsCommand),
    /// Say in plain words what is wrong with a deployment and what to do: a gateway, and with the settings of a service NATS,
    /// streams, Redis, keys, clocks, the catalog and the way out. Changes nothing; ends with 1 when something fails.
    Doctor(DoctorArgs),
}

#[derive(Debug, Clone, Args)]
pub struct UpArgs {
    /// Address to listen at; port 0 picks a free one.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080")]
    pub listen: String,
    /// Directory for keys, accounts and unfinished jobs.
    #[arg(long, value_name = "DIR", default_value = "./.plugboard")]
    pub data: PathBuf,
    /// Further manifests; one with the key of a built-in connector replaces it. Repeatable.
    #[arg(long, value_name = "DIR")]
    pub connectors: Vec<PathBuf>,
    /// No accounts needed: a built-in vendor answers every call with the operation's example.
    #[arg(long)]
    pub sandbox: bool,
    /// Send every outbound call to this base, path kept, the real host in X-Forwarded-Host.
    #[arg(long, value_name = "URL", conflicts_with = "sandbox")]
    pub upstream: Option<String>,
    /// Permit an --upstream that is not loopback.
    #[arg(long)]
    pub upstream_any: bool,
    /// Addresses that may be reached although not public. Repeatable.
    #[arg(long, value_name = "ADDR[/LEN][:PORT]")]
    pub egress_allow: Vec<String>,
    /// One line of JSON on stdout when ready, instead of the greeting.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ServiceArgs {
    /// Settings that differ from the defaults. Environment variables PLUGBOARD_<SECTION>__<KEY> win over it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print all settings with their defaults and exit.
    #[arg(long)]
    pub defaults: bool,
}

/// Where a client command goes.
#[derive(Debug, Clone, Args)]
pub struct ClientArgs {
    /// Base URL of a gateway.
    #[arg(long, env = "PLUGBOARD_URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// API key.
    #[arg(long, env = "PLUGBOARD_API_KEY", hide_env_values = true)]
    pub key: Option<String>,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Settings of a service; environment variables PLUGBOARD_<SECTION>__<KEY> win over it. What neither of them names is not
    /// looked at. Run it with a gateway's for NATS, with an auth service's for Redis and the master keys.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory of `plugboard up`, whose keys are looked at; ./.plugboard without it, if there is one.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub data: Option<PathBuf>,
    /// Reach this host as calls would: one request without credentials.
    #[arg(long, value_name = "HOST")]
    pub egress: Option<String>,
    /// Monitoring port of a nats-server (http://host:8222), which says how it writes to disk. Repeatable.
    #[arg(long, value_name = "URL")]
    pub nats_monitor: Vec<String>,
    /// Only these parts: gateway, tls, nats, queue, redis, keys, clock, catalog, egress. Repeatable.
    #[arg(long, value_name = "PART")]
    pub only: Vec<Part>,
    /// One JSON document: healthy, and findings with part, state (ok, skipped, warn, fail), seen and remedy.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Debug, Args)]
pub struct CallArgs {
    /// Service key, optionally with an account: ozon or "ozon:Top Zip".
    pub service: String,
    /// Module of the service.
    pub module: String,
    /// HTTP verb, or the RPC method name.
    pub method: String,
    /// Path (REST), then parameters: name==value for the query, name=value for a text field of the body,
    /// name:=json for any other.
    pub rest: Vec<String>,
    /// The whole body as JSON.
    #[arg(long, value_name = "JSON")]
    pub body: Option<String>,
    /// Print the whole envelope instead of the vendor's data.
    #[arg(long)]
    pub envelope: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// A fresh set of secrets and preset keys for a deployment, as JSON. Nothing is stored.
    Generate,
    /// List the keys of the organization.
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Issue a key; it is shown once.
    Issue {
        /// What it is for.
        #[arg(long, default_value = "")]
        name: String,
        /// read:tools, write:tools, read:data, chat, connector:gateway, admin. Repeatable; default write:tools.
        #[arg(long)]
        scope: Vec<String>,
        /// 1 to 365.
        #[arg(long, default_value_t = 90)]
        expires_in_days: u32,
        /// End user it is bound to.
        #[arg(long)]
        subject: Option<String>,
        /// Id of the agent it is bound to.
        #[arg(long)]
        agent: Option<String>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Issue a second key with the same rights; the first ends after the overlap. The new one is shown once.
    Rotate {
        id: String,
        /// 0 to 720.
        #[arg(long, default_value_t = 24)]
        overlap_hours: u32,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Revoke a key by its id.
    Revoke {
        id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, Args)]
pub struct RotateArgs {
    /// Id of a configured key. Without it a new key is made, where the auth service may write to its key file.
    #[arg(long, value_name = "ID", conflicts_with_all = ["status", "retire"])]
    pub to: Option<String>,
    /// Show the keys, what is sealed under each, and how far a rotation is.
    #[arg(long, conflicts_with = "retire")]
    pub status: bool,
    /// Give a key up for good; refused while anything is sealed under it.
    #[arg(long, value_name = "ID")]
    pub retire: Option<String>,
    /// Begin, and do not wait for the end.
    #[arg(long)]
    pub no_wait: bool,
    /// The operator's key is taken from PLUGBOARD_OPERATOR_KEY when it is set.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Which store, and its master keys.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// Data directory of `plugboard up`. Without it the Redis and the master keys in the settings of an auth service.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub data: Option<PathBuf>,
    /// Settings that differ from the defaults. Environment variables PLUGBOARD_<SECTION>__<KEY> win over it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct BackupArgs {
    /// A new file, readable by its owner alone; - is standard output.
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
    #[command(flatten)]
    pub store: StoreArgs,
}

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// A file that `plugboard backup` has written; - is standard input.
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
    /// Read and check it, say what is in it, and write nothing.
    #[arg(long, conflicts_with = "replace")]
    pub check: bool,
    /// Delete what is in the store, if anything is. What it knows to be revoked stays revoked.
    #[arg(long)]
    pub replace: bool,
    #[command(flatten)]
    pub store: StoreArgs,
}

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Entries, oldest first, one a line.
    List {
        #[command(flatten)]
        filter: AuditFilter,
        /// The platform's own log, with the operator's key, instead of the organization's.
        #[arg(long)]
        platform: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Compute the whole chain anew and check its signed head: finds edits, cuts, another order and a chain written anew.
    Verify {
        /// File to remember the head in: the next check finds a log that was put back to an earlier state, too.
        #[arg(long, value_name = "FILE")]
        remember: Option<PathBuf>,
        /// The platform's own log, with the operator's key, instead of the organization's.
        #[arg(long)]
        platform: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, Args)]
pub struct AuditFilter {
    /// Only entries after this number.
    #[arg(long, default_value_t = 0)]
    pub after: u64,
    /// At most so many.
    #[arg(long, default_value_t = 100)]
    pub limit: u32,
    /// Only this action, or all below it: account, account.create, calls.
    #[arg(long)]
    pub action: Option<String>,
    /// Only what the key with this id did.
    #[arg(long, value_name = "KEY_ID")]
    pub by_key: Option<String>,
    /// Only what was done for this end user.
    #[arg(long)]
    pub subject: Option<String>,
    /// Only what was done to the thing with this id, or by calling it.
    #[arg(long)]
    pub target: Option<String>,
}

/// The organization's calls; with PLUGBOARD_OPERATOR_KEY set, everybody's.
#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// Calls that were started too often and given up, one a line.
    List {
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: usize,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// All that is known of one, as JSON.
    Show {
        execution_id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Put one back into the queue, as a new execution.
    Replay {
        execution_id: String,
        /// Even if the vendor may have done it already.
        #[arg(long)]
        accept_duplicate: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Drop one for good.
    Drop {
        execution_id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, Subcommand)]
pub enum ConnectorsCommand {
    /// Check the built-in manifests, or those of directories.
    Lint {
        /// Directories or files; none = the built-in ones.
        paths: Vec<PathBuf>,
    },
    /// List the built-in connectors.
    List,
    /// Show a passport as an agent sees it.
    Show { service: String, module: Option<String> },
    /// Say what changed for callers between two files or directories; fails when something breaks them.
    Diff { old: PathBuf, new: PathBuf },
    /// Draft a manifest from an OpenAPI document: the draft goes to stdout, what was left out or made up and what lint finds
    /// to stderr.
    Import {
        /// OpenAPI 3.0, 3.1 or Swagger 2.0, as JSON or YAML, in one file.
        document: PathBuf,
        /// Key of the connector, `[a-z0-9][a-z0-9_]*`, at most 32 characters; from the document's title when absent.
        #[arg(long)]
        key: Option<String>,
        /// One of the catalog's categories.
        #[arg(long, default_value = "developer_tools")]
        category: String,
        /// Draft only operations with this tag; may be given several times.
        #[arg(long, value_name = "NAME")]
        tag: Vec<String>,
        /// Draft only operations whose path begins so; may be given several times.
        #[arg(long, value_name = "PREFIX")]
        path: Vec<String>,
    },
    /// Print the JSON Schema of the manifest format.
    Schema,
    /// Print the README's table of connectors.
    #[command(hide = true)]
    Table,
}
