//! The signature of one request.

use std::borrow::Cow;

use indexmap::IndexMap;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::macros::format_description;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use super::compiled::{CompiledSignature, Fields, Part, Placements};
use super::digest;
use super::expression::{Expression, Named, RequestPart, Slot, TimeForm, percent};
use super::{FieldSource, SignatureAlgorithm};
use crate::clock::Millis;
use crate::manifest::template::Variable;

/// What is different in every try. It is part of no hash by which a request is known again.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    pub at: Millis,
    pub nonce: [u8; 16],
}

/// The account whose requests are signed.
pub trait FieldValues {
    /// `None`: absent.
    fn get(&self, variable: &Variable) -> Option<&str>;
    /// May be absent.
    fn is_optional(&self, variable: &Variable) -> bool;
    fn is_secret(&self, variable: &Variable) -> bool;
}

/// How the fields of a body are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyForm {
    Json,
    Form,
    /// Files: no fields.
    Opaque,
}

/// A request with everything in it but the signature.
#[derive(Clone, Copy)]
pub struct Signable<'a> {
    pub method: &'a str,
    pub url: &'a Url,
    pub body: Option<&'a [u8]>,
    pub form: BodyForm,
}

/// What is put into a request.
#[derive(Default)]
pub struct Placed {
    pub headers: Vec<(String, Zeroizing<String>)>,
    pub query: Vec<(String, Zeroizing<String>)>,
    pub body: Vec<(String, Zeroizing<String>)>,
    /// Travels in place of the body.
    pub payload: Option<Zeroizing<String>>,
    /// Secrets in it that are neither a field nor a common spelling of one.
    pub derived: Vec<Zeroizing<String>>,
}

/// Why a request cannot be signed. Says names, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    #[error("the account has no {0}")]
    MissingField(String),
    #[error("{0} of the account names no algorithm for a signature")]
    UnknownAlgorithm(String),
    #[error("is not text, so it cannot be signed")]
    NotText,
    #[error("is not JSON")]
    NotJson,
}

/// Signs one request.
#[derive(Clone, Copy)]
pub struct Signer<'a> {
    signature: &'a CompiledSignature,
    values: &'a dyn FieldValues,
    stamp: Stamp,
}

/// A signature and the text it is of.
struct Made {
    signature: Zeroizing<String>,
    signed: Zeroizing<String>,
}

/// What expressions may name of a request.
struct Request<'a> {
    signable: Signable<'a>,
    query: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    body: Vec<Field<'a>>,
}

struct Field<'a> {
    name: Cow<'a, str>,
    value: Cow<'a, str>,
    /// Neither an object nor a list.
    plain: bool,
}

impl<'a> Signer<'a> {
    pub fn new(signature: &'a CompiledSignature, values: &'a dyn FieldValues, stamp: Stamp) -> Self {
        Self { signature, values, stamp }
    }

    pub fn signature(&self) -> &'a CompiledSignature {
        self.signature
    }

    /// What goes into the request before it is signed.
    ///
    /// # Errors
    /// [`SigningError::MissingField`].
    pub fn before(&self) -> Result<Placed, SigningError> {
        self.place(None)
    }

    /// What goes into the request because of its signature.
    ///
    /// # Errors
    /// [`SigningError`].
    pub fn after(&self, signable: Signable<'_>) -> Result<Placed, SigningError> {
        let request = Request {
            query: signable.url.query_pairs().collect(),
            body: body_fields(signable.body.unwrap_or_default(), signable.form)?,
            signable,
        };
        let mut derived = Vec::new();
        let algorithm = self.algorithm()?;
        let key = match &self.signature.key {
            // An empty key would make a signature that anybody can make.
            Some(key) => self.render(key, None, None, &mut derived)?.ok_or_else(|| self.absent(key))?,
            None => Zeroizing::default(),
        };
        let mut parts: Vec<Zeroizing<String>> = Vec::with_capacity(self.signature.parts.len());
        for part in &self.signature.parts {
            match part {
                Part::Text(text) => parts.extend(self.render(text, Some(&request), None, &mut derived)?),
                Part::Fields(fields) => parts.extend(self.fields(fields, &request)?),
            }
        }
        let signed = Zeroizing::new(joined(&parts, &self.signature.join));
        let bytes = Zeroizing::new(digest::digest(algorithm, key.as_bytes(), signed.as_bytes()));
        let signature = Zeroizing::new(digest::encode(self.signature.encoding, &bytes));
        let mut placed = self.place(Some(&Made { signature: signature.clone(), signed }))?;
        // Whoever has it could repeat the request, or look for the secret in it at leisure.
        placed.derived.push(signature);
        Ok(placed)
    }

    /// Every placement that names the result, or every other one.
    fn place(&self, made: Option<&Made>) -> Result<Placed, SigningError> {
        let mut placed = Placed::default();
        let mut derived = Vec::new();
        let mut all = |placements: &Placements| {
            let mut filled = Vec::new();
            for (name, text) in placements.iter().filter(|(_, text)| text.is_result() == made.is_some()) {
                if let Some(text) = self.render(text, None, made, &mut derived)? {
                    filled.push((name.clone(), text));
                }
            }
            Ok::<_, SigningError>(filled)
        };
        placed.headers = all(&self.signature.headers)?;
        placed.query = all(&self.signature.query)?;
        placed.body = all(&self.signature.body)?;
        if let (Some(text), Some(_)) = (&self.signature.payload, made) {
            placed.payload = self.render(text, None, made, &mut derived)?;
        }
        placed.derived = derived;
        Ok(placed)
    }

    /// An optional field that this signature cannot do without.
    fn absent(&self, text: &Expression) -> SigningError {
        let missing = text.names().find_map(|named| match named {
            Named::Credential(variable) if self.values.get(variable).is_none() => Some(variable.name().to_owned()),
            _ => None,
        });
        SigningError::MissingField(missing.unwrap_or_else(|| "key".to_owned()))
    }

    fn algorithm(&self) -> Result<SignatureAlgorithm, SigningError> {
        let own = self.signature.algorithm;
        let Some(field) = &self.signature.algorithm_field else { return Ok(own) };
        let Some(name) = self.values.get(&Variable::Account(field.clone())) else { return Ok(own) };
        SignatureAlgorithm::parse(name)
            .filter(|algorithm| algorithm.is_mac() == own.is_mac())
            .ok_or_else(|| SigningError::UnknownAlgorithm(field.clone()))
    }

    fn render(
        &self,
        text: &Expression,
        request: Option<&Request<'_>>,
        made: Option<&Made>,
        derived: &mut Vec<Zeroizing<String>>,
    ) -> Result<Option<Zeroizing<String>>, SigningError> {
        text.render(|slot| self.slot(slot, request, made, derived))
    }

    fn slot(
        &self,
        slot: &Slot,
        request: Option<&Request<'_>>,
        made: Option<&Made>,
        derived: &mut Vec<Zeroizing<String>>,
    ) -> Result<Option<Zeroizing<String>>, SigningError> {
        let Some(value) = self.value(&slot.named, request, made)? else { return Ok(None) };
        let filtered = slot.filtered(&value);
        if let Named::Credential(variable) = &slot.named
            && slot.changes()
            && self.values.is_secret(variable)
        {
            derived.push(filtered.clone());
        }
        Ok(Some(filtered))
    }

    fn value(
        &self,
        named: &Named,
        request: Option<&Request<'_>>,
        made: Option<&Made>,
    ) -> Result<Option<Zeroizing<String>>, SigningError> {
        let own = |text: &str| Zeroizing::new(text.to_owned());
        Ok(match named {
            Named::Credential(variable) => match self.values.get(variable) {
                Some(value) => Some(own(value)),
                None if self.values.is_optional(variable) => None,
                None => return Err(SigningError::MissingField(variable.name().to_owned())),
            },
            Named::Request(part) => {
                request.map(|request| request.part(*part)).transpose()?.flatten().map(Zeroizing::new)
            }
            Named::Query(name) => {
                let found = request.and_then(|request| request.query.iter().find(|(known, _)| known == name));
                found.map(|(_, value)| own(value))
            }
            Named::Body(name) => {
                let found = request.and_then(|request| request.body.iter().find(|field| field.name == *name));
                found.map(|field| own(&field.value))
            }
            Named::Time(form) => Some(Zeroizing::new(self.stamp.time(*form))),
            Named::Nonce => Some(Zeroizing::new(hex::encode(self.stamp.nonce))),
            Named::Signature => made.map(|made| made.signature.clone()),
            Named::Signed => made.map(|made| made.signed.clone()),
            Named::Name | Named::Value => None,
        })
    }

    /// `None`: there are none.
    fn fields(&self, fields: &Fields, request: &Request<'_>) -> Result<Option<Zeroizing<String>>, SigningError> {
        let mut found: Vec<(Cow<'_, str>, Zeroizing<String>)> = Vec::new();
        for source in &fields.sources {
            match source {
                FieldSource::Query => found.extend(
                    request.query.iter().map(|(name, value)| (name.clone(), Zeroizing::new(value.to_string()))),
                ),
                FieldSource::Body => found.extend(
                    request
                        .body
                        .iter()
                        .filter(|field| field.plain)
                        .map(|field| (field.name.clone(), Zeroizing::new(field.value.to_string()))),
                ),
            }
        }
        found.retain(|(name, _)| {
            fields.prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix.as_str()))
                && !fields.except.iter().any(|except| except == name)
        });
        for (name, text) in &fields.add {
            if let Some(value) = self.render(text, None, None, &mut Vec::new())? {
                found.push((Cow::Borrowed(name), value));
            }
        }
        // As they are written: RFC 5849 sorts what is encoded.
        let written = |named: &Named, text: &str| {
            let slot = fields.pair.slots().find(|slot| slot.named == *named);
            slot.map_or_else(|| Zeroizing::new(text.to_owned()), |slot| slot.filtered(text))
        };
        let mut found: Vec<_> = found
            .into_iter()
            .map(|(name, value)| (written(&Named::Name, &name), written(&Named::Value, &value), name, value))
            .collect();
        found.sort_by(|a, b| (a.0.as_str(), a.1.as_str()).cmp(&(b.0.as_str(), b.1.as_str())));
        let mut pairs = Vec::with_capacity(found.len());
        for (_, _, name, value) in &found {
            let pair = fields.pair.render(|slot| {
                Ok::<_, SigningError>(match slot.named {
                    Named::Name => Some(slot.filtered(name)),
                    _ => Some(slot.filtered(value)),
                })
            })?;
            pairs.extend(pair);
        }
        if pairs.is_empty() {
            return Ok(None);
        }
        let text = Zeroizing::new(joined(&pairs, &fields.join));
        Ok(Some(if fields.percent { Zeroizing::new(percent(&text)) } else { text }))
    }
}

impl Stamp {
    fn time(self, form: TimeForm) -> String {
        let seconds = self.at.0.div_euclid(1000);
        match form {
            TimeForm::Seconds => seconds.to_string(),
            TimeForm::Millis => self.at.0.to_string(),
            TimeForm::Iso => {
                let moment = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
                let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
                moment.format(&format).unwrap_or_default()
            }
        }
    }
}

impl Request<'_> {
    /// `None`: there is no such part.
    fn part(&self, part: RequestPart) -> Result<Option<String>, SigningError> {
        let Signable { method, url, body, .. } = self.signable;
        let query = url.query().filter(|query| !query.is_empty());
        Ok(match part {
            RequestPart::Method => Some(method.to_owned()),
            RequestPart::Host => Some(host(url)),
            RequestPart::Path => Some(url.path().to_owned()),
            RequestPart::Query => query.map(str::to_owned),
            RequestPart::Target => Some(match query {
                Some(query) => format!("{}?{query}", url.path()),
                None => url.path().to_owned(),
            }),
            RequestPart::Url => Some(format!("{}://{}{}", url.scheme(), host(url), url.path())),
            RequestPart::Body => match body {
                Some(body) => Some(String::from_utf8(body.to_vec()).map_err(|_| SigningError::NotText)?),
                None => None,
            },
        })
    }
}

/// With a port that is not the scheme's own, as `Host` has it.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn body_fields(body: &[u8], form: BodyForm) -> Result<Vec<Field<'_>>, SigningError> {
    match form {
        _ if body.is_empty() => Ok(Vec::new()),
        BodyForm::Opaque => Ok(Vec::new()),
        BodyForm::Form => {
            Ok(form_urlencoded::parse(body).map(|(name, value)| Field { name, value, plain: true }).collect())
        }
        BodyForm::Json => {
            // A body that is a list has no fields; it can still be signed as text.
            let members: IndexMap<String, &RawValue> = match serde_json::from_slice(body) {
                Ok(members) => members,
                Err(_) if body.first() != Some(&b'{') => return Ok(Vec::new()),
                Err(_) => return Err(SigningError::NotJson),
            };
            let written = members.into_iter().filter(|(_, value)| value.get() != "null");
            written.map(|(name, value)| json_field(name, value)).collect()
        }
    }
}

fn json_field(name: String, value: &RawValue) -> Result<Field<'_>, SigningError> {
    let text = value.get();
    let plain = !text.starts_with(['{', '[']);
    let value = match text.starts_with('"') {
        true => Cow::Owned(serde_json::from_str(text).map_err(|_| SigningError::NotJson)?),
        // Numbers with every digit that is sent.
        false => Cow::Borrowed(text),
    };
    Ok(Field { name: Cow::Owned(name), value, plain })
}

fn joined(parts: &[Zeroizing<String>], separator: &str) -> String {
    let mut out = String::with_capacity(parts.iter().map(|part| part.len() + separator.len()).sum());
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            out.push_str(separator);
        }
        out.push_str(part);
    }
    out
}
