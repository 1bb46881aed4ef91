//! The catalog service: connector manifests, from YAML to what gateways and executors keep in memory.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`load`] | built-in manifests and extra directories → [`load::Source`]s → manifests; errors name file, line and place |
//! | [`catalog`] | [`catalog::CatalogService`]: the immutable snapshot, its watchers, every version by digest, reload |
//! | [`grpc`] | the same over gRPC |
//! | [`lint`] | everything that is wrong with a manifest, for authors and for CI |
//! | [`contract`] | what callers rely on: operations, and what each must be given |
//! | [`diff`] | what a change of manifests means for callers |
//! | [`import`] | the draft of a manifest from an OpenAPI document |
//! | [`schema`] | the JSON Schema that editors use |
//! | [`readme`] | the table of connectors in the README |
//!
//! It knows no secrets, no jobs and no queue.

pub mod catalog;
pub mod config;
pub mod contract;
pub mod diff;
pub mod grpc;
pub mod import;
mod lines;
pub mod lint;
pub mod load;
pub mod readme;
pub mod schema;
mod yaml;

#[cfg(test)]
mod contract_tests;
#[cfg(test)]
mod search_tests;
#[cfg(test)]
mod tests;
