//! The body: as the caller wrote it, or with the manifest's fields put in.

use bytes::Bytes;
use http::HeaderValue;
use indexmap::IndexMap;
use plugboard_core::manifest::{ArrayStyle, BodyEncoding, Connector, Operation};
use serde_json::value::RawValue;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

use super::signature::Signing;
use super::{Values, multipart};
use crate::http::request::BuildError;

/// Deeper structures have no meaning in a form.
const MAX_FORM_DEPTH: usize = 16;

/// Members of an object with their values left as text, so that numbers keep every digit.
pub(super) type Members<'a> = IndexMap<String, &'a RawValue>;

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// How a body travels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape<'a> {
    encoding: BodyEncoding,
    arrays: Option<ArrayStyle>,
    /// Field of a form that holds all of the caller's JSON.
    field: Option<&'a str>,
}

impl<'a> Shape<'a> {
    /// `None` for the operation: an unlisted call of the module.
    pub(crate) fn of(connector: &'a Connector, module: &str, operation: Option<&Operation>) -> Self {
        let arrays = operation.and_then(|operation| operation.body_arrays);
        let field = connector.module(module).and_then(|(module, _)| module.body_field.as_deref());
        Self { encoding: connector.manifest().body_encoding(module, operation), arrays, field }
    }

    pub(crate) fn encoding(self) -> BodyEncoding {
        self.encoding
    }

    /// Its content type names a boundary, so that no fixed header can stand for it.
    pub(crate) fn has_boundary(self) -> bool {
        self.encoding == BodyEncoding::Multipart
    }
}

/// What is put into the caller's body.
struct Extra<'a> {
    /// Replaces the caller's: it may be a credential.
    fixed: Vec<(&'a str, String)>,
    /// The signature's own, which is not made yet; a caller's is dropped.
    signing: Option<&'a Signing<'a>>,
    /// The key of a repeat, unless the caller gives one.
    key: Option<(&'a str, &'a str)>,
}

impl Extra<'_> {
    fn is_empty(&self) -> bool {
        self.fixed.is_empty() && self.key.is_none()
    }

    fn takes(&self, name: &str) -> bool {
        self.fixed.iter().any(|(taken, _)| *taken == name)
            || self.signing.is_some_and(|signing| signing.takes_field(name))
    }
}

/// The body and its content type; `None` when there is nothing to send.
pub(crate) fn place(
    values: &Values<'_>,
    shape: Shape<'_>,
    caller: Option<&Bytes>,
    key: Option<(&str, &str)>,
    signing: Option<&Signing<'_>>,
    signed: &[(String, Zeroizing<String>)],
) -> Result<Option<(Bytes, HeaderValue)>, BuildError> {
    let caller = caller.filter(|body| !body.is_empty());
    let mut extra = Extra { fixed: Vec::new(), signing, key };
    for (name, template) in &values.connector().transport().body {
        if let Some(text) = values.fill(template)? {
            extra.fixed.push((name.as_str(), text));
        }
    }
    let before = signing.iter().flat_map(|signing| &signing.before.body);
    extra.fixed.extend(before.chain(signed).map(|(name, text)| (name.as_str(), text.to_string())));
    Ok(match (shape.encoding, caller) {
        (_, None) if extra.is_empty() => None,
        // Byte for byte: what was validated is what is sent.
        (BodyEncoding::Json, Some(body)) if extra.is_empty() && !signing.is_some_and(Signing::is_in_body) => {
            Some((body.clone(), JSON))
        }
        (BodyEncoding::Json, caller) => Some((merged(caller, &extra)?, JSON)),
        (BodyEncoding::Form, caller) => Some((form(caller, &extra, shape)?, FORM)),
        (BodyEncoding::Multipart, caller) => Some(multipart::encode(&members(&merged(caller, &extra)?)?)?),
    })
}

fn merged(caller: Option<&Bytes>, extra: &Extra<'_>) -> Result<Bytes, BuildError> {
    let text = |text: &str| serde_json::value::to_raw_value(text).map_err(|_| BuildError::Body("cannot be merged"));
    let key = extra.key.map(|(name, key)| text(key).map(|key| (name, key))).transpose()?;
    let fixed: Vec<(&str, Box<RawValue>)> =
        extra.fixed.iter().map(|(name, value)| text(value).map(|value| (*name, value))).collect::<Result<_, _>>()?;
    let mut members = match caller {
        Some(body) => members(body)?,
        None => Members::new(),
    };
    members.retain(|name, _| !extra.signing.is_some_and(|signing| signing.takes_field(name)));
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

fn form(caller: Option<&Bytes>, extra: &Extra<'_>, shape: Shape<'_>) -> Result<Bytes, BuildError> {
    let mut out = Serializer::new(String::new());
    let mut key = extra.key;
    if let Some(field) = shape.field {
        // A vendor that signs the text wants an object there, also where it is asked for nothing.
        let text =
            caller.map_or(Ok("{}"), |body| std::str::from_utf8(body)).map_err(|_| BuildError::Body("is not JSON"))?;
        out.append_pair(field, text);
    } else if let Some(body) = caller {
        for (name, value) in members(body)? {
            key = key.filter(|(own, _)| *own != name);
            if !extra.takes(&name) {
                flatten(&name, value, shape.arrays, 0, &mut out)?;
            }
        }
    }
    let fixed = extra.fixed.iter().map(|(name, text)| (*name, text.as_str()));
    for (name, text) in key.into_iter().chain(fixed) {
        out.append_pair(name, text);
    }
    Ok(Bytes::from(out.finish()))
}

/// `a[b]=c` for members, `a[0]=c` for items unless the style is another; null is left out.
fn flatten(
    name: &str,
    value: &RawValue,
    arrays: Option<ArrayStyle>,
    depth: usize,
    out: &mut Serializer<'_, String>,
) -> Result<(), BuildError> {
    if depth > MAX_FORM_DEPTH {
        return Err(BuildError::Body("is nested too deeply for a form"));
    }
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'{') => {
            for (member, value) in serde_json::from_str::<Members<'_>>(text).map_err(broken)? {
                flatten(&format!("{name}[{member}]"), value, arrays, depth + 1, out)?;
            }
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(broken)?;
            if arrays == Some(ArrayStyle::Comma) {
                let texts: Vec<String> = items.into_iter().map(plain).collect::<Result<_, _>>()?;
                out.append_pair(name, &texts.join(","));
                return Ok(());
            }
            for (at, value) in items.into_iter().enumerate() {
                let name = match arrays {
                    Some(ArrayStyle::Repeat) => name.to_owned(),
                    Some(ArrayStyle::Brackets) => format!("{name}[]"),
                    _ => format!("{name}[{at}]"),
                };
                flatten(&name, value, arrays, depth + 1, out)?;
            }
        }
        Some(b'n') => {}
        _ => {
            out.append_pair(name, &plain(value)?);
        }
    }
    Ok(())
}

/// A value without parts as text: numbers and booleans as they are written.
pub(super) fn plain(value: &RawValue) -> Result<String, BuildError> {
    match value.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str(value.get()).map_err(broken),
        Some(b'{' | b'[') => Err(BuildError::Body("has a list within a list where values are joined by commas")),
        _ => Ok(value.get().to_owned()),
    }
}

fn broken(_: serde_json::Error) -> BuildError {
    BuildError::Body("is not JSON")
}
