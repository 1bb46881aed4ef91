use std::io::Cursor;

use plugboard_core::secret::SecretKey;

use super::BackupError;
use super::format::{Decoder, Encoder, FORMAT, Header, Next, Piece, Summary, check};
use crate::crypto::MasterKey;

fn key(byte: u8) -> MasterKey {
    MasterKey { id: "1".to_owned(), key: SecretKey::new([byte; 32]) }
}

fn header(format: u32) -> Header {
    let nonce = "00ff".to_owned();
    let check = check(&key(5), &nonce);
    Header { format, written_by: "0.1.0".to_owned(), taken_at: 7, signed_by: "1".to_owned(), check, nonce }
}

fn pieces() -> Vec<Piece> {
    let piece = |name: &str, value: Option<&[u8]>| Piece { name: name.to_owned(), value: value.map(<[u8]>::to_vec) };
    vec![piece("a", Some(b"{}")), piece("b", Some(&[0, 255])), piece("a", None), piece("c", Some(b""))]
}

fn file() -> Vec<u8> {
    let (mut encoder, mut bytes) = Encoder::begin(&key(5), &header(FORMAT)).unwrap();
    for piece in pieces() {
        encoder.piece(&mut bytes, &piece.name, piece.value.as_deref()).unwrap();
    }
    bytes.extend(encoder.end(&Summary { pieces: 4, ..Summary::default() }).unwrap());
    bytes
}

fn read(bytes: &[u8], with: u8) -> Result<Vec<Piece>, BackupError> {
    let mut decoder = Decoder::begin(Cursor::new(bytes), |_| Ok(key(with)))?;
    let mut found = Vec::new();
    loop {
        match decoder.next()? {
            Next::Piece(piece) => found.push(piece),
            Next::End(_) => return Ok(found),
        }
    }
}

#[test]
fn what_was_written_is_read() {
    assert_eq!(read(&file(), 5).unwrap(), pieces());
}

#[test]
fn a_file_that_is_not_whole_or_not_as_it_was_is_refused() {
    let whole = file();
    for length in 0..whole.len() {
        assert!(read(&whole[..length], 5).is_err(), "cut at {length}");
    }
    for at in 0..whole.len() {
        for bit in [1, 0x80] {
            let mut altered = whole.clone();
            altered[at] ^= bit;
            assert!(read(&altered, 5).is_err(), "byte {at}");
        }
    }
    assert!(matches!(read(&[whole.clone(), vec![0]].concat(), 5), Err(BackupError::Damaged(_))), "longer");
    assert!(matches!(read(&whole, 6), Err(BackupError::Damaged(_))), "another key");
}

#[test]
fn a_later_format_is_said_to_be_one() {
    let (_, bytes) = Encoder::begin(&key(5), &header(FORMAT + 1)).unwrap();
    assert!(matches!(read(&bytes, 5), Err(BackupError::Format(2))));
}
