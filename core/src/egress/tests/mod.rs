//! Tests of the way out. Those that open sockets do so on loopback only; [`net::Net`] stands in for the
//! rest of the world.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod address;
mod allowance;
mod answer;
mod event_loops;
mod net;
mod policy;
mod reach;
mod simulation;
mod spelling;
mod stale;
mod target;
mod tls;
