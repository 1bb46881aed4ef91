//! Examples pass lint: they are valid, and no other operation's.

use serde_json::{Value, json};

use super::super::example::Maker;
use super::super::pattern;
use super::{document, drafted, findings};

#[test]
fn what_the_document_shows_is_shown_if_it_fits() {
    let pattern = json!({"type": "string", "pattern": "^AC[0-9]{3}$"});
    let with = |more: Value| {
        let mut schema = pattern.clone();
        schema.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        schema
    };
    let text = document(
        json!({"/a/{p}/{s}/{w}": {"post": {
            "operationId": "a",
            "parameters": [
                {"name": "p", "in": "path", "required": true, "schema": pattern, "example": "AC123"},
                {"name": "s", "in": "path", "required": true, "schema": with(json!({"example": "AC456"}))},
                {"name": "w", "in": "path", "required": true, "schema": with(json!({"example": "wrong"}))},
            ],
            "requestBody": {"content": {"application/json": {"schema": {"type": "object", "properties": {"sid": with(json!({"examples": ["AC789"]}))}}}}},
            "responses": {},
        }}}),
        json!({}),
    );
    let (manifest, _) = drafted(&text);
    let example = manifest.operations[0].request_example.clone().unwrap();
    assert_eq!((&example.path_params["p"], &example.path_params["s"]), (&json!("AC123"), &json!("AC456")));
    assert!(example.path_params["w"].as_str().unwrap().starts_with("AC"), "made by the pattern");
    assert_eq!(example.body.unwrap(), json!({"sid": "AC789"}));
    assert_eq!(
        manifest.operations[0].body.as_ref().unwrap()["properties"]["sid"],
        pattern,
        "examples are no keyword here"
    );
    assert_eq!(findings(&text), Vec::<String>::new());
}

#[test]
fn texts_are_made_by_their_patterns() {
    for wanted in [
        "^se(-[a-z0-9]+)+$",
        "^(0|[1-9][0-9]*)$",
        r"^[\w]+-[\w]+$",
        "^[A-Z]{3,5}$",
        r"^\d{2}\.\d{1,2}$",
        "a",
        "^[0-9a-f]{32}$",
    ] {
        let made = pattern::matching(wanted, 5, 0, usize::MAX).unwrap_or_else(|| panic!("{wanted}"));
        assert!(regex::Regex::new(wanted).unwrap().is_match(&made), "{wanted} {made}");
    }
    assert_eq!(pattern::matching("^a+$", 1, 10, 20).map(|made| made.len() >= 10), Some(true));
    assert_eq!(pattern::matching("^(?=a)", 1, 0, 10), None, "it looks around");
    assert_ne!(pattern::matching("^[0-9]{4}$", 1, 0, 9), pattern::matching("^[0-9]{4}$", 2, 0, 9));
}

#[test]
fn numbers_keep_to_their_bounds() {
    let maker = Maker { number: 7, shown: true, all: false };
    for (schema, value) in [
        (json!({"type": "integer"}), json!(7)),
        (json!({"type": "integer", "minimum": 10, "maximum": 11}), json!(11)),
        (json!({"type": "integer", "exclusiveMaximum": 3}), json!(2)),
        (json!({"type": "integer", "multipleOf": 5}), json!(10)),
        (json!({"type": "number", "minimum": 0, "maximum": 1}), json!(1)),
        (json!({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}), json!(0.5)),
    ] {
        assert_eq!(maker.of(&schema, "n"), value, "{schema}");
    }
}

#[test]
fn no_two_operations_have_the_same_examples() {
    let schema = json!({"type": "object", "properties": {"id": {"type": "integer"}, "name": {"type": "string"}}});
    let made = json!({"200": {"content": {"application/json": {"schema": schema}}}});
    let shown = json!({"200": {"content": {"application/json": {"schema": schema, "example": {"id": 1}}}}});
    let id = json!([{"name": "id", "in": "path", "required": true, "schema": {"type": "integer"}, "example": 5}]);
    let text = document(
        json!({
            "/a": {"get": {"operationId": "a", "responses": made}}, "/b": {"get": {"operationId": "b", "responses": made}},
            "/c": {"get": {"operationId": "c", "responses": shown}}, "/d": {"get": {"operationId": "d", "responses": shown}},
            "/e/{id}": {"delete": {"operationId": "e", "parameters": id, "responses": {}}},
            "/f/{id}": {"delete": {"operationId": "f", "parameters": id, "responses": {}}},
        }),
        json!({}),
    );
    assert_eq!(findings(&text), Vec::<String>::new());
    let (manifest, _) = drafted(&text);
    let shown =
        |id: &str| manifest.operations.iter().find(|operation| operation.id == id).unwrap().response_example.clone();
    assert_eq!(shown("c"), json!({"id": 1}), "the first keeps what the document shows");
}

#[test]
fn an_example_has_every_member_where_fewer_do_not_fit() {
    let schema = json!({
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}, "c": {"type": "string"}, "d": {"type": "string"}},
        "minProperties": 4,
    });
    let body = json!({"required": true, "content": {"application/json": {"schema": schema}}});
    let text = document(json!({"/a": {"post": {"operationId": "a", "requestBody": body, "responses": {}}}}), json!({}));
    assert_eq!(findings(&text), Vec::<String>::new());
}
