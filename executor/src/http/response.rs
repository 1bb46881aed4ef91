//! A vendor's answer → data or an error.
//!
//! The body is scrubbed before anything is taken out of it, so no secret can survive in a message, a cursor or a
//! quotation, not even half of one at a place where something is cut.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, LOCATION};
use plugboard_core::clock::Millis;
use plugboard_core::error::CallError;
use plugboard_core::job::{Job, Page};
use plugboard_core::manifest::{Connector, Operation};
use serde_json::{Value, json};

use super::failure::{Places, Refusal, tell};
use super::page::{Asked, Pager};
use super::pick::{Picks, Query};
use super::success::{Judge, rule_of};
use crate::scrub::Scrubber;

/// The call that is answered.
#[derive(Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) connector: &'a Connector,
    pub(crate) operation: Option<&'a Operation>,
    pub(crate) job: &'a Job,
    /// The job's body.
    pub(crate) body: Option<&'a Bytes>,
    pub(crate) now: Millis,
}

/// An answer as it came.
#[derive(Clone, Copy)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a Bytes,
}

/// An answer in our terms, without secrets.
#[derive(Debug)]
pub(crate) struct Shaped {
    pub(crate) status: u16,
    /// JSON; `None` is null.
    pub(crate) data: Option<Bytes>,
    pub(crate) page: Option<Page>,
    pub(crate) error: Option<CallError>,
    /// The vendor refused the credential: a new token may help.
    pub(crate) credential_refused: bool,
}

/// What a body is.
enum Content {
    Empty,
    Json(Picks),
    Text,
    Binary,
}

pub(crate) fn shape(about: &About<'_>, scrubber: &Scrubber, answer: Answer<'_>) -> Shaped {
    // 304 comes only to a caller who asked "unless it changed": it is the answer.
    if !matches!(answer.status, 200..300 | 304) {
        return refused(about, scrubber, answer);
    }
    let mut query = Query::default();
    let judge = Judge::new(rule_of(about.connector, about.operation), &mut query);
    let pager =
        about.operation.and_then(|operation| Some((operation, Pager::new(operation.pagination.as_ref()?, &mut query))));
    let (body, content) = read(answer, &query, scrubber);
    let nothing = Picks::default();
    let picks = match &content {
        Content::Json(picks) => picks,
        _ => &nothing,
    };
    // 204 and 304 have no body to judge.
    if !matches!(answer.status, 204 | 304) && !judge.holds(picks) {
        return refused(about, scrubber, answer);
    }
    let page = pager.and_then(|(operation, pager)| {
        let asked = Asked { operation, query: &about.job.query, body: about.body.map(|body| &body[..]) };
        pager.read(picks, answer.headers, asked).map(|page| without_secrets(page, scrubber))
    });
    let data = match content {
        Content::Empty => None,
        Content::Json(_) => Some(body),
        Content::Text => text_to_json(&body),
        Content::Binary => binary_to_json(&body, answer.headers),
    };
    Shaped { status: answer.status, data, page, error: None, credential_refused: false }
}

fn refused(about: &About<'_>, scrubber: &Scrubber, answer: Answer<'_>) -> Shaped {
    let mut query = Query::default();
    let places = Places::new(&about.connector.manifest().errors, &mut query);
    let (body, content) = read(answer, &query, scrubber);
    let nothing = Picks::default();
    let (picks, json) = match &content {
        Content::Json(picks) => (picks, true),
        _ => (&nothing, false),
    };
    let text = match &content {
        Content::Json(_) | Content::Text => std::str::from_utf8(&body).ok(),
        Content::Empty | Content::Binary => None,
    };
    let headers = without_secret_location(answer.headers, scrubber);
    let (error, credential_refused) = tell(&Refusal {
        connector: about.connector,
        effect: about.job.effect,
        status: answer.status,
        headers: headers.as_ref().unwrap_or(answer.headers),
        places: &places,
        picks,
        body: text,
        json,
        now: about.now,
    });
    Shaped { status: answer.status, data: None, page: None, error: Some(error), credential_refused }
}

/// The body without its mark and without secrets, and what it is.
fn read(answer: Answer<'_>, query: &Query<'_>, scrubber: &Scrubber) -> (Bytes, Content) {
    let mut body = answer.body.clone();
    if body.starts_with(b"\xef\xbb\xbf") {
        // A byte order mark is no part of the JSON (RFC 8259, section 8.1), but 1C sends one.
        body = body.slice(3..);
    }
    if body.is_empty() {
        return (body, Content::Empty);
    }
    let Ok(text) = std::str::from_utf8(&body) else {
        return (scrubber.clean_bytes(&body).map_or(body.clone(), Bytes::from), Content::Binary);
    };
    let picks = if may_be_json(text, answer.headers) { query.run(text) } else { None };
    match picks {
        Some(picks) => match scrubber.clean_json(text) {
            None => (body, Content::Json(picks)),
            // What was picked before may hold what was taken out since.
            Some(clean) => match query.run(&clean) {
                Some(picks) => (Bytes::from(clean), Content::Json(picks)),
                None => (Bytes::from(clean), Content::Text),
            },
        },
        None if text.contains('\0') => (scrubber.clean_bytes(&body).map_or(body.clone(), Bytes::from), Content::Binary),
        None => (scrubber.clean_text(text).map_or(body.clone(), Bytes::from), Content::Text),
    }
}

/// Plain text and tables stay text even where a lone number or word in them happens to be JSON. Everything else is
/// tried: many vendors send JSON as `text/html`.
fn may_be_json(text: &str, headers: &HeaderMap) -> bool {
    let plain = headers.get(CONTENT_TYPE).is_some_and(|kind| {
        let is =
            |name: &str| kind.as_bytes().get(..name.len()).is_some_and(|s| s.eq_ignore_ascii_case(name.as_bytes()));
        is("text/plain") || is("text/csv")
    });
    !plain || text.trim_start().starts_with(['{', '['])
}

fn text_to_json(body: &[u8]) -> Option<Bytes> {
    let text = std::str::from_utf8(body).ok()?;
    serde_json::to_vec(text).ok().map(Bytes::from)
}

/// Inline for now: files get a place and a reference of their own with a later change of the contract.
fn binary_to_json(body: &[u8], headers: &HeaderMap) -> Option<Bytes> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/octet-stream");
    let file = json!({ "content_type": kind, "bytes": body.len(), "base64": STANDARD.encode(body) });
    serde_json::to_vec(&file).ok().map(Bytes::from)
}

/// Vendors like to put the access token into the address of the next page. The body was scrubbed, the header not.
fn without_secrets(mut page: Page, scrubber: &Scrubber) -> Page {
    if let Some(Value::String(next)) = &mut page.next
        && let Some(clean) = scrubber.clean_text(next)
    {
        *next = clean;
    }
    page
}

fn without_secret_location(headers: &HeaderMap, scrubber: &Scrubber) -> Option<HeaderMap> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    let clean = scrubber.clean_text(location)?;
    let mut headers = headers.clone();
    headers.remove(LOCATION);
    if let Ok(value) = clean.parse() {
        headers.insert(LOCATION, value);
    }
    Some(headers)
}

#[cfg(test)]
mod tests;
