//! The path of a call is text from a stranger that ends up in a URL beside a credential.
//!
//! What is sent is the caller's text with unreserved characters decoded and illegal ones encoded. What is matched
//! against templates is the decoded text, so that `/orders/%63ancel` cannot pass for `/orders/{id}`.

use std::fmt::Write;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

const MAX_PATH: usize = 2048;

/// What RFC 3986 does not allow to stand in a path as it is; `%` is kept, since the path may be encoded already.
const ESCAPE: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'|')
    .add(b'^')
    .add(b'[')
    .add(b']');

/// What a decoded character would turn into something else: it stays encoded in [`SafePath::decoded`].
const STRUCTURAL: [char; 5] = ['/', '\\', '?', '#', '%'];

/// A path that may follow a base URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SafePath {
    /// Percent-encoded, as it is sent.
    pub sent: String,
    /// Percent-decoded except for `/ \ ? # %`, for matching.
    pub decoded: String,
}

impl SafePath {
    /// Returns the path, or why it may not be used. `%2F` and the like pass here: whether they may stand is up to the
    /// parameter they stand in, see [`has_delimiters`]; the same goes for a slash at the end, see
    /// [`SafePath::ends_with_slash`].
    pub(super) fn parse(path: &str) -> Result<Self, String> {
        if path.len() > MAX_PATH {
            return Err(format!("`path` is longer than {MAX_PATH} bytes"));
        }
        if path.contains("://") || path.starts_with("//") {
            return Err("`path` must not be a URL: the module decides the host; give the part after it, beginning \
                        with `/`"
                .into());
        }
        if !path.starts_with('/') {
            return Err("`path` must begin with `/`".into());
        }
        if path.contains('?') {
            return Err("`path` must not contain `?`: put parameters into `query`".into());
        }
        if path.contains('#') || path.contains('\\') {
            return Err("`path` must not contain `#` or `\\`".into());
        }
        if path.chars().any(char::is_control) {
            return Err("`path` must not contain control characters".into());
        }
        let mut sent = String::with_capacity(path.len() + 16);
        let mut decoded = String::with_capacity(path.len());
        let mut segments = path[1..].split('/').peekable();
        while let Some(segment) = segments.next() {
            if segment.is_empty() && segments.peek().is_some() {
                return Err(EMPTY_SEGMENT.into());
            }
            check_escapes(segment)?;
            sent.push('/');
            decoded.push('/');
            check_segment(segment, &mut decoded)?;
            push_sent(segment, &mut sent);
        }
        Ok(Self { sent, decoded })
    }

    /// Only a template that ends in a slash may take such a path.
    pub(super) fn ends_with_slash(&self) -> bool {
        self.decoded.len() > 1 && self.decoded.ends_with('/')
    }
}

pub(super) const EMPTY_SEGMENT: &str = "`path` must not contain empty segments (`//` or a trailing `/`)";
pub(super) const ENCODED_DELIMITER: &str = "`path` must not contain encoded delimiters (`%2F`, `%5C`, `%3F`, `%23`)";

/// Whether a part of [`SafePath::decoded`] has an encoded slash, backslash, question mark or number sign.
pub(super) fn has_delimiters(decoded: &str) -> bool {
    ["%2F", "%5C", "%3F", "%23"].iter().any(|delimiter| decoded.contains(delimiter))
}

/// Appends the decoded segment, or says why it may not be used.
fn check_segment(segment: &str, decoded: &mut String) -> Result<(), String> {
    let text = percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| "`path` must be UTF-8 after percent-decoding".to_owned())?;
    if text.chars().any(char::is_control) {
        return Err("`path` must not contain encoded control characters".into());
    }
    refuse_dots(&text)?;
    // A second layer of encoding would be decoded by somebody behind the vendor's front door.
    if text.contains('%') {
        let twice = percent_decode_str(&text).decode_utf8_lossy();
        if twice.matches(['/', '\\']).count() > text.matches(['/', '\\']).count() || refuse_dots(&twice).is_err() {
            return Err("`path` must not contain doubly encoded slashes or dots".into());
        }
    }
    for character in text.chars() {
        if STRUCTURAL.contains(&character) {
            // Writing into a string cannot fail.
            let _ = write!(decoded, "%{:02X}", u32::from(character));
        } else {
            decoded.push(character);
        }
    }
    Ok(())
}

/// `.` and `..` walk the tree, also between encoded slashes, and before `;`, which some servers cut off first.
fn refuse_dots(text: &str) -> Result<(), String> {
    let walks = |part: &str| {
        let name = part.split(';').next().unwrap_or_default().trim();
        matches!(name, "." | "..")
    };
    if text.split(['/', '\\']).any(walks) {
        return Err("`path` must not contain `.` or `..` segments".into());
    }
    Ok(())
}

fn check_escapes(segment: &str) -> Result<(), String> {
    let bytes = segment.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == b'%' {
            let digits = bytes.get(at + 1..at + 3);
            if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                return Err("`path` has a `%` that is not followed by two hexadecimal digits; write `%25`".into());
            }
        }
    }
    Ok(())
}

/// Encodes what has to be encoded and decodes what never had to be (RFC 3986 §6.2.2.2); the rest stays as written,
/// since a vendor may tell `;` from `%3B`. The escapes have been checked.
fn push_sent(segment: &str, sent: &mut String) {
    let mut rest = segment;
    while let Some(at) = rest.find('%') {
        sent.extend(utf8_percent_encode(&rest[..at], ESCAPE));
        let escape = &rest[at..at + 3];
        match u8::from_str_radix(&escape[1..], 16) {
            Ok(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => sent.push(char::from(byte)),
            _ => sent.push_str(&escape.to_ascii_uppercase()),
        }
        rest = &rest[at + 3..];
    }
    sent.extend(utf8_percent_encode(rest, ESCAPE));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_paths_pass_encoded() {
        for (path, sent, decoded) in [
            ("/api/v1/orders", "/api/v1/orders", "/api/v1/orders"),
            ("/Catalog_Склады", "/Catalog_%D0%A1%D0%BA%D0%BB%D0%B0%D0%B4%D1%8B", "/Catalog_Склады"),
            ("/%D0%a1", "/%D0%A1", "/С"),
            ("/x(guid'1-2')", "/x(guid'1-2')", "/x(guid'1-2')"),
            ("/a/b%2fc", "/a/b%2Fc", "/a/b%2Fc"),
            ("/a%20b c", "/a%20b%20c", "/a b c"),
            ("/orders/%63ancel", "/orders/cancel", "/orders/cancel"),
            ("/a%3Bb;c", "/a%3Bb;c", "/a;b;c"),
            ("/100%25", "/100%25", "/100%25"),
            ("/compare/main...dev", "/compare/main...dev", "/compare/main...dev"),
            ("/a/", "/a/", "/a/"),
            ("/", "/", "/"),
        ] {
            let expected = SafePath { sent: sent.to_owned(), decoded: decoded.to_owned() };
            assert_eq!(SafePath::parse(path), Ok(expected), "{path}");
        }
    }

    #[test]
    fn hostile_paths_do_not() {
        let hostile = [
            "",
            "x",
            "http://evil.example/",
            "//evil.example/x",
            "/a/../b",
            "/..",
            "/a/.",
            "/a//b",
            "/a//",
            "/a?b=c",
            "/a#b",
            "/a\\b",
            "/a\nb",
            "/a\r\nHost: x",
            "/%2e%2e/b",
            "/%2E%2e",
            "/.%2e",
            "/a%0d%0aX: y",
            "/a%00",
            "/a%zz",
            "/a%2",
            "/%",
            "/%252e%252e/b",
            "/a%252fb",
            "/a%255cb",
            "/\u{7f}",
            "/%ff",
            "/https://x",
            "/a/..%2Fb",
            "/a/b%2f..%2fc",
            "/a%5C..",
            "/..;/b",
            "/%2e%2e;x=1/b",
            "/ ../b",
            "/..%20/b",
            "/a%2F..;x",
        ];
        for path in hostile {
            assert!(SafePath::parse(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn encoded_delimiters_and_closing_slashes_are_seen() {
        for path in ["/a%2Fb", "/a%5cb", "/a%3fb", "/a%23"] {
            assert!(has_delimiters(&SafePath::parse(path).unwrap().decoded), "{path}");
        }
        assert!(!has_delimiters(&SafePath::parse("/a%252").unwrap().decoded));
        assert!(SafePath::parse("/a/").unwrap().ends_with_slash());
        assert!(!SafePath::parse("/").unwrap().ends_with_slash());
    }
}
