//! Sealing of payloads at rest: AES-256-GCM with a random 96-bit nonce.
//!
//! Every associated-data value has a key of its own, derived by HKDF-SHA-256. So the bound of random nonces (2^32
//! messages under one key, NIST SP 800-38D) holds for each payload by itself and is never near.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};

use crate::secret::SecretKey;

const FORMAT: u8 = 1;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// By how many bytes a sealed payload is longer than its content: format, nonce and tag.
pub const SEAL_OVERHEAD: usize = 1 + NONCE_BYTES + TAG_BYTES;

/// Seals and opens under one key. What is sealed opens only with the same associated data (AAD), so that a payload
/// copied to another place, or to another tenant, is found out. A long payload is sealed in chunks by putting the
/// chunk's index and their number into the AAD.
#[derive(Debug, Clone)]
pub struct Sealer {
    key: SecretKey,
}

impl Sealer {
    pub fn new(key: SecretKey) -> Self {
        Self { key }
    }

    /// [`SEAL_OVERHEAD`] bytes longer than `plaintext`.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn seal(&self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| SealError::NoRandomness)?;
        let sealed = self
            .cipher(aad)
            .encrypt(&Nonce::from(nonce), Payload { msg: plaintext, aad })
            .map_err(|_| SealError::TooLong)?;
        let mut out = Vec::with_capacity(SEAL_OVERHEAD + plaintext.len());
        out.push(FORMAT);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    /// # Errors
    /// When it was altered, sealed with another key, or with other associated data; which of these is not told.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (&format, rest) = sealed.split_first().ok_or(SealError::DoesNotOpen)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::DoesNotOpen)?;
        if format != FORMAT {
            return Err(SealError::DoesNotOpen);
        }
        self.cipher(aad)
            .decrypt(&Nonce::from(*nonce), Payload { msg: ciphertext, aad })
            .map_err(|_| SealError::DoesNotOpen)
    }

    fn cipher(&self, aad: &[u8]) -> Aes256Gcm {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        // Expanding to 32 bytes cannot fail: the limit is 255 × 32.
        let _ = hkdf::Hkdf::<sha2::Sha256>::new(Some(b"plugboard seal"), self.key.expose()).expand(aad, &mut *key);
        Aes256Gcm::new((&*key).into())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("the system gives no random numbers")]
    NoRandomness,
    #[error("too long to seal in one piece")]
    TooLong,
    #[error("does not open: altered, or sealed for another key or place")]
    DoesNotOpen,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(byte: u8) -> Sealer {
        Sealer::new(SecretKey::new([byte; 32]))
    }

    #[test]
    fn opens_what_it_sealed() {
        for length in [0, 1, 15, 16, 17, 1 << 20] {
            let plain = vec![7; length];
            let sealed = sealer(1).seal(b"org_1 blob_1", &plain).unwrap();
            assert_eq!(sealed.len(), length + SEAL_OVERHEAD);
            assert_eq!(sealer(1).open(b"org_1 blob_1", &sealed).unwrap(), plain);
        }
    }

    #[test]
    fn opens_nothing_else() {
        let sealed = sealer(1).seal(b"org_1", b"content").unwrap();
        assert_eq!(sealer(2).open(b"org_1", &sealed), Err(SealError::DoesNotOpen));
        assert_eq!(sealer(1).open(b"org_2", &sealed), Err(SealError::DoesNotOpen));
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(sealer(1).open(b"org_1", &altered), Err(SealError::DoesNotOpen), "byte {at}");
            assert_eq!(sealer(1).open(b"org_1", &sealed[..at]), Err(SealError::DoesNotOpen), "cut at {at}");
        }
    }

    #[test]
    fn the_same_content_never_seals_alike() {
        assert_ne!(sealer(1).seal(b"a", b"b").unwrap(), sealer(1).seal(b"a", b"b").unwrap());
    }
}
