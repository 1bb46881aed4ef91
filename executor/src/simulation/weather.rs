//! How bad a run gets. Each run draws its own: some are calm in all but one thing, some are bad in everything.

use std::time::Duration;

use plugboard_core::testing::Random;

/// How long faults are made. Afterwards everything must come to its end.
pub(super) const FAULTS: Duration = Duration::from_secs(40);

/// Chances are so many of ten thousand port calls, or requests.
#[derive(Debug, Clone, Default)]
pub(super) struct Weather {
    /// The executor dies before or after what the port does.
    pub(super) crash: u32,
    /// The port does nothing and says so.
    pub(super) refused: u32,
    /// The port does it, and its answer is lost.
    pub(super) lost: u32,
    /// The port takes up to three seconds.
    pub(super) slow: u32,
    /// The executor stands still for longer than the queue waits.
    pub(super) pause: u32,
    /// An ack or nack does not arrive.
    pub(super) ack_lost: u32,
    /// The signs of life of one delivery do not arrive.
    pub(super) deaf: u32,
    /// A reply is sent and never arrives.
    pub(super) reply_lost: u32,
    /// The caller hangs up.
    pub(super) hang_up: u32,
    /// The vendor does not simply answer.
    pub(super) vendor: u32,
    /// Ports that are away for a while: the port, when, and until when.
    pub(super) away: Vec<(&'static str, Duration, Duration)>,
    /// How far the clock of each executor is off. Milliseconds.
    pub(super) skew: Vec<i64>,
    /// Executors are stopped in good order, and started again.
    pub(super) restart: bool,
    /// The account is revoked after this time.
    pub(super) revoked: Option<Duration>,
}

impl Weather {
    /// Nothing goes wrong.
    pub(super) fn calm(executors: usize) -> Self {
        Self { skew: vec![0; executors], ..Self::default() }
    }

    pub(super) fn draw(random: &mut Random, executors: usize) -> Self {
        let mut weather = Self {
            crash: random.pick(&[0, 0, 30, 150, 400]),
            refused: random.pick(&[0, 0, 50, 300, 1_500]),
            lost: random.pick(&[0, 0, 50, 300, 1_500]),
            slow: random.pick(&[0, 100, 500]),
            pause: random.pick(&[0, 0, 10, 60]),
            ack_lost: random.pick(&[0, 200, 2_000]),
            deaf: random.pick(&[0, 200, 2_000]),
            reply_lost: random.pick(&[0, 500, 3_000]),
            hang_up: random.pick(&[0, 1_000, 3_000]),
            vendor: random.pick(&[1_000, 4_000, 9_000]),
            skew: (0..executors).map(|_| random.pick(&[0, 0, 0, -1_500, 1_500, -90_000, 90_000])).collect(),
            restart: random.happens(3_000),
            revoked: random.happens(500).then(|| random.millis(1, 30_000)),
            away: Vec::new(),
        };
        for port in ["journal", "vault", "queue", "replies", "blobs", "catalog"] {
            if random.happens(1_500) {
                let from = random.millis(0, 25_000);
                weather.away.push((port, from, from + random.millis(500, 20_000)));
            }
        }
        weather
    }

    pub(super) fn is_away(&self, port: &str, at: Duration) -> bool {
        self.away.iter().any(|(name, from, until)| *name == port && (*from..*until).contains(&at))
    }
}
