//! Executors under every fault that a seed can think of.
//!
//! What runs is the code that is shipped: the worker, the attempts, the journal's rules. The ports are adapters in memory
//! behind a layer of faults: at every port call an executor may die or stand still, and the call may be refused, or done
//! with its answer lost; deliveries come twice, late and in any order; the vendor fails in sixteen ways and keeps a ledger.
//! Time is tokio's paused clock, so a minute costs a millisecond, and everything that is drawn comes from one seed: a seed
//! that fails, fails again.
//!
//! | module | what it is |
//! | --- | --- |
//! | `run` | one run, from its seed to its report |
//! | `weather` | how often which fault |
//! | `world`, `process` | time and chance; a life of an executor, and what may happen to it in a port call |
//! | `queue`, `ports`, `vendor`, `ledger` | the ports |
//! | `gateway`, `call` | the callers' side |
//! | `check` | the promises |
//! | `trace` | what happened, as a hash and as lines |

mod call;
mod check;
mod gateway;
mod ledger;
mod ports;
mod process;
mod queue;
mod run;
mod tests;
mod trace;
mod vendor;
mod weather;
mod world;
