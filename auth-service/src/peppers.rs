//! Peppers: what API keys are hashed with, one for each master key.
//!
//! A key's hash cannot be made anew without the key itself. So a key that is presented, and was hashed under an earlier
//! pepper, is hashed under the present one a moment later, off the path of the call.

use std::sync::Arc;

use parking_lot::Mutex;
use plugboard_core::identity::IdentityError;
use plugboard_core::secret::{Secret, SecretKey};
use plugboard_core::store::{Expect, Write};

use crate::api_key;
use crate::crypto::{MasterKeys, Ring};
use crate::records::{self, BootstrapRecord, KeyRecord, Records};

/// What the pepper is derived for; changing it would forget every key.
const PEPPER: &str = "api-key-pepper";

#[derive(Clone)]
pub(crate) struct Pepper {
    /// Of the master key.
    pub id: String,
    pub key: SecretKey,
}

pub(crate) struct Peppers {
    masters: MasterKeys,
    derived: Mutex<(Arc<Ring>, Arc<Vec<Pepper>>)>,
}

impl Peppers {
    pub(crate) fn new(masters: MasterKeys) -> Self {
        let ring = masters.ring();
        let derived = Mutex::new((ring.clone(), derive(&ring)));
        Self { masters, derived }
    }

    /// The present one first.
    pub(crate) fn all(&self) -> Arc<Vec<Pepper>> {
        let ring = self.masters.ring();
        let mut derived = self.derived.lock();
        if !Arc::ptr_eq(&derived.0, &ring) {
            *derived = (ring.clone(), derive(&ring));
        }
        derived.1.clone()
    }

    pub(crate) fn present(&self) -> Pepper {
        let ring = self.masters.ring();
        let present = ring.present();
        Pepper { id: present.id.clone(), key: present.key.derive(PEPPER) }
    }

    /// The move of a key that was found under `pepper`; `None` when that is the present one.
    pub(crate) fn moving(&self, key: &Secret, pepper: &Pepper, from: String, version: u64) -> Option<Moving> {
        let present = self.present();
        (present.id != pepper.id).then(|| {
            let hash = api_key::hash(&present.key, key);
            Moving { from, version, to: api_key::place(&hash), hash: hex::encode(hash), pepper: present.id }
        })
    }
}

fn derive(ring: &Ring) -> Arc<Vec<Pepper>> {
    Arc::new(ring.iter().map(|master| Pepper { id: master.id.clone(), key: master.key.derive(PEPPER) }).collect())
}

/// A key on its way to another pepper. Holds hashes only.
#[derive(Debug, Clone)]
pub(crate) struct Moving {
    from: String,
    version: u64,
    to: String,
    hash: String,
    pepper: String,
}

impl Moving {
    pub(crate) async fn apply(self, records: &Records) -> Result<(), IdentityError> {
        let old_name = records::key(&self.from);
        let found: Option<(KeyRecord, u64)> = records.get(&old_name).await?;
        let Some((mut record, version)) = found else { return Ok(()) };
        if version != self.version {
            return Ok(());
        }
        record.hash = self.hash;
        record.pepper = self.pepper;
        let pointer = record.pointer(&self.to);
        let mut writes = vec![
            Write::delete(old_name, Expect::Version(version)),
            records::put(records::key(&self.to), &record, Expect::Absent)?,
        ];
        match &record.organization {
            Some(organization) => {
                writes.push(records::put(records::key_of(organization, &record.id), &pointer, Expect::Anything)?);
            }
            None => {
                let found: Option<(BootstrapRecord, u64)> = records.get(records::BOOTSTRAP).await?;
                let Some((mut mark, version)) = found else { return Ok(()) };
                if mark.operator_key.id == record.id {
                    mark.operator_key = pointer;
                    writes.push(records::put(records::BOOTSTRAP.to_owned(), &mark, Expect::Version(version))?);
                }
            }
        }
        // Lost to somebody else's change: the next use of the key tries again.
        records.commit(writes, None).await.map(drop)
    }
}
