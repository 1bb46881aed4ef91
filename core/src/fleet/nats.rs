//! Members on core NATS: a question goes to everybody, each answer to whoever has asked.
//!
//! Nobody knows how many there are, so the first question waits for its whole time. Whoever has answered a kind of question
//! lately is waited for, and when all of them have answered, nobody is waited for any longer; one that is new is heard, too
//! late for this question and in time for the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::Subscriber;
use async_trait::async_trait;
use futures::StreamExt;
use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::wire::{self, Answered, Asked};
use super::{Answer, Fleet, Kind, Member, Question, WITHIN};
use crate::ids::InstanceId;
use crate::queue::QueueError;
use crate::queue::nats::NatsLink;

/// Whoever has not answered for this long is gone.
const GONE_AFTER: Duration = Duration::from_secs(15);
const SUBSCRIBED_WITHIN: Duration = Duration::from_secs(5);
/// Answers to one question. More processes than this are no deployment of ours.
const MOST_ANSWERS: usize = 1_000;

/// The end of whoever asks.
pub struct NatsFleet {
    link: NatsLink,
    me: InstanceId,
    numbers: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: HashMap<u64, Open>,
    /// Who has answered what, and when last.
    heard: HashMap<(Kind, String), Instant>,
}

struct Open {
    kind: Kind,
    answers: mpsc::Sender<(String, Answer)>,
}

impl std::fmt::Debug for NatsFleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsFleet").field("me", &self.me).finish_non_exhaustive()
    }
}

impl NatsFleet {
    /// Returns when no answer can be missed.
    ///
    /// # Errors
    /// When answers cannot be subscribed to.
    pub async fn open(link: &NatsLink, me: &InstanceId) -> Result<Arc<Self>, QueueError> {
        let answers = subscribe(link, link.names().fleet_answer(me)).await?;
        let fleet = Arc::new(Self {
            link: link.clone(),
            me: me.clone(),
            numbers: AtomicU64::default(),
            state: Mutex::default(),
        });
        tokio::spawn(hear(Arc::downgrade(&fleet), answers));
        Ok(fleet)
    }

    fn hear(&self, message: &async_nats::Message) {
        let Answered { number, from, answer, .. } = match wire::decode(&message.payload) {
            Ok(answered) => answered,
            // Of a later version, in the midst of an upgrade.
            Err(error) => return tracing::debug!(%error, "an answer about what is live cannot be read"),
        };
        let mut state = self.state.lock();
        let kind = match &answer {
            Answer::Presence(_) => Kind::Presence,
            Answer::Rates(_) => Kind::Rates,
            Answer::Calls(_) => Kind::Calls,
            Answer::Call(_) => Kind::Call,
        };
        state.heard.insert((kind, from.clone()), Instant::now());
        if let Some(open) = state.open.get(&number).filter(|open| open.kind == kind) {
            // Without room there are more answers than anybody wants.
            let _ = open.answers.try_send((from, answer));
        }
    }

    /// Whoever has answered such a question lately.
    fn expected(&self, kind: Kind) -> HashSet<String> {
        let mut state = self.state.lock();
        let now = Instant::now();
        state.heard.retain(|_, at| now.saturating_duration_since(*at) < GONE_AFTER);
        state.heard.keys().filter(|(one, _)| *one == kind).map(|(_, from)| from.clone()).collect()
    }
}

#[async_trait]
impl Fleet for NatsFleet {
    async fn ask(&self, question: Question) -> Vec<Answer> {
        let (number, kind) = (self.numbers.fetch_add(1, Ordering::Relaxed), question.kind());
        let asked = match wire::encode(&Asked::new(number, self.me.clone(), question)) {
            Ok(asked) => asked,
            Err(error) => {
                tracing::warn!(%error, "a question about what is live cannot be asked");
                return Vec::new();
            }
        };
        let mut expected = self.expected(kind);
        let known = !expected.is_empty();
        let (sender, mut received) = mpsc::channel(MOST_ANSWERS);
        self.state.lock().open.insert(number, Open { kind, answers: sender });
        let _closing = Closing { fleet: self, number };
        if !self.link.send(self.link.names().fleet_ask(), None, asked).await {
            return Vec::new();
        }
        let (mut seen, mut answers) = (HashSet::new(), Vec::new());
        let collect = async {
            while let Some((from, answer)) = received.recv().await {
                expected.remove(&from);
                if seen.insert(from) {
                    answers.push(answer);
                }
                if (known && expected.is_empty()) || answers.len() >= MOST_ANSWERS {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(WITHIN, collect).await;
        answers
    }
}

/// Forgets a question, also when whoever asked has left.
struct Closing<'a> {
    fleet: &'a NatsFleet,
    number: u64,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.fleet.state.lock().open.remove(&self.number);
    }
}

/// Until whoever asks is dropped.
async fn hear(fleet: std::sync::Weak<NatsFleet>, mut answers: Subscriber) {
    while let Some(message) = answers.next().await {
        let Some(fleet) = fleet.upgrade() else { return };
        fleet.hear(&message);
    }
}

/// The end of a member.
pub struct NatsMember {
    link: NatsLink,
    questions: Subscriber,
    member: Arc<dyn Member>,
    name: String,
}

impl std::fmt::Debug for NatsMember {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsMember").field("name", &self.name).finish_non_exhaustive()
    }
}

impl NatsMember {
    /// Returns when no question can be missed.
    ///
    /// # Errors
    /// When questions cannot be subscribed to.
    pub async fn open(link: &NatsLink, member: Arc<dyn Member>) -> Result<Self, QueueError> {
        let questions = subscribe(link, link.names().fleet_ask()).await?;
        let name = format!("{}.{}", link.process(), link.next_number());
        Ok(Self { link: link.clone(), questions, member, name })
    }

    /// Until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        while let Some(Some(message)) = stop.run_until_cancelled(self.questions.next()).await {
            let asked = match wire::decode::<Asked>(&message.payload) {
                Ok(asked) => asked,
                Err(error) => {
                    tracing::debug!(%error, "a question about what is live cannot be read");
                    continue;
                }
            };
            let Some(answer) = self.member.answer(&asked.question) else { continue };
            match wire::encode(&Answered::new(asked.number, self.name.clone(), answer)) {
                // Whoever asked waits for a moment only, so nothing is tried again.
                Ok(answer) => {
                    self.link.send(self.link.names().fleet_answer(&asked.by), None, answer).await;
                }
                Err(error) => tracing::warn!(%error, "an answer about what is live cannot be sent"),
            }
        }
        stop.cancelled().await;
    }
}

async fn subscribe(link: &NatsLink, subject: String) -> Result<Subscriber, QueueError> {
    let subscribed = link.client().subscribe(subject).await;
    let subscribed = subscribed.map_err(|error| QueueError::Unavailable(error.to_string()))?;
    link.round_trip(SUBSCRIBED_WITHIN).await?;
    Ok(subscribed)
}
