//! Notifications on the way to an open response: progress and log messages of one request.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::respond::push_string;

/// Events waiting for a slow reader; what exceeds it is dropped, since the next event supersedes the lost one.
const QUEUE: usize = 64;

/// Serialized JSON-RPC notifications of one request.
pub(super) type Events = mpsc::Receiver<Vec<u8>>;

pub(super) fn channel() -> (mpsc::Sender<Vec<u8>>, Events) {
    mpsc::channel(QUEUE)
}

/// Reports progress under the token the client chose.
#[derive(Debug, Clone)]
pub struct ProgressSender {
    token: Arc<str>,
    events: mpsc::Sender<Vec<u8>>,
    /// Progress must grow with each report, also when several tasks report.
    last: Arc<Mutex<f64>>,
}

impl ProgressSender {
    /// `token` is the raw JSON of the token.
    pub(super) fn new(token: &str, events: mpsc::Sender<Vec<u8>>) -> Self {
        Self { token: token.into(), events, last: Arc::new(Mutex::new(f64::NEG_INFINITY)) }
    }

    /// Sends one report. Reports that do not grow are dropped, and so are those that find the client too slow.
    pub fn report(&self, progress: f64, total: Option<f64>, message: Option<&str>) {
        let mut last = self.last.lock();
        if !progress.is_finite() || progress <= *last {
            return;
        }
        let mut event = Vec::with_capacity(160);
        event.extend_from_slice(br#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"#);
        event.extend_from_slice(self.token.as_bytes());
        event.extend_from_slice(format!(",\"progress\":{progress}").as_bytes());
        if let Some(total) = total.filter(|total| total.is_finite()) {
            event.extend_from_slice(format!(",\"total\":{total}").as_bytes());
        }
        if let Some(message) = message {
            event.extend_from_slice(b",\"message\":");
            push_string(&mut event, message);
        }
        event.extend_from_slice(b"}}");
        if self.events.try_send(event).is_ok() {
            *last = progress;
        }
    }
}

/// Severity of a log message, as in syslog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Details for debugging.
    Debug,
    /// What happens normally.
    Info,
    /// Normal but worth a look.
    Notice,
    /// May become a fault.
    Warning,
    /// A fault.
    Error,
    /// A fault of something vital.
    Critical,
    /// Act at once.
    Alert,
    /// Unusable.
    Emergency,
}

impl LogLevel {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Debug, "debug"),
        (Self::Info, "info"),
        (Self::Notice, "notice"),
        (Self::Warning, "warning"),
        (Self::Error, "error"),
        (Self::Critical, "critical"),
        (Self::Alert, "alert"),
        (Self::Emergency, "emergency"),
    ];

    /// The level called `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == name).map(|(level, _)| level)
    }

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(level, _)| *level == self).map_or("info", |(_, name)| name)
    }
}

/// Sends log messages to the client that asked for them.
#[derive(Debug, Clone)]
pub struct LogSender {
    least: LogLevel,
    events: mpsc::Sender<Vec<u8>>,
}

impl LogSender {
    pub(super) fn new(least: LogLevel, events: mpsc::Sender<Vec<u8>>) -> Self {
        Self { least, events }
    }

    /// Sends `text`, unless the client asked for more severe messages only.
    pub fn send(&self, level: LogLevel, text: &str) {
        if level < self.least {
            return;
        }
        let mut event = Vec::with_capacity(96 + text.len());
        event.extend_from_slice(br#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"#);
        push_string(&mut event, level.as_str());
        event.extend_from_slice(b",\"data\":");
        push_string(&mut event, text);
        event.extend_from_slice(b"}}");
        // A client too slow to read its log loses lines, not its answer.
        let _ = self.events.try_send(event);
    }
}
