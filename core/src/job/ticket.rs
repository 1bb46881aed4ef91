//! The ticket that lets an executor ask for exactly one account, for exactly one accepted call.
//!
//! Gateways mint it, the auth service checks it, executors only carry it: they do not know the key. Write access to
//! the queue is therefore no access to credentials.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::clock::Millis;
use crate::ids::{AccountId, ExecutionId, OrganizationId, ServiceKey};
use crate::secret::SecretKey;

/// What a ticket binds together.
#[derive(Debug, Clone, Copy)]
pub struct TicketFacts<'a> {
    pub execution_id: &'a ExecutionId,
    pub organization: &'a OrganizationId,
    pub service: &'a ServiceKey,
    pub account: &'a AccountId,
    pub request_hash: &'a [u8; 32],
    pub deadline: Millis,
}

/// HMAC-SHA-256 key shared by gateways and the auth service.
#[derive(Debug, Clone)]
pub struct TicketKey(SecretKey);

impl TicketKey {
    pub fn new(key: SecretKey) -> Self {
        Self(key)
    }

    pub fn sign(&self, facts: TicketFacts<'_>) -> [u8; 32] {
        self.mac(facts).finalize().into_bytes().into()
    }

    /// Constant time. The deadline is checked by the caller, who knows the time.
    pub fn verify(&self, facts: TicketFacts<'_>, ticket: &[u8]) -> bool {
        self.mac(facts).verify_slice(ticket).is_ok()
    }

    fn mac(&self, facts: TicketFacts<'_>) -> Hmac<Sha256> {
        let mut mac = match Hmac::<Sha256>::new_from_slice(self.0.expose()) {
            Ok(mac) => mac,
            Err(_) => unreachable!("HMAC takes keys of any length"),
        };
        let texts =
            [facts.execution_id.as_str(), facts.organization.as_str(), facts.service.as_str(), facts.account.as_str()];
        for text in texts {
            mac.update(&(text.len() as u64).to_be_bytes());
            mac.update(text.as_bytes());
        }
        mac.update(facts.request_hash);
        mac.update(&facts.deadline.0.to_be_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_fits_its_own_call_only() {
        let key = TicketKey::new(SecretKey::new([7; 32]));
        let (execution_id, organization) = (ExecutionId::generate(), OrganizationId::generate());
        let (service, account) = (ServiceKey::trusted("ozon"), AccountId::generate());
        let (other_organization, other_account) = (OrganizationId::generate(), AccountId::generate());
        let facts = TicketFacts {
            execution_id: &execution_id,
            organization: &organization,
            service: &service,
            account: &account,
            request_hash: &[1; 32],
            deadline: Millis(5),
        };
        let ticket = key.sign(facts);
        assert!(key.verify(facts, &ticket));
        assert!(!key.verify(TicketFacts { organization: &other_organization, ..facts }, &ticket));
        assert!(!key.verify(TicketFacts { account: &other_account, ..facts }, &ticket));
        assert!(!key.verify(TicketFacts { request_hash: &[2; 32], ..facts }, &ticket));
        assert!(!key.verify(TicketFacts { deadline: Millis(6), ..facts }, &ticket));
        assert!(!key.verify(facts, &ticket[..31]));
        assert!(!TicketKey::new(SecretKey::new([8; 32])).verify(facts, &ticket));
    }
}
