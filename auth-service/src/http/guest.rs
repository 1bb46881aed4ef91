//! Who is on a page: a browser inside a connect session, and the forms that it sends.
//!
//! A form counts only with its visit's own mark, which whoever lacks the cookie cannot know, and never when the browser
//! says that another site has sent it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::Response;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use plugboard_core::identity::{Account, IdentityError};
use plugboard_core::secret::Secret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::language::Language;
use super::{cookies, errors};
use crate::service::AuthService;
use crate::sessions::ConnectVisit;

pub(super) const FORM_TOKEN: &str = "form_token";
/// Every field of a form together; one field has 16 KiB at most.
pub(super) const LARGEST_FORM: usize = 256 * 1024;

/// A browser inside its session.
pub(super) struct Guest {
    pub service: Arc<AuthService>,
    pub language: Language,
    pub visit: ConnectVisit,
    /// All that the person may manage, with the present state of each.
    pub accounts: Vec<Account>,
    pub form_token: String,
    /// Of this page, with its query.
    pub path: String,
}

impl FromRequestParts<Arc<AuthService>> for Guest {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, service: &Arc<AuthService>) -> Result<Self, Response> {
        let language = Language::of(&parts.headers);
        let cookie = cookies::get(&parts.headers, cookies::SESSION, service.is_https());
        let Some(cookie) = cookie else { return Err(errors::no_visit(language)) };
        let visit = match service.visit(&cookie).await {
            Ok(visit) => visit,
            Err(IdentityError::NotFound { .. }) => return Err(errors::no_visit(language)),
            Err(error) => return Err(errors::trouble(language, &error)),
        };
        let accounts = service.visit_accounts(&visit).await.map_err(|error| errors::trouble(language, &error))?;
        let path = parts.uri.path_and_query().map_or("/connect", |path| path.as_str()).to_owned();
        Ok(Self { service: service.clone(), language, visit, accounts, form_token: form_token(&cookie), path })
    }
}

impl Guest {
    pub(super) fn account(&self, id: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.id.as_str() == id)
    }
}

/// Follows from the cookie, and the cookie does not follow from it.
fn form_token(cookie: &Secret) -> String {
    hex::encode(Sha256::digest(format!("plugboard connect form {}", cookie.expose())))
}

/// A form of this visit's.
pub(super) struct Posted {
    pub guest: Guest,
    pub fields: BTreeMap<String, Secret>,
}

impl FromRequest<Arc<AuthService>> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, service: &Arc<AuthService>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let guest = Guest::from_request_parts(&mut parts, service).await?;
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let foreign = header("sec-fetch-site").is_some_and(|site| site == "cross-site" || site == "same-site");
        let is_form =
            header(CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        if foreign || !is_form {
            return Err(errors::stale_form(guest.language));
        }
        let body = Bytes::from_request(Request::from_parts(parts, body), service).await;
        let body = match body {
            Ok(body) => body,
            Err(rejected) if rejected.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                return Err(errors::too_much(guest.language));
            }
            Err(_) => return Err(errors::stale_form(guest.language)),
        };
        let pairs = url::form_urlencoded::parse(&body);
        let mut fields: BTreeMap<String, Secret> =
            pairs.map(|(name, value)| (name.into_owned(), Secret::new(value.into_owned()))).collect();
        let sent = fields.remove(FORM_TOKEN).unwrap_or_else(|| Secret::new(""));
        if !bool::from(sent.expose().as_bytes().ct_eq(guest.form_token.as_bytes())) {
            return Err(errors::stale_form(guest.language));
        }
        Ok(Self { guest, fields })
    }
}
