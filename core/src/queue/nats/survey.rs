//! What lies in the stream, as its leader and those of the consumers tell.
//!
//! A consumer does not tell since when its first message waits, and to read the message would fetch a whole pack. Looks
//! from time to time tell it as well: when the stream had grown to the number that is next for this consumer, unless
//! nothing waited there after that.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::try_join_all;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::super::QueueError;
use super::super::subjects::Source;
use super::super::survey::{BACKGROUND, Line, Survey};
use super::link::NatsLink;
use super::topology::{self, ConsumerState, StreamState};

/// Looks that are remembered: what waits for longer than they reach back is past its deadline.
const LOOKS: usize = 1_024;

/// Stream and consumers are asked one after the other, while messages come and go: what is missing in so many looks in a
/// row is missing.
const SURE_AFTER: usize = 30;

pub(super) struct Looks {
    seen: Mutex<Seen>,
    /// How long the first of each source has waited. Milliseconds.
    waits: [AtomicU64; Source::COUNT],
    /// Messages that wait there, and those sent there since the last look.
    waiting: [AtomicU64; Source::COUNT],
}

#[derive(Default)]
struct Seen {
    /// How far the stream had grown, and when.
    growth: VecDeque<(Instant, u64)>,
    /// When nothing waited for last.
    empty: [Option<Instant>; Source::COUNT],
    missing: VecDeque<i64>,
}

impl Default for Looks {
    fn default() -> Self {
        let zeros = || std::array::from_fn(|_| AtomicU64::new(0));
        Self { seen: Mutex::default(), waits: zeros(), waiting: zeros() }
    }
}

impl Looks {
    pub(super) async fn look(&self, link: &NatsLink) -> Result<Survey, QueueError> {
        let asked = Source::all().map(|source| async move { topology::consumer(link, source).await });
        let (stream, consumers) = tokio::try_join!(topology::stream(link), try_join_all(asked))?;
        let Some(consumers) = consumers.into_iter().collect::<Option<Vec<_>>>() else {
            // No executor has come yet, and nobody divides what waits.
            let line = Line { class: BACKGROUND, waiting: stream.messages, held: 0, oldest: Duration::ZERO };
            return Ok(Survey { lines: vec![line], unaccounted: 0 });
        };
        Ok(self.note(Instant::now(), &stream, &consumers))
    }

    /// How long the first has waited there.
    pub(super) fn wait(&self, source: Source) -> Duration {
        Duration::from_millis(self.waits[source.index()].load(Ordering::Relaxed))
    }

    /// Messages that wait there.
    pub(super) fn waiting(&self, source: Source) -> u64 {
        self.waiting[source.index()].load(Ordering::Relaxed)
    }

    /// One more is sent there.
    pub(super) fn sent(&self, source: Source) {
        self.waiting[source.index()].fetch_add(1, Ordering::Relaxed);
    }

    /// `consumers` in the order of [`Source::all`].
    fn note(&self, now: Instant, stream: &StreamState, consumers: &[ConsumerState]) -> Survey {
        let mut seen = self.seen.lock();
        seen.growth.push_back((now, stream.last_seq));
        if seen.growth.len() > LOOKS {
            seen.growth.pop_front();
        }
        let mut survey = Survey::default();
        for (source, consumer) in Source::all().zip(consumers) {
            let oldest = seen.oldest(source, now, consumer);
            self.waits[source.index()].store(u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
            self.waiting[source.index()].store(consumer.num_pending, Ordering::Relaxed);
            let (class, waiting, held) = (source.class_name(), consumer.num_pending, consumer.num_ack_pending);
            match survey.lines.iter_mut().find(|line| line.class == class) {
                Some(line) => {
                    line.waiting += waiting;
                    line.held += held;
                    line.oldest = line.oldest.max(oldest);
                }
                None => survey.lines.push(Line { class, waiting, held, oldest }),
            }
        }
        let depth = survey.depth();
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        seen.missing.push_back(signed(stream.messages).saturating_sub(signed(depth.waiting + depth.held)));
        if seen.missing.len() > SURE_AFTER {
            seen.missing.pop_front();
        }
        if seen.missing.len() == SURE_AFTER {
            let least = seen.missing.iter().min().copied().unwrap_or_default();
            survey.unaccounted = u64::try_from(least).unwrap_or_default();
        }
        survey
    }
}

impl Seen {
    fn oldest(&mut self, source: Source, now: Instant, consumer: &ConsumerState) -> Duration {
        let empty = &mut self.empty[source.index()];
        if consumer.num_pending == 0 {
            *empty = Some(now);
            return Duration::ZERO;
        }
        let next = consumer.delivered.stream_seq + 1;
        let at = self.growth.partition_point(|(_, last)| *last < next);
        let came = self.growth.get(at).map_or(now, |(at, _)| *at);
        now.duration_since(empty.map_or(came, |empty| empty.max(came)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::nats::topology::Delivered;

    const SECOND: Duration = Duration::from_secs(1);

    fn consumers(delivered: u64, pending: u64, held: u64) -> Vec<ConsumerState> {
        let quiet = ConsumerState { num_pending: 0, num_ack_pending: 0, delivered: Delivered { stream_seq: 3 } };
        let mut consumers = vec![quiet; Source::COUNT];
        consumers[0] = ConsumerState {
            num_pending: pending,
            num_ack_pending: held,
            delivered: Delivered { stream_seq: delivered },
        };
        consumers
    }

    fn stream(messages: u64, last_seq: u64) -> StreamState {
        StreamState { messages, last_seq }
    }

    fn oldest(survey: &Survey) -> Duration {
        survey.lines.iter().find(|line| line.class == "interactive").unwrap().oldest
    }

    #[test]
    fn the_first_waits_since_the_stream_grew_to_it() {
        let (looks, began) = (Looks::default(), Instant::now());
        let waiting = Source::all().next().unwrap();
        // Long ago 100 was delivered, and nothing waits: what comes next has not waited since then.
        looks.note(began, &stream(0, 100), &consumers(100, 0, 0));
        assert_eq!(oldest(&looks.note(began + SECOND * 60, &stream(0, 500), &consumers(100, 0, 0))), Duration::ZERO);
        assert_eq!(oldest(&looks.note(began + SECOND * 61, &stream(2, 502), &consumers(100, 2, 0))), SECOND);
        assert_eq!(oldest(&looks.note(began + SECOND * 65, &stream(9, 509), &consumers(100, 9, 0))), SECOND * 5);
        assert_eq!(looks.wait(waiting), SECOND * 5);
        // Those up to 502 were handed out: 503 came between the last two looks.
        assert_eq!(oldest(&looks.note(began + SECOND * 66, &stream(9, 509), &consumers(502, 7, 2))), SECOND);
        assert_eq!(oldest(&looks.note(began + SECOND * 67, &stream(0, 509), &consumers(509, 0, 0))), Duration::ZERO);
        assert_eq!(looks.wait(waiting), Duration::ZERO);
    }

    #[test]
    fn what_is_missing_in_every_look_is_missing() {
        let (looks, now) = (Looks::default(), Instant::now());
        // Asked one after the other, they seldom fit; one job is nobody's.
        let missing = |jitter: u64| looks.note(now, &stream(11 + jitter, 20), &consumers(10, 5, 5)).unaccounted;
        assert_eq!((0..SURE_AFTER as u64 - 1).map(|at| missing(at % 3)).max(), Some(0));
        assert_eq!(missing(0), 1);
        assert_eq!(looks.note(now, &stream(9, 20), &consumers(10, 5, 5)).unaccounted, 0);
    }
}
