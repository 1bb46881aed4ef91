//! [`IdentityError`] as a gRPC status and back, without loss.
//!
//! The code is for anyone who reads gRPC; the exact error travels as JSON in the trailer [`DETAIL`]. A status without it
//! did not come from an auth service's answer, so it says nothing about keys or accounts.

use serde::{Deserialize, Serialize};
use tonic::metadata::{BinaryMetadataKey, MetadataMap, MetadataValue};
use tonic::{Code, Status};

use super::IdentityError;

/// Trailer with the error as JSON.
const DETAIL: &str = "plugboard-identity-error-bin";

/// What [`IdentityError::NotFound`] names; a text from the wire must be one of these.
const THINGS: [&str; 10] = [
    "the account",
    "the API key",
    "the organization",
    "the connector",
    "the sign-in",
    "the connect session",
    "the claim",
    "the OAuth client",
    "the agent",
    "the master key",
];

#[derive(Serialize, Deserialize)]
#[serde(tag = "error", rename_all = "snake_case")]
enum Detail {
    KeyRefused,
    TicketRefused,
    NotFound { what: String },
    Exists { what: String },
    Invalid { field: String, message: String },
    NeedsReauth,
    Revoked,
    Conflict { message: String },
    VendorRefused { message: String },
    VendorDown { message: String },
    Unavailable { message: String },
}

/// The status that says this error.
pub fn to_status(error: &IdentityError) -> Status {
    let (code, detail) = match error {
        IdentityError::KeyRefused => (Code::Unauthenticated, Detail::KeyRefused),
        IdentityError::TicketRefused => (Code::PermissionDenied, Detail::TicketRefused),
        IdentityError::NotFound { what } => (Code::NotFound, Detail::NotFound { what: (*what).to_owned() }),
        IdentityError::Exists { what } => (Code::AlreadyExists, Detail::Exists { what: what.clone() }),
        IdentityError::Invalid { field, message } => {
            (Code::InvalidArgument, Detail::Invalid { field: field.clone(), message: message.clone() })
        }
        IdentityError::NeedsReauth => (Code::FailedPrecondition, Detail::NeedsReauth),
        IdentityError::Revoked => (Code::FailedPrecondition, Detail::Revoked),
        IdentityError::Conflict { message } => {
            (Code::FailedPrecondition, Detail::Conflict { message: message.clone() })
        }
        IdentityError::VendorRefused { message } => {
            (Code::FailedPrecondition, Detail::VendorRefused { message: message.clone() })
        }
        IdentityError::VendorDown { message } => (Code::Unavailable, Detail::VendorDown { message: message.clone() }),
        IdentityError::Unavailable(message) => (Code::Unavailable, Detail::Unavailable { message: message.clone() }),
    };
    let mut metadata = MetadataMap::new();
    if let Ok(json) = serde_json::to_vec(&detail) {
        metadata.insert_bin(BinaryMetadataKey::from_static(DETAIL), MetadataValue::from_bytes(&json));
    }
    Status::with_metadata(code, error.to_string(), metadata)
}

/// Whether the auth service itself gave this answer, rather than the way to it.
pub(super) fn is_answer(status: &Status) -> bool {
    status.metadata().get_bin(DETAIL).is_some()
}

/// The error that a status says.
pub(super) fn from_status(status: &Status) -> IdentityError {
    let detail = status
        .metadata()
        .get_bin(DETAIL)
        .and_then(|value| value.to_bytes().ok())
        .and_then(|json| serde_json::from_slice::<Detail>(&json).ok());
    match detail {
        Some(Detail::KeyRefused) => IdentityError::KeyRefused,
        Some(Detail::TicketRefused) => IdentityError::TicketRefused,
        Some(Detail::NotFound { what }) => {
            let known = THINGS.into_iter().find(|thing| **thing == what);
            IdentityError::NotFound { what: known.unwrap_or("it") }
        }
        Some(Detail::Exists { what }) => IdentityError::Exists { what },
        Some(Detail::Invalid { field, message }) => IdentityError::Invalid { field, message },
        Some(Detail::NeedsReauth) => IdentityError::NeedsReauth,
        Some(Detail::Revoked) => IdentityError::Revoked,
        Some(Detail::Conflict { message }) => IdentityError::Conflict { message },
        Some(Detail::VendorRefused { message }) => IdentityError::VendorRefused { message },
        Some(Detail::VendorDown { message }) => IdentityError::VendorDown { message },
        Some(Detail::Unavailable { message }) => IdentityError::Unavailable(message),
        None => IdentityError::Unavailable(format!("{}: {}", status.code().description(), status.message())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_survive_the_wire() {
        let mut errors = vec![
            IdentityError::KeyRefused,
            IdentityError::TicketRefused,
            IdentityError::Exists { what: "учётная запись «Склад»".into() },
            IdentityError::invalid("credentials.portal_host", "give the host alone: `portal.bitrix24.ru`"),
            IdentityError::NeedsReauth,
            IdentityError::Revoked,
            IdentityError::Conflict { message: "12 accounts are sealed under it".into() },
            IdentityError::VendorRefused { message: "invalid_client".into() },
            IdentityError::VendorDown { message: "HTTP 503".into() },
            IdentityError::Unavailable("the store cannot be reached".into()),
        ];
        errors.extend(THINGS.map(|what| IdentityError::NotFound { what }));
        for error in errors {
            let mut headers = http::HeaderMap::new();
            to_status(&error).add_header(&mut headers).unwrap();
            let status = Status::from_header_map(&headers).unwrap();
            assert!(is_answer(&status));
            assert_eq!(format!("{:?}", from_status(&status)), format!("{error:?}"));
        }
    }

    #[test]
    fn a_refused_service_is_no_refused_key() {
        let status = Status::unauthenticated("which service are you");
        assert!(!is_answer(&status));
        assert!(matches!(from_status(&status), IdentityError::Unavailable(_)));
    }
}
