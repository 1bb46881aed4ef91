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

/// What is put into the caller's body.
struct Extra<'a> {
    /// Replaces the caller's: it may be a credential.
    fixed: Vec<(&'a str, String)>,
    /// The key of a repeat, unless the caller gives one.
    key: Option<(&'a str, &'a str)>,
}

impl Extra<'_> {
    fn is_empty(&self) -> bool {
        self.fixed.is_empty() && self.key.is_none()
    }
}

/// The body and its content type; `None` when there is nothing to send.
pub(crate) fn place(
    values: &Values<'_>,
    encoding: BodyEncoding,
    caller: Option<&Bytes>,
    key: Option<(&str, &str)>,
) -> Result<Option<(Bytes, &'static str)>, BuildError> {
    let caller = caller.filter(|body| !body.is_empty());
    let mut extra = Extra { fixed: Vec::new(), key };
    for (name, template) in &values.connector().transport().body {
        if let Some(text) = values.fill(template)? {
            extra.fixed.push((name.as_str(), text));
        }
    }
    Ok(match (encoding, caller) {
        (_, None) if extra.is_empty() => None,
        // Byte for byte: what was validated is what is sent.
        (BodyEncoding::Json, Some(body)) if extra.is_empty() => Some((body.clone(), JSON)),
        (BodyEncoding::Json, caller) => Some((merged(caller, &extra)?, JSON)),
        (BodyEncoding::Form, caller) => Some((form(caller, &extra)?, FORM)),
    })
}

fn merged(caller: Option<&Bytes>, extra: &Extra<'_>) -> Result<Bytes, BuildError> {
    let text = |text: &str| serde_json::value::to_raw_value(text).map_err(|_| BuildError::Body("cannot be merged"));
    let key = extra.key.map(|(name, key)| Ok((name, text(key)?))).transpose()?;
    let fixed: Vec<(&str, Box<RawValue>)> =
        extra.fixed.iter().map(|(name, value)| Ok((*name, text(value)?))).collect::<Result<_, _>>()?;
    let mut members = match caller {
        Some(body) => members(body)?,
        None => Members::new(),
    };
    if let Some((name, key)) = &key {
        members.entry((*name).to_owned()).or_insert(key);
    }
    for (name, value) in &fixed {
        members.insert((*name).to_owned(), value);
    }
    serde_json::to_vec(&members).map(Bytes::from).map_err(|_| BuildError::Body("cannot be merged"))
}

fn members(body: &[u8]) -> Result<Members<'_>, BuildError> {
    serde_json::from_slice(body).map_err(|_| BuildError::Body("must be a JSON object"))
}

fn form(caller: Option<&Bytes>, extra: &Extra<'_>) -> Result<Bytes, BuildError> {
    let mut out = Serializer::new(String::new());
    let mut key = extra.key;
    if let Some(body) = caller {
        for (name, value) in members(body)? {
            key = key.filter(|(own, _)| *own != name);
            if !extra.fixed.iter().any(|(taken, _)| *taken == name) {
                flatten(&name, value, 0, &mut out)?;
            }
        }
    }
    let fixed = extra.fixed.iter().map(|(name, text)| (*name, text.as_str()));
    for (name, text) in key.into_iter().chain(fixed) {
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
