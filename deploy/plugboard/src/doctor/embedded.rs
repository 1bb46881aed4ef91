//! The data of `plugboard up`: its keys, and whether they open what is there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use auth_service::key_source::FileKeys;
use plugboard_core::clock::SystemClock;
use plugboard_core::doctor::keys::{Named, judge_shared, strength};
use plugboard_core::doctor::{Check, Finding, Part};
use plugboard_core::embedded::{Embedded, EmbeddedError, FILE_NAME};
use plugboard_core::secret::SecretKey;
use plugboard_core::store::embedded::EmbeddedStore;

use super::{Hearing, gateway};
use crate::up;

/// Where `up` keeps its data unless told otherwise.
const DEFAULT: &str = "./.plugboard";

/// `data`: what was asked for; else the directory that `up` takes by itself, if it is one.
pub fn keys(data: Option<&Path>, hearing: &Hearing) -> Check {
    let known = data.map(Path::to_owned).or_else(|| Some(PathBuf::from(DEFAULT)).filter(|data| holds_data(data)));
    let hearing = hearing.clone();
    Check::new(&[Part::Keys], async move {
        let Some(data) = known else {
            let shape = gateway::shape(hearing).await;
            let why = shape.why_not("secrets.*", "give its data directory by --data to have its keys looked at");
            return vec![Part::Keys.skipped(why)];
        };
        if !holds_data(&data) {
            let said = format!("{} holds no data of `plugboard up`", data.display());
            return vec![Part::Keys.fail(said, "give the directory that `up` was given by --data")];
        }
        look(&data).await
    })
}

fn holds_data(data: &Path) -> bool {
    data.join(FILE_NAME).is_file()
}

async fn look(data: &Path) -> Vec<Finding> {
    let (master, local) = (up::master_key_file(data), up::local_key_file(data));
    let source = FileKeys::new(&master, false);
    let (mut keys, mut findings) = auth_service::doctor::keys(&source).await;
    match std::fs::read_to_string(&local).map(|text| SecretKey::from_hex(&text)) {
        Ok(Ok(key)) => {
            let key = Named { name: local.display().to_string(), key };
            findings.push(strength(&key));
            keys.push(key);
        }
        Ok(Err(error)) => findings.push(Part::Keys.fail(
            format!("{}: {error}", local.display()),
            "stop `up`, delete the file and start it again: calls that have not ended are lost, and nothing else",
        )),
        Err(error) => findings.push(Part::Keys.warn(
            format!("{}: {error}", local.display()),
            "`up` makes it anew when it starts: calls that have not ended are lost, and nothing else",
        )),
    }
    findings.extend(judge_shared(&keys));
    findings.extend([master, local].iter().filter_map(|file| auth_service::doctor::readable_by_all(file)));
    findings.extend(store(data.to_owned(), &source).await);
    findings
}

async fn store(data: PathBuf, source: &FileKeys) -> Vec<Finding> {
    let opened = tokio::task::spawn_blocking(move || Embedded::open(&data, Arc::new(SystemClock))).await;
    let file = match opened {
        Ok(Ok(file)) => file,
        Ok(Err(EmbeddedError::InUse(_))) => {
            let why = "whether the master key opens what is stored is not looked at while `plugboard up` has it open";
            return vec![Part::Keys.skipped(why)];
        }
        Ok(Err(error)) => return vec![Part::Keys.fail(error.to_string(), "restore the latest backup beside it")],
        Err(_) => return vec![Part::Keys.fail("the data file cannot be looked at", "look at its disk")],
    };
    let store = Arc::new(EmbeddedStore::new(file.clone()));
    let findings = auth_service::doctor::store(store, source, Arc::new(SystemClock)).await;
    // It blocks for a moment; whatever happens to it, the file is closed with the process.
    let _ = tokio::task::spawn_blocking(move || file.close()).await;
    findings
}
