//! The auth service: organizations, API keys, accounts and the custody of their credentials.
//!
//! It implements the two ports of [`plugboard_core::identity`]: `Directory` for gateways and `Vault` for executors. In one
//! process they are [`AuthService`] itself; between processes [`grpc::router`] serves it to the clients in
//! `plugboard_core::identity`.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`api_key`] | what a key looks like; pure |
//! | [`crypto`] | master keys and envelopes; the only user of a master key |
//! | `keys`, `organizations`, `accounts`, `vault`, `tokens` | the use cases |
//! | [`key_source`], `keyring`, `rotation`, `sealed` | where master keys come from, which is present, sealing anew |
//! | `audit` | the chained log, entered in the same commit as what it tells |
//! | `kill`, `revoker` | the kill switch, and telling vendors of it |
//! | [`backup`] | everything that is stored, out of one store and into another |
//! | [`doctor`] | whether the master keys open what is stored, for `plugboard doctor` |
//! | `agents`, `peppers` | what agents may use; what keys are hashed with |
//! | [`oauth`] | sign-in at the vendor: popup, device code, refresh; OAuth clients |
//! | [`sessions`] | connect sessions: what a connect page may do |
//! | `probe` | whether a vendor accepts an account, by its manifest's test |
//! | `grants`, `token_endpoint`, `rendering` | requests for tokens, out of manifests |
//! | `records` | what is stored, and under which names |
//! | `changes` | the change stream, and the beats that make caches usable |
//! | [`grpc`] | protobuf ↔ use cases |
//! | [`http`] | for browsers: the callback, and the connect pages |
//!
//! What it promises: a credential is sealed with a data key of its own and bound to its place; an API key is stored as a
//! keyed hash; nothing secret is in an error, a log line or a `Debug`; a revocation is told within 100 ms, and while it
//! could not be told no beat goes out, so caches close by themselves.

mod accounts;
mod actor_scope;
mod agents;
pub mod api_key;
mod audit;
pub mod backup;
mod chance;
mod changes;
mod config;
mod connecting;
pub mod crypto;
pub mod doctor;
mod grants;
pub mod grpc;
mod grpc_custody;
pub mod http;
pub mod key_source;
mod keyring;
mod keys;
mod kill;
pub mod oauth;
mod organizations;
mod peppers;
mod probe;
mod records;
mod rendering;
mod revoker;
mod rotation;
mod sealed;
mod service;
pub mod sessions;
#[cfg(test)]
mod simulation;
mod token_endpoint;
mod tokens;
mod vault;
pub mod wiring;

pub use config::Config;
pub use crypto::{MasterKey, MasterKeys};
pub use key_source::KeySource;
pub use organizations::Bootstrap;
pub use probe::Verdict;
pub use revoker::{RevokedCredentials, Told, VendorRevoker};
pub use service::{AuthService, Deps};
