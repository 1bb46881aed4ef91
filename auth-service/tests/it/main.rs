//! The auth service through its ports: in one process, and over gRPC on a real loopback socket.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

mod accounts;
mod agents;
mod audit;
mod backup;
mod bootstrap;
mod custody;
mod doctor;
mod failover;
mod keys;
mod kill;
mod resolve;
mod revocation;
mod rotation;
mod sign_in;
mod stalled_link;
mod tokens;
