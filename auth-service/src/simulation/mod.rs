//! Auth services under every fault that a seed can think of.
//!
//! What runs is the service as it is shipped, several of them over one store, refreshing accounts at a vendor that replaces
//! the refresh token at each use. Around it everything is in memory: at every call of the store or of the vendor a service
//! may die or stand still, and the call may be refused, or done with its answer lost; the vendor fails in eight ways and
//! remembers every token. Time is tokio's paused clock, and what is drawn comes from one seed.
//!
//! I7: whoever shows a ticket gets the token of the account that the ticket is for, and a ticket that is forged, edited,
//! ended or for somebody else's account opens nothing. I11: no refresh token is sent twice, nor by two at once; no token is
//! given out before it is durable; no account ends but where its new token died with a service, or on its way from the vendor.
//!
//! | module | what it is |
//! | --- | --- |
//! | `run` | one run, from its seed to what it found |
//! | `world`, `process` | time, chance and faults; a life of a service, and what may happen to it in a port call |
//! | `store`, `vendor` | the ports |

mod process;
mod run;
mod store;
mod tests;
mod vendor;
mod world;
