//! What a browser brings back to its own site, and the site's backend redeems.

use std::time::Duration;

use plugboard_core::clock::Millis;
use plugboard_core::identity::{Account, IdentityError};
use plugboard_core::ids::OrganizationId;
use plugboard_core::secret::Secret;
use plugboard_core::store::{Expect, Write};

use super::OAuth;
use super::records::{self as names, ClaimRecord, random_token};
use crate::records;

/// Of a claim that a browser brings back.
pub(crate) const LIFE: Duration = Duration::from_secs(60 * 60);
const NO_CLAIM: IdentityError = IdentityError::NotFound { what: "the claim" };

impl OAuth {
    /// `claim`: what the accounts wait for.
    pub(crate) async fn issue_claim(
        &self,
        organization: &OrganizationId,
        claim: &str,
        life: Duration,
    ) -> Result<Secret, IdentityError> {
        let (token, write) = self.new_claim(organization, claim, life)?;
        self.records.commit(vec![write], None).await?.map_err(|_| records::contended())?;
        Ok(token)
    }

    /// A claim, and the write by which it begins to count.
    pub(crate) fn new_claim(
        &self,
        organization: &OrganizationId,
        claim: &str,
        life: Duration,
    ) -> Result<(Secret, Write), IdentityError> {
        let token = random_token()?;
        let record = ClaimRecord {
            organization: organization.clone(),
            claim: claim.to_owned(),
            expires_at: self.clock.now().plus(life).0,
        };
        let write = records::put(names::claim(&token), &record, Expect::Absent)?;
        Ok((token, write))
    }

    pub(crate) async fn redeem_claim(
        &self,
        organization: &OrganizationId,
        claim: &Secret,
    ) -> Result<Vec<Account>, IdentityError> {
        let name = names::claim(claim);
        let found: Option<(ClaimRecord, u64)> = self.records.get(&name).await?;
        let (record, version) = found.ok_or(NO_CLAIM)?;
        // Another organization's claim is not used up by whoever stole it.
        if record.organization != *organization || Millis(record.expires_at) <= self.clock.now() {
            return Err(NO_CLAIM);
        }
        // Accounts first: whoever dies in between leaves a claim that works, not accounts that nobody can use.
        let claimed = self.accounts.claim(organization, &record.claim).await?;
        // The claim of a call is tried until its person has connected something.
        if claimed.is_empty() {
            return Ok(claimed);
        }
        // Whoever came second finds nothing left to do.
        let _ = self.records.commit(vec![Write::delete(name, Expect::Version(version))], None).await?;
        Ok(claimed)
    }
}
