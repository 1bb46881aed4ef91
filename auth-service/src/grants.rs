//! Requests for a token without a person: client credentials (RFC 6749 §4.4), a login, a service account (RFC 7523).

use indexmap::IndexMap;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use plugboard_core::clock::Millis;
use plugboard_core::egress::EgressRequest;
use plugboard_core::identity::IdentityError;
use plugboard_core::manifest::{Assertion, Connector, TokenGrant, TokenGrantKind, TokenRequestStyle};
use plugboard_core::secret::{AccountFields, Secret};
use serde_json::{Map, Value, json};

use crate::rendering;
use crate::token_endpoint::{Client, Failure, TokenCall, header};

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// A token grant with everything filled in, except what depends on the moment of sending.
pub(crate) struct TokenRequest {
    url: String,
    style: TokenRequestStyle,
    names: IndexMap<String, String>,
    grant: Grant,
    scope: Option<Secret>,
    further: Vec<(String, Secret)>,
    pub access_token: String,
    pub expires_in: String,
    pub lifetime: Option<u64>,
}

enum Grant {
    ClientCredentials(Client),
    Login { headers: Vec<(String, Secret)>, body: Vec<(String, Secret)>, json: Secret },
    JwtBearer(Claims),
}

/// What a service account says of itself.
struct Claims {
    key: Secret,
    key_id: Option<String>,
    claims: Map<String, Value>,
    life_seconds: u32,
}

/// The manifest's token grant with the account's fields filled in; `None` when it has none.
///
/// # Errors
/// [`IdentityError::NeedsReauth`] when a field is not there: the account was connected before it was asked for.
pub(crate) fn token_request(
    connector: &Connector,
    fields: &AccountFields,
) -> Result<Option<TokenRequest>, IdentityError> {
    let Some(grant) = &connector.manifest().transport.token else { return Ok(None) };
    filled(connector, grant, fields).map(Some).ok_or(IdentityError::NeedsReauth)
}

fn filled(connector: &Connector, grant: &TokenGrant, fields: &AccountFields) -> Option<TokenRequest> {
    let url = rendering::url(&grant.url, connector.manifest(), fields)?;
    let text = |template: &str| rendering::text(template, fields).map(Secret::new);
    let pairs = |map: &IndexMap<String, String>| {
        map.iter().map(|(name, template)| Some((name.clone(), text(template)?))).collect::<Option<Vec<_>>>()
    };
    Some(TokenRequest {
        grant: match grant.kind {
            TokenGrantKind::ClientCredentials => Grant::ClientCredentials(Client {
                id: text(&grant.client_id)?,
                secret: text(&grant.client_secret)?,
                auth: grant.client_auth,
            }),
            TokenGrantKind::Login => {
                let login = grant.login.as_ref()?;
                let body = rendering::json(&login.body, fields)?;
                Grant::Login { headers: pairs(&login.headers)?, body: form(&body), json: Secret::new(body.to_string()) }
            }
            TokenGrantKind::JwtBearer => Grant::JwtBearer(claims(grant.assertion.as_ref()?, &url, fields)?),
        },
        scope: match &grant.scope {
            Some(scope) => Some(text(scope)?),
            None => None,
        },
        further: pairs(&grant.params)?,
        url,
        style: grant.request,
        names: grant.names.clone(),
        access_token: grant.access_token.clone(),
        expires_in: grant.expires_in.clone(),
        lifetime: grant.lifetime_seconds.map(u64::from),
    })
}

/// The top level of a body as a form.
fn form(body: &Value) -> Vec<(String, Secret)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let members = body.as_object().into_iter().flatten();
    members.map(|(name, value)| (name.clone(), Secret::new(text(value)))).collect()
}

fn claims(assertion: &Assertion, url: &str, fields: &AccountFields) -> Option<Claims> {
    let text = |template: &String| rendering::text(template, fields);
    let mut claims = Map::new();
    claims.insert("iss".to_owned(), json!(text(&assertion.issuer)?));
    if let Some(subject) = &assertion.subject {
        claims.insert("sub".to_owned(), json!(text(subject)?));
    }
    let audience = assertion.audience.as_ref().map_or_else(|| Some(url.to_owned()), text);
    claims.insert("aud".to_owned(), json!(audience?));
    for (name, template) in &assertion.claims {
        claims.insert(name.clone(), json!(text(template)?));
    }
    Some(Claims {
        // A key copied out of a JSON file has its line breaks written as `\n`.
        key: Secret::new(text(&assertion.key)?.replace("\\n", "\n")),
        key_id: match &assertion.key_id {
            Some(id) => Some(text(id)?),
            None => None,
        },
        claims,
        life_seconds: assertion.lifetime_seconds,
    })
}

impl Claims {
    /// RFC 7523 §2.1, signed by RS256.
    fn sign(&self, now: Millis) -> Result<Secret, Failure> {
        // The account's key is at fault, so the vendor's "no" is said for it.
        let wrong = || Failure::Refused { said: "the private key is no RSA key in PEM".to_owned(), code: None };
        let key = EncodingKey::from_rsa_pem(self.key.expose().as_bytes()).map_err(|_| wrong())?;
        let seconds = now.0.div_euclid(1000);
        let mut claims = self.claims.clone();
        claims.insert("iat".to_owned(), json!(seconds));
        claims.insert("exp".to_owned(), json!(seconds + i64::from(self.life_seconds)));
        let header = Header { kid: self.key_id.clone(), ..Header::new(Algorithm::RS256) };
        jsonwebtoken::encode(&header, &claims, &key).map(Secret::new).map_err(|_| wrong())
    }
}

impl TokenRequest {
    pub(crate) fn outgoing(&self, now: Millis) -> Result<EgressRequest, Failure> {
        let mut call = TokenCall {
            url: &self.url,
            style: self.style,
            names: &self.names,
            client: None,
            parameters: Vec::new(),
            further: self.further.clone(),
            once: false,
        };
        match &self.grant {
            Grant::ClientCredentials(client) => {
                call.parameters.push(("grant_type", Secret::new("client_credentials")));
                call.client = Some(client);
            }
            Grant::JwtBearer(claims) => {
                call.parameters.push(("grant_type", Secret::new(JWT_BEARER)));
                call.parameters.push(("assertion", claims.sign(now)?));
            }
            Grant::Login { headers, body, json } => {
                call.further.extend(body.iter().cloned());
                return login(&call, headers, json);
            }
        }
        call.parameters.extend(self.scope.iter().map(|scope| ("scope", scope.clone())));
        call.outgoing()
    }
}

/// JSON as the manifest has it, nested or not; anything else by its top level.
fn login(call: &TokenCall<'_>, headers: &[(String, Secret)], json: &Secret) -> Result<EgressRequest, Failure> {
    let mut outgoing = call.outgoing()?;
    if call.style == TokenRequestStyle::Json {
        outgoing = outgoing.with_body(json.expose().to_owned());
    }
    for (name, value) in headers {
        let (name, value) = header(name, value.expose())?;
        outgoing = outgoing.with_header(name, value);
    }
    Ok(outgoing)
}

#[cfg(test)]
#[path = "grants_tests.rs"]
pub(crate) mod tests;
