//! Named formats of string parameters.

/// The formats a manifest may name.
pub const KNOWN: [&str; 6] = ["date", "date-time", "date-or-date-time", "uuid", "uri", "email"];

/// Checks `text`; the error says what is expected.
pub(crate) fn check(format: &str, text: &str) -> Result<(), &'static str> {
    let (fits, expected) = match format {
        "date" => (is_date(text), "a date (2026-04-15)"),
        "date-time" => (is_date_time(text, true), "a date and time with zone (RFC 3339, 2026-04-15T10:00:00Z)"),
        "date-or-date-time" => {
            (is_date(text) || is_date_time(text, false), "a date (2026-04-15) or a date and time (2026-04-15T10:00:00)")
        }
        "uuid" => (uuid::Uuid::try_parse(text).is_ok(), "a UUID"),
        "uri" => (url::Url::parse(text).is_ok(), "an absolute URI"),
        "email" => (
            text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.')),
            "an e-mail address",
        ),
        _ => (true, ""),
    };
    if fits { Ok(()) } else { Err(expected) }
}

fn is_date(text: &str) -> bool {
    let format = time::macros::format_description!("[year]-[month]-[day]");
    time::Date::parse(text, &format).is_ok()
}

fn is_date_time(text: &str, zone_required: bool) -> bool {
    if time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).is_ok() {
        return true;
    }
    let Some((date, clock)) = text.split_once(['T', ' ']) else { return false };
    let clock = clock.split_once('.').map_or(clock, |(whole, _)| whole);
    let format = time::macros::format_description!("[hour]:[minute]:[second]");
    !zone_required && is_date(date) && time::Time::parse(clock, &format).is_ok()
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn formats() {
        for (format, good) in [
            ("date", "2026-02-28"),
            ("date-time", "2026-04-15T10:00:00Z"),
            ("date-time", "2026-04-15T10:00:00.5+03:00"),
            ("date-or-date-time", "2026-04-15"),
            ("date-or-date-time", "2026-04-15T10:00:00"),
            ("uuid", "67e55044-10b1-426f-9247-bb680e5fe0c8"),
            ("uri", "https://a.example/x"),
            ("email", "a@b.example"),
        ] {
            assert_eq!(check(format, good), Ok(()), "{format} {good}");
        }
        for (format, bad) in [
            ("date", "2026-02-30"),
            ("date", "yesterday"),
            ("date-time", "2026-04-15T10:00:00"),
            ("date-or-date-time", "15.04.2026"),
            ("uuid", "1"),
            ("email", "a"),
        ] {
            assert!(check(format, bad).is_err(), "{format} {bad}");
        }
    }
}
