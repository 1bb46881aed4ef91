//! Request bodies: JSON objects that are read field by field, so that a refusal names the field and never repeats a
//! value, which could be a credential.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequest, Request};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use plugboard_core::error::{Fix, FixKind};
use plugboard_core::manifest::suggest;
use plugboard_core::secret::Secret;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::error::{Problem, shown};
use crate::mcp::strict_json;
use crate::state::Gateway;

/// Largest body, in bytes.
const MAX_BODY: usize = 256 * 1024;

/// A body that has not arrived by then is given up.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What a route takes.
pub(crate) trait Decode: Sized {
    /// Every field there is.
    const FIELDS: &'static [&'static str];

    /// # Errors
    /// The field that is missing or wrong.
    fn decode(fields: &mut Fields<'_>) -> Result<Self, Problem>;
}

/// A decoded body. To be taken last: it reads the request to its end.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: Decode> FromRequest<Arc<Gateway>> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Arc<Gateway>) -> Result<Self, Problem> {
        require_json(request.headers())?;
        let reading = Limited::new(request.into_body(), MAX_BODY).collect();
        let read = tokio::time::timeout(BODY_TIMEOUT, reading)
            .await
            .map_err(|_| Problem::body(StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time."))?;
        let bytes = read.map_err(|error| unreadable(error.as_ref()))?.to_bytes();
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Problem::body(StatusCode::BAD_REQUEST, "The body is not valid JSON: it is not UTF-8."))?;
        T::decode(&mut Fields::parse(text, T::FIELDS)?).map(Self)
    }
}

fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::body(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "Send JSON, with the header `Content-Type: application/json`.",
    ))
}

fn unreadable(error: &(dyn std::error::Error + 'static)) -> Problem {
    if error.is::<LengthLimitError>() {
        let detail = format!("The body is larger than {} KiB.", MAX_BODY / 1024);
        return Problem::body(StatusCode::PAYLOAD_TOO_LARGE, detail);
    }
    Problem::body(StatusCode::BAD_REQUEST, "The body ended early.")
}

/// The fields of a body that have not been taken yet.
pub(crate) struct Fields<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Fields<'a> {
    /// A null field is an absent one.
    fn parse(text: &'a str, known: &[&str]) -> Result<Self, Problem> {
        match strict_json::scan(text) {
            Ok(None) => {}
            Ok(Some(problem)) => return Err(Problem::body(StatusCode::BAD_REQUEST, format!("The body: {problem}."))),
            Err(strict_json::ScanError::DuplicateKey { key }) => {
                let detail = format!("`{}` is there twice in one object; send it once.", shown(&key));
                return Err(Problem::argument(shown(&key), detail));
            }
            Err(error) => return Err(Problem::body(StatusCode::BAD_REQUEST, format!("{error}."))),
        }
        let mut fields: BTreeMap<String, &RawValue> = serde_json::from_str(text)
            .map_err(|_| Problem::body(StatusCode::BAD_REQUEST, "The body must be a JSON object."))?;
        if let Some(name) = fields.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(unknown_field(name, known));
        }
        fields.retain(|_, value| value.get() != "null");
        Ok(Self(fields))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take<T: DeserializeOwned>(&mut self, name: &str, kind: &str) -> Result<Option<T>, Problem> {
        let Some(raw) = self.0.remove(name) else { return Ok(None) };
        serde_json::from_str(raw.get())
            .map(Some)
            .map_err(|_| Problem::argument(name, format!("`{name}` must be {kind}.")))
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        self.take(name, "a string")
    }

    pub(crate) fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, Problem> {
        self.take(name, "an array of strings")
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, Problem> {
        self.take(name, "true or false")
    }

    pub(super) fn count(&mut self, name: &str) -> Result<Option<u32>, Problem> {
        self.take(name, "a whole number, not negative")
    }

    /// An object of texts that nobody may see. Null is the empty text.
    pub(super) fn secrets(&mut self, name: &str) -> Result<Option<BTreeMap<String, Secret>>, Problem> {
        let Some(raw) = self.0.remove(name) else { return Ok(None) };
        let values: BTreeMap<String, &RawValue> = serde_json::from_str(raw.get())
            .map_err(|_| Problem::argument(name, format!("`{name}` must be an object of strings.")))?;
        let secret = |(field, value): (String, &RawValue)| {
            let value: Option<String> = serde_json::from_str(value.get()).map_err(|_| {
                let place = format!("{name}.{}", shown(&field));
                let detail = format!("`{place}` must be a string.");
                Problem::argument(place, detail)
            })?;
            Ok((field, Secret::new(value.unwrap_or_default())))
        };
        values.into_iter().map(secret).collect::<Result<_, Problem>>().map(Some)
    }
}

/// A field that must be there.
pub(crate) fn required<T>(name: &str, value: Option<T>) -> Result<T, Problem> {
    value.ok_or_else(|| Problem::argument(name, format!("`{name}` is required.")))
}

fn unknown_field(name: &str, known: &[&str]) -> Problem {
    let near = suggest::nearest(name, known.iter().copied(), 2);
    let hint = match near.as_slice() {
        [] => format!("There are {}.", known.join(", ")),
        near => format!("Did you mean {}?", near.join(" or ")),
    };
    let name = shown(name);
    let fix = Fix::new(FixKind::ChangeArgument).field(name.clone()).options(near);
    Problem::argument(name.clone(), format!("`{name}` is not a field here. {hint}")).fix(fix)
}
