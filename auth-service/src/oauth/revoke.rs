//! Telling the vendor that tokens are to end (RFC 7009).

use std::collections::BTreeMap;

use plugboard_core::identity::IdentityError;
use plugboard_core::ids::{OrganizationId, ServiceKey};
use plugboard_core::secret::{AccountFields, Secret};

use super::redeem::Exchange;
use super::{ACCESS_TOKEN, OAuth, REFRESH_TOKEN};
use crate::token_endpoint::{self, Failure};

impl OAuth {
    /// Ends the tokens among an account's fields. The refresh token where there is one: vendors end what came of it, too.
    /// False: the connector says no way to do it, or there is nothing to end.
    ///
    /// # Errors
    /// What the vendor said, or that it did not answer.
    pub(crate) async fn revoke_tokens(
        &self,
        organization: &OrganizationId,
        service: &ServiceKey,
        fields: &BTreeMap<String, Secret>,
    ) -> Result<bool, IdentityError> {
        let connector = self.connector(service)?;
        let mut flows = connector.manifest().auth.flows.iter().filter_map(|flow| flow.oauth.as_ref());
        let Some((oauth, url)) = flows.find_map(|oauth| Some((oauth, oauth.revoke_url.as_deref()?))) else {
            return Ok(false);
        };
        let (token, hint) = match (fields.get(REFRESH_TOKEN), fields.get(ACCESS_TOKEN)) {
            (Some(token), _) => (token.clone(), "refresh_token"),
            (None, Some(token)) => (token.clone(), "access_token"),
            (None, None) => return Ok(false),
        };
        let client = self.client(organization, service, oauth).await?.client;
        let known = fields.iter().filter(|(name, _)| !name.starts_with(':'));
        let secret = known.map(|(name, value)| (name.clone(), value.clone())).collect();
        let fields = AccountFields::of_secrets(secret);
        let exchange =
            Exchange { manifest: connector.manifest(), oauth, client: &client, url, fields: &fields, once: false };
        let url = exchange.url()?;
        let parameters = vec![("token", token), ("token_type_hint", Secret::new(hint))];
        let answer = token_endpoint::send(&*self.egress, exchange.call(&url, parameters)?.outgoing()?).await?;
        match answer.status.as_u16() {
            200..=299 => Ok(true),
            status @ (408 | 425 | 429 | 500..) => Err(Failure::down(format!("HTTP {status}")).into()),
            status => Err(Failure::Refused { said: format!("HTTP {status}"), code: None }.into()),
        }
    }
}
