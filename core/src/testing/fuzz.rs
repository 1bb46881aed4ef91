//! Fuzz targets are functions of bytes. As a test, a target sees its corpus, random bytes, and the corpus with changes;
//! `tests/fuzz/run` guides the same functions by coverage.

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

/// Runs a target over `tests/fuzz/corpus/<name>` and over random inputs. A failing one is made small and printed.
pub fn fuzz(name: &str, cases: u32, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(name);
    let mut corpus: Vec<Vec<u8>> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect();
    corpus.sort();
    assert!(!corpus.is_empty(), "{} is empty", folder.display());
    for input in &corpus {
        target(input);
    }
    let random = prop::collection::vec(any::<u8>(), 0..48);
    let changed = (select(corpus), random.clone()).prop_map(|(input, edits)| edited(&input, &edits));
    let inputs = prop_oneof![random, changed];
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let run = runner.run(&inputs, |input| {
        target(&input);
        Ok(())
    });
    if let Err(failure) = run {
        panic!("{name}: {failure}");
    }
}

/// Reads bytes as text: ASCII as itself, everything above as a word of the language that is fuzzed. Random bytes then say
/// something, and a byte that is changed changes a whole word.
pub fn words(dictionary: &[&str], bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte.checked_sub(0x80) {
            None => text.push(char::from(*byte)),
            Some(word) => text.push_str(dictionary[usize::from(word) % dictionary.len()]),
        }
    }
    text
}

/// Changes a valid message: each three bytes are a place, as a part of the length, and what is put there.
pub fn edited(message: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut edited = message.to_vec();
    for edit in edits.chunks_exact(3) {
        let place = usize::from(u16::from_be_bytes([edit[0], edit[1]])) * edited.len() / usize::from(u16::MAX);
        if let Some(byte) = edited.get_mut(place) {
            *byte = edit[2];
        }
    }
    edited
}
