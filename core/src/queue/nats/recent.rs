//! What this process published a short while ago.
//!
//! The server forgets no message id for ten minutes, but a pack has one id for all its jobs. So that the promise
//! "publishing an execution id again adds nothing" holds for a job that was, or will be, in a pack, its publisher
//! remembers too. (Only the gateway that accepted a call publishes its id, so no other process has to know.)

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::publish::Message;
use crate::ids::ExecutionId;

/// Half of the time for which a job is remembered: two generations, each this long.
const GENERATION: Duration = Duration::from_secs(300);

/// Jobs per generation, at 16 to 32 bytes each. Beyond it (870 jobs a second for five minutes) the time gets shorter: the
/// promise spares work, while the fence against a second effect is the journal.
const MOST: usize = 262_144;

/// Packs whose acknowledgement never came, kept whole to be sent again under their own id.
const MOST_UNCONFIRMED: usize = 4_096;

#[derive(Default)]
pub(super) struct Recent {
    inner: Mutex<Option<Inner>>,
}

struct Inner {
    young: HashSet<u128>,
    old: HashSet<u128>,
    turned: Instant,
    unconfirmed: HashMap<u128, (Arc<Message>, Instant)>,
}

pub(super) enum Known {
    No,
    /// It is stored.
    Stored,
    /// It left in this message, of which we do not know whether it arrived.
    Unconfirmed(Arc<Message>),
}

impl Recent {
    pub(super) fn lookup(&self, id: &ExecutionId) -> Known {
        let Some(number) = number(id) else { return Known::No };
        let inner = self.inner.lock();
        let Some(inner) = inner.as_ref() else { return Known::No };
        if inner.young.contains(&number) || inner.old.contains(&number) {
            return Known::Stored;
        }
        match inner.unconfirmed.get(&number) {
            Some((message, since)) if since.elapsed() < 2 * GENERATION => Known::Unconfirmed(message.clone()),
            _ => Known::No,
        }
    }

    pub(super) fn stored(&self, message: &Message) {
        self.with(|inner| {
            for number in message.jobs.iter().filter_map(number) {
                if !inner.unconfirmed.is_empty() {
                    inner.unconfirmed.remove(&number);
                }
                inner.young.insert(number);
            }
        });
    }

    pub(super) fn unconfirmed(&self, message: &Arc<Message>) {
        self.with(|inner| {
            inner.unconfirmed.retain(|_, (_, since)| since.elapsed() < 2 * GENERATION);
            if inner.unconfirmed.len() >= MOST_UNCONFIRMED {
                return;
            }
            let now = Instant::now();
            for number in message.jobs.iter().filter_map(number) {
                inner.unconfirmed.insert(number, (message.clone(), now));
            }
        });
    }

    fn with(&self, change: impl FnOnce(&mut Inner)) {
        let mut inner = self.inner.lock();
        let inner = inner.get_or_insert_with(|| Inner {
            young: HashSet::new(),
            old: HashSet::new(),
            turned: Instant::now(),
            unconfirmed: HashMap::new(),
        });
        if inner.turned.elapsed() >= GENERATION || inner.young.len() >= MOST {
            inner.old = std::mem::take(&mut inner.young);
            inner.turned = Instant::now();
        }
        change(inner);
    }
}

/// The 128 bits of an id; an id of another form is not remembered.
fn number(id: &ExecutionId) -> Option<u128> {
    u128::from_str_radix(id.as_str().strip_prefix("ex_")?, 16).ok()
}
