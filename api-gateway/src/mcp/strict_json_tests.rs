//! The scanner against `serde_json`, which has the last word on grammar.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// What serde_json says about the grammar; its own depth limit is off the table for the inputs here.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
}

#[test]
fn grammar() {
    for text in [
        "0",
        "-0",
        "1.5e-3",
        "1E+9",
        "\"\"",
        "\"\\u00e9\\ud83d\\ude00\"",
        "\"\\ud800\"",
        "[]",
        "{}",
        " [ 1 , {\"a\" : null} ] ",
        "\"\u{7f}\"",
        "1e999",
        "{\"\":{}}",
        "\t\r\n true",
    ] {
        assert_eq!(scan(text), Ok(None), "{text}");
        assert!(is_json(text), "{text}");
    }
    for text in [
        "",
        " ",
        "01",
        "-",
        "+1",
        ".5",
        "1.",
        "1e",
        "0x1",
        "tru",
        "True",
        "nul",
        "\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\\",
        "\"\n\"",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{1:1}",
        "[1}",
        "{\"a\":1]",
        "]",
        "1 1",
        "{}{}",
        "\u{feff}1",
        "'a'",
        "// c\n1",
        "NaN",
        "[",
        "{",
        "{\"a\":1",
        "\"\\ud800\\u12\"",
    ] {
        assert!(matches!(scan(text), Err(ScanError::Syntax { .. })), "{text}: {:?}", scan(text));
        assert!(!is_json(text), "{text}");
    }
}

#[test]
fn equal_keys_are_found_however_they_are_written() {
    for text in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"\u0061":1}"#,
        r#"{"é":1,"\u00E9":2}"#,
        r#"{"😀":1,"\ud83d\ude00":2}"#,
        r#"{"\ud800":1,"\uD800":2}"#,
        r#"{"":1,"":2}"#,
        r#"[{"x":[{"k":{},"b":2,"k":[]}]}]"#,
    ] {
        assert!(matches!(scan(text), Err(ScanError::DuplicateKey { .. })), "{text}");
    }
    for text in [
        r#"{"a":{"a":{"a":1}}}"#,
        r#"[{"a":1},{"a":1}]"#,
        r#"{"a":1,"A":1}"#,
        r#"{"a":{"b":1},"b":{"a":1}}"#,
        r#"{"\ud800":1,"\ud801":2,"�":3}"#,
        // Not the same text without normalization, so not the same key.
        "{\"\u{e9}\":1,\"e\u{301}\":2}",
    ] {
        assert_eq!(scan(text), Ok(None), "{text}");
    }
}

#[test]
fn large_objects_are_checked_too() {
    let object = |keys: &[usize]| {
        let members: Vec<_> = keys.iter().map(|key| format!("\"key{key}\":{{\"a\":1}}")).collect();
        format!("{{{}}}", members.join(","))
    };
    for count in [15, 16, 17, 18, 100] {
        let mut keys: Vec<_> = (0..count).collect();
        assert_eq!(scan(&format!("[{0},{0}]", object(&keys))), Ok(None), "{count}");
        for repeated in [0, 7, count - 1] {
            keys.push(repeated);
            let expected = Err(ScanError::DuplicateKey { key: format!("key{repeated}") });
            assert_eq!(scan(&object(&keys)), expected, "{count}");
            keys.pop();
        }
    }
}

#[test]
fn arguments_are_told_apart() {
    let duplicate = Ok(Some(ArgumentProblem::DuplicateKey { key: "b".to_owned() }));
    assert_eq!(scan(r#"{"params":{"arguments":{"b":1,"b":2}}}"#), duplicate);
    assert_eq!(scan(r#"{"params":{"arguments":{"a":[{"b":1,"b":2}]}}}"#), duplicate);
    assert_eq!(scan(r#"{"p\u0061rams":{"\u0061rguments":{"b":1,"b":2}}}"#), duplicate);
    for text in [
        r#"{"params":{"b":1,"b":2}}"#,
        r#"{"arguments":{"b":1,"b":2}}"#,
        r#"{"params":{"x":{"arguments":{"b":1,"b":2}}}}"#,
        r#"{"params":[{"arguments":{"b":1,"b":2}}]}"#,
        r#"{"params":{"arguments":{},"arguments":{}}}"#,
    ] {
        assert!(matches!(scan(text), Err(ScanError::DuplicateKey { .. })), "{text}");
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(scan(&nested(MAX_DEPTH)), Ok(None));
    assert_eq!(scan(&nested(MAX_DEPTH + 1)), Err(ScanError::TooDeep));
    assert_eq!(scan(&"[".repeat(1_000_000)), Err(ScanError::TooDeep));
    let arguments = |depth: usize| format!(r#"{{"params":{{"arguments":{}}}}}"#, nested(depth));
    assert_eq!(scan(&arguments(MAX_DEPTH - 2)), Ok(None));
    assert_eq!(scan(&arguments(MAX_DEPTH - 1)), Ok(Some(ArgumentProblem::TooDeep { limit: MAX_DEPTH })));
}

/// Any JSON value.
pub(in crate::mcp) fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec((any::<String>(), inner), 0..24)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Text that is nearly JSON: tokens in any order.
fn tokens() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        proptest::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\"a\"",
            "\"b\"",
            "\"\\u0061\"",
            "\"",
            "\\",
            "1",
            "-",
            "0",
            ".5",
            "e3",
            "true",
            "null",
            " ",
            "\n",
            "\u{1}",
            "é",
        ])
        .prop_map(str::to_owned),
    ];
    proptest::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn what_serde_writes_is_accepted(value in value()) {
        prop_assert_eq!(scan(&value.to_string()), Ok(None));
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        prop_assert_eq!(scan(&pretty), Ok(None));
    }

    #[test]
    fn grammar_agrees_with_serde(text in tokens()) {
        match scan(&text) {
            Ok(None) => prop_assert!(is_json(&text)),
            Err(ScanError::Syntax { .. }) => prop_assert!(!is_json(&text)),
            // The scan stops at the first repeated key and does not see the rest.
            _ => {}
        }
    }

    #[test]
    fn damaged_json_agrees_with_serde(value in value(), at in any::<proptest::sample::Index>(), with in any::<char>()) {
        let mut text: Vec<char> = value.to_string().chars().collect();
        let at = at.index(text.len());
        text[at] = with;
        let text: String = text.into_iter().collect();
        match scan(&text) {
            Ok(_) => prop_assert!(is_json(&text)),
            Err(ScanError::Syntax { .. }) => prop_assert!(!is_json(&text)),
            Err(_) => {}
        }
    }

    #[test]
    fn a_repeated_key_is_always_found(keys in proptest::collection::hash_set("[a-zé\"\\\\\n]{0,3}", 1..40), pick in any::<proptest::sample::Index>(), value in value()) {
        let keys: Vec<_> = keys.into_iter().collect();
        let repeated = &keys[pick.index(keys.len())];
        let members: Vec<_> = keys.iter().chain([repeated]).map(|key| format!("{}:{value}", Value::from(key.as_str()))).collect();
        let fine = format!("{{{}}}", members[..keys.len()].join(","));
        prop_assert_eq!(scan(&fine), Ok(None));
        let text = format!("{{{}}}", members.join(","));
        prop_assert_eq!(scan(&text), Err(ScanError::DuplicateKey { key: repeated.clone() }));
    }

    #[test]
    fn anything_at_all_ends_without_a_fault(text in ".*") {
        let _ = scan(&text);
    }
}
