//! Digests and MACs, by name.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::{SignatureAlgorithm, SignatureEncoding};

/// The digest of a text, or its MAC under a key.
pub(super) fn digest(algorithm: SignatureAlgorithm, key: &[u8], text: &[u8]) -> Vec<u8> {
    match algorithm {
        SignatureAlgorithm::Md5 => Md5::digest(text).to_vec(),
        SignatureAlgorithm::Sha1 => Sha1::digest(text).to_vec(),
        SignatureAlgorithm::Sha256 => Sha256::digest(text).to_vec(),
        SignatureAlgorithm::Sha384 => Sha384::digest(text).to_vec(),
        SignatureAlgorithm::Sha512 => Sha512::digest(text).to_vec(),
        SignatureAlgorithm::HmacMd5 => mac::<Hmac<Md5>>(key, text),
        SignatureAlgorithm::HmacSha1 => mac::<Hmac<Sha1>>(key, text),
        SignatureAlgorithm::HmacSha256 => mac::<Hmac<Sha256>>(key, text),
        SignatureAlgorithm::HmacSha384 => mac::<Hmac<Sha384>>(key, text),
        SignatureAlgorithm::HmacSha512 => mac::<Hmac<Sha512>>(key, text),
    }
}

fn mac<M: Mac + KeyInit>(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = match <M as KeyInit>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes keys of any length"),
    };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

pub(super) fn encode(encoding: SignatureEncoding, bytes: &[u8]) -> String {
    match encoding {
        SignatureEncoding::Hex => hex::encode(bytes),
        SignatureEncoding::HexUpper => hex::encode_upper(bytes),
        SignatureEncoding::Base64 => STANDARD.encode(bytes),
        SignatureEncoding::Base64url => URL_SAFE_NO_PAD.encode(bytes),
    }
}
