//! Whether entries are absent, asked for many at once.
//!
//! Every call that may not happen twice asks for a note that hardly ever exists. Those that come while a question is under
//! way share the next one, and "none of these" is the answer to them all. Where one does exist, each reads its own.

use std::sync::Arc;

use async_nats::StatusCode;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{ATTEMPT, NatsLink};

/// Entries in one question.
const MOST: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Absence {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// A question is under way; whoever comes now waits for the next.
    busy: bool,
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    subject: String,
    answer: oneshot::Sender<bool>,
}

impl Absence {
    /// True: at some moment from now on there was no entry. False: that is not known.
    pub(super) async fn is_sure(self: &Arc<Self>, link: &NatsLink, subject: String) -> bool {
        let (answer, answered) = oneshot::channel();
        let idle = {
            let mut state = self.state.lock();
            state.waiting.push(Waiting { subject, answer });
            !std::mem::replace(&mut state.busy, true)
        };
        if idle {
            // A task of its own: whoever asked first may leave, and the others still want to know.
            tokio::spawn(ask_for_all(self.clone(), link.clone()));
        }
        answered.await.unwrap_or(false)
    }

    fn next(&self) -> Option<Vec<Waiting>> {
        let mut state = self.state.lock();
        state.busy = !state.waiting.is_empty();
        let next = state.waiting.len().min(MOST);
        state.busy.then(|| state.waiting.drain(..next).collect())
    }
}

/// Asks until nobody waits.
async fn ask_for_all(absence: Arc<Absence>, link: NatsLink) {
    loop {
        // Calls that are ready to run join the question.
        tokio::task::yield_now().await;
        let Some(waiting) = absence.next() else { return };
        let subjects: Vec<&str> = waiting.iter().map(|waiting| waiting.subject.as_str()).collect();
        let question = serde_json::json!({ "multi_last": subjects }).to_string();
        let answer = link.ask(link.names().journal_read_recent(), None, question.into(), ATTEMPT).await;
        // The first of several answers is an entry; the others are not waited for.
        let none = answer.is_ok_and(|answer| answer.status == Some(StatusCode::NOT_FOUND));
        for waiting in waiting {
            // Who has left needs no answer.
            let _ = waiting.answer.send(none);
        }
    }
}
