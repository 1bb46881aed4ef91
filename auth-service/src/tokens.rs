//! Tokens that the vendor issues to an account without a person ([`crate::grants`]), kept in memory only.
//!
//! | what | value |
//! | --- | --- |
//! | a token is used for | 80 % of its life; 300 s when the vendor does not say |
//! | one request for a token | 8 s |
//! | after a refusal the vendor is left alone for | 5 s |
//! | after no answer | 1 s |
//! | a token that has just replaced another is not replaced again for | 5 s |

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use moka::sync::Cache;
use plugboard_core::clock::{Clock, Millis};
use plugboard_core::egress::{EgressResponse, Upstream};
use plugboard_core::identity::IdentityError;
use plugboard_core::ids::{AccountId, OrganizationId, ServiceKey};
use plugboard_core::secret::Secret;
use tokio::sync::Mutex;

use crate::grants::TokenRequest;
use crate::token_endpoint::{self, Failure};

/// Life of a token whose answer does not say (RFC 6749 §5.1 only recommends it).
const UNSAID_LIFE: u64 = 300;
const LONGEST_LIFE: u64 = 24 * 60 * 60;
const AFTER_REFUSAL: Duration = Duration::from_secs(5);
const AFTER_SILENCE: Duration = Duration::from_secs(1);
const AFTER_REPLACEMENT: Duration = Duration::from_secs(5);
/// Tokens kept; the least used go first.
const KEPT: u64 = 50_000;
const KEPT_IDLE: Duration = Duration::from_secs(60 * 60);

/// Whose token it is. The service belongs to it: the sandbox account is the same for all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TokenKey {
    pub organization: OrganizationId,
    pub service: ServiceKey,
    pub account: AccountId,
}

/// What a token was obtained with: another version of the account or of the manifest needs another token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub account_version: u64,
    pub manifest: String,
}

pub(crate) struct Tokens {
    egress: Arc<dyn Upstream>,
    clock: Arc<dyn Clock>,
    /// The lock is the single flight: whoever waits for it finds the answer there.
    slots: Cache<TokenKey, Arc<Mutex<Slot>>>,
}

#[derive(Default)]
struct Slot {
    stamp: Option<Stamp>,
    last: Option<Last>,
}

enum Last {
    Token { token: Secret, good_until: Millis, replaced_at: Option<Millis> },
    Failed { failure: Failure, until: Millis },
}

impl Tokens {
    pub(crate) fn new(egress: Arc<dyn Upstream>, clock: Arc<dyn Clock>) -> Self {
        let slots = Cache::builder().max_capacity(KEPT).time_to_idle(KEPT_IDLE).build();
        Self { egress, clock, slots }
    }

    /// The account's token: the one in memory, or a new one. `refresh`: the vendor has just refused the present one.
    pub(crate) async fn get(
        &self,
        key: TokenKey,
        stamp: Stamp,
        request: &TokenRequest,
        refresh: bool,
    ) -> Result<Secret, IdentityError> {
        let slot = self.slots.get_with(key, Arc::default);
        let mut slot = slot.lock().await;
        if slot.stamp.as_ref() != Some(&stamp) {
            *slot = Slot { stamp: Some(stamp), last: None };
        }
        let now = self.clock.now();
        let mut replaces = false;
        match &slot.last {
            Some(Last::Token { token, good_until, replaced_at }) => {
                // Many jobs may learn at once that a token is no good; the first one's new token is for all.
                let just_replaced = replaced_at.is_some_and(|at| now < at.plus(AFTER_REPLACEMENT));
                if now < *good_until && (!refresh || just_replaced) {
                    return Ok(token.clone());
                }
                replaces = true;
            }
            Some(Last::Failed { failure, until }) if now < *until => return Err(failure.clone().into()),
            Some(Last::Failed { .. }) | None => {}
        }
        let asked_at = now;
        let answer = self.request(request).await;
        let now = self.clock.now();
        match answer {
            Ok((token, life)) => {
                slot.last = Some(Last::Token {
                    token: token.clone(),
                    good_until: asked_at.plus(life * 4 / 5),
                    replaced_at: replaces.then_some(now),
                });
                Ok(token)
            }
            Err(failure) => {
                let pause = if matches!(failure, Failure::Refused { .. }) { AFTER_REFUSAL } else { AFTER_SILENCE };
                slot.last = Some(Last::Failed { failure: failure.clone(), until: now.plus(pause) });
                Err(failure.into())
            }
        }
    }

    async fn request(&self, request: &TokenRequest) -> Result<(Secret, Duration), Failure> {
        let outgoing = request.outgoing(self.clock.now())?;
        let answer = token_endpoint::send(&*self.egress, outgoing).await?;
        read(&answer, request)
    }
}

/// What the vendor's answer means.
fn read(answer: &EgressResponse, request: &TokenRequest) -> Result<(Secret, Duration), Failure> {
    let reply = token_endpoint::json_of(answer, &IndexMap::new())?;
    let token = token_endpoint::token_at(&reply, &request.access_token)?;
    let seconds = token_endpoint::seconds_at(&reply, &request.expires_in).or(request.lifetime).unwrap_or(UNSAID_LIFE);
    Ok((token, Duration::from_secs(seconds.min(LONGEST_LIFE))))
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
