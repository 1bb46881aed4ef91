//! What a backup file looks like.
//!
//! ```text
//! "plugboard backup\n"
//! header    4 bytes of length, JSON: [`Header`]
//! pieces    1, 4 bytes of length, name, 4 bytes of length, value      a record
//!           2, 4 bytes of length, name                                a record that is gone after all
//! summary   3, 4 bytes of length, JSON: [`Summary`]
//! signature 32 bytes: HMAC-SHA-256 over everything before, with a key derived from the master key `signed_by`
//! ```
//!
//! Lengths are big-endian. Of pieces with the same name the last one counts. Everything sealed stays sealed: no master key
//! is in it, and none can be found from it.

use std::collections::BTreeMap;
use std::io::{self, Read};

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::BackupError;
use crate::crypto::MasterKey;

pub(super) const MAGIC: &[u8] = b"plugboard backup\n";
pub(super) const FORMAT: u32 = 1;
/// Longer than any name or value; a length beyond it is not one.
const LONGEST: u32 = 64 << 20;
const SIGNATURE: usize = 32;
const PUT: u8 = 1;
const GONE: u8 = 2;
const END: u8 = 3;
/// What the signing key is derived for.
const SIGNING: &str = "backup";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub format: u32,
    /// The version of plugboard that wrote it; for people.
    pub written_by: String,
    pub taken_at: i64,
    /// Id of the master key that the signature is made with, and by which it is known to be this one.
    pub signed_by: String,
    pub check: String,
    /// Makes the checks of this file its own.
    pub nonce: String,
}

/// What is in a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub pieces: u64,
    /// How many records there are of each kind that people ask for.
    pub records: BTreeMap<String, u64>,
    /// The master keys without which something in it does not open, by id.
    pub master_keys: BTreeMap<String, NeededKey>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeededKey {
    /// By which a key is known to be this one.
    pub check: String,
    /// What depends on it.
    pub records: BTreeMap<String, u64>,
}

/// A record, or that there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub name: String,
    pub value: Option<Vec<u8>>,
}

/// Makes the bytes of a backup, in order.
pub(super) struct Encoder(Hmac<Sha256>);

impl Encoder {
    /// And how the file begins.
    pub(super) fn begin(master: &MasterKey, header: &Header) -> Result<(Self, Vec<u8>), BackupError> {
        let mut bytes = MAGIC.to_vec();
        put_text(&mut bytes, &json(header)?)?;
        let mut this = Self(signer(master));
        this.0.update(&bytes);
        Ok((this, bytes))
    }

    pub(super) fn piece(&mut self, bytes: &mut Vec<u8>, name: &str, value: Option<&[u8]>) -> Result<(), BackupError> {
        let from = bytes.len();
        bytes.push(if value.is_some() { PUT } else { GONE });
        put_text(bytes, name.as_bytes())?;
        if let Some(value) = value {
            put_text(bytes, value)?;
        }
        self.0.update(bytes.get(from..).unwrap_or_default());
        Ok(())
    }

    /// How the file ends.
    pub(super) fn end(mut self, summary: &Summary) -> Result<Vec<u8>, BackupError> {
        let mut bytes = vec![END];
        put_text(&mut bytes, &json(summary)?)?;
        self.0.update(&bytes);
        bytes.extend_from_slice(&self.0.finalize().into_bytes());
        Ok(bytes)
    }
}

/// Reads a backup piece by piece. Nothing that it gives is to be believed before [`Decoder::next`] has said that the end
/// was reached, and with it that the signature holds.
pub(super) struct Decoder<R> {
    from: Signed<R>,
    pub header: Header,
    pieces: u64,
}

/// What comes next.
pub(super) enum Next {
    Piece(Piece),
    /// The signature holds, and nothing follows.
    End(Summary),
}

impl<R: Read> Decoder<R> {
    /// Reads the header; `key` finds the master key that it names.
    pub(super) fn begin(
        mut from: R,
        key: impl FnOnce(&Header) -> Result<MasterKey, BackupError>,
    ) -> Result<Self, BackupError> {
        let mut magic = [0; MAGIC.len()];
        from.read_exact(&mut magic).map_err(cut)?;
        if magic != *MAGIC {
            return Err(BackupError::Damaged("it is no backup of plugboard".to_owned()));
        }
        let text = read_text(&mut from)?;
        let known = |error: serde_json::Error| BackupError::Damaged(format!("its header cannot be read: {error}"));
        let Version { format } = serde_json::from_slice(&text).map_err(known)?;
        if format != FORMAT {
            return Err(BackupError::Format(format));
        }
        let header: Header = serde_json::from_slice(&text).map_err(known)?;
        let mut mac = signer(&key(&header)?);
        mac.update(MAGIC);
        mac.update(&length(text.len())?);
        mac.update(&text);
        Ok(Self { from: Signed { from, mac }, header, pieces: 0 })
    }

    pub(super) fn next(&mut self) -> Result<Next, BackupError> {
        let mut tag = [0];
        self.from.read_exact(&mut tag).map_err(cut)?;
        let [tag] = tag;
        let text = read_text(&mut self.from)?;
        let named = |text| String::from_utf8(text).map_err(|_| BackupError::Damaged("a name is no text".to_owned()));
        self.pieces += 1;
        match tag {
            PUT => {
                let value = read_text(&mut self.from)?;
                Ok(Next::Piece(Piece { name: named(text)?, value: Some(value) }))
            }
            GONE => Ok(Next::Piece(Piece { name: named(text)?, value: None })),
            END => self.end(&text),
            _ => Err(altered()),
        }
    }

    fn end(&mut self, text: &[u8]) -> Result<Next, BackupError> {
        let computed = self.from.mac.clone().finalize().into_bytes();
        let mut signature = [0; SIGNATURE];
        let from = &mut self.from.from;
        from.read_exact(&mut signature).map_err(cut)?;
        if !bool::from(signature.ct_eq(computed.as_slice())) || from.read(&mut [0]).map_err(unreadable)? != 0 {
            return Err(altered());
        }
        let summary: Summary = serde_json::from_slice(text).map_err(|_| altered())?;
        // Not counting the summary itself.
        if summary.pieces + 1 != self.pieces {
            return Err(altered());
        }
        Ok(Next::End(summary))
    }
}

/// Only the format: later ones may have other fields.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// Signs what is read.
struct Signed<R> {
    from: R,
    mac: Hmac<Sha256>,
}

impl<R: Read> Read for Signed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        self.mac.update(into.get(..read).unwrap_or_default());
        Ok(read)
    }
}

/// By which a key is known again, in one file only.
pub(super) fn check(master: &MasterKey, nonce: &str) -> String {
    let mut mac = signer(master);
    mac.update(b"check");
    mac.update(nonce.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

fn signer(master: &MasterKey) -> Hmac<Sha256> {
    match Hmac::new_from_slice(master.key.derive(SIGNING).expose()) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes keys of any length"),
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, BackupError> {
    serde_json::to_vec(value).map_err(|error| BackupError::Io(error.to_string()))
}

fn put_text(bytes: &mut Vec<u8>, text: &[u8]) -> Result<(), BackupError> {
    bytes.extend_from_slice(&length(text.len())?);
    bytes.extend_from_slice(text);
    Ok(())
}

fn length(bytes: usize) -> Result<[u8; 4], BackupError> {
    let fits = u32::try_from(bytes).ok().filter(|length| *length <= LONGEST);
    fits.map(u32::to_be_bytes).ok_or_else(|| BackupError::Io(format!("a record of {bytes} bytes is too long")))
}

fn read_text(from: &mut impl Read) -> Result<Vec<u8>, BackupError> {
    let mut length = [0; 4];
    from.read_exact(&mut length).map_err(cut)?;
    let length = u32::from_be_bytes(length);
    if length > LONGEST {
        return Err(altered());
    }
    let mut text = Vec::new();
    // Not as much at once as a length says that may be wrong.
    from.take(length.into()).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() != length as usize {
        return Err(BackupError::Damaged("it ends too early".to_owned()));
    }
    Ok(text)
}

fn altered() -> BackupError {
    BackupError::Damaged("it is not as it was written".to_owned())
}

fn cut(error: io::Error) -> BackupError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return BackupError::Damaged("it ends too early".to_owned());
    }
    unreadable(error)
}

fn unreadable(error: io::Error) -> BackupError {
    BackupError::Io(error.to_string())
}
