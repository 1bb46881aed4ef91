//! Which account a call means.

use plugboard_core::error::{CallError, ErrorCode, Fix, FixKind};
use plugboard_core::identity::{Account, AccountState, Principal, fold_label};
use plugboard_core::ids::{AccountId, ServiceKey};
use serde_json::json;

/// The account of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    pub id: AccountId,
    pub label: String,
}

/// How the caller named it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Named<'a> {
    /// The part after the colon of `service:Label`.
    pub label: Option<&'a str>,
    pub instance_id: Option<&'a str>,
}

/// Accounts a principal may use: shared ones and its own subject's.
pub fn visible<'a>(accounts: &'a [Account], principal: &'a Principal) -> impl Iterator<Item = &'a Account> {
    accounts.iter().filter(|account| account.owner.is_none() || account.owner == principal.subject)
}

/// # Errors
/// NOT_CONNECTED, ACCOUNT_AMBIGUOUS with the list, INVALID_ARGUMENT for a name that fits no account, and the states an
/// account can be in.
pub fn choose(
    accounts: &[Account],
    principal: &Principal,
    service: &ServiceKey,
    named: Named<'_>,
    sandbox: bool,
) -> Result<Chosen, CallError> {
    let mine: Vec<&Account> = visible(accounts, principal).filter(|account| account.service == *service).collect();
    let by_label = match named.label {
        Some(label) => {
            Some(find(&mine, service, "service", label, |account| fold_label(&account.label) == fold_label(label))?)
        }
        None => None,
    };
    let by_id = match named.instance_id {
        Some(id) => Some(find(&mine, service, "instance_id", id, |account| account.id.as_str() == id)?),
        None => None,
    };
    let account = match (by_label, by_id) {
        (Some(label), Some(id)) if label.id != id.id => {
            let message = format!(
                "`instance_id` names the account {:?} but the suffix of `service` names {:?}. Give one of the two.",
                id.label, label.label
            );
            return Err(CallError::argument("instance_id", message));
        }
        (Some(account), _) | (None, Some(account)) => account,
        (None, None) => match mine.as_slice() {
            [] if sandbox => return Ok(Chosen { id: AccountId::sandbox(), label: "Sandbox".to_owned() }),
            [] => return Err(not_connected(service)),
            [only] => only,
            several => return Err(ambiguous(service, several)),
        },
    };
    usable(account)?;
    Ok(Chosen { id: account.id.clone(), label: account.label.clone() })
}

fn find<'a>(
    mine: &[&'a Account],
    service: &ServiceKey,
    field: &str,
    wanted: &str,
    fits: impl Fn(&Account) -> bool,
) -> Result<&'a Account, CallError> {
    if let Some(account) = mine.iter().find(|account| fits(account)) {
        return Ok(account);
    }
    if mine.is_empty() {
        return Err(not_connected(service));
    }
    let message = format!("There is no {service} account {wanted:?}. Accounts: {}.", labels(mine));
    Err(CallError::argument(field, message).fix(choices(mine, field)))
}

fn usable(account: &Account) -> Result<(), CallError> {
    let reconnect = || Fix::new(FixKind::Reconnect).hint("An admin reconnects it under /api/v1/connections.");
    let expired = |why: &str| {
        CallError::new(ErrorCode::AccountExpired, format!("The account {:?} {why}.", account.label)).fix(reconnect())
    };
    match account.state {
        AccountState::Connected | AccountState::Expiring | AccountState::VendorDown => Ok(()),
        AccountState::NeedsReauth => {
            Err(expired(&format!("must be connected again: {}", reason(&account.state_reason))))
        }
        AccountState::PendingClaim => Err(expired("was connected through a link and has not been claimed yet")),
        AccountState::Revoked => {
            Err(CallError::new(ErrorCode::AccountRevoked, format!("The account {:?} has been revoked.", account.label))
                .fix(reconnect()))
        }
    }
}

/// Why an account must be connected again, in words.
fn reason(word: &str) -> &'static str {
    match word {
        "invalid_grant" => "the vendor has ended its access",
        "refresh_lost" => "the vendor replaced its token and the new one was lost",
        "token_expired" => "its token has expired",
        "client_changed" => "the OAuth client it was connected with is gone",
        _ => "its secrets are no longer complete",
    }
}

fn not_connected(service: &ServiceKey) -> CallError {
    CallError::new(
        ErrorCode::NotConnected,
        format!("No {service} account is connected. An admin connects one with POST /api/v1/connections."),
    )
    .fix(Fix::new(FixKind::Reconnect).field("service").hint("Connect an account, then repeat the call."))
}

fn ambiguous(service: &ServiceKey, several: &[&Account]) -> CallError {
    let message = format!(
        "There are {} {service} accounts: {}. Say which: `service: \"{service}:<label>\"` or `instance_id`.",
        several.len(),
        labels(several)
    );
    CallError::new(ErrorCode::AccountAmbiguous, message).field("instance_id").fix(choices(several, "instance_id"))
}

fn labels(accounts: &[&Account]) -> String {
    accounts.iter().map(|account| account.label.as_str()).collect::<Vec<_>>().join(", ")
}

fn choices(accounts: &[&Account], field: &str) -> Fix {
    Fix::new(FixKind::ChooseAccount)
        .field(field)
        .options(accounts.iter().map(|account| json!({"instance_id": account.id.as_str(), "label": account.label})))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use plugboard_core::clock::Millis;
    use plugboard_core::identity::Scopes;
    use plugboard_core::ids::{KeyId, OrganizationId, Subject};

    use super::*;

    fn account(label: &str, owner: Option<&str>) -> Account {
        Account {
            id: AccountId::generate(),
            organization: OrganizationId::generate(),
            service: ServiceKey::trusted("ozon"),
            label: label.to_owned(),
            owner: owner.map(|owner| Subject(owner.to_owned())),
            state: AccountState::Connected,
            state_reason: String::new(),
            state_since: Millis(0),
            public_fields: BTreeMap::new(),
            created_at: Millis(0),
            updated_at: Millis(0),
        }
    }

    fn principal(subject: Option<&str>) -> Principal {
        Principal {
            key_id: KeyId::generate(),
            organization: Some(OrganizationId::generate()),
            scopes: Scopes::all(),
            agent: None,
            subject: subject.map(|subject| Subject(subject.to_owned())),
            expires_at: Millis(i64::MAX),
        }
    }

    fn pick(accounts: &[Account], subject: Option<&str>, named: Named<'_>) -> Result<String, ErrorCode> {
        choose(accounts, &principal(subject), &ServiceKey::trusted("ozon"), named, false)
            .map(|chosen| chosen.label)
            .map_err(|error| error.code)
    }

    #[test]
    fn by_default_by_label_and_by_id() {
        let one = vec![account("Top Zip", None)];
        let two = vec![account("Top Zip", None), account("Кафе", None)];
        let label = |label| Named { label: Some(label), ..Named::default() };
        assert_eq!(pick(&[], None, Named::default()), Err(ErrorCode::NotConnected));
        assert_eq!(pick(&one, None, Named::default()).unwrap(), "Top Zip");
        assert_eq!(pick(&two, None, Named::default()), Err(ErrorCode::AccountAmbiguous));
        assert_eq!(pick(&two, None, label("top zip")).unwrap(), "Top Zip");
        assert_eq!(pick(&two, None, label("Кафе\u{301}")), Err(ErrorCode::InvalidArgument));
        assert_eq!(pick(&two, None, label("КАФЕ")).unwrap(), "Кафе");
        let id = two[1].id.as_str().to_owned();
        let both = |label| Named { label: Some(label), instance_id: Some(&id) };
        assert_eq!(pick(&two, None, both("кафе")).unwrap(), "Кафе");
        assert_eq!(pick(&two, None, both("Top Zip")), Err(ErrorCode::InvalidArgument));
        let foreign = AccountId::generate();
        let named = Named { instance_id: Some(foreign.as_str()), ..Named::default() };
        assert_eq!(pick(&two, None, named), Err(ErrorCode::InvalidArgument));
    }

    #[test]
    fn an_end_user_uses_its_own_and_the_shared_ones() {
        let accounts = vec![account("Anna's", Some("anna"))];
        assert_eq!(pick(&accounts, Some("anna"), Named::default()).unwrap(), "Anna's");
        assert_eq!(pick(&accounts, Some("boris"), Named::default()), Err(ErrorCode::NotConnected));
        assert_eq!(pick(&accounts, None, Named::default()), Err(ErrorCode::NotConnected));
    }
}
