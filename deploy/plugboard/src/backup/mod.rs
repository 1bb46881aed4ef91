//! `plugboard backup` and `plugboard restore`: what the auth service stores, out of either shape and into either.
//!
//! Both go to the store itself, not through a gateway: a backup must be possible without the product running, and who may
//! take one is whoever may read the store and the master keys anyway. The data file of a running `plugboard up` is locked;
//! it hands out backups itself (`live`).

mod live;
mod output;

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use auth_service::KeySource;
use auth_service::backup::{self, Backup, Replace};
use auth_service::key_source::FileKeys;
use bytes::Bytes;
use plugboard_core::clock::{Clock, SystemClock};
use plugboard_core::embedded::{Embedded, EmbeddedError, FILE_NAME};
use plugboard_core::identity::ServiceRole;
use plugboard_core::store::Store;
use plugboard_core::store::embedded::EmbeddedStore;
use plugboard_core::store::redis::RedisStore;
use plugboard_core::tls::Tls;
use serde_json::json;
use tokio::sync::mpsc;

use self::output::Output;
use crate::cli::{BackupArgs, RestoreArgs, StoreArgs};
use crate::services;
use crate::settings::Settings;
use crate::{print_answer, up};

pub use live::serve;

/// Batches that wait for the file.
const WAITING: usize = 4;
const HINT: &str = "the settings of an auth service are needed; for the data of `plugboard up` give --data DIR";
/// Standard input or output.
const STANDARD: &str = "-";

/// A store.
struct Site {
    store: Arc<dyn Store>,
    /// The data file is open here, and so nowhere else.
    file: Option<Embedded>,
}

impl Site {
    /// `None`: a running `plugboard up` has it.
    async fn open(args: &StoreArgs) -> anyhow::Result<Option<Self>> {
        let Some(data) = &args.data else {
            let settings = Settings::load(args.config.as_deref())?;
            let tls = Tls::open(&settings.tls, Some(ServiceRole::Auth))?;
            let store = RedisStore::connect(&services::redis(&settings.redis, &tls)).await.context("redis")?;
            store.verify_durable().await.context("redis")?;
            return Ok(Some(Self { store: Arc::new(store), file: None }));
        };
        match Embedded::open(data, Arc::new(SystemClock)) {
            Ok(file) => Ok(Some(Self { store: Arc::new(EmbeddedStore::new(file.clone())), file: Some(file) })),
            Err(EmbeddedError::InUse(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn close(&self) {
        if let Some(file) = &self.file {
            file.close();
        }
    }
}

pub async fn backup(args: BackupArgs) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    if let Some(data) = args.store.data.as_deref().filter(|data| !data.join(FILE_NAME).is_file()) {
        bail!("{} holds no data of `plugboard up`", data.display());
    }
    let mut output = if args.to.as_os_str() == STANDARD { Output::standard() } else { Output::create(&args.to)? };
    let keys = keys_for(&args.store)?;
    let (bytes, arriving) = mpsc::channel(WAITING);
    let (sent, written) = tokio::join!(send(&args.store, keys.as_ref(), bytes), output.write(arriving));
    written?;
    sent?;
    // It is a backup when it can be read.
    let Some(file) = output.written()? else { return Ok(ExitCode::SUCCESS) };
    let mut answer = described(&Backup::open(BufReader::new(file), keys.as_ref()).await?);
    answer["bytes"] = json!(output.keep()?);
    answer["file"] = json!(args.to);
    answer["seconds"] = json!(rounded(began));
    print_answer(&serde_json::to_string_pretty(&answer)?);
    Ok(ExitCode::SUCCESS)
}

/// Sends a backup; a running `plugboard up` is asked for one.
async fn send(args: &StoreArgs, keys: &dyn KeySource, to: mpsc::Sender<Bytes>) -> anyhow::Result<()> {
    let Some(site) = Site::open(args).await? else {
        return live::fetch(args.data.as_deref().context("there is no store")?, to).await;
    };
    backup::take(site.store.as_ref(), keys, Arc::new(SystemClock), to).await?;
    site.close();
    Ok(())
}

fn keys_for(args: &StoreArgs) -> anyhow::Result<Arc<dyn KeySource>> {
    match &args.data {
        Some(data) => Ok(Arc::new(FileKeys::new(up::master_key_file(data), false))),
        None => Settings::load(args.config.as_deref())?.secrets.master_keys().context(HINT),
    }
}

pub async fn restore(args: RestoreArgs) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    if args.from.as_os_str() == STANDARD {
        // It is read twice: checked, then believed.
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).context("reading standard input")?;
        return restore_from(Cursor::new(bytes), &args, began).await;
    }
    let file = File::open(&args.from).with_context(|| args.from.display().to_string())?;
    restore_from(BufReader::new(file), &args, began).await
}

async fn restore_from<R: Read + Seek>(from: R, args: &RestoreArgs, began: Instant) -> anyhow::Result<ExitCode> {
    if let Some(key) = args.store.data.as_deref().map(up::master_key_file).filter(|key| !key.is_file()) {
        bail!("{} is not there: put the master key of the backup back first", key.display());
    }
    let keys = keys_for(&args.store)?;
    let backup = Backup::open(from, keys.as_ref()).await?;
    let mut answer = described(&backup);
    if args.check {
        print_answer(&serde_json::to_string_pretty(&answer)?);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(data) = &args.store.data {
        up::mark_keyed(data)?;
    }
    let Some(site) = Site::open(&args.store).await? else {
        bail!("a plugboard runs on this data: stop it first");
    };
    let replace = Replace { all: args.replace, alone: site.file.is_some() };
    let taken_at = backup.taken_at();
    let restored = backup.restore(site.store.clone(), keys.as_ref(), Arc::new(SystemClock), replace).await?;
    site.close();
    answer["restored"] = json!(restored.records);
    answer["revocations_kept"] = json!(restored.revocations_kept);
    answer["seconds"] = json!(rounded(began));
    print_answer(&serde_json::to_string_pretty(&answer)?);
    up::say(&format!(
        "This is the state of {} s ago. What was revoked, narrowed or deleted since then is back, but for revocations that \
         this store knew of: do it again before anybody is let in.",
        taken_at.until(SystemClock.now()).as_secs()
    ));
    Ok(ExitCode::SUCCESS)
}

fn described<R: Read + Seek>(backup: &Backup<R>) -> serde_json::Value {
    let summary = backup.summary();
    let keys: serde_json::Map<String, serde_json::Value> =
        summary.master_keys.iter().map(|(id, key)| (id.clone(), json!(key.records))).collect();
    json!({"taken_at_ms": backup.taken_at().0, "records": summary.records, "needs_master_keys": keys})
}

fn rounded(began: Instant) -> f64 {
    (began.elapsed().as_secs_f64() * 100.0).round() / 100.0
}
