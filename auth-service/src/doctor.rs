//! Whether the master keys are as they should be, and open what the store holds. Nothing is written, not even that somebody
//! has looked, and no record is named.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use plugboard_core::clock::Clock;
use plugboard_core::doctor::keys::{Named, strength};
use plugboard_core::doctor::{Finding, Part};
use plugboard_core::identity::IdentityError;
use plugboard_core::store::Store;
use tokio::sync::Notify;

use crate::audit::Scribe;
use crate::backup;
use crate::crypto::MasterKeys;
use crate::key_source::KeySource;
use crate::keyring;
use crate::records::Records;
use crate::sealed::kinds;

/// Records of a kind that are opened. The keys are the same for all of them.
const LOOKED_AT: usize = 200;

const PUT_BACK: &str = "put back the master key under which they were sealed, under the same id, in every auth service: \
                        without it these can never be opened";

/// The keys of a source by name, and what is wrong with them.
pub async fn keys(source: &dyn KeySource) -> (Vec<Named>, Vec<Finding>) {
    match source.keys().await {
        Ok(keys) => {
            let name = |id: &str| format!("the master key {id:?}");
            let keys: Vec<Named> = keys.into_iter().map(|each| Named { name: name(&each.id), key: each.key }).collect();
            let findings = keys.iter().map(strength).collect();
            (keys, findings)
        }
        Err(error) => {
            let remedy = "put it back from where you keep it; a new one opens nothing that is stored";
            (Vec::new(), vec![Part::Keys.fail(error.to_string(), remedy)])
        }
    }
}

/// A file of keys that everybody on the machine may read; `None`: it is not so, or not to be seen.
pub fn readable_by_all(file: &Path) -> Option<Finding> {
    const OTHERS: u32 = 0o007;
    let mode = std::fs::metadata(file).ok()?.permissions().mode();
    (mode & OTHERS != 0).then(|| {
        let shown = file.display();
        Part::Keys.fail(format!("{shown} may be read by every user of this machine"), format!("chmod 600 {shown}"))
    })
}

/// Whether the keys open what the store holds, as far as it is looked at: some records of each kind.
pub async fn store(store: Arc<dyn Store>, source: &dyn KeySource, clock: Arc<dyn Clock>) -> Vec<Finding> {
    match look(store, source, clock).await {
        Ok(findings) => findings,
        Err(error) => vec![Part::Keys.fail(
            format!("what the store holds cannot be looked at: {error}"),
            "see what is said of the store itself, and whether these are the master keys of this deployment",
        )],
    }
}

async fn look(
    store: Arc<dyn Store>,
    source: &dyn KeySource,
    clock: Arc<dyn Clock>,
) -> Result<Vec<Finding>, IdentityError> {
    // Said by `keys`.
    let Ok(keys) = source.keys().await else { return Ok(Vec::new()) };
    let masters = match keyring::masters(store.as_ref(), keys).await {
        Ok(masters) => masters,
        Err(error) => {
            let remedy = "give it to this auth service as the others have it (`plugboard rotate --status` lists them)";
            return Ok(vec![Part::Keys.fail(error.to_string(), remedy)]);
        }
    };
    let scribe = Scribe::new(masters.clone(), clock.clone());
    let records = Records::new(store, Arc::new(Notify::new()), scribe);
    if let Err(error) = backup::refuse_half_restored(&records).await {
        return Ok(vec![Part::Keys.fail(error.to_string(), "`plugboard restore` with the same file")]);
    }
    let opened = Opened::count(&records, &masters, clock.as_ref()).await?;
    Ok(opened.judge(&masters))
}

#[derive(Default)]
struct Opened {
    well: u64,
    /// By the key that they name and the kind.
    badly: BTreeMap<(String, &'static str), u64>,
    unreadable: BTreeSet<&'static str>,
}

impl Opened {
    async fn count(records: &Records, masters: &MasterKeys, clock: &dyn Clock) -> Result<Self, IdentityError> {
        let mut opened = Self::default();
        for kind in kinds(records.scribe()) {
            for (name, found) in records.raw_page(kind.prefix(), None, LOOKED_AT).await? {
                let Ok(master) = kind.master_of(&name, &found, clock.now()) else {
                    opened.unreadable.insert(kind.name());
                    continue;
                };
                let Some(master) = master else { continue };
                let held = masters.ring().by_id(&master).is_some();
                // What cannot be opened by us can at least have its key here.
                match kind.opens(masters, &name, &found)?.unwrap_or(held) {
                    true => opened.well += 1,
                    false => *opened.badly.entry((master, kind.name())).or_default() += 1,
                }
            }
        }
        Ok(opened)
    }

    fn judge(self, masters: &MasterKeys) -> Vec<Finding> {
        let ring = masters.ring();
        let mut findings = Vec::new();
        for ((master, kind), number) in &self.badly {
            let why = match ring.by_id(master) {
                Some(_) => "and the key of this id is another one, or they were altered",
                None => "which is not configured here",
            };
            let seen = format!("{number} {kind} do not open: they name the master key {master:?}, {why}");
            findings.push(Part::Keys.fail(seen, PUT_BACK));
        }
        for kind in &self.unreadable {
            let remedy = "use the version that wrote them, or a newer one";
            findings.push(Part::Keys.fail(format!("this version cannot read some {kind}"), remedy));
        }
        if findings.is_empty() {
            let present = &ring.present().id;
            findings.push(Part::Keys.ok(match self.well {
                0 => format!("the store holds nothing yet that is sealed; {present:?} is the present master key"),
                well => format!(
                    "the master keys open all {well} records that were looked at; {present:?} is the present one"
                ),
            }));
        }
        findings
    }
}
