//! Takes an account's secrets out of what a vendor sends back.
//!
//! Vendors echo: in error pages, in "your request was", in the address of the next page. A secret is looked for as it
//! is and in the forms it takes on its way: escaped for JSON or HTML, percent-encoded, in hexadecimal digits, in
//! base64 at each of its three alignments (so also inside of an encoded pair or a longer encoded text). What is found
//! becomes `***`.
//!
//! # Short secrets
//!
//! Texts under [`LEAST`] bytes are not looked for: three characters can be guessed, and taking every `123` out of a
//! report would destroy it without hiding anything. Texts under [`ANYWHERE`] bytes (a PIN, a short password) are taken
//! out only where they stand alone, not inside of a longer word or number, for the same reason. From there on a
//! chance match is rare enough, and an echo inside of a longer text likely enough, to take out every occurrence.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use memchr::memmem;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use plugboard_core::percent::UNRESERVED;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use crate::transport::path::SEGMENT;
use crate::transport::query::QUERY;

/// Shorter texts are not looked for. Bytes.
pub(crate) const LEAST: usize = 4;
/// From this length on a text is taken out wherever it stands. Bytes.
pub(crate) const ANYWHERE: usize = 8;

const MASK: &str = "***";

/// What `encodeURI` of JavaScript leaves as it is: vendors print addresses with it.
const ADDRESS: &AsciiSet = &UNRESERVED
    .remove(b';')
    .remove(b',')
    .remove(b'/')
    .remove(b'?')
    .remove(b':')
    .remove(b'@')
    .remove(b'&')
    .remove(b'=')
    .remove(b'+')
    .remove(b'$')
    .remove(b'#')
    .remove(b'!')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');
/// The ways a secret is encoded in an address, ours among them: what we sent is what is echoed.
const IN_ADDRESSES: [&AsciiSet; 5] = [NON_ALPHANUMERIC, UNRESERVED, ADDRESS, SEGMENT, QUERY];

/// Looks for the secrets of one call.
pub(crate) struct Scrubber {
    /// Longest first, so that a form is taken out whole before a part of it is.
    forms: Vec<Zeroizing<Vec<u8>>>,
    openings: Openings,
}

/// The first bytes of all forms, as a set that may hold more than it was given: one pass over an answer finds the few
/// places where a form can begin, however many forms there are.
struct Openings(Box<[u64; Openings::WORDS]>);

impl Openings {
    const WORDS: usize = 64;

    fn of(forms: &[Zeroizing<Vec<u8>>]) -> Self {
        let mut set = Self(Box::new([0; Self::WORDS]));
        for opening in forms.iter().filter_map(|form| form.first_chunk()) {
            let (word, bit) = Self::place(*opening);
            set.0[word] |= bit;
        }
        set
    }

    fn may_have(&self, opening: [u8; LEAST]) -> bool {
        let (word, bit) = Self::place(opening);
        self.0[word] & bit != 0
    }

    /// Multiplicative hashing to 12 bits; the first six choose the word, which is below [`Self::WORDS`].
    fn place(opening: [u8; LEAST]) -> (usize, u64) {
        let hash = u32::from_le_bytes(opening).wrapping_mul(0x9e37_79b1) >> 20;
        ((hash >> 6) as usize % Self::WORDS, 1 << (hash & 63))
    }
}

impl Scrubber {
    /// In all forms.
    pub(crate) fn new<'s>(secrets: impl IntoIterator<Item = &'s str>) -> Self {
        let mut forms = Vec::new();
        for secret in secrets {
            if secret.len() >= LEAST {
                add_forms(secret, &mut forms);
            }
        }
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        Self { openings: Openings::of(&forms), forms }
    }

    /// `None`: nothing to take out. The text must be valid JSON; so is the result.
    pub(crate) fn clean_json(&self, json: &str) -> Option<String> {
        if self.forms.is_empty() {
            return None;
        }
        // Escapes below U+0100 can spell ASCII, and so hide a secret from a search of the text as it stands.
        let hidden = memmem::find(json.as_bytes(), b"\\u00").is_some();
        if !hidden && !self.has(json.as_bytes()) {
            return None;
        }
        let clean = self.rewrite(json);
        (clean != json).then_some(clean)
    }

    /// `None`: nothing to take out.
    pub(crate) fn clean_text(&self, text: &str) -> Option<String> {
        let clean = self.clean_bytes(text.as_bytes())?;
        Some(String::from_utf8(clean).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// `None`: nothing to take out.
    pub(crate) fn clean_bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut clean: Option<Vec<u8>> = None;
        for form in &self.forms {
            if let Some(next) = without(clean.as_deref().unwrap_or(bytes), form) {
                clean = Some(next);
            }
        }
        clean
    }

    fn has(&self, bytes: &[u8]) -> bool {
        let begins = |(at, opening): (usize, &[u8])| {
            opening.first_chunk().is_some_and(|opening| self.openings.may_have(*opening))
                && self.forms.iter().any(|form| bytes[at..].starts_with(form) && counts(bytes, at, form))
        };
        bytes.windows(LEAST).enumerate().any(begins)
    }

    /// Token by token, so that a number that is a secret becomes a string and an escaped string is read unescaped.
    fn rewrite(&self, json: &str) -> String {
        let bytes = json.as_bytes();
        let mut out = String::with_capacity(json.len());
        let mut at = 0;
        while at < bytes.len() {
            let end = match bytes[at] {
                b'"' => string_end(bytes, at),
                b'-' | b'0'..=b'9' => {
                    let is_part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'-');
                    at + bytes[at..].iter().take_while(|b| is_part(b)).count()
                }
                _ => {
                    let rest = &bytes[at + 1..];
                    let until = rest.iter().position(|b| matches!(b, b'"' | b'-' | b'0'..=b'9'));
                    let end = at + 1 + until.unwrap_or(rest.len());
                    out.push_str(&json[at..end]);
                    at = end;
                    continue;
                }
            };
            let token = &json[at..end];
            match bytes[at] {
                b'"' => self.push_string(token, &mut out),
                _ if self.has(token.as_bytes()) => {
                    let _ = write!(out, "\"{MASK}\"");
                }
                _ => out.push_str(token),
            }
            at = end;
        }
        out
    }

    fn push_string(&self, token: &str, out: &mut String) {
        let decoded = if token.contains('\\') { serde_json::from_str::<String>(token).ok() } else { None };
        match decoded {
            // Between the quotes only: a secret may begin with one.
            None => match token.get(1..token.len().saturating_sub(1)).and_then(|inner| self.clean_text(inner)) {
                Some(clean) => {
                    out.push('"');
                    out.push_str(&clean);
                    out.push('"');
                }
                None => out.push_str(token),
            },
            Some(text) => match self.clean_text(&text).and_then(|clean| serde_json::to_string(&clean).ok()) {
                Some(clean) => out.push_str(&clean),
                None => out.push_str(token),
            },
        }
    }
}

impl std::fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scrubber").field("forms", &self.forms.len()).finish()
    }
}

/// The index after the closing quote.
fn string_end(bytes: &[u8], open: usize) -> usize {
    let mut at = open + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn find(bytes: &[u8], form: &[u8], from: usize) -> Option<usize> {
    let mut from = from;
    loop {
        let at = from + memmem::find(bytes.get(from..)?, form)?;
        if counts(bytes, at, form) {
            return Some(at);
        }
        from = at + 1;
    }
}

/// Whether a form that stands at `at` is taken out there; see the module about short secrets.
fn counts(bytes: &[u8], at: usize, form: &[u8]) -> bool {
    form.len() >= ANYWHERE || stands_alone(bytes, at, form.len())
}

fn stands_alone(bytes: &[u8], at: usize, len: usize) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte >= 0x80;
    let before = at.checked_sub(1).and_then(|before| bytes.get(before));
    !before.is_some_and(is_word) && !bytes.get(at + len).is_some_and(is_word)
}

fn without(bytes: &[u8], form: &[u8]) -> Option<Vec<u8>> {
    let mut at = find(bytes, form, 0)?;
    let mut out = Vec::with_capacity(bytes.len());
    let mut copied = 0;
    loop {
        out.extend_from_slice(&bytes[copied..at]);
        out.extend_from_slice(MASK.as_bytes());
        copied = at + form.len();
        match find(bytes, form, copied) {
            Some(next) => at = next,
            None => break,
        }
    }
    out.extend_from_slice(&bytes[copied..]);
    Some(out)
}

fn add_forms(secret: &str, forms: &mut Vec<Zeroizing<Vec<u8>>>) {
    let mut add = |form: String| {
        let form = Zeroizing::new(form.into_bytes());
        if form.len() >= LEAST {
            forms.push(form);
        }
    };
    add(secret.to_owned());
    let plain = secret.bytes().all(|b| b.is_ascii_alphanumeric());
    if !plain {
        for escaped in [json_escaped(secret, false), json_escaped(secret, true), html_escaped(secret)] {
            // PHP escapes slashes as well.
            add(escaped.replace('/', "\\/"));
            add(escaped);
        }
        for set in IN_ADDRESSES {
            let encoded = utf8_percent_encode(secret, set).to_string();
            add(lower_escapes(&encoded));
            add(encoded);
        }
        let form: String = byte_serialize(secret.as_bytes()).collect();
        add(lower_escapes(&form));
        add(form);
    }
    add(hex::encode(secret));
    add(hex::encode_upper(secret));
    for skip in 0..3 {
        let core = base64_core(secret.as_bytes(), skip);
        // A short core says nothing that is not chance, unless it stands for the whole secret.
        if core.len() >= ANYWHERE || skip == 0 {
            let url_safe = core.replace('+', "-").replace('/', "_");
            if url_safe != core {
                add(url_safe);
            }
            if core.contains('/') {
                add(core.replace('/', "\\/"));
            }
            add(core);
        }
    }
}

/// The base64 characters that a secret decides alone when `skip` (modulo 3) bytes stand before it.
fn base64_core(secret: &[u8], skip: usize) -> String {
    let mut padded = Zeroizing::new(vec![0; skip]);
    padded.extend_from_slice(secret);
    let encoded = Zeroizing::new(STANDARD_NO_PAD.encode(&*padded));
    let begin = [0, 2, 3][skip % 3];
    let end = encoded.len() - usize::from(!padded.len().is_multiple_of(3));
    encoded.get(begin..end).unwrap_or_default().to_owned()
}

/// Without the quotes; `ascii` as PHP and Python write by default.
fn json_escaped(text: &str, ascii: bool) -> String {
    let quoted = serde_json::to_string(text).unwrap_or_default();
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if !ascii {
        return inner.to_owned();
    }
    let mut out = String::with_capacity(inner.len());
    for unit in inner.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

fn html_escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// `%2B` → `%2b`.
fn lower_escapes(encoded: &str) -> String {
    let mut out = String::with_capacity(encoded.len());
    let mut digits = 0;
    for c in encoded.chars() {
        if digits > 0 {
            digits -= 1;
            out.push(c.to_ascii_lowercase());
        } else {
            if c == '%' {
                digits = 2;
            }
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const TOKEN: &str = "tok/en+1:\"q\"=я9-SECRET";

    fn scrubber() -> Scrubber {
        Scrubber::new([TOKEN])
    }

    #[test]
    fn every_form_is_taken_out() {
        use base64::engine::general_purpose::{STANDARD, URL_SAFE};
        let token = TOKEN;
        let pair = |before: &str| STANDARD.encode(format!("{before}{token}:after"));
        let texts = [
            token.to_owned(),
            utf8_percent_encode(token, UNRESERVED).to_string(),
            utf8_percent_encode(token, UNRESERVED).to_string().to_lowercase().replace("-secret", "-SECRET"),
            hex::encode(token),
            hex::encode_upper(token),
            STANDARD.encode(token),
            URL_SAFE.encode(token),
            pair(""),
            pair("u"),
            pair("us"),
            pair("user:"),
        ];
        for text in texts {
            let found = scrubber().clean_text(&format!("before {text} after")).unwrap();
            assert!(found.starts_with("before ") && found.ends_with(" after"), "{found}");
            assert!(found.contains("***"));
            let kept = found.len() - "before *** after".len();
            assert!(kept <= 20, "{kept} of {text} kept: {found}");
        }
    }

    #[test]
    fn json_stays_json_and_keeps_the_rest() {
        let scrubber = Scrubber::new(["12345678", "a\"b\\c/dé-secret"]);
        let answer = r#"{"n":12345678,"x":-1.5e3,"list":[true,null,"12345678",99],"id12345678":1,"u":"a\"b\\c\/d\u00e9-secret","v":"\u0061\"b\\c/dé-secret!"}"#;
        let clean: Value = serde_json::from_str(&scrubber.clean_json(answer).unwrap()).unwrap();
        let expected = json!({
            "n": "***", "x": -1500.0, "list": [true, null, "***", 99], "id***": 1, "u": "***", "v": "***!",
        });
        assert_eq!(clean, expected);
    }

    #[test]
    fn nothing_found_nothing_copied() {
        let scrubber = scrubber();
        assert!(scrubber.clean_json(r#"{"a":"\u00e9","b":[1,2,"x"]}"#).is_none());
        assert!(scrubber.clean_text("nothing here").is_none());
        assert!(Scrubber::new([""; 0]).clean_text("anything").is_none());
    }

    #[test]
    fn short_secrets_only_where_they_stand_alone() {
        let scrubber = Scrubber::new(["1234", "abc"]);
        assert_eq!(scrubber.clean_text("pin 1234, order 123456 abc").unwrap(), "pin ***, order 123456 abc");
        assert_eq!(scrubber.clean_json(r#"{"pin":1234,"order":91234}"#).unwrap(), r#"{"pin":"***","order":91234}"#);
    }

    #[test]
    fn a_secret_cannot_be_read_from_debug() {
        assert!(!format!("{:?}", scrubber()).contains("SECRET"));
    }

    proptest! {
        #[test]
        fn no_secret_survives_and_json_stays_valid(
            secret in "[a-zA-Z0-9/+\"\\\\:=é ]{8,24}",
            before in "[a-z\"\\\\/ é0-9]{0,12}",
            after in "[a-z\"\\\\/ é0-9]{0,12}",
        ) {
            let scrubber = Scrubber::new([secret.as_str()]);
            let echoed = json!({ "a": [format!("{before}{secret}{after}")], secret.clone(): 1 }).to_string();
            let clean = scrubber.clean_json(&echoed).unwrap();
            let value: Value = serde_json::from_str(&clean).unwrap();
            prop_assert!(!value["a"][0].as_str().unwrap().contains(&secret));
            prop_assert!(!clean.contains(&hex::encode(&secret)));
        }
    }
}
