//! Protobuf messages out of what is at hand.
//!
//! prost writes structures that own all they say; copying a job's thirty texts into one costs a call more than writing them.
//! Which number and kind a field has is in the .proto files, and tests hold what is written here to what prost writes.

use bytes::{BufMut, Bytes};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

/// Fields are written in the order of their numbers, and what says nothing is left out, as prost does.
pub(crate) struct MessageWriter(Vec<u8>);

impl MessageWriter {
    /// `expected`: bytes, roughly.
    pub(crate) fn new(expected: usize) -> Self {
        Self(Vec::with_capacity(expected))
    }

    pub(crate) fn finish(self) -> Bytes {
        self.0.into()
    }

    pub(crate) fn text(&mut self, field: u32, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    pub(crate) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.piece(field, bytes);
        }
    }

    /// Of a field that may be absent, where empty is something else.
    pub(crate) fn optional_bytes(&mut self, field: u32, bytes: Option<&[u8]>) {
        if let Some(bytes) = bytes {
            self.piece(field, bytes);
        }
    }

    /// `uint32`, `uint64`, and `int64`, whose bits are the same.
    pub(crate) fn number(&mut self, field: u32, number: u64) {
        if number != 0 {
            encode_key(field, WireType::Varint, &mut self.0);
            encode_varint(number, &mut self.0);
        }
    }

    pub(crate) fn signed(&mut self, field: u32, number: i64) {
        self.number(field, number.cast_unsigned());
    }

    pub(crate) fn choice(&mut self, field: u32, choice: impl Into<i32>) {
        self.signed(field, choice.into().into());
    }

    pub(crate) fn texts<'a>(&mut self, field: u32, texts: impl Iterator<Item = &'a str>) {
        texts.for_each(|text| self.piece(field, text.as_bytes()));
    }

    pub(crate) fn numbers(&mut self, field: u32, numbers: &[u32]) {
        if !numbers.is_empty() {
            self.message(field, |packed| {
                numbers.iter().for_each(|number| encode_varint(u64::from(*number), &mut packed.0));
            });
        }
    }

    /// A message in this one. Its length is known when it is written, and stands before it.
    pub(crate) fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        encode_key(field, WireType::LengthDelimited, &mut self.0);
        let at = self.0.len();
        // Room for the length of a short one.
        self.0.put_u8(0);
        write(self);
        let length = (self.0.len() - at - 1) as u64;
        let more = encoded_len_varint(length) - 1;
        if more > 0 {
            let end = self.0.len();
            self.0.resize(end + more, 0);
            self.0.copy_within(at + 1..end, at + 1 + more);
        }
        encode_varint(length, &mut &mut self.0[at..=at + more]);
    }

    fn piece(&mut self, field: u32, bytes: &[u8]) {
        encode_key(field, WireType::LengthDelimited, &mut self.0);
        encode_varint(bytes.len() as u64, &mut self.0);
        self.0.put_slice(bytes);
    }
}
