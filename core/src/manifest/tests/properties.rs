//! What holds for every call.

use percent_encoding::percent_decode_str;
use proptest::prelude::*;

use super::*;

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names(), inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Names that occur in the manifest, and others.
fn names() -> impl Strategy<Value = String> {
    const KNOWN: [&str; 10] =
        ["dateFrom", "limit", "ids", "filter", "customer", "lines", "sku", "name", "code", "X-Request-Note"];
    prop_oneof![prop::sample::select(&KNOWN[..]).prop_map(str::to_owned), ".{0,8}".prop_map(|text| text)]
}

fn paths() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/", "v1", "orders", "pages", "files", "folders", "report", "next", "..", ".", "%2e", "%2f", "%2F", "%5c",
        "%25", "%252f", "%3f", "%23", "?", "#", "\\", ";", " ", "%20", "a", "7", "ы", "%d1%8b", "%ff", "%", "\n",
        "%0a", "(", "'", ":", "//", "https://", "@",
    ]);
    prop_oneof![
        prop::collection::vec(piece, 0..10).prop_map(|pieces| format!("/{}", pieces.concat())),
        ".{0,40}".prop_map(|text| text),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_check_never_panics_and_an_accepted_path_stays_below_its_base(
        module in prop::sample::select(vec!["orders", "files", "rpc", "free", "", "other"]),
        method in prop_oneof![prop::sample::select(vec!["GET", "POST", "DELETE", "user.list", ".."]).prop_map(str::to_owned), ".{0,12}"],
        path in prop::option::of(paths()),
        query in prop::option::of(prop::collection::btree_map(names(), any_json(), 0..4)),
        headers in prop::option::of(prop::collection::btree_map(names(), any_json(), 0..2)),
        body in prop::option::of(any_json()),
    ) {
        thread_local!(static SHOP_CONNECTOR: Connector = shop());
        let mut call = json!({"module": module, "method": method});
        let members = call.as_object_mut().unwrap();
        if let Some(path) = path { members.insert("path".to_owned(), json!(path)); }
        if let Some(query) = query { members.insert("query".to_owned(), json!(query)); }
        if let Some(headers) = headers { members.insert("headers".to_owned(), json!(headers)); }
        if let Some(body) = body { members.insert("body".to_owned(), body); }
        let checked = SHOP_CONNECTOR.with(|shop| check(shop, call.clone()));
        match checked {
            Err(error) => {
                prop_assert!(error.safe_to_retry);
                prop_assert!(error.message.len() < 4_000);
            }
            Ok(checked) => {
                let whole = format!("https://api.shop.example/base{}", checked.path);
                let url = url::Url::parse(&whole).unwrap();
                prop_assert_eq!(url.host_str(), Some("api.shop.example"));
                prop_assert!(url.path().starts_with("/base"), "{:?}", checked.path);
                prop_assert_eq!(url.query(), None);
                prop_assert_eq!(url.fragment(), None);
                // What goes out is what was checked: parsing it as a URL changes nothing.
                prop_assert_eq!(url.path(), format!("/base{}", checked.path));
                prop_assert!(checked.path.is_ascii());
                let mut decoded = checked.path.clone();
                // A page's address may hold anything that is encoded; it is a parameter declared so.
                if checked.operation.as_deref() != Some("get_page") {
                    // Twice, for whoever decodes twice.
                    for _ in 0..2 {
                        decoded = percent_decode_str(&decoded).decode_utf8_lossy().into_owned();
                        let walks = decoded.split('/').any(|part| part.trim() == ".." || part.trim() == ".");
                        prop_assert!(!walks, "{:?}", checked.path);
                        prop_assert!(!decoded.contains('\\') && !decoded.contains("//"), "{:?}", checked.path);
                    }
                    let once = percent_decode_str(&checked.path).decode_utf8_lossy().into_owned();
                    prop_assert!(!once.contains(['?', '#']) && !once.chars().any(char::is_control), "{:?}", checked.path);
                }
                for (name, value) in &checked.headers {
                    prop_assert!(name == "X-Request-Note" && value.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b)));
                }
                // A checked path passes again and means the same.
                if !checked.path.is_empty() {
                    let again = json!({"module": checked.module, "method": checked.method, "path": checked.path,
                        "query": call.get("query"), "headers": call.get("headers"), "body": call.get("body")});
                    let again = SHOP_CONNECTOR.with(|shop| check(shop, again)).unwrap();
                    prop_assert_eq!((again.operation, again.path), (checked.operation, checked.path));
                }
            }
        }
    }

    /// A template filled with encoded values gives the values back.
    #[test]
    fn filling_and_matching_are_inverse(a in "[^/\\\\?#%.\\x00-\\x1f\\x7f ]{1,8}", b in "[a-z]{1,8}") {
        let template = crate::manifest::PathTemplate::parse("/x/{a}/y-{b}.json").unwrap();
        let path = template.fill(|name| Some(if name == "a" { a.as_str() } else { b.as_str() })).unwrap();
        prop_assert_eq!(template.matches(&path), Some(vec![a.as_str(), b.as_str()]));
    }
}
