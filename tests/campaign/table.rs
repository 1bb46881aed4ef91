//! The verdicts as a table.

use std::fmt::Write;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ok,
    Red,
    /// Told, and not judged here.
    Told,
}

#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) invariant: &'static str,
    pub(crate) promise: &'static str,
    /// How much was looked at.
    pub(crate) looked_at: String,
    /// What was found against it, or what there is to tell.
    pub(crate) found: String,
    pub(crate) verdict: Verdict,
    /// Some of what is red, for whoever looks into it.
    pub(crate) examples: Vec<String>,
}

impl Row {
    /// Red if there is any example.
    pub(crate) fn judged(
        invariant: &'static str,
        promise: &'static str,
        looked_at: impl Into<String>,
        against: Vec<String>,
        note: impl Into<String>,
    ) -> Self {
        let (note, verdict) = (note.into(), if against.is_empty() { Verdict::Ok } else { Verdict::Red });
        let found = if note.is_empty() { against.len().to_string() } else { format!("{}; {note}", against.len()) };
        Self { invariant, promise, looked_at: looked_at.into(), found, verdict, examples: against }
    }

    pub(crate) fn told(
        invariant: &'static str,
        promise: &'static str,
        looked_at: impl Into<String>,
        found: String,
    ) -> Self {
        Self { invariant, promise, looked_at: looked_at.into(), found, verdict: Verdict::Told, examples: Vec::new() }
    }
}

pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut text = String::from("| | promise | looked at | against it | |\n| --- | --- | --- | --- | --- |\n");
    for row in rows {
        let verdict = match row.verdict {
            Verdict::Ok => "ok",
            Verdict::Red => "**RED**",
            Verdict::Told => "told",
        };
        let Row { invariant, promise, looked_at, found, .. } = row;
        writeln!(text, "| {invariant} | {promise} | {looked_at} | {found} | {verdict} |").unwrap();
    }
    text
}
