//! Job and account fields → the request that goes out.

use std::fmt;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use plugboard_core::egress::{EgressError, HostBinding, parse_url};
use plugboard_core::error::{CallError, ErrorCode, Fix, FixKind};
use plugboard_core::job::Job;
use plugboard_core::manifest::signature::Stamp;
use plugboard_core::manifest::{Connector, Operation, Style};
use plugboard_core::secret::{AccountFields, SecretKey};
use url::Url;
use zeroize::Zeroizing;

use crate::http::repeat::Repeat;
use crate::transport::signature::Signing;
use crate::transport::{Values, basic, body, headers, path, query};

/// JSON where the vendor has a choice, anything else where it has not.
const ACCEPTED: HeaderValue = HeaderValue::from_static("application/json, */*;q=0.8");

/// Everything a request is made of.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) connector: &'a Connector,
    pub(crate) job: &'a Job,
    /// The job's body, fetched from wherever it lay.
    pub(crate) body: Option<&'a Bytes>,
    pub(crate) fields: &'a AccountFields,
    pub(crate) idempotency_root: &'a SecretKey,
    /// What a signature has that no other try has.
    pub(crate) stamp: Stamp,
}

/// A request ready to go.
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
    /// The only host that may see the credentials in it.
    pub(crate) binding: HostBinding,
    /// Secret texts in it that are neither a field nor an encoding of one field alone.
    pub(crate) derived: Vec<Zeroizing<String>>,
}

/// Why no request can be made of a job. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    /// The manifest that the job pins does not have it.
    #[error("the manifest has no {0}")]
    NotInManifest(String),
    /// A field that the manifest requires.
    #[error("the account has no {0}")]
    MissingField(String),
    #[error("{0} of the account is not a bare host name")]
    BadHost(String),
    #[error("{0} of the account names no algorithm for a signature")]
    BadAlgorithm(String),
    /// A line break, or a character that cannot travel there.
    #[error("{0} holds characters that cannot be sent")]
    Unsendable(String),
    #[error("the header {0} may not be set by a caller")]
    CallerHeader(String),
    #[error("the path leads out of the module")]
    Climbs,
    #[error("the body {0}")]
    Body(&'static str),
    #[error("the address cannot be used")]
    Url(#[source] EgressError),
}

impl From<BuildError> for CallError {
    fn from(error: BuildError) -> Self {
        let reconnect = |message: String, field: Option<&str>| {
            let mut fix = Fix::new(FixKind::Reconnect);
            if let Some(field) = field {
                fix = fix.field(field);
            }
            CallError::new(ErrorCode::AccountExpired, message).fix(fix)
        };
        match &error {
            BuildError::MissingField(field) | BuildError::BadHost(field) | BuildError::BadAlgorithm(field) => {
                reconnect(format!("{error}: connect the account again."), Some(field))
            }
            BuildError::Unsendable(_) => reconnect(format!("{error}: connect the account again."), None),
            BuildError::CallerHeader(name) => {
                CallError::argument(format!("headers.{name}"), format!("The header {name} is set by the connector."))
            }
            BuildError::Climbs => CallError::argument("path", "The path must not contain `.` or `..` segments."),
            BuildError::Body(why) => CallError::argument("body", format!("`body` {why}.")),
            BuildError::Url(_) => {
                CallError::new(ErrorCode::EgressBlocked, "The address of this account is not usable.")
            }
            BuildError::NotInManifest(_) => CallError::internal(),
        }
    }
}

/// Builds the request. The same parts always make the same request; of a signed one the stamp is a part.
///
/// # Errors
/// [`BuildError`]; nothing was sent.
pub(crate) fn build(parts: &Parts<'_>) -> Result<Outgoing, BuildError> {
    let Parts { connector, job, fields, .. } = *parts;
    let values = Values::new(connector, fields);
    let operation = operation_of(connector, job)?;
    let repeat = Repeat::of(parts);
    let shape = body::Shape::of(connector, &job.module, operation);
    let signing = Signing::of(&values, &job.module, parts.stamp)?;
    let signing = signing.as_ref();
    let (method, mut url) = target(&values, job, repeat.query(), signing)?;

    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(ACCEPT, ACCEPTED);
    headers::place(&values, operation, &job.headers, signing, &mut headers)?;
    let mut derived = Vec::new();
    derived.extend(basic::place(&values, &mut headers)?);

    // RFC 9110 gives content in a GET no meaning; several vendors' front doors refuse it.
    let bodiless = method == Method::GET || method == Method::HEAD;
    if bodiless && parts.body.is_some_and(|body| !body.is_empty()) {
        return Err(BuildError::Body("cannot be sent with GET or HEAD: use `query`"));
    }
    let with = |signed: &[_]| match bodiless {
        true => Ok(None),
        false => body::place(&values, shape, parts.body, repeat.field(), signing, signed),
    };
    let mut body = with(&[])?;
    if let Some(signing) = signing {
        let unsigned = body.as_ref().map(|(body, _)| body);
        let mut signed = signing.sign(&method, &mut url, &mut headers, unsigned, shape.encoding())?;
        if !signed.body.is_empty() {
            body = with(&signed.body)?;
        }
        if let (Some((body, _)), Some(payload)) = (&mut body, signed.payload.take()) {
            *body = Bytes::copy_from_slice(payload.as_bytes());
        }
        derived.append(&mut signed.derived);
    }
    let body = body.map(|(body, content_type)| {
        if shape.has_boundary() {
            headers.insert(CONTENT_TYPE, content_type);
        } else {
            headers.entry(CONTENT_TYPE).or_insert(content_type);
        }
        body
    });
    if let Some((name, key)) = repeat.header() {
        let known =
            HeaderName::try_from(name).map_err(|_| BuildError::Unsendable("the idempotency header".to_owned()))?;
        // A key that the caller was allowed to set, and set, is theirs to repeat.
        if !headers.contains_key(&known) {
            headers::set(&mut headers, name, key, false)?;
        }
    }
    let binding = HostBinding::of_url(&url);
    Ok(Outgoing { method, url, headers, body, binding, derived })
}

/// The operation of a job; `None` for an unlisted path of an open module.
pub(crate) fn operation_of<'c>(connector: &'c Connector, job: &Job) -> Result<Option<&'c Operation>, BuildError> {
    match &job.operation {
        None => Ok(None),
        Some(id) => match connector.operation(id) {
            Some((operation, _)) => Ok(Some(operation)),
            None => Err(BuildError::NotInManifest(format!("operation {id}"))),
        },
    }
}

/// Verb and address.
fn target(
    values: &Values<'_>,
    job: &Job,
    key: Option<(&str, &str)>,
    signing: Option<&Signing<'_>>,
) -> Result<(Method, Url), BuildError> {
    let (module, compiled) = values
        .connector()
        .module(&job.module)
        .ok_or_else(|| BuildError::NotInManifest(format!("module {}", job.module)))?;
    let mut url = path::base_url(values, &compiled.base_url)?;
    let verb = match (module.style, &module.rpc, &compiled.rpc_path) {
        (Style::Rpc, Some(shape), Some(template)) => {
            url.push_str(&path::rpc_path(values, template, &job.method)?);
            shape.verb.as_str()
        }
        _ if path::strays(&job.path) => return Err(BuildError::Climbs),
        _ => {
            url.push_str(&job.path);
            job.method.as_str()
        }
    };
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    if path::climbs(&url[after_scheme..]) {
        return Err(BuildError::Climbs);
    }
    query::place(values, &job.query, key, signing, &mut url)?;
    let method = Method::from_bytes(verb.as_bytes()).map_err(|_| BuildError::NotInManifest(format!("verb {verb}")))?;
    Ok((method, parse_url(&url).map_err(BuildError::Url)?))
}

impl fmt::Debug for Outgoing {
    /// Host, verb and sizes only: address, headers and body may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("method", &self.method)
            .field("host", &self.url.host_str())
            .field("headers", &self.headers.len())
            .field("body", &self.body.as_ref().map(Bytes::len))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
