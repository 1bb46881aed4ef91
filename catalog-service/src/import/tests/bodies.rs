//! Bodies and answers, by content types.

use serde_json::{Value, json};

use super::{document, drafted, findings};

fn posting(content: Value) -> String {
    let operation =
        json!({ "operationId": "a", "requestBody": { "required": true, "content": content }, "responses": {} });
    document(json!({ "/a": { "post": operation } }), json!({}))
}

#[test]
fn json_by_other_names_is_json() {
    for (kind, header) in [
        ("application/vnd.api+json", Some("application/vnd.api+json")),
        ("application/hal+json; v=1", Some("application/hal+json")),
        ("*/*", None),
    ] {
        let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        let (manifest, _) = drafted(&posting(json!({ kind: { "schema": schema } })));
        let operation = &manifest.operations[0];
        assert!(operation.body_required && operation.body.as_ref() == Some(&schema), "{kind}");
        assert_eq!(operation.headers.get("Content-Type").map(String::as_str), header);
    }
    let (manifest, remarks) = drafted(&posting(json!({ "application/xml": {} })));
    assert!(manifest.operations[0].body.is_none());
    assert!(remarks.contains("a body of application/xml is not taken over"), "{remarks}");
}

#[test]
fn answers_by_other_names_are_shown() {
    let answering = |content: Value| {
        let answer = json!({ "200": { "description": "", "content": content } });
        document(json!({ "/a": { "get": { "operationId": "a", "responses": answer } } }), json!({}))
    };
    let hal = answering(json!({ "application/hal+json": { "example": { "id": 7 } } }));
    assert_eq!(drafted(&hal).0.operations[0].response_example, json!({ "id": 7 }));
    for kind in ["text/csv", "application/pdf"] {
        let text = answering(json!({ kind: {} }));
        let (manifest, remarks) = drafted(&text);
        assert_eq!(manifest.operations[0].response_example, "", "{kind}");
        assert_eq!(remarks.contains("answers with application/pdf"), kind == "application/pdf", "{remarks}");
        assert_eq!(findings(&text), Vec::<String>::new(), "{kind}");
    }
}

#[test]
fn what_the_vendor_writes_is_answered_and_not_sent() {
    let schema = json!({ "type": "object", "properties": { "id": {"type": "integer", "readOnly": true}, "key": {"type": "string", "writeOnly": true} } });
    let content = json!({ "application/json": { "schema": schema } });
    let operation = json!({ "operationId": "a", "requestBody": { "content": content }, "responses": { "200": { "content": content } } });
    let (manifest, _) = drafted(&document(json!({ "/a": { "post": operation } }), json!({})));
    let operation = &manifest.operations[0];
    assert_eq!(operation.body.as_ref().unwrap()["properties"], json!({ "key": {"type": "string"} }));
    assert_eq!(operation.response_example, json!({ "id": 1 }));
}

#[test]
fn fields_of_an_older_form_are_required_and_files_are_files() {
    let document = json!({
        "swagger": "2.0", "info": {"title": "Up"}, "host": "h.example",
        "paths": {"/f": {"post": {
            "consumes": ["multipart/form-data"],
            "parameters": [
                {"name": "file", "in": "formData", "type": "file", "required": true},
                {"name": "n", "in": "formData", "type": "integer", "required": true},
                {"name": "note", "in": "formData", "type": "string"},
            ],
            "responses": {},
        }}, "/g": {"post": {
            "consumes": ["application/x-www-form-urlencoded"],
            "parameters": [{"name": "ids", "in": "formData", "type": "array", "collectionFormat": "multi", "items": {"type": "integer"}}],
            "responses": {},
        }}},
    });
    let (manifest, _) = drafted(&document.to_string());
    let [upload, form] = &manifest.operations[..] else { panic!("two") };
    let upload = serde_json::to_value(upload).unwrap();
    assert_eq!((&upload["body_encoding"], &upload["body_required"]), (&json!("multipart"), &json!(true)));
    assert_eq!(upload["body"]["required"], json!(["file", "n"]));
    assert_eq!(upload["body"]["properties"]["file"]["required"], json!(["filename", "content"]));
    assert_eq!(
        upload["body"]["properties"]["file"]["properties"]["content"],
        json!({"type": "string", "format": "byte"})
    );
    let form = serde_json::to_value(form).unwrap();
    assert_eq!((&form["body_encoding"], &form["body_arrays"]), (&json!("form"), &json!("repeat")));
    assert_eq!(findings(&document.to_string()), Vec::<String>::new());
}

#[test]
fn binary_members_of_multipart_are_files() {
    let schema = json!({"type": "object", "properties": {
        "one": {"type": "string", "format": "binary"},
        "more": {"type": "array", "items": {"type": "string", "format": "binary"}},
        "name": {"type": "string"},
    }});
    let (manifest, _) = drafted(&posting(json!({ "multipart/form-data": { "schema": schema } })));
    let properties = &manifest.operations[0].body.as_ref().unwrap()["properties"];
    assert_eq!(properties["one"]["required"], json!(["filename", "content"]));
    assert_eq!(properties["more"]["items"]["required"], json!(["filename", "content"]));
    assert_eq!(properties["name"], json!({"type": "string"}));
}
