//! What the suites have in common: real servers and a cable that can be cut.
//!
//! Nothing here is fixed: ports are chosen by the system, directories are temporary, names carry a namespace of their
//! own, and every process that is started ends with the test binary, however that ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failed expectation fails the test, and says what it saw"
)]

pub mod bad_arguments;
pub mod browser;
pub mod cable;
pub mod certified;
pub mod chromium;
pub mod collector;
pub mod examples;
pub mod leaks;
pub mod made_up;
pub mod mcp_client;
pub mod oauth_provider;
pub mod relay;
pub mod rest_client;
pub mod servers;
mod sign_in;
pub mod stack;
pub mod tenant;
pub mod vendor;
pub mod wait;
