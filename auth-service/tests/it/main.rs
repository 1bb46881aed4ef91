//! The auth service through its ports: in one process, and over gRPC on a real loopback socket.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

mod accounts;
mod bootstrap;
mod custody;
mod failover;
mod keys;
mod resolve;
mod revocation;
mod sign_in;
mod stalled_link;
mod tokens;
