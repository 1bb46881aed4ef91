//! The document as a whole: its references, its size, its names.

use serde_json::{Value, json};

use super::super::draft;
use super::super::names::{phrase, sentence, short, snake};
use super::{document, drafted, findings, wanted};

#[test]
fn references_are_decoded_and_those_that_lead_nowhere_are_told() {
    let parameters = json!([
        {"name": "p", "in": "query", "schema": {"$ref": "#/components/schemas/A%20b"}},
        {"$ref": "parameters.yaml#/Page"},
        {"$ref": "#/components/parameters/Lost"},
    ]);
    let text = document(
        json!({"/a": {"get": {"parameters": parameters, "responses": {}}}}),
        json!({"components": {"schemas": {"A b": {"type": "integer"}}}}),
    );
    let (manifest, remarks) = drafted(&text);
    assert_eq!(serde_json::to_value(&manifest.operations[0].query["p"]).unwrap()["type"], "integer");
    assert!(
        remarks.contains("1 references lead to other files") && remarks.contains("parameters.yaml#/Page"),
        "{remarks}"
    );
    assert!(remarks.contains("1 references lead nowhere: #/components/parameters/Lost"), "{remarks}");
}

#[test]
fn a_document_in_many_files_is_to_be_bundled() {
    let text = document(json!({"/a": {"$ref": "a.yaml"}, "/b": {"$ref": "b.yaml"}}), json!({}));
    let error = draft(&text, &wanted()).unwrap_err().to_string();
    assert!(error.contains("lie in other files") && error.contains("bundle"), "{error}");
}

#[test]
fn a_draft_that_cannot_be_loaded_says_so_and_what_to_do() {
    let operation = |at: usize| {
        let text = "x".repeat(150);
        let answer =
            json!({"200": {"content": {"application/json": {"example": {"text": text, "more": [text, text]}}}}});
        (format!("/{at}"), json!({"get": {"tags": ["Big"], "summary": text, "responses": answer}}))
    };
    let paths: serde_json::Map<String, Value> = (0..2_000).map(operation).collect();
    let text = document(paths.into(), json!({}));
    let draft = draft(&text, &wanted()).unwrap();
    let remarks = draft.remarks.join("\n");
    assert!(remarks.contains("the draft has 2000 operations") && remarks.contains("--tag NAME"), "{remarks}");
    assert!(remarks.contains("Big (2000)"), "{remarks}");
    assert_eq!(findings(&text), ["parcel_hub.yaml: cannot be read: it is larger than 1048576 bytes"]);
}

#[test]
fn a_draft_that_would_be_too_large_says_less_of_its_schemas() {
    let text = "x".repeat(90);
    let member = |at: usize| (format!("member_{at}"), json!({"type": "string", "description": text}));
    let deep = json!({"type": "object", "properties": (0..40).map(member).collect::<serde_json::Map<_, _>>()});
    let schema = json!({"type": "object", "properties": {"a": deep, "b": {"type": "integer"}}});
    let body = json!({"content": {"application/json": {"schema": schema}}});
    let operation =
        |at: usize| (format!("/{at}"), json!({"post": {"tags": ["Big"], "requestBody": body, "responses": {}}}));
    let paths: serde_json::Map<String, Value> = (0..400).map(operation).collect();
    let draft = draft(&document(paths.into(), json!({})), &wanted()).unwrap();
    assert!(draft.text.len() < 1024 * 1024 && draft.operations == 400, "{}", draft.text.len());
    let body = super::manifest(&draft).operations[0].body.clone().unwrap();
    assert_eq!(body["properties"], json!({"a": {"type": "object"}, "b": {"type": "integer"}}));
    let remarks = draft.remarks.join("\n");
    assert!(remarks.contains("less deep than they could be") && remarks.contains("Big (400)"), "{remarks}");
}

#[test]
fn more_operations_than_a_manifest_can_hold_are_refused_at_once() {
    let operation = |at: usize| (format!("/{at}"), json!({"get": {"tags": ["Big"], "responses": {}}}));
    let paths: serde_json::Map<String, Value> = (0..4_001).map(operation).collect();
    let error = draft(&document(paths.into(), json!({})), &wanted()).unwrap_err().to_string();
    assert!(
        error.contains("4001 operations") && error.contains("--tag NAME") && error.contains("Big (4001)"),
        "{error}"
    );
}

#[test]
fn a_document_of_which_nothing_is_left_says_why() {
    let error =
        draft(&document(json!({"/#Target=A": {"post": {"operationId": "a"}}}), json!({})), &wanted()).unwrap_err();
    assert!(error.to_string().contains("a: is left out: it has a path with `#`"), "{error}");
}

#[test]
fn a_draft_says_what_is_no_default() {
    let draft = draft(
        &document(json!({"/a": {"get": {"responses": {"200": {"content": {"text/plain": {}}}}}}}), json!({})),
        &wanted(),
    )
    .unwrap();
    for default in ["passport", "ttl", "secret", "style", "body", "errors"] {
        assert!(!draft.text.contains(default), "{default}\n{}", draft.text);
    }
}

#[test]
fn texts_are_as_long_as_lint_allows() {
    let long = "word ".repeat(60);
    let info = json!({"info": {"title": long, "description": long}, "externalDocs": {"url": "http://docs.example/x"}});
    let text = document(json!({"/a": {"get": {"responses": {"200": {"content": {"text/plain": {}}}}}}}), info);
    assert_eq!(findings(&text), Vec::<String>::new());
    let (manifest, _) = drafted(&text);
    assert_eq!(manifest.description.chars().count(), 200);
    assert_eq!(manifest.docs, "https://docs.example/x");
}

#[test]
fn a_title_in_other_letters_has_a_key_and_an_english_tagline() {
    let titled = |title: &str| {
        let info = json!({"info": {"title": title}, "servers": [{"url": "https://securepay.example"}]});
        let text = document(json!({"/a": {"get": {"responses": {"200": {"content": {"text/plain": {}}}}}}}), info);
        assert_eq!(findings(&text), Vec::<String>::new());
        let (manifest, _) = drafted(&text);
        (manifest.key, manifest.tagline)
    };
    assert_eq!(titled("Приём платежей"), ("priem_platezhei".to_owned(), "priem platezhei API".to_owned()));
    assert_eq!(titled("支払い"), ("securepay".to_owned(), "securepay API".to_owned()));
}

#[test]
fn a_key_that_is_none_is_refused_at_once() {
    let mut wanted = wanted();
    wanted.key = Some("Bad Key".to_owned());
    let error = draft("no document at all", &wanted).unwrap_err().to_string();
    assert!(error.contains("\"Bad Key\" is not"), "{error}");
}

#[test]
fn names() {
    for (from, to) in [
        ("getOrderById", Some("get_order_by_id")),
        ("get /v1/{id}", Some("get_v1_id")),
        ("2fa", Some("x2fa")),
        ("ЗаказыЩедрые", Some("zakazy_shchedrye")),
        ("Café Zürich", Some("cafe_zurich")),
        ("注文 API", Some("api")),
        ("注文", None),
        ("", None),
    ] {
        assert_eq!(snake(from).as_deref(), to, "{from}");
    }
    assert_eq!(sentence("One.  Two.", 50), "One.");
    assert_eq!(sentence("Version 2.0 of it", 50), "Version 2.0 of it.");
    assert_eq!(sentence("<p>The <b>first</b>.<br/>For <token>s.</p>", 50), "The first.");
    assert_eq!(sentence("A list of <token>s, a < b", 50), "A list of <token>s, a < b.");
    assert_eq!(sentence(&"ы".repeat(300), 200).chars().count(), 200);
    assert_eq!(phrase("A label.", 60), "A label");
    assert_eq!(short("order_management_for_marketplaces_and_more"), "order_management_for");
}
