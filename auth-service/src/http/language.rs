//! Which language a reader gets, and moments in it. The words are in [`super::texts`].

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::ACCEPT_LANGUAGE;
use http::request::Parts;
use plugboard_core::clock::Millis;
use time::OffsetDateTime;

use super::cookies;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    En,
    Ru,
}

impl Language {
    pub(super) const ALL: [Self; 2] = [Self::En, Self::Ru];

    pub(super) fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ru => "ru",
        }
    }

    pub(super) fn own_name(self) -> &'static str {
        match self {
            Self::En => "English",
            Self::Ru => "Русский",
        }
    }

    pub(super) fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.code() == code)
    }

    /// The one chosen on our pages, else the one that the browser likes best of those we have (RFC 9110 §12.5.4).
    pub(super) fn of(headers: &HeaderMap) -> Self {
        if let Some(chosen) = cookies::plain(headers, cookies::LANGUAGE).as_deref().and_then(Self::parse) {
            return chosen;
        }
        let liked = headers.get(ACCEPT_LANGUAGE).and_then(|liked| liked.to_str().ok()).unwrap_or_default();
        let mut best = (Self::En, 0.0);
        for range in liked.split(',') {
            let (tag, quality) = range.split_once(';').unwrap_or((range, ""));
            let quality = quality.trim().strip_prefix("q=").map_or(Some(1.0), |q| q.parse::<f32>().ok());
            let primary = tag.trim().split('-').next().unwrap_or_default().to_ascii_lowercase();
            if let (Some(language), Some(quality)) = (Self::parse(&primary), quality)
                && quality > best.1
            {
                best = (language, quality);
            }
        }
        best.0
    }

    /// A moment for people; a script turns it into the browser's own zone.
    pub(super) fn moment(self, at: Millis) -> String {
        const EN: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        const RU: [&str; 12] = ["янв", "фев", "мар", "апр", "мая", "июн", "июл", "авг", "сен", "окт", "ноя", "дек"];
        let Some(at) = moment(at) else { return String::new() };
        let months = if self == Self::En { EN } else { RU };
        let month = months[usize::from(u8::from(at.month())) - 1];
        format!("{} {month} {}, {:02}:{:02} UTC", at.day(), at.year(), at.hour(), at.minute())
    }
}

fn moment(at: Millis) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(at.0.div_euclid(1000)).ok()
}

/// For `<time datetime>`.
pub(super) fn machine_moment(at: Millis) -> String {
    moment(at).map_or_else(String::new, |at| {
        let (month, day) = (u8::from(at.month()), at.day());
        format!("{}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", at.year(), at.hour(), at.minute(), at.second())
    })
}

impl<S: Send + Sync> FromRequestParts<S> for Language {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::COOKIE;

    use super::*;

    #[test]
    fn the_browser_says_which_language_and_a_choice_goes_before_it() {
        let of = |liked: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_static(liked));
            Language::of(&headers)
        };
        for (liked, language) in [
            ("ru-RU,ru;q=0.9,en;q=0.8", Language::Ru),
            ("en-GB,ru;q=0.5", Language::En),
            ("de,fr;q=0.9", Language::En),
            ("de, ru;q=0.1", Language::Ru),
            ("RU", Language::Ru),
            ("ru;q=nonsense", Language::En),
            ("", Language::En),
        ] {
            assert_eq!(of(liked), language, "{liked}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_static("ru"));
        headers.insert(COOKIE, HeaderValue::from_static("plugboard_language=en"));
        assert_eq!(Language::of(&headers), Language::En);
    }

    #[test]
    fn moments_are_for_people_and_for_machines() {
        let at = Millis(1_764_257_400_000);
        assert_eq!(Language::En.moment(at), "27 Nov 2025, 15:30 UTC");
        assert_eq!(Language::Ru.moment(at), "27 ноя 2025, 15:30 UTC");
        assert_eq!(machine_moment(at), "2025-11-27T15:30:00Z");
    }
}
