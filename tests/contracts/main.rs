//! The contract suites of `plugboard_core::testing` against real servers, and what happens to them in trouble.
//!
//! `deploy/local/install-servers` installs the servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a failed expectation fails the test"
)]

mod faults;
mod nats;
mod redis;
