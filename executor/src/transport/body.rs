//! The body: as the caller wrote it, or with the manifest's fields put in.

use bytes::Bytes;
use indexmap::IndexMap;
use plugboard_core::manifest::BodyEncoding;
use serde_json::value::RawValue;
use url::form_urlencoded::Serializer;

use super::Values;
use crate::http::request::BuildError;

/// Deeper structures have no meaning in a form.
const MAX_FORM_DEPTH: usize = 16;

/// Members of an object with their values left as text, so that numbers keep every digit.
type Members<'a> = IndexMap<String, &'a RawValue>;

pub(crate) const JSON: &str = "application/json";
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// The body and its content type; `None` when there is nothing to send.
pub(crate) fn place(
    values: &Values<'_>,
    encoding: BodyEncoding,
    caller: Option<&Bytes>,
) -> Result<Option<(Bytes, &'static str)>, BuildError> {
    let caller = caller.filter(|body| !body.is_empty());
    let mut fixed = Vec::new();
    for (name, template) in &values.connector().transport().body {
        if let Some(text) = values.fill(template)? {
            fixed.push((name.as_str(), text));
        }
    }
    Ok(match (encoding, caller) {
        (_, None) if fixed.is_empty() => None,
        // Byte for byte: what was validated is what is sent.
        (BodyEncoding::Json, Some(body)) if fixed.is_empty() => Some((body.clone(), JSON)),
        (BodyEncoding::Json, caller) => Some((merged(caller, &fixed)?, JSON)),
        (BodyEncoding::Form, caller) => Some((form(caller, &fixed)?, FORM)),
    })
}

fn merged(caller: Option<&Bytes>, fixed: &[(&str, String)]) -> Result<Bytes, BuildError> {
    let texts: Vec<Box<RawValue>> = fixed
        .iter()
        .map(|(_, text)| serde_json::value::to_raw_value(text))
        .collect::<Result<_, _>>()
        .map_err(|_| BuildError::Body("cannot be merged"))?;
    let mut members = match caller {
        Some(body) => members(body)?,
        None => Members::new(),
    };
    for ((name, _), text) in fixed.iter().zip(&texts) {
        // Ours replaces the caller's: it may be a credential.
        members.insert((*name).to_owned(), text);
    }
    serde_json::to_vec(&members).map(Bytes::from).map_err(|_| BuildError::Body("cannot be merged"))
}

fn members(body: &[u8]) -> Result<Members<'_>, BuildError> {
    serde_json::from_slice(body).map_err(|_| BuildError::Body("must be a JSON object"))
}

fn form(caller: Option<&Bytes>, fixed: &[(&str, String)]) -> Result<Bytes, BuildError> {
    let mut out = Serializer::new(String::new());
    if let Some(body) = caller {
        for (name, value) in members(body)? {
            if !fixed.iter().any(|(taken, _)| *taken == name) {
                flatten(&name, value, 0, &mut out)?;
            }
        }
    }
    for (name, text) in fixed {
        out.append_pair(name, text);
    }
    Ok(Bytes::from(out.finish()))
}

/// `a[b]=c` for members, `a[0]=c` for items; null is left out.
fn flatten(name: &str, value: &RawValue, depth: usize, out: &mut Serializer<'_, String>) -> Result<(), BuildError> {
    if depth > MAX_FORM_DEPTH {
        return Err(BuildError::Body("is nested too deeply for a form"));
    }
    let text = value.get();
    let broken = |_| BuildError::Body("is not JSON");
    match text.as_bytes().first() {
        Some(b'{') => {
            for (member, value) in serde_json::from_str::<Members<'_>>(text).map_err(broken)? {
                flatten(&format!("{name}[{member}]"), value, depth + 1, out)?;
            }
        }
        Some(b'[') => {
            for (at, value) in serde_json::from_str::<Vec<&RawValue>>(text).map_err(broken)?.into_iter().enumerate() {
                flatten(&format!("{name}[{at}]"), value, depth + 1, out)?;
            }
        }
        Some(b'"') => {
            let text: String = serde_json::from_str(text).map_err(broken)?;
            out.append_pair(name, &text);
        }
        Some(b'n') => {}
        // Numbers and booleans, as written.
        _ => {
            out.append_pair(name, text);
        }
    }
    Ok(())
}
