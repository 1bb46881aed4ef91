//! What callers read.

use super::*;
use crate::error::ErrorCode;
use crate::manifest::passport::{Brief, ServiceRow, connectors_json, index, module, services_json, services_text};

#[test]
fn the_index_says_what_it_is_and_how_to_connect() {
    let index = index(&shop());
    assert_eq!(index["key"], "shop");
    assert_eq!((&index["version"], &index["ttl"]), (&json!("1"), &json!(86_400)));
    assert_eq!(
        index["auth"],
        json!([{"kind": "credentials", "label": "API token", "fields": {"api_token": "API token"}}])
    );
    assert_eq!(index["transport"], "header Authorization: Bearer <api_token>; added by the server");
    let modules = index["modules"].as_array().unwrap();
    assert_eq!(
        modules[0],
        json!({"name": "orders", "summary": "Orders of the shop", "style": "rest", "operations": 7})
    );
    assert_eq!(modules[1]["open"], true);
    assert_eq!(index["rate_limits"]["default"], "5 per 1 s per account, 10 at once; All methods together");
    assert_eq!(index["hints"], json!(["Dates are in UTC."]));
    assert!(index.get("recipes").is_none());
}

#[test]
fn a_module_has_everything_a_call_needs() {
    let spec = module(&shop(), "orders").unwrap();
    assert_eq!(spec["module"], "orders");
    let recipes = spec["recipes"].as_array().unwrap();
    assert_eq!(recipes.len(), 7);
    assert_eq!(recipes[0]["query"]["limit"], json!({"type": "integer", "minimum": 1, "maximum": 100}));
    assert_eq!(recipes[0]["effect"], "read");
    assert_eq!(recipes[2]["path_params"]["id"], json!({"type": "integer", "minimum": 1}));
    assert_eq!(recipes[4]["body"]["required"], json!(["customer", "lines"]));
    assert_eq!(spec["enums"], json!({"status": {"new": "not seen yet", "paid": "money arrived"}}));
    assert_eq!(spec["rate_limits"].as_object().unwrap().len(), 2);
    assert_eq!(spec["errors"], json!(["status 401: account_expired", "status 400, code LIMIT: rate_limited"]));
    let error = module(&shop(), "oders").unwrap_err();
    assert_eq!(error.code, ErrorCode::UnknownModule);
    assert_eq!(error.fix.clone().unwrap().options[0], "orders");
}

#[test]
fn a_long_passport_leaves_examples_out_and_says_so() {
    let mut manifest = manifest(SHOP);
    for (at, operation) in manifest.operations.iter_mut().enumerate() {
        operation.response_example = json!({ "text": "x".repeat(1_000 * (at + 1)) });
    }
    let spec = module(&Connector::from_manifest(manifest).unwrap(), "orders").unwrap();
    assert!(spec.to_string().len() <= 12 * 1024, "{}", spec.to_string().len());
    let kept =
        |name: &str| spec["recipes"].as_array().unwrap().iter().filter(|recipe| recipe.get(name).is_some()).count();
    assert!((1..7).contains(&kept("response_example")), "the short ones stay: {spec}");
    let left_out = 7 - kept("response_example");
    assert_eq!(spec["left_out"], format!("{left_out} examples, so that this fits into 12 KB"));
    assert!(spec["recipes"][0].get("response_example").is_some(), "the longest go first");
}

#[test]
fn a_thin_passport_shows_no_recipes() {
    let thin = connector(&SHOP.replace("category: ecommerce", "category: ecommerce\npassport: thin"));
    let index = index(&thin);
    assert_eq!(index["passport"], "thin");
    assert!(index.get("hints").is_none() && index["transport"].is_string());
    let spec = module(&thin, "orders").unwrap();
    assert!(spec.get("recipes").is_none() && spec["summary"].is_string());
}

#[test]
fn no_passport_shows_a_credential() {
    let shop = shop();
    let mut all = index(&shop).to_string();
    for name in shop.manifest().modules.keys() {
        all.push_str(&module(&shop, name).unwrap().to_string());
    }
    assert!(!all.contains("canary"), "a sandbox value leaked");
}

#[test]
fn the_list_has_one_line_a_service() {
    let mut row = ServiceRow::new(&Brief::of(shop().manifest()), true);
    assert_eq!((row.category, row.admin_only), ("ecommerce", false));
    let other = ServiceRow { key: "bank".to_owned(), admin_only: true, connected: false, ..row.clone() };
    let text = services_text(&[other.clone(), row.clone()]);
    assert_eq!(text, "2 services (+ connected, ! admin only)\nbank!: Orders and files\nshop+: Orders and files\n");
    row.connected = false;
    assert_eq!(
        services_json(&[other, row]),
        json!({"services": [
            {"key": "bank", "tagline": "Orders and files", "connected": false, "admin_only": true},
            {"key": "shop", "tagline": "Orders and files", "connected": false},
        ]})
    );
}

#[test]
fn a_list_of_99_services_is_at_most_5_kb() {
    let row = ServiceRow {
        key: "k".repeat(14),
        tagline: "t".repeat(32),
        ..ServiceRow::new(&Brief::of(shop().manifest()), true)
    };
    let size = services_text(&vec![row; 99]).len();
    assert!(size <= 5 * 1024, "{size}");
}

#[test]
fn the_public_list_has_four_columns() {
    let list = connectors_json([&Brief::of(shop().manifest())].into_iter());
    assert_eq!(
        list,
        json!([{
            "key": "shop", "name": "Example Shop", "description": "A shop that exists for tests.", "category": "ecommerce",
        }])
    );
}
