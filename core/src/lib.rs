//! The rules of Plugboard and the ports to the world.
//!
//! | modules | what they are |
//! | --- | --- |
//! | [`ids`], [`error`], [`clock`], [`secret`], [`job`], [`manifest`] | pure rules: no runtime, no network |
//! | [`queue`], [`journal`], [`store`], [`blobs`], [`catalog`], [`identity`], [`fleet`] | ports, each with its adapters beside it |
//! | [`egress`] | the only way out of the building |
//! | [`tls`] | certificates between our own processes |
//! | [`pages`] | what the pages of all services share |
//! | [`doctor`] | what is made of looks at a deployment: what is wrong, and what to do |
//! | [`config`], [`event_loops`], [`lifecycle`], [`readiness`], [`telemetry`] | process furniture |
//! | [`failpoint`], [`broken`] | what fault tests need; nothing in an ordinary build |
//!
//! This crate does not know axum, MCP, REST shapes, command lines, which processes exist, the master key, or any
//! single vendor.

pub mod blobs;
pub mod broken;
pub mod catalog;
pub mod clock;
pub mod config;
pub mod doctor;
pub mod egress;
pub mod embedded;
pub mod error;
pub mod event_loops;
pub mod failpoint;
pub mod fleet;
#[cfg(any(test, feature = "testing"))]
pub mod fuzz;
pub mod identity;
pub mod ids;
pub mod job;
pub mod journal;
pub mod json_pointer;
pub mod json_schema;
pub mod lifecycle;
pub mod limits;
pub mod manifest;
pub mod pages;
pub mod percent;
pub mod queue;
pub mod readiness;
pub mod seal;
pub mod secret;
pub mod store;
pub mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tls;
