//! Questions and answers as they travel. JSON: they are few, and a later version may add a field that an earlier one
//! does not know. What cannot be understood without it is another format, and refused.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Answer, Question};
use crate::ids::InstanceId;

const FORMAT: u32 = 1;
/// NATS takes no more than 1 MB.
const MOST_BYTES: usize = 900 * 1024;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Asked {
    format: u32,
    /// Of the process that asks.
    pub number: u64,
    pub by: InstanceId,
    pub question: Question,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Answered {
    format: u32,
    /// Of the question.
    pub number: u64,
    /// Random, the same for the life of a member.
    pub from: String,
    pub answer: Answer,
}

/// Why a message counts for nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("format {0}")]
    Format(u32),
    #[error("{0}")]
    Unreadable(#[from] serde_json::Error),
    #[error("{0} bytes")]
    TooLarge(usize),
}

impl Asked {
    pub(super) fn new(number: u64, by: InstanceId, question: Question) -> Self {
        Self { format: FORMAT, number, by, question }
    }
}

impl Answered {
    pub(super) fn new(number: u64, from: String, answer: Answer) -> Self {
        Self { format: FORMAT, number, from, answer }
    }
}

pub(super) fn encode(message: &impl Serialize) -> Result<Bytes, WireError> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MOST_BYTES { Err(WireError::TooLarge(bytes.len())) } else { Ok(bytes.into()) }
}

pub(super) fn decode<T: DeserializeOwned>(message: &[u8]) -> Result<T, WireError> {
    known(message)?;
    Ok(serde_json::from_slice(message)?)
}

/// Looked at before the rest, which may be of another shape.
fn known(message: &[u8]) -> Result<(), WireError> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let Head { format } = serde_json::from_slice(message)?;
    if format == FORMAT { Ok(()) } else { Err(WireError::Format(format)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_format_is_refused_and_another_field_is_not() {
        let asked = Asked::new(7, InstanceId::generate(), Question::Presence);
        let text = String::from_utf8(encode(&asked).unwrap().to_vec()).unwrap();
        let later = text.replace("\"format\":1", "\"format\":2");
        assert!(matches!(decode::<Asked>(later.as_bytes()), Err(WireError::Format(2))));
        let more = text.replace("\"format\":1", "\"format\":1,\"new\":[1]");
        assert_eq!(decode::<Asked>(more.as_bytes()).unwrap().number, 7);
        assert!(matches!(decode::<Asked>(b"{"), Err(WireError::Unreadable(_))));
    }
}
