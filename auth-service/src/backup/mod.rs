//! Backup and restore of everything that the auth service stores, whichever store it is in.
//!
//! A backup is what was stored at one moment. What is sealed stays sealed, and the file is signed with the present master
//! key; so it is worth nothing without the master keys, which are kept elsewhere, and it names those that it needs. Left out
//! is what lasts minutes: sign-ins that are under way and connect sessions, whose links and states must not work twice.
//!
//! A restore believes nothing: the whole file is read and its signature checked before anything is written, and every
//! master key that it needs must be at hand. Meanwhile a mark is in the store with which no auth service starts; it is taken
//! away in the commit that enters the restore in the audit log. Auth services must not run: with them away every cache is
//! closed, so that none can keep a permission that the restored store does not have.
//!
//! **What was revoked after the backup** was not yet revoked in it. What the store that is replaced knows of revocations is
//! kept; where that store is lost, nobody here knows of them.

mod format;
mod restore;
mod take;
#[cfg(test)]
mod tests;

use plugboard_core::identity::IdentityError;
use plugboard_core::store::StoreError;

pub use format::{NeededKey, Summary};
pub(crate) use restore::refuse_half_restored;
pub use restore::{Backup, Replace, Restored};
pub use take::take;

use crate::key_source::KeySourceError;

/// Where records begin that are of a moment.
pub(crate) const FLEETING: [&str; 8] = [
    crate::keyring::HOLDERS,
    crate::oauth::records::LINKS,
    crate::oauth::records::FLOWS,
    crate::oauth::records::DEVICES,
    crate::oauth::records::CLAIMS,
    crate::sessions::SESSIONS,
    crate::sessions::TOKENS,
    crate::sessions::BROWSERS,
];

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("the backup cannot be used: {0}")]
    Damaged(String),
    #[error("the backup is of format {0}, which this version does not know: use a newer plugboard")]
    Format(u32),
    #[error("the backup needs the master keys {}; not here: {}. Put them back, then try again", .needed.join(", "), .missing.join(", "))]
    KeysMissing { needed: Vec<String>, missing: Vec<String> },
    #[error("the master key {0:?} is not the one that the backup was made with: another key has its id here")]
    OtherKey(String),
    #[error("the store is not empty ({0} organizations); `--replace` deletes what is in it")]
    NotEmpty(usize),
    #[error("{0} auth services were heard of in the last 90 seconds: stop them first, or wait if they were killed")]
    Running(usize),
    #[error("the backup cannot be read or written: {0}")]
    Io(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Records(#[from] IdentityError),
    #[error("master keys: {0}")]
    Keys(#[from] KeySourceError),
}
