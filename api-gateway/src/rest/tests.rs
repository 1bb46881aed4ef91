//! The routes, driven through the router without a network, over an auth service, a catalog and a vendor in memory.

#![allow(clippy::unwrap_used, clippy::panic)]

mod account_test;
mod connect;
mod connections;
mod console;
mod custody;
mod document;
mod fake_custody;
mod keys;
mod public;
mod reads;
mod refusals;
mod support;
mod vendor;
