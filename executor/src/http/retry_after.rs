//! How long a vendor asks to wait.

use http::HeaderMap;
use http::header::RETRY_AFTER;
use plugboard_core::clock::Millis;
use plugboard_core::manifest::ErrorRules;
use serde_json::Value;
use time::PrimitiveDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// Longer waits are somebody's mistake, and no caller's plan. One hour in milliseconds.
pub(crate) const LONGEST: u64 = 3_600_000;

/// IMF-fixdate (RFC 9110, section 5.6.7); the obsolete forms are not written by anything alive.
const HTTP_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// From `Retry-After`, else the manifest's headers, else what its pointers found; in milliseconds.
pub(crate) fn read<'v>(
    headers: &HeaderMap,
    rules: &ErrorRules,
    pointed: impl IntoIterator<Item = &'v Value>,
    now: Millis,
) -> Option<u64> {
    let standard = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let own = || rules.retry_after_headers.iter().find_map(|name| seconds(headers.get(name.as_str())?.to_str().ok()?));
    let wait = standard
        .and_then(|text| seconds(text).or_else(|| date(text, now)))
        .or_else(own)
        .or_else(|| pointed.into_iter().find_map(value_seconds))?;
    Some(wait.min(LONGEST))
}

fn value_seconds(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => millis(number.as_f64()?),
        Value::String(text) => seconds(text),
        _ => None,
    }
}

fn seconds(text: &str) -> Option<u64> {
    millis(text.trim().parse().ok()?)
}

/// Rounded up: a little too early is a second refusal.
fn millis(seconds: f64) -> Option<u64> {
    (seconds.is_finite() && seconds >= 0.0).then(|| (seconds * 1000.0).ceil().min(LONGEST as f64) as u64)
}

fn date(text: &str, now: Millis) -> Option<u64> {
    let at = PrimitiveDateTime::parse(text.trim(), HTTP_DATE).ok()?.assume_utc().unix_timestamp();
    Some(u64::try_from(now.until(Millis(at.checked_mul(1000)?)).as_millis()).unwrap_or(LONGEST))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wait(headers: &[(&'static str, &str)], pointed: &[Value]) -> Option<u64> {
        let rules = ErrorRules { retry_after_headers: vec!["X-Ratelimit-Retry".into()], ..Default::default() };
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        // Sun, 06 Nov 1994 08:49:37 GMT
        read(&headers, &rules, pointed, Millis(784_111_777_000))
    }

    #[test]
    fn reads_every_form() {
        assert_eq!(wait(&[("retry-after", "7")], &[]), Some(7_000));
        assert_eq!(wait(&[("retry-after", "0.25")], &[]), Some(250));
        assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")], &[]), Some(60_000));
        assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")], &[]), Some(0));
        assert_eq!(wait(&[("x-ratelimit-retry", "3")], &[]), Some(3_000));
        assert_eq!(wait(&[("retry-after", "soon"), ("x-ratelimit-retry", "3")], &[]), Some(3_000));
        assert_eq!(wait(&[], &[json!("x"), json!(5)]), Some(5_000));
        assert_eq!(wait(&[("retry-after", "-1")], &[]), None);
        assert_eq!(wait(&[], &[]), None);
    }

    #[test]
    fn never_more_than_an_hour() {
        assert_eq!(wait(&[("retry-after", "86400")], &[]), Some(LONGEST));
        assert_eq!(wait(&[("retry-after", "1e300")], &[]), Some(LONGEST));
        assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 2044 08:49:37 GMT")], &[]), Some(LONGEST));
    }
}
