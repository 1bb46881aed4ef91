//! The rules under several executors, crashes, redeliveries and answers that get lost.

use std::sync::atomic::{AtomicU8, Ordering};

use futures::FutureExt;
use parking_lot::Mutex;
use proptest::prelude::*;

use super::memory::MemoryJournal;
use super::*;
use crate::clock::FakeClock;
use crate::job::Accepted;
use crate::manifest::Effect;
use crate::testing::{JobBuilder, outcome};

/// Watches every write against the state machine, and loses answers when told to.
struct Watched {
    inner: MemoryJournal,
    /// 0: answers; 1: fails before the next write; 2: fails after it, having written.
    fault: AtomicU8,
    history: Mutex<Vec<Record>>,
}

impl Watched {
    fn new() -> Arc<Self> {
        let inner = MemoryJournal::new(Arc::new(FakeClock::at(1)));
        Arc::new(Self { inner, fault: AtomicU8::new(0), history: Mutex::default() })
    }

    async fn write(&self, key: &str, value: Bytes, at: Option<Revision>) -> Result<Option<Revision>, JournalError> {
        let fault = self.fault.swap(0, Ordering::SeqCst);
        let lost = || JournalError::Unavailable("lost".to_owned());
        if fault == 1 {
            return Err(lost());
        }
        let written = match at {
            None => self.inner.create(key, value.clone()).await?,
            Some(at) => self.inner.update(key, value.clone(), at).await?,
        };
        if written.is_some() {
            let next = Record::decode(value)?;
            let mut history = self.history.lock();
            match history.last() {
                None => assert_eq!(next.fence, 1),
                Some(last) => {
                    assert!(may_follow(last.state, next.state), "{:?} → {:?}", last.state, next.state);
                    let taken_over = last.state == JournalState::Intent && next.state == JournalState::Intent;
                    assert_eq!(next.fence, last.fence + u64::from(taken_over), "only a take-over raises the fence");
                    assert!(taken_over || next.owner == last.owner, "only a take-over changes the owner");
                    assert!(last.outcome.is_none(), "an outcome is never replaced");
                }
            }
            history.push(next);
        }
        if fault == 2 { Err(lost()) } else { Ok(written) }
    }

    fn last(&self) -> Option<Record> {
        self.history.lock().last().cloned()
    }
}

#[async_trait]
impl JournalStore for Watched {
    async fn create(&self, key: &str, value: Bytes) -> Result<Option<Revision>, JournalError> {
        self.write(key, value, None).await
    }

    async fn update(&self, key: &str, value: Bytes, at: Revision) -> Result<Option<Revision>, JournalError> {
        self.write(key, value, Some(at)).await
    }

    async fn get(&self, key: &str) -> Result<Option<(Bytes, Revision)>, JournalError> {
        self.inner.get(key).await
    }
}

/// Nothing in memory ever waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("does not wait")
}

#[derive(Debug, Clone)]
enum Step {
    /// The job is delivered to an executor, which claims the call.
    Deliver(usize),
    /// An executor dies with all it holds. Its successor is somebody else.
    Crash(usize),
    /// An executor's call ends; which of its calls, and whether it provably sent nothing.
    End { executor: usize, which: usize, sent: bool },
    /// An executor finds the deadline passed, or the call cancelled, before it claimed.
    Close(usize),
    /// The job comes with another request, rebuilt under other facts.
    Rebuild,
    /// The journal's next write fails, before (1) or after (2) it took place.
    Fault(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let executor = 0..3usize;
    prop_oneof![
        5 => executor.clone().prop_map(Step::Deliver),
        1 => executor.clone().prop_map(Step::Crash),
        4 => (executor.clone(), 0..3usize, any::<bool>())
            .prop_map(|(executor, which, sent)| Step::End { executor, which, sent }),
        1 => executor.prop_map(Step::Close),
        1 => Just(Step::Rebuild),
        2 => (1..=2u8).prop_map(Step::Fault),
    ]
}

struct Model {
    store: Arc<Watched>,
    executors: Vec<(Journal, Vec<Intent>)>,
    job: Job,
    /// Fences of all calls that were ever allowed.
    granted: Vec<u64>,
    /// What callers were told: by whom it was recorded.
    told: Vec<Outcome>,
    /// Somebody was told that the outcome is unknown.
    unknown: bool,
    outcomes: u32,
}

impl Model {
    fn new(effect: Effect) -> Self {
        let store = Watched::new();
        let executors = (0..3).map(|_| (Self::journal(&store), Vec::new())).collect();
        let job = JobBuilder::new(effect).build();
        Self { store, executors, job, granted: Vec::new(), told: Vec::new(), unknown: false, outcomes: 0 }
    }

    fn journal(store: &Arc<Watched>) -> Journal {
        Journal::new(store.clone(), Arc::new(FakeClock::at(1)), InstanceId::generate())
    }

    fn outcome(&mut self) -> Outcome {
        self.outcomes += 1;
        outcome(&self.job.execution_id, self.outcomes.to_string().as_bytes())
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Deliver(at) => match now(self.executors[at].0.claim(&self.job)) {
                Ok(Claim::Granted(intent)) => {
                    assert!(self.told.is_empty(), "allowed after its end was told");
                    assert!(!self.unknown, "allowed after it was declared unknown");
                    self.granted.push(intent.record.fence);
                    self.executors[at].1.push(intent);
                }
                Ok(Claim::Ended(outcome)) => self.told.push(*outcome),
                Ok(Claim::Unknown) => self.unknown = true,
                Err(_) => {}
            },
            Step::Crash(at) => self.executors[at] = (Self::journal(&self.store), Vec::new()),
            Step::End { executor, which, sent } => self.end(executor, which, sent),
            Step::Close(at) => {
                let outcome = self.outcome();
                match now(self.executors[at].0.close(&self.job, &outcome)) {
                    Ok(Closed::Yes) => {
                        assert!(self.granted.is_empty(), "not sent, though a call was allowed");
                        self.told.push(outcome);
                    }
                    Ok(Closed::AlreadyEnded(outcome)) => self.told.push(*outcome),
                    Ok(Closed::IntentOpen) | Err(_) => {}
                }
            }
            Step::Rebuild => self.job.request_hash[0] ^= 1,
            Step::Fault(fault) => self.store.fault.store(fault, Ordering::SeqCst),
        }
        self.check();
    }

    /// As an executor does: repeats until the journal answers.
    fn end(&mut self, executor: usize, which: usize, sent: bool) {
        if which >= self.executors[executor].1.len() {
            return;
        }
        let outcome = self.outcome();
        let newest = self.granted.last().copied();
        let (journal, intents) = &mut self.executors[executor];
        let intent = intents.swap_remove(which);
        let finished = loop {
            let result =
                if sent { now(journal.finish(&intent, &outcome)) } else { now(journal.release(&intent, &outcome)) };
            if let Ok(finished) = result {
                break finished;
            }
        };
        // A take-over that nobody was allowed by, for its answer was lost, counts as well.
        let taken_over = self.store.last().is_some_and(|record| record.fence > intent.record.fence);
        match finished {
            Finished::Recorded => {
                assert!(!taken_over, "an owner that was taken over was recorded");
                self.told.push(outcome);
            }
            Finished::Superseded => {
                assert!(taken_over || newest != Some(intent.record.fence), "the rightful owner was not recorded");
            }
        }
    }

    fn check(&self) {
        if self.job.effect == Effect::Once {
            assert!(self.granted.len() <= 1, "a second call was allowed");
        }
        assert!(self.granted.is_sorted_by(|earlier, later| earlier < later), "each take-over raises the fence");
        if let Some((first, others)) = self.told.split_first() {
            assert!(others.iter().all(|other| other == first), "two different ends were told");
            assert_eq!(self.store.last().and_then(|record| record.outcome).as_ref(), Some(first));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fence_holds(
        effect in prop_oneof![2 => Just(Effect::Once), 1 => Just(Effect::Keyed), 1 => Just(Effect::Idempotent)],
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let mut model = Model::new(effect);
        for step in steps {
            model.run(step);
        }
    }
}

struct Two {
    store: Arc<Watched>,
    one: Journal,
    two: Journal,
}

fn two_executors() -> Two {
    let store = Watched::new();
    let (one, two) = (Model::journal(&store), Model::journal(&store));
    Two { store, one, two }
}

fn granted(claim: Result<Claim, JournalError>) -> Intent {
    match claim {
        Ok(Claim::Granted(intent)) => intent,
        other => panic!("not granted: {other:?}"),
    }
}

#[test]
fn a_late_owner_tells_what_an_unknown_call_did() {
    let Two { store, one, two } = two_executors();
    let job = JobBuilder::new(Effect::Once).build();
    let intent = granted(now(one.claim(&job)));
    assert!(matches!(now(two.claim(&job)), Ok(Claim::Unknown)));
    assert!(matches!(now(one.claim(&job)), Ok(Claim::Unknown)), "nor may its owner call again");
    let done = outcome(&job.execution_id, b"done");
    assert_eq!(now(one.finish(&intent, &done)).unwrap(), Finished::Recorded);
    assert_eq!(store.last().unwrap().state, JournalState::DoneLate);
    assert!(matches!(now(two.claim(&job)), Ok(Claim::Ended(told)) if *told == done));
    let again = outcome(&job.execution_id, b"another");
    assert_eq!(now(one.finish(&intent, &again)).unwrap(), Finished::Superseded);
}

#[test]
fn a_keyed_call_is_taken_over_with_a_higher_fence() {
    for effect in [Effect::Keyed, Effect::Idempotent] {
        let Two { store, one, two } = two_executors();
        let job = JobBuilder::new(effect).build();
        let first = granted(now(one.claim(&job)));
        let second = granted(now(two.claim(&job)));
        assert_eq!((first.record.fence, second.record.fence), (1, 2));
        let (late, done) = (outcome(&job.execution_id, b"late"), outcome(&job.execution_id, b"done"));
        assert_eq!(now(one.finish(&first, &late)).unwrap(), Finished::Superseded);
        assert_eq!(now(one.release(&first, &late)).unwrap(), Finished::Superseded);
        assert_eq!(now(two.finish(&second, &done)).unwrap(), Finished::Recorded);
        assert_eq!(store.last().unwrap().outcome, Some(done));
        // The same process may take over from itself; its older call counts no more than another's.
        let job = JobBuilder::new(effect).build();
        let Two { one, .. } = two_executors();
        let (older, newer) = (granted(now(one.claim(&job))), granted(now(one.claim(&job))));
        assert_eq!(now(one.finish(&older, &late)).unwrap(), Finished::Superseded);
        assert_eq!(now(one.finish(&newer, &late)).unwrap(), Finished::Recorded);
    }
}

#[test]
fn another_request_takes_nothing_over() {
    let Two { one, two, .. } = two_executors();
    let mut job = JobBuilder::new(Effect::Keyed).build();
    let _intent = granted(now(one.claim(&job)));
    job.request_hash[5] ^= 1;
    assert!(matches!(now(two.claim(&job)), Ok(Claim::Unknown)));
}

#[test]
fn what_was_not_sent_is_told_by_the_owner_alone() {
    let Two { store, one, two } = two_executors();
    let job = JobBuilder::new(Effect::Once).build();
    let not_sent = outcome(&job.execution_id, b"not sent");
    let intent = granted(now(one.claim(&job)));
    assert!(matches!(now(two.close(&job, &not_sent)), Ok(Closed::IntentOpen)));
    assert_eq!(now(one.release(&intent, &not_sent)).unwrap(), Finished::Recorded);
    assert_eq!(store.last().unwrap().state, JournalState::Closed);
    assert!(matches!(now(two.claim(&job)), Ok(Claim::Ended(told)) if *told == not_sent));
    assert!(matches!(now(two.close(&job, &not_sent)), Ok(Closed::AlreadyEnded(_))));
}

#[test]
fn a_closed_call_is_never_allowed() {
    for effect in [Effect::Once, Effect::Keyed, Effect::Idempotent] {
        let Two { one, two, .. } = two_executors();
        let job = JobBuilder::new(effect).build();
        let not_sent = outcome(&job.execution_id, b"not sent");
        assert!(matches!(now(one.close(&job, &not_sent)), Ok(Closed::Yes)));
        assert!(matches!(now(two.claim(&job)), Ok(Claim::Ended(told)) if *told == not_sent));
    }
}

/// The write took place, only its answer did not arrive: the end is recorded, and the caller must be told.
#[test]
fn an_end_whose_answer_was_lost_is_recorded() {
    let Two { store, one, .. } = two_executors();
    let job = JobBuilder::new(Effect::Once).build();
    let intent = granted(now(one.claim(&job)));
    let done = outcome(&job.execution_id, b"done");
    store.fault.store(2, Ordering::SeqCst);
    assert!(now(one.finish(&intent, &done)).is_err());
    assert_eq!(now(one.finish(&intent, &done)).unwrap(), Finished::Recorded);
}

#[test]
fn a_kept_outcome_is_the_first() {
    let Two { store, one, two } = two_executors();
    let job = JobBuilder::new(Effect::Read).build();
    let (first, second) = (outcome(&job.execution_id, b"1"), outcome(&job.execution_id, b"2"));
    now(one.keep(&job, &first)).unwrap();
    now(two.keep(&job, &second)).unwrap();
    assert_eq!(store.last().unwrap().outcome, Some(first));
    let found = now(two.look(&job.execution_id)).unwrap().unwrap();
    assert_eq!((found.state, found.organization), (JournalState::Done, job.organization));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_claims_one_is_granted() {
    for _ in 0..20 {
        let clock: Arc<dyn Clock> = Arc::new(FakeClock::at(1));
        let store = Arc::new(MemoryJournal::new(clock.clone()));
        let job = Arc::new(JobBuilder::new(Effect::Once).build());
        let claims: Vec<_> = (0..32)
            .map(|_| {
                let journal = Journal::new(store.clone(), clock.clone(), InstanceId::generate());
                let job = job.clone();
                tokio::spawn(async move { matches!(journal.claim(&job).await.unwrap(), Claim::Granted(_)) })
            })
            .collect();
        let mut allowed = 0;
        for claim in claims {
            allowed += u32::from(claim.await.unwrap());
        }
        assert_eq!(allowed, 1);
    }
}

/// A handle whose call never reached the queue has an end; one that somebody has begun is left to them.
#[test]
fn an_accepted_call_that_nobody_began_is_closed_for_good() {
    let store = Arc::new(MemoryJournal::new(Arc::new(FakeClock::at(1))));
    let journal = Journal::new(store, Arc::new(FakeClock::at(1)), InstanceId::generate());
    let accepted = |job: &Job| Accepted {
        execution_id: job.execution_id.clone(),
        organization: job.organization.clone(),
        subject: job.subject.clone(),
        effect: job.effect,
        deadline: job.deadline,
    };
    let lost = JobBuilder::new(Effect::Once).build();
    let unsent = outcome(&lost.execution_id, b"unsent");
    assert!(matches!(now(journal.close_accepted(&accepted(&lost), &unsent)).unwrap(), Closed::Yes));
    // It comes late after all: it is not made.
    assert!(matches!(now(journal.claim(&lost)).unwrap(), Claim::Ended(told) if *told == unsent));
    let record = now(journal.look(&lost.execution_id)).unwrap().unwrap();
    assert_eq!((record.state, &record.organization), (JournalState::Closed, &lost.organization));

    let begun = JobBuilder::new(Effect::Once).build();
    let Claim::Granted(_) = now(journal.claim(&begun)).unwrap() else { panic!("nobody else wants it") };
    assert!(matches!(now(journal.close_accepted(&accepted(&begun), &unsent)).unwrap(), Closed::IntentOpen));
}
