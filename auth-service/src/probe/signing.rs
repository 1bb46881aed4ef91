//! What a signature of the test request is made of.

use plugboard_core::clock::Clock;
use plugboard_core::identity::IdentityError;
use plugboard_core::manifest::signature::{FieldValues, Stamp};
use plugboard_core::manifest::{Connector, Manifest, Variable};
use plugboard_core::secret::AccountFields;

/// The account as a signature sees it.
pub(super) struct Account<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) fields: &'a AccountFields,
}

impl FieldValues for Account<'_> {
    fn get(&self, variable: &Variable) -> Option<&str> {
        self.manifest.value_of(self.fields, variable)
    }

    fn is_optional(&self, variable: &Variable) -> bool {
        matches!(variable, Variable::Account(name) if self.manifest.credential(name).is_some_and(|field| field.optional))
    }

    /// What is derived stays here: nothing of the answer but its meaning leaves the test.
    fn is_secret(&self, _: &Variable) -> bool {
        false
    }
}

/// The time and a nonce; nothing is drawn for a connector that signs nothing.
pub(super) fn stamp(connector: &Connector, clock: &dyn Clock) -> Result<Stamp, IdentityError> {
    let mut nonce = [0; 16];
    if !connector.transport().signatures.is_empty() {
        getrandom::fill(&mut nonce).map_err(|_| IdentityError::Unavailable("the machine gave no randomness".into()))?;
    }
    Ok(Stamp { at: clock.now(), nonce })
}
