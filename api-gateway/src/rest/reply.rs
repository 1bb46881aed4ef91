//! How answers leave: JSON, times in RFC 3339, and what may be cached.

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use plugboard_core::clock::Millis;
use plugboard_core::error::CallError;
use serde::Serialize;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::Problem;

/// An answer to one caller, which nobody else may keep.
pub(crate) fn json<T: Serialize>(status: StatusCode, answer: &T) -> Result<Response, Problem> {
    let mut response = (status, encode(answer)?).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// An answer that is the same for everyone: kept five minutes, then asked for again by its tag.
pub(super) fn public<T: Serialize>(asked: &HeaderMap, answer: &T) -> Result<Response, Problem> {
    let json = encode(answer)?;
    let hash = Sha256::digest(&json);
    let tag = hash[..12].iter().fold("\"".to_owned(), |tag, byte| format!("{tag}{byte:02x}")) + "\"";
    let mut response = if matches(asked, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, "application/json")], json).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    headers.insert(ETAG, HeaderValue::from_str(&tag).map_err(|_| Problem::from(CallError::internal()))?);
    Ok(response)
}

/// RFC 9110 §13.1.2, by weak comparison.
fn matches(asked: &HeaderMap, tag: &str) -> bool {
    let listed = asked.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    listed.flat_map(|list| list.split(',')).map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}

fn encode<T: Serialize>(answer: &T) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(answer).map_err(|error| {
        tracing::error!(%error, "an answer could not be written");
        CallError::internal().into()
    })
}

/// RFC 3339 in UTC, with milliseconds.
pub(super) fn timestamp(at: Millis) -> String {
    let nanoseconds = i128::from(at.0) * 1_000_000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_default()
}

/// What [`timestamp`] writes, and whatever else is RFC 3339.
pub(super) fn moment(text: &str) -> Option<Millis> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok().map(Millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(timestamp(Millis(0)), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(Millis(1_795_382_400_123)), "2026-11-22T21:20:00.123Z");
        assert_eq!(timestamp(Millis(i64::MAX)), "1970-01-01T00:00:00Z");
        assert_eq!(moment("2026-11-22T22:20:00.123+01:00"), Some(Millis(1_795_382_400_123)));
        assert_eq!(moment("yesterday"), None);
    }

    #[test]
    fn tags_are_compared_weakly() {
        let mut asked = HeaderMap::new();
        assert!(!matches(&asked, "\"a\""));
        asked.insert(IF_NONE_MATCH, HeaderValue::from_static("\"b\", W/\"a\""));
        assert!(matches(&asked, "\"a\""));
        assert!(!matches(&asked, "\"c\""));
        asked.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        assert!(matches(&asked, "\"c\""));
    }
}
