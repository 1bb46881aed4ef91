//! A fuzz target: any text as a message. What is read here is what `serde_json` reads, and nothing is read two ways.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is a finding")]

use plugboard_core::testing::words;
use serde_json::Value;
use serde_json::value::RawValue;

use super::frame::{self, Message, Meta, Params};
use super::strict_json::{ScanError, scan};

const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    "\\\"",
    "\\u0061",
    "\\ud83d\\ude00",
    "\\ud800",
    "null",
    "true",
    "false",
    "0",
    "-1",
    "1.5e3",
    "01",
    "1e999",
    "\"jsonrpc\":\"2.0\"",
    "\"jsonrpc\":\"1.0\"",
    "\"id\":1",
    "\"id\":\"a\"",
    "\"id\":null",
    "\"id\":1.5",
    "\"method\":\"tools/call\"",
    "\"method\":\"ping\"",
    "\"params\":{",
    "\"params\":[]",
    "\"_meta\":{",
    "\"name\":\"list_services\"",
    "\"arguments\":{",
    "\"progressToken\":1",
    "\"result\":{}",
    "\"error\":{}",
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{",
    "}}",
    "\"a\":1",
    "\"\\u0061\":2",
    " ",
    "\n",
    "\u{feff}",
    "é",
    "\u{7f}",
    "\u{2028}",
    "//",
    "'",
];

/// The text as it is and inside of a message, where most of the code is.
fn inputs(bytes: &[u8]) -> [String; 2] {
    let text = words(WORDS, bytes);
    [format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{{\"arguments\":{text}}}}}"), text]
}

pub fn message(bytes: &[u8]) {
    for text in inputs(bytes) {
        let is_json = serde_json::from_str::<&RawValue>(&text).is_ok();
        match scan(&text) {
            Ok(None) => assert!(is_json, "{text:?}"),
            Err(ScanError::Syntax { .. }) => assert!(!is_json, "{text:?}"),
            // The scan ended at what it found; the rest is not known.
            Ok(Some(_)) | Err(ScanError::DuplicateKey { .. } | ScanError::TooDeep) => continue,
        }
        if is_json {
            same_reading(&text);
        }
    }
}

fn same_reading(text: &str) {
    // Half a surrogate pair, or a number beyond all numbers: grammar, but no value.
    let Ok(value) = serde_json::from_str::<Value>(text) else { return };
    match frame::read(text) {
        Ok(Message::Request { id, method, params }) => {
            assert_eq!(serde_json::from_str::<Value>(id).unwrap(), value["id"], "{text:?}");
            assert_eq!(value["method"], *method, "{text:?}");
            let Some(params) = params else {
                assert!(value.get("params").is_none(), "{text:?}");
                return;
            };
            assert_eq!(serde_json::from_str::<Value>(params.get()).unwrap(), value["params"], "{text:?}");
            let known = frame::object::<Params<'_>>(Some(params)).unwrap();
            let arguments = known.arguments.map(|arguments| serde_json::from_str::<Value>(arguments.get()).unwrap());
            assert_eq!(arguments.unwrap_or_default(), value["params"]["arguments"], "{text:?}");
            if let Some(meta) = frame::object::<Meta<'_>>(known.meta) {
                let token = meta.progress_token.map(|token| serde_json::from_str::<Value>(token.get()).unwrap());
                assert_eq!(token.unwrap_or_default(), value["params"]["_meta"]["progressToken"], "{text:?}");
            }
        }
        Ok(Message::Notification { method, .. }) => {
            assert!(value.get("id").is_none() && value["method"] == *method, "{text:?}");
        }
        Ok(Message::Response) => assert!(value.get("method").is_none(), "{text:?}"),
        Err(refused) => assert!(!refused.what.is_empty(), "{text:?}"),
    }
}

#[test]
fn any_message() {
    plugboard_core::testing::fuzz("message", 100_000, message);
}
