//! Views of JSON text that [`super::strict_json`] has scanned: no grammar is checked a second time, nothing is copied.
//!
//! On other text the views find less, or nothing, but never fail.

use std::borrow::Cow;

/// One JSON value, as text without space around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Json<'a>(&'a str);

impl<'a> Json<'a> {
    /// A value that was scanned, alone or as part of its message.
    pub(crate) fn scanned(text: &'a str) -> Self {
        Self(text.trim_matches([' ', '\t', '\n', '\r']))
    }

    pub(crate) fn get(self) -> &'a str {
        self.0
    }

    pub(crate) fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    pub(crate) fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// The text of a string, copied only if it has escapes. `None` for other values, and for half a surrogate pair.
    pub(crate) fn string(self) -> Option<Cow<'a, str>> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        if inner.contains('\\') {
            serde_json::from_str(self.0).ok().map(Cow::Owned)
        } else {
            Some(Cow::Borrowed(inner))
        }
    }

    /// The members of an object in their order; none for other values.
    pub(crate) fn members(self) -> Members<'a> {
        Members { text: self.0, at: if self.is_object() { 1 } else { self.0.len() } }
    }
}

/// Names and values. A name that is no Unicode text is given as it is written.
pub(crate) struct Members<'a> {
    text: &'a str,
    /// Where the next name is due.
    at: usize,
}

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, Json<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.text.as_bytes();
        let quote = expect(bytes, self.at, b'"')?;
        let after_name = string_end(bytes, quote + 1)?;
        let quoted = Json(self.text.get(quote..after_name)?);
        let colon = expect(bytes, after_name, b':')?;
        let start = skip_space(bytes, colon + 1);
        let end = value_end(bytes, start)?;
        let value = Json(self.text.get(start..end)?);
        self.at = expect(bytes, end, b',').map_or(bytes.len(), |comma| comma + 1);
        Some((quoted.string().unwrap_or(Cow::Borrowed(quoted.0)), value))
    }
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// Where `wanted` stands, with nothing but space before it.
fn expect(bytes: &[u8], at: usize, wanted: u8) -> Option<usize> {
    let at = skip_space(bytes, at);
    (bytes.get(at) == Some(&wanted)).then_some(at)
}

/// The end of a string whose first quote stands before `at`.
fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// The end of the value that begins at `at`.
fn value_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match bytes.get(at)? {
            b'"' => at = string_end(bytes, at + 1)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            _ if depth > 0 => {
                at += 1;
                continue;
            }
            _ => {
                let scalar = |byte: &u8| !matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
                at += bytes.get(at..)?.iter().take_while(|byte| scalar(byte)).count();
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::mcp::strict_json::tests::value;

    fn members(text: &str) -> Vec<(String, String)> {
        Json::scanned(text).members().map(|(name, value)| (name.into_owned(), value.get().to_owned())).collect()
    }

    #[test]
    fn members_are_found_as_they_are_written() {
        let text = " { \"a\" : [1, {\"x\":\"}\\\"]\"}] ,\"\\u0062\":\"c\\\\\" , \"n\":-1.5e3\n}\r\n";
        let found = members(text);
        let found: Vec<(&str, &str)> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, [("a", "[1, {\"x\":\"}\\\"]\"}]"), ("b", "\"c\\\\\""), ("n", "-1.5e3")]);
        for none in ["{}", "[1]", "\"x\"", "null", "", "{\"a\"", "{\"a\":", "{\"a\":}", "{\"a\\"] {
            assert!(members(none).is_empty(), "{none}");
        }
    }

    #[test]
    fn strings_are_decoded() {
        let string = |text| Json::scanned(text).string().map(Cow::into_owned);
        assert_eq!(string(r#""a\nb""#).as_deref(), Some("a\nb"));
        assert_eq!(string(r#" "plain" "#).as_deref(), Some("plain"));
        assert_eq!((string("1"), string("\"\\ud800\"")), (None, None));
    }

    proptest! {
        #[test]
        fn the_members_are_the_parsers(value in value()) {
            let text = value.to_string();
            let expected: Vec<(String, Value)> =
                value.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect();
            let found: Vec<(String, Value)> = members(&text)
                .into_iter()
                .map(|(name, value)| (name, serde_json::from_str(&value).unwrap()))
                .collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn any_text_is_survived(text in "[\\[\\]{}\",:\\\\a1 ж]{0,40}") {
            prop_assert!(members(&text).len() <= 20);
        }
    }
}
