//! Asking a person to connect an account in the middle of a call (elicitation in URL mode), and the call's repeat.
//!
//! Between the two, the client holds a sealed state with the claim for what its person connects. A client repeats as soon
//! as its person has agreed to open the link, so the repeat waits for the account, for 45 seconds. The claim
//! is used up by the first repeat that finds one: a state that is played back redeems nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use plugboard_core::error::CallError;
use plugboard_core::identity::{Actor, IdentityError, IssuedSession, Principal, on_behalf_of};
use plugboard_core::ids::OrganizationId;
use serde::Deserialize;
use serde_json::json;

use super::Lack;
use super::state::{Bound, State};
use crate::answer::Answer;
use crate::state::Gateway;
use crate::submit::{auth_away, noted};

/// The only thing that is asked for.
const REQUEST: &str = "connect";

/// How often a repeat looks whether its person is done.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Longest wait of a repeat: below the patience of clients.
const WAIT: Duration = Duration::from_secs(45);

/// To be sent to the client instead of an answer.
#[derive(Debug)]
pub struct Ask {
    pub requests: Bytes,
    pub state: String,
}

/// What a repeat leads to.
#[derive(Debug)]
pub enum Resumed {
    /// Make the call: the account is there, or somebody has seen to it before.
    Call,
    /// Make the call, and do not ask again: the person does not want to.
    Declined,
    /// The person is not done yet.
    Ask(Ask),
    /// Not a state of this server for this key and these arguments.
    Refused,
    Failed(Answer),
}

impl Gateway {
    /// What to ask when a call lacks an account. `None`: nothing, the answer stands.
    pub async fn ask_to_connect(&self, principal: &Principal, arguments: &str, answer: &Answer) -> Option<Ask> {
        let lack = Lack::of(answer)?;
        let session = self.connect_link(principal, &lack.service, true).await?;
        let IssuedSession { url, claim, expires_at, .. } = Arc::as_ref(&session).clone();
        let state = State { service: lack.service, claim: claim?, url, expires_at };
        self.asking(Bound { key: &principal.key_id, arguments }, &state)
    }

    fn asking(&self, bound: Bound<'_>, state: &State) -> Option<Ask> {
        let message = format!(
            "{} is not connected. Open the link to connect it; the call goes on when you are done.",
            self.service_name(&state.service)
        );
        let params = json!({"mode": "url", "message": message, "url": state.url.expose()});
        let requests = json!({REQUEST: {"method": "elicitation/create", "params": params}});
        Some(Ask { requests: requests.to_string().into(), state: self.connect_links.seal.seal(bound, state)? })
    }

    /// The repeat of a call that was answered with [`Gateway::ask_to_connect`].
    pub async fn resume(
        &self,
        principal: &Principal,
        arguments: &str,
        state: &str,
        responses: Option<&str>,
    ) -> Resumed {
        let Some(organization) = &principal.organization else { return Resumed::Refused };
        let bound = Bound { key: &principal.key_id, arguments };
        let Some(state) = self.connect_links.seal.open(bound, state, self.clock.now()) else {
            return Resumed::Refused;
        };
        let ask = || {
            self.asking(bound, &state)
                .map_or_else(|| Resumed::Failed(Answer::failed(CallError::internal())), Resumed::Ask)
        };
        match action(responses).as_deref() {
            Some("accept") => {}
            Some(_) => return Resumed::Declined,
            // It was not answered.
            None => return ask(),
        }
        let connected = on_behalf_of(Actor::of(principal), self.connected(organization, &state));
        match tokio::time::timeout(WAIT, connected).await {
            Ok(Ok(())) => Resumed::Call,
            Ok(Err(error)) => Resumed::Failed(Answer::failed(noted(auth_away(error)))),
            Err(_) => ask(),
        }
    }

    /// Waits until something was connected through the link.
    async fn connected(&self, organization: &OrganizationId, state: &State) -> Result<(), IdentityError> {
        loop {
            match self.connect.redeem_claim(organization, &state.claim).await {
                Ok(accounts) if accounts.is_empty() => tokio::time::sleep(LOOK_EVERY).await,
                Ok(_) => break,
                // Used up by another call that waited for the same account, or played back: the call itself will tell.
                Err(IdentityError::NotFound { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        self.directory.forget_accounts(organization);
        Ok(())
    }
}

/// `accept`, `decline` or `cancel`.
fn action(responses: Option<&str>) -> Option<String> {
    #[derive(Deserialize)]
    struct Responses {
        #[serde(default)]
        connect: Option<Response>,
    }
    #[derive(Deserialize)]
    struct Response {
        action: String,
    }
    let responses: Responses = serde_json::from_str(responses?).ok()?;
    responses.connect.map(|response| response.action)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_person_said() {
        let said = |json: &str| action(Some(json));
        assert_eq!(said(r#"{"connect":{"action":"accept"}}"#).as_deref(), Some("accept"));
        assert_eq!(said(r#"{"connect":{"action":"decline"},"other":1}"#).as_deref(), Some("decline"));
        assert_eq!(said(r#"{"other":{"action":"accept"}}"#), None);
        assert_eq!(said(r#"{"connect":1}"#), None);
        assert_eq!(action(None), None);
    }
}
