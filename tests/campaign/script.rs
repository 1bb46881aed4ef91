//! The faults: which, in which order, and how each is made. Everything that is left to chance follows from the seed.

use std::sync::Arc;
use std::time::Duration;

use plugboard_tests::relay::{Cut, Relay, Way};

use crate::driver::Driver;
use crate::records::{Clock, Fault, Log, Phase, roll};
use crate::site::{EXECUTORS, NATS, Site, numbered};

/// Failpoints that any call meets, and how long the campaign waits for one to be met.
pub(crate) const ANY_CALL: [&str; 8] = [
    "after_publish_before_answer",
    "accepted_before_publish",
    "intent_before_first_byte",
    "sent_before_answer",
    "answer_before_done",
    "done_before_result",
    "result_before_ack",
    "after_ack",
];
const MET_WITHIN: Duration = Duration::from_secs(30);

/// Longer than an executor may be silent before its jobs are given to another.
const LONG_STOP: Duration = Duration::from_secs(25);

/// The kind of a fault that cannot be made here.
pub(crate) const SKIP: &str = "skip";

/// How long the campaign waits for calls to succeed again before it goes on.
const RECOVERS_WITHIN: Duration = Duration::from_secs(90);

/// Seconds: longer than any call may take.
const CLOCK_STEP: i64 = 90;

/// With one executor, under load.
const SCALED_FOR: Duration = Duration::from_secs(15);

/// Of [`Step::Turns`]: how often, how long each, and how long what was begun before may still be felt.
const TURNS: usize = 4;
const TURN: Duration = Duration::from_secs(6);
const SETTLES: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// `kill -9`.
    Kill(Vec<String>),
    /// SIGSTOP, and SIGCONT after this time.
    Stop(String, Duration),
    /// The next connection to this place that carries bytes this way is reset after this many.
    Cut(String, Way, usize),
    /// Every connection to this place is reset at once.
    Reset(String),
    /// Nothing passes to this place or back for this time.
    Partition(String, Duration),
    Failpoint(&'static str),
    /// SIGTERM, one process after the other.
    Roll,
    /// From three executors to one, and back.
    Scale,
    /// The clock of this process is so many seconds off, for this time.
    Clock(String, i64, Duration),
    /// The last nats-server has no room for one more byte for this time, and is started again when it has.
    DiskFull(Duration),
    /// Nothing is broken: the first tenant is loud and quiet in turn, so that the others' waits can be compared.
    Turns,
    /// A control that must come out red, see [`crate::old_copy`].
    OldCopies,
}

/// Every failpoint once, seven kills, one long stop, cuts: what fits into five minutes.
pub(crate) fn slice(seed: u64) -> Vec<Step> {
    let number = |what: &str, most: u64| 1 + roll(seed, &["slice", what]) % most;
    let one = |name: &str, most| vec![format!("{name}-{}", number(name, most))];
    let mut steps: Vec<Step> = ANY_CALL.into_iter().map(Step::Failpoint).collect();
    steps.extend([
        Step::Kill(one("executor", 3)),
        Step::Kill(one("gateway", 2)),
        Step::Kill(one("auth", 2)),
        Step::Kill(one("nats", 3)),
        Step::Kill(vec!["redis".to_owned()]),
        Step::Kill(vec!["limits".to_owned()]),
        Step::Kill(vec!["catalog".to_owned()]),
        Step::Cut("vendor".to_owned(), Way::In, usize::try_from(number("cut", 2_000)).unwrap()),
        Step::Cut("vendor".to_owned(), Way::Out, usize::try_from(number("cut back", 150)).unwrap()),
    ]);
    shuffle(seed, "slice", &mut steps);
    steps.push(Step::Stop(format!("executor-{}", number("stop", 3)), LONG_STOP));
    steps
}

/// What brings a broken variant to light beside what the vendor does by itself, for runs that are too short for the rest.
pub(crate) fn against(variant: &str) -> Vec<Step> {
    match variant {
        // Only what lies in the queue has an ack.
        "ack_before_call" => {
            let all = numbered("executor", EXECUTORS).into_iter().map(|name| Step::Kill(vec![name]));
            (0..4).flat_map(|_| all.clone()).collect()
        }
        // A fifth of the calls may not be sent twice.
        "no_intent" | "call_again" => vec![Step::Failpoint("sent_before_answer"); 12],
        "lost_fsync" => vec![Step::OldCopies],
        _ => Vec::new(),
    }
}

/// One round of a long campaign.
pub(crate) fn round(seed: u64, round: u64) -> Vec<Step> {
    let text = round.to_string();
    let number = |what: &str, most: u64| 1 + roll(seed, &["round", &text, what]) % most;
    let name = |name: &str, what: &str, most| format!("{name}-{}", number(what, most));
    let seconds = |what: &str, most| Duration::from_secs(number(what, most));
    let bytes = |what: &str, most| usize::try_from(number(what, most)).unwrap();
    let way = |what: &str| if number(what, 2) == 1 { Way::In } else { Way::Out };
    let mut steps: Vec<Step> = ANY_CALL.into_iter().map(Step::Failpoint).collect();
    for at in 0..6 {
        steps.push(Step::Kill(vec![name("executor", &format!("kill executor {at}"), 3)]));
    }
    for at in 0..2 {
        steps.push(Step::Kill(vec![name("gateway", &format!("kill gateway {at}"), 2)]));
        steps.push(Step::Kill(vec![name("auth", &format!("kill auth {at}"), 2)]));
        steps.push(Step::Kill(vec![name("nats", &format!("kill nats {at}"), 3)]));
        steps.push(Step::Stop(
            name("executor", &format!("stop executor {at}"), 3),
            seconds(&format!("stop for {at}"), 45),
        ));
        let inner = name("nats", &format!("cut nats {at}"), 3);
        steps.push(Step::Cut(inner, way(&format!("way nats {at}")), bytes(&format!("bytes nats {at}"), 4_000)));
    }
    let two = number("two nats", 3);
    let others: Vec<String> = (1..=3).filter(|at| *at != two).map(|at| format!("nats-{at}")).collect();
    steps.extend([
        Step::Kill(others),
        Step::Kill(vec!["redis".to_owned()]),
        Step::Kill(vec!["limits".to_owned()]),
        Step::Stop("redis".to_owned(), seconds("stop redis", 15)),
        Step::Stop("limits".to_owned(), seconds("stop limits", 15)),
        Step::Stop(name("nats", "stop nats", 3), seconds("stop nats for", 20)),
        Step::Stop(name("auth", "stop auth", 2), seconds("stop auth for", 20)),
        Step::Cut("vendor".to_owned(), Way::In, bytes("cut in", 2_400)),
        Step::Cut("vendor".to_owned(), Way::Out, bytes("cut out", 200)),
        Step::Cut("redis".to_owned(), way("way redis"), bytes("bytes redis", 1_000)),
        Step::Cut("limits".to_owned(), way("way limits"), bytes("bytes limits", 1_000)),
        Step::Reset(name("nats", "reset nats", 3)),
        Step::Reset("vendor".to_owned()),
        Step::Partition(name("nats", "part nats", 3), seconds("part nats for", 30)),
        Step::Partition("redis".to_owned(), seconds("part redis for", 15)),
        Step::Partition("limits".to_owned(), seconds("part limits for", 15)),
        Step::Partition("vendor".to_owned(), seconds("part vendor for", 15)),
        Step::Roll,
        Step::Scale,
        Step::Clock(
            name("executor", "clock of", 3),
            if number("clock", 2) == 1 { CLOCK_STEP } else { -CLOCK_STEP },
            Duration::from_secs(20),
        ),
        Step::DiskFull(Duration::from_secs(20)),
        Step::Turns,
    ]);
    if round.is_multiple_of(3) {
        steps.push(Step::Kill((1..=3).map(|at| format!("nats-{at}")).collect()));
    }
    shuffle(seed, &text, &mut steps);
    steps
}

fn shuffle(seed: u64, what: &str, steps: &mut [Step]) {
    for at in (1..steps.len()).rev() {
        let other = roll(seed, &["shuffle", what, &at.to_string()]) % (at as u64 + 1);
        steps.swap(at, usize::try_from(other).unwrap());
    }
}

/// Makes the faults and writes them down.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) site: Arc<Site>,
    pub(crate) driver: Arc<Driver>,
    pub(crate) log: Log,
    pub(crate) phases: Log,
    pub(crate) clock: Clock,
}

impl Stage {
    /// Returns whether it happened.
    pub(crate) async fn play(&self, step: &Step) -> bool {
        let at = self.clock.now();
        let (kind, target, took) = match step {
            Step::Kill(names) => {
                let before: Vec<_> = names.iter().map(|name| (name, self.site.pid(name))).collect();
                let took = self.site.signal_all(names, "KILL");
                for (name, pid) in before {
                    self.site.replaced(name, pid).await;
                }
                ("kill", names.join(" "), took)
            }
            Step::Stop(name, time) => {
                let took = self.site.signal(name, "STOP");
                tokio::time::sleep(*time).await;
                self.site.signal(name, "CONT");
                ("stop", format!("{name} {} s", time.as_secs()), took)
            }
            Step::Cut(place, way, after) => {
                let relay = self.relay(place);
                relay.cut(Cut { way: *way, after: *after });
                let took = self.until(MET_WITHIN, || relay.has_cut()).await;
                ("cut", format!("{place} {way:?} after {after} bytes"), took)
            }
            Step::Reset(place) => {
                self.relay(place).reset();
                ("reset", place.clone(), true)
            }
            Step::Partition(place, time) => {
                self.relay(place).stand_still(*time).await;
                ("partition", format!("{place} {} s", time.as_secs()), true)
            }
            Step::Failpoint(name) => ("failpoint", (*name).to_owned(), self.fire(name, "", MET_WITHIN).await),
            Step::Roll => {
                for name in Site::all_services() {
                    let before = self.site.pid(&name);
                    self.site.signal(&name, "TERM");
                    self.site.replaced(&name, before).await;
                }
                ("roll", "all services".to_owned(), true)
            }
            Step::Scale => {
                self.site.scale(1).await;
                tokio::time::sleep(SCALED_FOR).await;
                self.site.scale(EXECUTORS).await;
                ("scale", "executors 3 to 1 to 3".to_owned(), true)
            }
            Step::Clock(name, seconds, time) => {
                self.site.step_clock(name, *seconds);
                tokio::time::sleep(*time).await;
                self.site.step_clock(name, 0);
                ("clock step", format!("{name} {seconds:+} s"), true)
            }
            Step::DiskFull(time) => match &self.site.disk {
                Some(disk) => {
                    let name = format!("nats-{NATS}");
                    disk.fill();
                    tokio::time::sleep(*time).await;
                    disk.free();
                    // It may have given up writing for good; whoever makes room starts it again.
                    let before = self.site.pid(&name);
                    self.site.signal(&name, "KILL");
                    self.site.replaced(&name, before).await;
                    ("full disk", format!("{name} {} s", time.as_secs()), true)
                }
                None => (SKIP, "full disk, which takes a longer run and the right to mount".to_owned(), false),
            },
            Step::Turns => {
                for _ in 0..TURNS {
                    for loud in [false, true] {
                        self.turn(loud).await;
                    }
                }
                return true;
            }
            Step::OldCopies => ("old copies", "all nats-servers".to_owned(), crate::old_copy::play(self).await),
        };
        self.healed(kind, &target, at, took).await;
        took
    }

    async fn turn(&self, loud: bool) {
        self.driver.set_loud(loud);
        tokio::time::sleep(SETTLES).await;
        let from = self.clock.now();
        tokio::time::sleep(TURN).await;
        self.phases.append(&Phase { loud, from, to: self.clock.now() });
        self.driver.set_loud(true);
    }

    /// Notes a fault whose cause is gone now, and waits for calls to succeed again.
    pub(crate) async fn healed(&self, kind: &str, target: &str, at: u64, took: bool) {
        let healed = self.clock.now();
        let recovered = self.until(RECOVERS_WITHIN, || self.driver.succeeded_since(healed)).await;
        let recovered = recovered.then(|| self.clock.now());
        let fault = Fault { kind: kind.to_owned(), target: target.to_owned(), at, healed, recovered, took };
        let after = recovered.map_or_else(|| "never".to_owned(), |at| format!("{} ms", at - healed));
        println!("{:>7.1} s  {kind} {target}{}; calls succeed after {after}", at as f64 / 1000.0, missed(took));
        self.log.append(&fault);
    }

    /// Arms a failpoint for so many processes. `of`: whose call it must be.
    pub(crate) fn arm(&self, name: &str, of: &str, times: usize) {
        let (folder, new) = (self.site.failpoints.join(name), self.site.failpoints.join(format!(".{name}")));
        std::fs::create_dir_all(&folder).unwrap();
        for at in 0..times {
            std::fs::write(&new, of).unwrap();
            std::fs::rename(&new, folder.join(at.to_string())).unwrap();
        }
    }

    /// Waits until the last of them has died of it, and disarms it if that takes too long.
    pub(crate) async fn met(&self, name: &str, within: Duration) -> bool {
        let folder = self.site.failpoints.join(name);
        let met = self.until(within, || folder.read_dir().unwrap().flatten().next().is_none()).await;
        // Whoever comes in this very moment counts, too.
        met || self.disarm(name) == 0
    }

    /// Takes back what nobody has died of; how much that was.
    pub(crate) fn disarm(&self, name: &str) -> usize {
        let left = self.site.failpoints.join(name).read_dir().unwrap().flatten();
        left.filter(|file| std::fs::remove_file(file.path()).is_ok()).count()
    }

    /// Arms a failpoint for one process and waits until it has died.
    pub(crate) async fn fire(&self, name: &str, of: &str, within: Duration) -> bool {
        self.arm(name, of, 1);
        self.met(name, within).await
    }

    fn relay(&self, place: &str) -> Relay {
        if place == "vendor" {
            return self.site.vendor_link.clone();
        }
        let found = self.site.inner_links.iter().find(|(name, _)| name == place);
        found.unwrap_or_else(|| panic!("no link to {place}")).1.clone()
    }

    async fn until(&self, within: Duration, holds: impl Fn() -> bool) -> bool {
        let began = tokio::time::Instant::now();
        while !holds() {
            if began.elapsed() > within {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        true
    }
}

fn missed(took: bool) -> &'static str {
    if took { "" } else { " (did not happen)" }
}
