//! Signatures of requests: what goes in before the signing, and what because of it. How a text becomes a signature is in
//! `core`, since the account's test signs too.

use bytes::Bytes;
use http::{HeaderMap, Method};
use plugboard_core::clock::Clock;
use plugboard_core::manifest::signature::{BodyForm, FieldValues, Placed, Signable, Signer, SigningError, Stamp};
use plugboard_core::manifest::{BodyEncoding, Connector, Variable};
use url::Url;

use super::{Values, headers, query};
use crate::chance;
use crate::http::request::BuildError;

/// The time and the nonce of a try. Nothing is drawn for a connector that signs nothing.
pub(crate) fn stamp(connector: &Connector, clock: &dyn Clock) -> Stamp {
    let signs = !connector.transport().signatures.is_empty();
    Stamp { at: clock.now(), nonce: if signs { chance::nonce() } else { [0; 16] } }
}

/// Fields that the signature brings, before and after it is made.
pub(crate) struct Signing<'a> {
    signer: Signer<'a>,
    /// What is signed with the request.
    pub(crate) before: Placed,
}

impl<'a> Signing<'a> {
    /// `None`: calls of the module are not signed.
    pub(crate) fn of(values: &'a Values<'_>, module: &str, stamp: Stamp) -> Result<Option<Self>, BuildError> {
        let Some(signature) = values.connector().transport().signature_of(module) else { return Ok(None) };
        let signer = Signer::new(signature, values, stamp);
        Ok(Some(Self { before: signer.before()?, signer }))
    }

    /// Names that are the signature's alone; a caller's are dropped.
    pub(crate) fn takes_query(&self, name: &str) -> bool {
        self.signer.signature().query_names().any(|taken| taken == name)
    }

    pub(crate) fn takes_field(&self, name: &str) -> bool {
        self.signer.signature().body_names().any(|taken| taken == name)
    }

    /// The caller's body cannot go as it came.
    pub(crate) fn is_in_body(&self) -> bool {
        let signature = self.signer.signature();
        signature.replaces_body() || signature.body_names().next().is_some()
    }

    pub(crate) fn takes_header(&self, name: &str) -> bool {
        self.signer.signature().header_names().any(|taken| taken.eq_ignore_ascii_case(name))
    }

    /// Signs a request and puts the result into its address and headers; what belongs in the body is handed back.
    pub(crate) fn sign(
        &self,
        method: &Method,
        url: &mut Url,
        headers: &mut HeaderMap,
        body: Option<&Bytes>,
        encoding: BodyEncoding,
    ) -> Result<Placed, BuildError> {
        let form = match encoding {
            BodyEncoding::Json => BodyForm::Json,
            BodyEncoding::Form => BodyForm::Form,
            BodyEncoding::Multipart => BodyForm::Opaque,
        };
        let body = body.map(Bytes::as_ref);
        let after = self.signer.after(Signable { method: method.as_str(), url, body, form })?;
        for (name, value) in &after.query {
            query::append(url, name, value);
        }
        for (name, value) in self.before.headers.iter().chain(&after.headers) {
            headers::set(headers, name, value, true)?;
        }
        Ok(after)
    }
}

impl FieldValues for Values<'_> {
    fn get(&self, variable: &Variable) -> Option<&str> {
        Values::get(self, variable)
    }

    fn is_optional(&self, variable: &Variable) -> bool {
        Values::is_optional(self, variable)
    }

    fn is_secret(&self, variable: &Variable) -> bool {
        match variable {
            Variable::Account(name) => self.field(name).is_some_and(|field| field.secret),
            Variable::Token => true,
            Variable::Method => false,
        }
    }
}

impl From<SigningError> for BuildError {
    fn from(error: SigningError) -> Self {
        match error {
            SigningError::MissingField(field) => Self::MissingField(field),
            SigningError::UnknownAlgorithm(field) => Self::BadAlgorithm(field),
            SigningError::NotText => Self::Body("is not text, so it cannot be signed"),
            SigningError::NotJson => Self::Body("is not JSON"),
        }
    }
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
