//! Where master keys come from.
//!
//! | adapter | keys are in | makes new ones |
//! | --- | --- | --- |
//! | [`FileKeys`] | a file of lines `ID:HEX`, mode 0600 | when it may write: `plugboard up`, or a file that all replicas share |
//! | [`FixedKeys`] | a setting (`PLUGBOARD_SECRETS__MASTER_KEY`), or a test | no |
//!
//! **A KMS.** What custody needs of a key is that a wrapping key can be derived from it for each record, so a key manager
//! is asked once for each master key and not once for each record: the source keeps each key as a ciphertext of the
//! KMS (an AWS KMS, Google Cloud KMS or Vault Transit data key) beside its id, and [`KeySource::keys`] asks the KMS to
//! decrypt them, with the id as encryption context. [`KeySource::create`] asks for a new data key and stores its
//! ciphertext, [`KeySource::remove`] deletes the ciphertext. Disabling the KMS key then closes custody at the next start.
//! `tests` has such a source with a KMS of its own making.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use parking_lot::Mutex;
use plugboard_core::secret::SecretKey;

use crate::crypto::MasterKey;

/// Id of a key that was configured without one.
pub const FIRST: &str = "1";
const LONGEST_ID: usize = 32;

/// Holds master keys.
#[async_trait]
pub trait KeySource: Send + Sync + 'static {
    /// Every key there is now, in the order in which they came.
    ///
    /// # Errors
    /// [`KeySourceError`].
    async fn keys(&self) -> Result<Vec<MasterKey>, KeySourceError>;

    /// Makes a key under a new id, durable before it answers.
    ///
    /// # Errors
    /// [`KeySourceError::ReadOnly`] says how a key is added instead.
    async fn create(&self, id: &str) -> Result<(), KeySourceError>;

    /// Destroys a key. One that is not there, or not to be destroyed from here, is no error.
    ///
    /// # Errors
    /// [`KeySourceError`].
    async fn remove(&self, id: &str) -> Result<(), KeySourceError>;
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySourceError {
    #[error("{place}: {problem}")]
    Malformed { place: String, problem: String },
    #[error("master keys cannot be read: {0}")]
    Unavailable(String),
    #[error("{0}")]
    ReadOnly(String),
}

/// Reads `HEX` or `ID:HEX`, separated by commas, spaces or line breaks; `#` begins a comment.
///
/// # Errors
/// [`KeySourceError::Malformed`], which never repeats what may be a key.
pub fn parse_keys(place: &str, text: &str) -> Result<Vec<MasterKey>, KeySourceError> {
    let malformed = |problem: String| KeySourceError::Malformed { place: place.to_owned(), problem };
    let mut ids = BTreeSet::new();
    let mut keys = Vec::new();
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let words = lines.flat_map(|line| line.split([',', ' ', '\t'])).map(str::trim).filter(|word| !word.is_empty());
    for (number, word) in words.enumerate() {
        let (id, hex) = word.split_once(':').unwrap_or((FIRST, word));
        if !is_id(id) {
            let problem = format!("key {}: an id has 1 to {LONGEST_ID} letters, digits, `-` and `_`", number + 1);
            return Err(malformed(problem));
        }
        let key = SecretKey::from_hex(hex).map_err(|error| malformed(format!("key {id:?}: {error}")))?;
        if !ids.insert(id) {
            return Err(malformed(format!("two keys have the id {id:?}")));
        }
        keys.push(MasterKey { id: id.to_owned(), key });
    }
    if keys.is_empty() {
        return Err(malformed("there is no master key".to_owned()));
    }
    Ok(keys)
}

pub(crate) fn is_id(id: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(fine)
}

/// Keys that are given once.
#[derive(Debug)]
pub struct FixedKeys {
    keys: Mutex<Vec<MasterKey>>,
    advice: Option<String>,
}

impl FixedKeys {
    /// From a setting; `advice` says how to add a key to it.
    ///
    /// # Errors
    /// As [`parse_keys`].
    pub fn parse(place: &str, text: &str, advice: &str) -> Result<Self, KeySourceError> {
        Ok(Self { keys: Mutex::new(parse_keys(place, text)?), advice: Some(advice.to_owned()) })
    }

    /// In memory, for tests: makes keys when asked.
    pub fn in_memory(keys: Vec<MasterKey>) -> Self {
        Self { keys: Mutex::new(keys), advice: None }
    }

    /// As if the setting had been changed.
    pub fn set(&self, keys: Vec<MasterKey>) {
        *self.keys.lock() = keys;
    }
}

#[async_trait]
impl KeySource for FixedKeys {
    async fn keys(&self) -> Result<Vec<MasterKey>, KeySourceError> {
        Ok(self.keys.lock().clone())
    }

    async fn create(&self, id: &str) -> Result<(), KeySourceError> {
        if let Some(advice) = &self.advice {
            return Err(KeySourceError::ReadOnly(advice.clone()));
        }
        let key = SecretKey::generate().map_err(|_| KeySourceError::Unavailable("no randomness".to_owned()))?;
        self.keys.lock().push(MasterKey { id: id.to_owned(), key });
        Ok(())
    }

    async fn remove(&self, id: &str) -> Result<(), KeySourceError> {
        if self.advice.is_none() {
            self.keys.lock().retain(|key| key.id != id);
        }
        Ok(())
    }
}

/// Keys in a file, read anew each time.
#[derive(Debug)]
pub struct FileKeys {
    path: PathBuf,
    writable: bool,
    /// One change of the file at a time.
    writing: tokio::sync::Mutex<()>,
}

impl FileKeys {
    /// `writable`: every auth service reads this same file, so that a key made here is known to all.
    pub fn new(path: impl Into<PathBuf>, writable: bool) -> Self {
        Self { path: path.into(), writable, writing: tokio::sync::Mutex::default() }
    }

    async fn read(&self) -> Result<Vec<MasterKey>, KeySourceError> {
        let path = self.path.clone();
        let text = blocking(move || std::fs::read_to_string(path)).await.map_err(|error| self.failed(&error))?;
        parse_keys(&self.path.display().to_string(), &text)
    }

    async fn write(&self, keys: Vec<MasterKey>) -> Result<(), KeySourceError> {
        let path = self.path.clone();
        blocking(move || write_keys(&path, &keys)).await.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &std::io::Error) -> KeySourceError {
        KeySourceError::Unavailable(format!("{}: {error}", self.path.display()))
    }
}

#[async_trait]
impl KeySource for FileKeys {
    async fn keys(&self) -> Result<Vec<MasterKey>, KeySourceError> {
        self.read().await
    }

    async fn create(&self, id: &str) -> Result<(), KeySourceError> {
        if !self.writable {
            return Err(KeySourceError::ReadOnly(format!(
                "add a line `{id}:<64 hex digits>` to {} of every auth service (`plugboard keys generate` prints a key), then rotate to {id}",
                self.path.display()
            )));
        }
        let _writing = self.writing.lock().await;
        let mut keys = self.read().await?;
        let key = SecretKey::generate().map_err(|_| KeySourceError::Unavailable("no randomness".to_owned()))?;
        keys.push(MasterKey { id: id.to_owned(), key });
        self.write(keys).await
    }

    async fn remove(&self, id: &str) -> Result<(), KeySourceError> {
        if !self.writable {
            return Ok(());
        }
        let _writing = self.writing.lock().await;
        let mut keys = self.read().await?;
        keys.retain(|key| key.id != id);
        self.write(keys).await
    }
}

/// Replaces the file whole: a crash leaves the old one or the new one.
///
/// # Errors
/// When it cannot be written.
pub fn write_keys(path: &Path, keys: &[MasterKey]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let beside = path.with_extension("key.new");
    let _ = std::fs::remove_file(&beside);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    for key in keys {
        file.write_all(format!("{}:{}\n", key.id, key.key.to_hex().expose()).as_bytes())?;
    }
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    std::fs::File::open(folder)?.sync_all()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

#[cfg(test)]
#[path = "key_source_tests.rs"]
mod tests;
