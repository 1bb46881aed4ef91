//! What the vendor received, and what it did: the truth that answers are held against.

use parking_lot::Mutex;

#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Which call, by the request's own words.
    pub(super) call: usize,
    pub(super) key: Option<String>,
    pub(super) request: String,
    pub(super) acted: bool,
    /// Refused before anything was looked at: the credential was not accepted.
    pub(super) unauthorized: bool,
}

#[derive(Default)]
pub(super) struct Ledger(Mutex<Vec<Line>>);

impl Ledger {
    pub(super) fn receive(&self, call: usize, key: Option<String>, request: String) -> usize {
        let mut lines = self.0.lock();
        lines.push(Line { call, key, request, acted: false, unauthorized: false });
        lines.len() - 1
    }

    pub(super) fn act(&self, line: usize) {
        self.0.lock()[line].acted = true;
    }

    pub(super) fn refuse(&self, line: usize) {
        self.0.lock()[line].unauthorized = true;
    }

    pub(super) fn of(&self, call: usize) -> Vec<Line> {
        self.0.lock().iter().filter(|line| line.call == call).cloned().collect()
    }
}
