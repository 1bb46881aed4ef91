//! Does an account work: the manifest's own test operation, a read without arguments, asked of the vendor by this service,
//! because an account that waits for its claim is not yet anybody else's to use.
//!
//! The answer's content is looked at and dropped: only whether the vendor accepts the account leaves this file.

mod signing;
#[cfg(test)]
mod tests;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use plugboard_core::clock::Clock;
use plugboard_core::egress::{EgressRequest, EgressResponse, Upstream, parse_url};
use plugboard_core::identity::IdentityError;
use plugboard_core::manifest::signature::{BodyForm, Placed, Signable, Signer, Stamp};
use plugboard_core::manifest::{BodyEncoding, Connector, ErrorMeaning, Manifest, Module, Operation, Style};
use plugboard_core::secret::AccountFields;
use serde_json::{Map, Value};
use signing::Account;
use zeroize::Zeroizing;

use crate::rendering;
use crate::token_endpoint;

/// What the vendor makes of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Works,
    /// With what it said: an HTTP status, and perhaps its own code.
    Refused(String),
    Down(String),
    /// The manifest names no test.
    NoTest,
}

/// # Errors
/// [`IdentityError::NeedsReauth`] when a field that the request needs is not there.
pub(crate) async fn probe(
    egress: &dyn Upstream,
    clock: &dyn Clock,
    connector: &Connector,
    fields: &AccountFields,
) -> Result<Verdict, IdentityError> {
    let manifest = connector.manifest();
    let found = manifest.auth.test.as_deref().and_then(|test| connector.operation(test));
    let Some((operation, _)) = found else { return Ok(Verdict::NoTest) };
    let Some((module, _)) = connector.module(&operation.module) else { return Ok(Verdict::NoTest) };
    let stamp = signing::stamp(connector, clock)?;
    let probe = Probe { connector, manifest, module, operation, fields, stamp };
    let request = probe.request().ok_or(IdentityError::NeedsReauth)?;
    Ok(match token_endpoint::send(egress, request).await {
        Ok(answer) => probe.verdict(&answer),
        Err(_) => Verdict::Down("no answer".to_owned()),
    })
}

struct Probe<'a> {
    connector: &'a Connector,
    manifest: &'a Manifest,
    module: &'a Module,
    operation: &'a Operation,
    fields: &'a AccountFields,
    stamp: Stamp,
}

impl Probe<'_> {
    /// `None`: a field is missing, or a value cannot be sent.
    fn request(&self) -> Option<EgressRequest> {
        let transport = &self.manifest.transport;
        let mut url = rendering::url(&self.module.base_url, self.manifest, self.fields)?;
        let verb = match (self.module.style, &self.module.rpc) {
            (Style::Rpc, Some(shape)) => {
                url.push_str(&shape.path.replace("{method}", &self.operation.method));
                shape.verb.as_str()
            }
            _ => {
                url.push_str(self.operation.path.as_deref().unwrap_or_default());
                self.operation.method.as_str()
            }
        };
        let mut url = parse_url(&url).ok()?;
        let account = Account { manifest: self.manifest, fields: self.fields };
        let signature = self.connector.transport().signature_of(&self.operation.module);
        let signer = signature.map(|signature| Signer::new(signature, &account, self.stamp));
        let before = signer.map(|signer| signer.before()).transpose().ok()?.unwrap_or_default();
        for (name, template) in &transport.query {
            if let Some(value) = rendering::text(template, self.fields) {
                url.query_pairs_mut().append_pair(name, &value);
            }
        }
        append(&mut url, &before);
        let method = Method::from_bytes(verb.as_bytes()).ok()?;
        let bodiless = method == Method::GET || method == Method::HEAD;
        let with = |signed: &[&Placed]| (!bodiless).then(|| self.body(signed));
        let mut body = with(&[&before]);
        let mut signed = before;
        if let Some(signer) = signer {
            let form = match self.manifest.body_encoding(&self.operation.module, Some(self.operation)) {
                BodyEncoding::Form => BodyForm::Form,
                BodyEncoding::Json | BodyEncoding::Multipart => BodyForm::Json,
            };
            let bytes = body.as_ref().map(|(_, body)| body.as_bytes());
            let mut after = signer.after(Signable { method: method.as_str(), url: &url, body: bytes, form }).ok()?;
            append(&mut url, &after);
            if !after.body.is_empty() {
                body = with(&[&signed, &after]);
            }
            if let (Some((_, body)), Some(payload)) = (&mut body, after.payload.take()) {
                *body = payload;
            }
            signed.headers.append(&mut after.headers);
        }
        let mut request = token_endpoint::request(method, url)
            .with_header(ACCEPT, HeaderValue::from_static("application/json, */*;q=0.8"));
        for (name, template) in transport.headers.iter().chain(&self.operation.headers) {
            if let Some(value) = rendering::text(template, self.fields) {
                let (name, value) = token_endpoint::header(name, &value).ok()?;
                request = request.with_header(name, value);
            }
        }
        if let Some(basic) = &transport.basic {
            let part = |template: &str| rendering::text(template, self.fields).unwrap_or_default();
            let pair =
                format!("Basic {}", STANDARD.encode(format!("{}:{}", part(&basic.username), part(&basic.password))));
            request = request.with_header(AUTHORIZATION, token_endpoint::header("authorization", &pair).ok()?.1);
        }
        for (name, value) in &signed.headers {
            let (name, value) = token_endpoint::header(name, value).ok()?;
            request = request.with_header(name, value);
        }
        Some(match body {
            Some((kind, body)) => {
                let body = body.as_bytes().to_vec();
                request.with_header(CONTENT_TYPE, HeaderValue::from_static(kind)).with_body(body)
            }
            None => request,
        })
    }

    /// As in the manifest's example, because some vendors refuse a POST without, and with what a signature puts in.
    fn body(&self, signed: &[&Placed]) -> (&'static str, Zeroizing<String>) {
        let example = self.operation.request_example.as_ref().and_then(|example| example.body.clone());
        let mut body = match example {
            Some(Value::Object(members)) => members,
            _ => Map::new(),
        };
        if let Some(field) = &self.module.body_field {
            let whole = Value::Object(std::mem::take(&mut body)).to_string();
            body.insert(field.clone(), Value::from(whole));
        }
        for (name, template) in &self.manifest.transport.body {
            if let Some(value) = rendering::text(template, self.fields) {
                body.insert(name.clone(), Value::from(value));
            }
        }
        for (name, value) in signed.iter().flat_map(|placed| &placed.body) {
            body.insert(name.clone(), Value::from(value.as_str()));
        }
        let (kind, body) = match self.manifest.body_encoding(&self.operation.module, Some(self.operation)) {
            // `connectors lint` wants no files of a test.
            BodyEncoding::Json | BodyEncoding::Multipart => ("application/json", Value::Object(body).to_string()),
            BodyEncoding::Form => {
                let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let pairs = body.into_iter().map(|(name, value)| (name, text(value)));
                let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
                ("application/x-www-form-urlencoded", form)
            }
        };
        (kind, Zeroizing::new(body))
    }

    fn verdict(&self, answer: &EgressResponse) -> Verdict {
        let status = answer.status.as_u16();
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        let rule = self.operation.success.as_ref().or(self.manifest.success.as_ref());
        let fits = rule.is_none_or(|rule| rule.fits(&body));
        if answer.status.is_success() && fits {
            return Verdict::Works;
        }
        let code = self.manifest.errors.code.iter().find_map(|pointer| plain_code(body.pointer(pointer)?));
        let said = code.as_ref().map_or_else(|| format!("HTTP {status}"), |code| format!("HTTP {status}, {code}"));
        match (self.manifest.errors.meaning(status, code.as_deref()), status) {
            (Some(ErrorMeaning::RateLimited | ErrorMeaning::Failed), _) => Verdict::Down(said),
            (Some(_), _) => Verdict::Refused(said),
            (None, 408 | 425 | 429 | 500..) => Verdict::Down(said),
            (None, _) => Verdict::Refused(said),
        }
    }
}

fn append(url: &mut url::Url, placed: &Placed) {
    for (name, value) in &placed.query {
        url.query_pairs_mut().append_pair(name, value);
    }
}

/// A vendor's code that is one, and not a sentence that may quote what was sent.
fn plain_code(value: &Value) -> Option<String> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (!text.is_empty() && text.len() <= 40 && text.chars().all(plain)).then_some(text)
}
