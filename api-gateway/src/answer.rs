//! The envelope as it leaves: serialized once by whoever knows the outcome, the vendor's data spliced in as it came.

use bytes::{BufMut, Bytes, BytesMut};
use plugboard_core::error::{CallError, ErrorCode, Origin};
use plugboard_core::job::{CallState, Envelope};
use plugboard_core::telemetry::metrics::StageTimes;
use serde::Deserialize;

/// A finished envelope.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The whole envelope as JSON.
    pub json: Bytes,
    pub ok: bool,
    /// Where its time went until it was sent back, if an executor has told.
    pub stages: StageTimes,
    /// Where the vendor's data begin in it.
    head: usize,
}

/// What transports need to know of an envelope.
#[derive(Debug, Deserialize)]
pub struct Summary {
    pub ok: bool,
    pub state: CallState,
    #[serde(default)]
    pub execution_id: Option<String>,
    #[serde(default)]
    pub error: Option<ErrorSummary>,
}

#[derive(Debug, Deserialize)]
pub struct ErrorSummary {
    pub code: ErrorCode,
    pub origin: Origin,
}

impl Answer {
    /// An envelope without data.
    pub fn of(envelope: &Envelope) -> Self {
        let json = serde_json::to_vec(envelope).unwrap_or_else(|_| FALLBACK.as_bytes().to_vec());
        Self::whole(json.into(), envelope.ok)
    }

    /// An envelope that is written already, without data.
    pub fn whole(json: Bytes, ok: bool) -> Self {
        let head = json.len().saturating_sub(1);
        Self { json, ok, stages: StageTimes::default(), head }
    }

    pub fn failed(error: CallError) -> Self {
        Self::of(&Envelope::failed(error))
    }

    /// Splices `data` into a serialized envelope. `None` is JSON null.
    pub fn with_data(envelope: &[u8], data: Option<&[u8]>) -> Self {
        let ok = envelope.starts_with(br#"{"ok":true"#);
        let Some(open) = envelope.strip_suffix(b"}") else {
            // Never written by us; an unreadable envelope is our fault, not the caller's.
            return Self::whole(Bytes::from_static(FALLBACK.as_bytes()), false);
        };
        if !ok && data.is_none() {
            return Self::whole(Bytes::copy_from_slice(envelope), ok);
        }
        let data = data.unwrap_or(b"null");
        let mut json = BytesMut::with_capacity(envelope.len() + data.len() + 9);
        json.put_slice(open);
        json.put_slice(br#","data":"#);
        json.put_slice(data);
        json.put_u8(b'}');
        Self { json: json.freeze(), ok, stages: StageTimes::default(), head: open.len() }
    }

    /// Everything but the vendor's data, which may be large.
    pub fn envelope(&self) -> Option<Envelope> {
        let head = self.json.get(..self.head)?;
        serde_json::from_slice(&[head, b"}"].concat()).ok()
    }

    /// What went wrong and whose it is, if something did.
    pub fn failure(&self) -> Option<(ErrorCode, Origin)> {
        if self.ok {
            return None;
        }
        let error = self.summary().error;
        Some(error.map_or((ErrorCode::Internal, Origin::Platform), |error| (error.code, error.origin)))
    }

    /// Reads the parts a transport maps to its own terms.
    pub fn summary(&self) -> Summary {
        serde_json::from_slice(&self.json).unwrap_or(Summary {
            ok: false,
            state: CallState::Failed,
            execution_id: None,
            error: Some(ErrorSummary { code: ErrorCode::Internal, origin: Origin::Platform }),
        })
    }
}

/// For the case that not even an error can be serialized.
const FALLBACK: &str = r#"{"ok":false,"state":"unknown","error":{"code":"INTERNAL","origin":"platform","message":"The answer could not be written.","retryable":false,"safe_to_retry":false,"outcome":"unknown"}}"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_spliced_in_as_it_came() {
        let envelope = serde_json::to_vec(&Envelope::new(CallState::Succeeded)).unwrap();
        let answer = Answer::with_data(&envelope, Some(br#"{"a":1.10}"#));
        assert!(answer.ok);
        assert!(std::str::from_utf8(&answer.json).unwrap().ends_with(r#","data":{"a":1.10}}"#));
        assert_eq!(answer.envelope().unwrap().state, CallState::Succeeded);
        assert!(std::str::from_utf8(&Answer::with_data(&envelope, None).json).unwrap().contains(r#""data":null"#));
        let failed = serde_json::to_vec(&Envelope::failed(CallError::internal())).unwrap();
        let answer = Answer::with_data(&failed, None);
        assert!(!answer.ok);
        assert_eq!(answer.summary().error.unwrap().code, ErrorCode::Internal);
    }

    #[test]
    fn the_last_resort_is_an_envelope() {
        serde_json::from_str::<Envelope>(FALLBACK).unwrap();
    }
}
