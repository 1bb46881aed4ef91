//! One pass over a message that proves it has a single reading.
//!
//! JSON leaves repeated keys to the parser: one takes the first, another the last, and a checker and an executor that
//! disagree are a hole. Deep nesting costs every later parser stack or memory. This pass checks the grammar, refuses
//! repeated keys and bounds the depth without building anything; whatever parses the text later may trust it.

use std::borrow::Cow;
use std::collections::HashSet;

use super::plain;
use super::reply::ArgumentProblem;

/// Levels of nesting, the message itself being the first.
pub(crate) const MAX_DEPTH: usize = 64;

/// Objects up to this many keys are compared key by key, larger ones through a hash set.
const SMALL_OBJECT: usize = 16;

/// Long keys are cut in messages.
const SHOWN_KEY: usize = 64;

/// Why a message is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScanError {
    /// Not JSON.
    #[error("the body is not valid JSON: {what} at byte {offset}")]
    Syntax { what: &'static str, offset: usize },
    /// A repeated key outside of the arguments.
    #[error("the message names the key {key:?} twice in one object; send it once")]
    DuplicateKey { key: String },
    /// Too deep outside of the arguments.
    #[error("the message is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// Scans one message. A problem inside `params.arguments` is reported apart, because it concerns the tool and not the
/// protocol; the scan ends there, so the caller must still parse the text with a checking parser.
pub(crate) fn scan(text: &str) -> Result<Option<ArgumentProblem>, ScanError> {
    let mut scanner = Scanner {
        bytes: text.as_bytes(),
        at: 0,
        levels: [Level::CLOSED; MAX_DEPTH],
        depth: 0,
        objects: 0,
        keys: Vec::with_capacity(2 * SMALL_OBJECT),
        large: HashSet::new(),
    };
    match scanner.document() {
        Ok(()) => Ok(None),
        Err(Stop::Whole(error)) => Err(error),
        Err(Stop::Arguments(problem)) => Ok(Some(problem)),
    }
}

enum Stop {
    Whole(ScanError),
    Arguments(ArgumentProblem),
}

/// Where a container stands in a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Message,
    Params,
    Arguments,
    Elsewhere,
}

impl Place {
    /// The place of the value under `key` of an object standing here.
    fn child(self, key: &[u8]) -> Self {
        match (self, key) {
            (Self::Message, b"params") => Self::Params,
            (Self::Params, b"arguments") | (Self::Arguments, _) => Self::Arguments,
            _ => Self::Elsewhere,
        }
    }

    /// The place of the items of an array standing here.
    fn item(self) -> Self {
        if self == Self::Arguments { Self::Arguments } else { Self::Elsewhere }
    }
}

#[derive(Clone, Copy)]
struct Level {
    is_object: bool,
    place: Place,
    /// Where this object's keys begin in `Scanner::keys`.
    first_key: usize,
    /// Tells apart the objects that share the hash set.
    object: u32,
}

impl Level {
    const CLOSED: Self = Self { is_object: false, place: Place::Elsewhere, first_key: 0, object: 0 };
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    levels: [Level; MAX_DEPTH],
    depth: usize,
    objects: u32,
    /// Keys of all open objects, innermost last.
    keys: Vec<Cow<'a, [u8]>>,
    large: HashSet<(u32, Cow<'a, [u8]>)>,
}

impl<'a> Scanner<'a> {
    fn document(&mut self) -> Result<(), Stop> {
        let mut place = Place::Message;
        loop {
            // A value is due. Opening a container that is not empty leads straight to its first value.
            match self.next_token() {
                Some(b'{') => {
                    self.open(true, place)?;
                    if self.peek_token() == Some(b'}') {
                        self.at += 1;
                        self.close();
                    } else {
                        place = self.key(place)?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.open(false, place)?;
                    if self.peek_token() == Some(b']') {
                        self.at += 1;
                        self.close();
                    } else {
                        place = place.item();
                        continue;
                    }
                }
                Some(b'"') => {
                    self.string()?;
                }
                Some(b't') => self.literal(b"rue")?,
                Some(b'f') => self.literal(b"alse")?,
                Some(b'n') => self.literal(b"ull")?,
                Some(first @ (b'-' | b'0'..=b'9')) => self.number(first)?,
                Some(_) => return Err(self.syntax("unexpected character")),
                None => return Err(self.syntax("unexpected end")),
            }
            // A value has ended: close what ends with it, then look for the next.
            loop {
                let Some(level) = self.depth.checked_sub(1).and_then(|top| self.levels.get(top)).copied() else {
                    return match self.next_token() {
                        None => Ok(()),
                        Some(_) => Err(self.syntax("something follows the value")),
                    };
                };
                match (self.next_token(), level.is_object) {
                    (Some(b','), true) => {
                        place = self.key(level.place)?;
                        break;
                    }
                    (Some(b','), false) => {
                        place = level.place.item();
                        break;
                    }
                    (Some(b'}'), true) | (Some(b']'), false) => self.close(),
                    (Some(_), _) => return Err(self.syntax("expected a comma or the end of the container")),
                    (None, _) => return Err(self.syntax("unexpected end")),
                }
            }
        }
    }

    fn open(&mut self, is_object: bool, place: Place) -> Result<(), Stop> {
        let level = Level { is_object, place, first_key: self.keys.len(), object: self.objects };
        self.objects += 1;
        match self.levels.get_mut(self.depth) {
            Some(slot) => *slot = level,
            None if place == Place::Arguments => {
                return Err(Stop::Arguments(ArgumentProblem::TooDeep { limit: MAX_DEPTH }));
            }
            None => return Err(Stop::Whole(ScanError::TooDeep)),
        }
        self.depth += 1;
        Ok(())
    }

    fn close(&mut self) {
        self.depth -= 1;
        if let Some(level) = self.levels.get(self.depth) {
            self.keys.truncate(level.first_key);
        }
    }

    /// Reads `"key":` of the innermost object and returns the place of the value that follows.
    fn key(&mut self, place: Place) -> Result<Place, Stop> {
        if self.next_token() != Some(b'"') {
            return Err(self.syntax("expected a key"));
        }
        let key = self.string()?;
        if self.next_token() != Some(b':') {
            return Err(self.syntax("expected a colon"));
        }
        let child = place.child(&key);
        if !self.remember(key.clone()) {
            let key = shown(&key);
            return Err(match place {
                Place::Arguments => Stop::Arguments(ArgumentProblem::DuplicateKey { key }),
                _ => Stop::Whole(ScanError::DuplicateKey { key }),
            });
        }
        Ok(child)
    }

    /// False when the innermost object already has `key`.
    fn remember(&mut self, key: Cow<'a, [u8]>) -> bool {
        let Some(level) = self.levels.get(self.depth.saturating_sub(1)).copied() else { return true };
        let earlier = self.keys.get(level.first_key..).unwrap_or_default();
        let fresh = if earlier.len() < SMALL_OBJECT {
            !earlier.contains(&key)
        } else {
            if earlier.len() == SMALL_OBJECT {
                self.large.extend(earlier.iter().map(|key| (level.object, key.clone())));
            }
            self.large.insert((level.object, key.clone()))
        };
        self.keys.push(key);
        fresh
    }

    /// Reads the rest of a string whose quote was just taken; the content is decoded if it has escapes.
    fn string(&mut self) -> Result<Cow<'a, [u8]>, Stop> {
        let start = self.at;
        let mut decoded: Option<Vec<u8>> = None;
        let mut run = start;
        loop {
            self.at += plain::run(self.bytes.get(self.at..).unwrap_or_default());
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    let tail = self.bytes.get(run..self.at).unwrap_or_default();
                    self.at += 1;
                    return Ok(match decoded {
                        None => Cow::Borrowed(tail),
                        Some(mut text) => {
                            text.extend_from_slice(tail);
                            Cow::Owned(text)
                        }
                    });
                }
                Some(b'\\') => {
                    let text = decoded.get_or_insert_default();
                    text.extend_from_slice(self.bytes.get(run..self.at).unwrap_or_default());
                    self.at += 1;
                    let escape = self.escape()?;
                    push_code_point(decoded.get_or_insert_default(), escape);
                    run = self.at;
                }
                Some(_) => return Err(self.syntax("a control character inside a string")),
                None => return Err(self.syntax("an unfinished string")),
            }
        }
    }

    /// Reads an escape after its backslash. A lone surrogate is grammatical and is returned as it is.
    fn escape(&mut self) -> Result<u32, Stop> {
        let Some(byte) = self.bytes.get(self.at).copied() else { return Err(self.syntax("an unfinished string")) };
        self.at += 1;
        let plain = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let high = self.hex4()?;
                if (0xd800..0xdc00).contains(&high) && self.bytes.get(self.at..self.at + 2) == Some(b"\\u") {
                    let back = self.at;
                    self.at += 2;
                    let low = self.hex4()?;
                    if (0xdc00..0xe000).contains(&low) {
                        return Ok(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00));
                    }
                    self.at = back;
                }
                return Ok(high);
            }
            _ => return Err(self.syntax("an unknown escape")),
        };
        Ok(u32::from(plain))
    }

    fn hex4(&mut self) -> Result<u32, Stop> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = self.bytes.get(self.at).and_then(|byte| char::from(*byte).to_digit(16));
            let Some(digit) = digit else { return Err(self.syntax("a bad \\u escape")) };
            value = value * 16 + digit;
            self.at += 1;
        }
        Ok(value)
    }

    /// Reads the rest of a number whose first character was just taken.
    fn number(&mut self, first: u8) -> Result<(), Stop> {
        let lead = if first == b'-' { self.take_byte() } else { Some(first) };
        match lead {
            Some(b'0') => {}
            Some(b'1'..=b'9') => {
                self.digits();
            }
            _ => return Err(self.syntax("a bad number")),
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.syntax("a bad number"));
            }
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.syntax("a bad number"));
            }
        }
        Ok(())
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        self.at - start
    }

    fn literal(&mut self, rest: &[u8]) -> Result<(), Stop> {
        if self.bytes.get(self.at..self.at + rest.len()) != Some(rest) {
            return Err(self.syntax("an unknown word"));
        }
        self.at += rest.len();
        Ok(())
    }

    fn take_byte(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }

    fn peek_token(&mut self) -> Option<u8> {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    fn next_token(&mut self) -> Option<u8> {
        let byte = self.peek_token()?;
        self.at += 1;
        Some(byte)
    }

    fn syntax(&self, what: &'static str) -> Stop {
        Stop::Whole(ScanError::Syntax { what, offset: self.at.min(self.bytes.len()) })
    }
}

/// Appends in generalized UTF-8, which unlike `char` has room for a lone surrogate: two keys are equal only if their
/// code points are.
fn push_code_point(out: &mut Vec<u8>, point: u32) {
    if let Some(character) = char::from_u32(point) {
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        let low = |shift: u32| 0x80 | ((point >> shift) & 0x3f) as u8;
        out.extend_from_slice(&[0xe0 | ((point >> 12) & 0x0f) as u8, low(6), low(0)]);
    }
}

fn shown(key: &[u8]) -> String {
    String::from_utf8_lossy(key).chars().take(SHOWN_KEY).collect()
}

#[cfg(test)]
#[path = "strict_json_tests.rs"]
pub(super) mod tests;
