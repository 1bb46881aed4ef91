//! The records, call by call: everything that was asked about it, and everything that the vendor saw of it.

use std::collections::BTreeMap;

use crate::records::{Answer, Asked, Class, Entry, Records, Request, Told};

#[derive(Debug, Default)]
pub(crate) struct Call<'a> {
    pub(crate) marker: &'a str,
    /// In the order in which the questions were put.
    pub(crate) asked: Vec<&'a Asked>,
    pub(crate) requests: Vec<&'a Request>,
}

impl<'a> Call<'a> {
    pub(crate) fn class(&self) -> Option<Class> {
        self.asked.first().map(|asked| asked.class)
    }

    pub(crate) fn tenant(&self) -> &'a str {
        self.marker.split('-').next().unwrap_or_default()
    }

    pub(crate) fn effects(&self) -> usize {
        self.requests.iter().filter(|request| request.effect).count()
    }

    pub(crate) fn complete(&self) -> impl Iterator<Item = &&'a Request> {
        self.requests.iter().filter(|request| request.complete)
    }

    /// The answers that came, with what they answer.
    pub(crate) fn told(&self) -> impl DoubleEndedIterator<Item = (&'a Asked, &'a Told)> {
        self.asked.iter().filter_map(|asked| match &asked.answer {
            Answer::Told(told) => Some((*asked, told)),
            _ => None,
        })
    }

    /// The answers that say how it ended. A question by execution id that could not be answered says nothing of that.
    pub(crate) fn ends(&self) -> impl DoubleEndedIterator<Item = (&'a Asked, &'a Told)> {
        self.told().filter(|(asked, told)| told.is_final() && (asked.kind == "call" || told.execution_id.is_some()))
    }

    /// Somebody was given a handle for it.
    pub(crate) fn was_accepted(&self) -> bool {
        self.told().any(|(_, told)| !told.is_final())
    }

    pub(crate) fn last_end(&self) -> Option<&'a Told> {
        self.ends().next_back().map(|(_, told)| told)
    }
}

pub(crate) fn of(records: &Records) -> Vec<Call<'_>> {
    let mut calls: BTreeMap<&str, Call<'_>> = BTreeMap::new();
    let call = |marker| Call { marker, ..Call::default() };
    for asked in &records.asked {
        calls.entry(&asked.marker).or_insert_with(|| call(&asked.marker)).asked.push(asked);
    }
    for entry in &records.ledger {
        if let Entry::Request(request) = entry {
            calls.entry(&request.marker).or_insert_with(|| call(&request.marker)).requests.push(request);
        }
    }
    let mut calls: Vec<Call<'_>> = calls.into_values().collect();
    for call in &mut calls {
        call.asked.sort_by_key(|asked| asked.from);
        call.requests.sort_by_key(|request| request.seq);
    }
    calls
}
