//! Custody of credentials: AES-256-GCM envelopes under a master key.
//!
//! Each write of an account takes a fresh data key. Every field is sealed under it, and the data key is wrapped by a key
//! derived from the master key for exactly this place. All of it is bound to where it belongs: organization, service,
//! account, field, record version, format and master key. What is copied elsewhere, or put back from an earlier
//! version, does not open.
//!
//! Because the wrapping key is derived for each place and version (HKDF-SHA-256, RFC 5869), no key is used for more than
//! one wrap, and the bound on random nonces under one key (2^32, NIST SP 800-38D §8.3) is never near.

use std::collections::BTreeMap;
use std::sync::Arc;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plugboard_core::ids::{AccountId, OrganizationId, ServiceKey};
use plugboard_core::secret::{Secret, SecretKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::key_source::{KeySource, KeySourceError};

/// The only format so far.
const FORMAT: u8 = 1;
const NONCE: usize = 12;

/// A master key and its name. The name is stored with everything sealed under the key.
#[derive(Debug, Clone)]
pub struct MasterKey {
    pub id: String,
    pub key: SecretKey,
}

/// The present master key, and earlier ones that still open what was sealed under them. A handle: clones follow a change
/// of the ring.
#[derive(Debug, Clone)]
pub struct MasterKeys(Arc<ArcSwap<Ring>>);

/// What the ring holds at one moment.
#[derive(Debug)]
pub(crate) struct Ring {
    present: MasterKey,
    earlier: Vec<MasterKey>,
}

impl MasterKeys {
    pub fn new(present: MasterKey) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Ring { present, earlier: Vec::new() })))
    }

    /// Every key of a source, the first as the present one: until the store is asked which it is.
    ///
    /// # Errors
    /// When the source cannot be read, or is empty.
    pub async fn read(source: &dyn KeySource) -> Result<Self, KeySourceError> {
        let mut keys = source.keys().await?.into_iter();
        let first = keys.next().ok_or_else(|| KeySourceError::Unavailable("there is none".to_owned()))?;
        Ok(Self::new(first).with_earlier(keys))
    }

    #[must_use]
    pub fn with_earlier(self, earlier: impl IntoIterator<Item = MasterKey>) -> Self {
        let present = self.ring().present.clone();
        Self(Arc::new(ArcSwap::from_pointee(Ring { present, earlier: earlier.into_iter().collect() })))
    }

    pub(crate) fn ring(&self) -> Arc<Ring> {
        self.0.load_full()
    }

    /// From now on, in every clone.
    pub(crate) fn replace(&self, present: MasterKey, earlier: Vec<MasterKey>) {
        self.0.store(Arc::new(Ring { present, earlier }));
    }
}

impl Ring {
    pub(crate) fn present(&self) -> &MasterKey {
        &self.present
    }

    /// The present one first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &MasterKey> {
        std::iter::once(&self.present).chain(&self.earlier)
    }

    pub(crate) fn by_id(&self, id: &str) -> Option<&MasterKey> {
        self.iter().find(|master| master.id == id)
    }
}

/// Where sealed fields belong.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub organization: &'a OrganizationId,
    pub service: &'a ServiceKey,
    pub account: &'a AccountId,
    pub record_version: u64,
}

/// Sealed fields, fit to be stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    format: u8,
    master_key: String,
    wrapped_key: Ciphertext,
    fields: BTreeMap<String, Ciphertext>,
}

/// Nonce, ciphertext and tag; base64 where stored.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ciphertext(Vec<u8>);

impl Sealed {
    /// Id of the master key that it is sealed under.
    pub(crate) fn master_key(&self) -> &str {
        &self.master_key
    }

    /// Opens nowhere; stands in a record that is still being made.
    pub(crate) fn nothing() -> Self {
        Self { format: FORMAT, master_key: String::new(), wrapped_key: Ciphertext(Vec::new()), fields: BTreeMap::new() }
    }
}

/// Why fields cannot be sealed or opened. Says nothing about their content.
#[derive(Debug, thiserror::Error)]
pub enum CustodyError {
    #[error("the machine gave no randomness")]
    Randomness,
    #[error("sealed in format {0}, which this version does not know")]
    Format(u8),
    #[error("sealed under the master key {0:?}, which is not configured")]
    UnknownMasterKey(String),
    #[error("does not open: it was altered, moved, or sealed under another key")]
    Refused,
}

/// Seals fields for a place under the present master key.
///
/// # Errors
/// [`CustodyError::Randomness`].
pub fn seal(masters: &MasterKeys, place: Place<'_>, fields: &BTreeMap<String, Secret>) -> Result<Sealed, CustodyError> {
    let ring = masters.ring();
    let master = ring.present();
    let mut data_key = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *data_key).map_err(|_| CustodyError::Randomness)?;
    let wrapping = wrapping_key(master, place, FORMAT);
    let sealed_fields = fields.iter().map(|(name, value)| {
        let bound = associated_data(place, Part::Field(name), FORMAT, &master.id);
        Ok((name.clone(), encrypt(&data_key, value.expose().as_bytes(), &bound)?))
    });
    Ok(Sealed {
        format: FORMAT,
        master_key: master.id.clone(),
        fields: sealed_fields.collect::<Result<_, CustodyError>>()?,
        wrapped_key: encrypt(
            wrapping.expose(),
            &*data_key,
            &associated_data(place, Part::DataKey, FORMAT, &master.id),
        )?,
    })
}

/// Opens what was sealed for this place.
///
/// # Errors
/// [`CustodyError`]: which master key is missing, or that something does not fit.
pub fn open(masters: &MasterKeys, place: Place<'_>, sealed: &Sealed) -> Result<BTreeMap<String, Secret>, CustodyError> {
    if sealed.format != FORMAT {
        return Err(CustodyError::Format(sealed.format));
    }
    let id = &sealed.master_key;
    let ring = masters.ring();
    let master = ring.by_id(id).ok_or_else(|| CustodyError::UnknownMasterKey(id.clone()))?;
    let wrapping = wrapping_key(master, place, sealed.format);
    let bound = associated_data(place, Part::DataKey, sealed.format, id);
    let data_key = Zeroizing::new(decrypt(wrapping.expose(), &sealed.wrapped_key, &bound)?);
    let data_key: Zeroizing<[u8; 32]> =
        Zeroizing::new(data_key.as_slice().try_into().map_err(|_| CustodyError::Refused)?);
    let fields = sealed.fields.iter().map(|(name, value)| {
        let bound = associated_data(place, Part::Field(name), sealed.format, id);
        let text = String::from_utf8(decrypt(&data_key, value, &bound)?).map_err(|_| CustodyError::Refused)?;
        Ok((name.clone(), Secret::new(text)))
    });
    fields.collect()
}

/// Seals anew, for the same place, what another master key than the present one sealed. `None`: it is as it should be.
///
/// # Errors
/// As [`open`].
pub fn reseal(masters: &MasterKeys, place: Place<'_>, sealed: &Sealed) -> Result<Option<Sealed>, CustodyError> {
    if sealed.master_key == masters.ring().present().id {
        return Ok(None);
    }
    seal(masters, place, &open(masters, place, sealed)?).map(Some)
}

#[derive(Clone, Copy)]
enum Part<'a> {
    DataKey,
    Field(&'a str),
}

/// Everything a ciphertext is bound to, each part with its length before it, so that no two places read the same.
fn associated_data(place: Place<'_>, part: Part<'_>, format: u8, master_key: &str) -> Vec<u8> {
    let (kind, field) = match part {
        Part::DataKey => ("data key", ""),
        Part::Field(name) => ("field", name),
    };
    let version = place.record_version.to_be_bytes();
    let parts: [&[u8]; 8] = [
        kind.as_bytes(),
        place.organization.as_str().as_bytes(),
        place.service.as_str().as_bytes(),
        place.account.as_str().as_bytes(),
        field.as_bytes(),
        &version,
        &[format],
        master_key.as_bytes(),
    ];
    let mut data = Vec::new();
    for part in parts {
        data.extend_from_slice(&(part.len() as u64).to_be_bytes());
        data.extend_from_slice(part);
    }
    data
}

fn wrapping_key(master: &MasterKey, place: Place<'_>, format: u8) -> SecretKey {
    let place = associated_data(place, Part::DataKey, format, &master.id);
    master.key.derive(&format!("wrap credentials {}", hex::encode(place)))
}

fn cipher(key: &[u8; 32]) -> Aes256Gcm {
    Aes256Gcm::new(&(*key).into())
}

fn encrypt(key: &[u8; 32], plain: &[u8], bound: &[u8]) -> Result<Ciphertext, CustodyError> {
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(|_| CustodyError::Randomness)?;
    encrypt_with(nonce, key, plain, bound)
}

/// A nonce must never come twice with one key.
fn encrypt_with(nonce: [u8; NONCE], key: &[u8; 32], plain: &[u8], bound: &[u8]) -> Result<Ciphertext, CustodyError> {
    let sealed =
        cipher(key).encrypt(&nonce.into(), Payload { msg: plain, aad: bound }).map_err(|_| CustodyError::Refused)?;
    Ok(Ciphertext([nonce.as_slice(), &sealed].concat()))
}

fn decrypt(key: &[u8; 32], sealed: &Ciphertext, bound: &[u8]) -> Result<Vec<u8>, CustodyError> {
    let (nonce, rest) = sealed.0.split_first_chunk::<NONCE>().ok_or(CustodyError::Refused)?;
    cipher(key).decrypt(&(*nonce).into(), Payload { msg: rest, aad: bound }).map_err(|_| CustodyError::Refused)
}

impl Serialize for Ciphertext {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Ciphertext {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(|_| serde::de::Error::custom("not base64"))
    }
}

#[cfg(test)]
#[path = "crypto_tests.rs"]
mod tests;
