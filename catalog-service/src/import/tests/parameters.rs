//! Paths, queries and headers.

use serde_json::{Value, json};

use super::{document, drafted, findings};

fn asking(path: &str, parameters: Value) -> String {
    let operation = json!({ "operationId": "a", "parameters": parameters, "responses": {} });
    document(json!({ path: { "get": operation } }), json!({}))
}

fn query(schema: Value, more: Value) -> Value {
    let mut parameter = json!({ "name": "q", "in": "query", "schema": schema });
    parameter.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let (manifest, _) = drafted(&asking("/a", json!([parameter])));
    serde_json::to_value(&manifest.operations[0].query["q"]).unwrap()
}

#[test]
fn lists_travel_as_the_document_says() {
    let list = json!({"type": "array", "items": {"type": "integer", "enum": [1, 2]}});
    let plain = query(list.clone(), json!({}));
    assert_eq!(
        (&plain["items"], &plain["style"], &plain["enum"]),
        (&json!("integer"), &json!("repeat"), &json!([1, 2]))
    );
    assert_eq!(query(list.clone(), json!({"explode": false}))["style"], "comma");
    let text = query(list, json!({"style": "pipeDelimited"}));
    assert_eq!((&text["type"], &text["description"]), (&json!("string"), &json!("values joined by \"|\"")));
    let older = json!({
        "swagger": "2.0", "info": {"title": "Old"}, "host": "h.example",
        "paths": {"/a": {"get": {"responses": {}, "parameters": [
            {"name": "q", "in": "query", "type": "array", "items": {"type": "string"}},
        ]}}},
    });
    let (manifest, _) = drafted(&older.to_string());
    assert_eq!(serde_json::to_value(&manifest.operations[0].query["q"]).unwrap()["style"], "comma", "its default");
}

#[test]
fn an_object_is_nested_or_falls_apart_into_parameters() {
    let object = json!({"type": "object", "properties": {"from": {"type": "string", "format": "date"}, "to": {"type": "string"}}});
    let deep = query(object.clone(), json!({"style": "deepObject"}));
    assert!(deep["type"] == "object" && deep.get("items").is_none(), "{deep}");
    let parameter = json!([{ "name": "q", "in": "query", "schema": object }]);
    let (manifest, _) = drafted(&asking("/a", parameter));
    let names: Vec<_> = manifest.operations[0].query.keys().collect();
    assert_eq!(names, ["from", "to"]);
}

#[test]
fn of_several_types_a_parameter_has_the_widest() {
    assert_eq!(query(json!({"type": ["integer", "null"]}), json!({}))["type"], "integer");
    assert_eq!(query(json!({"type": ["string", "integer"]}), json!({}))["type"], "string");
    let either =
        query(json!({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}), json!({}));
    assert_eq!(
        (&either["type"], &either["items"]),
        (&json!("array"), &json!("string")),
        "one value stands for a list of one"
    );
}

#[test]
fn a_required_parameter_has_an_example_and_no_default() {
    let parameter = json!([
        {"name": "version", "in": "query", "required": true, "schema": {"type": "string", "default": "2024"}},
        {"name": "ids", "in": "query", "required": true, "schema": {"type": "array", "items": {"type": "integer"}}},
    ]);
    let text = asking("/a", parameter);
    let (manifest, _) = drafted(&text);
    let operation = &manifest.operations[0];
    assert!(operation.query["version"].required && operation.query["version"].default.is_none());
    let example = operation.request_example.as_ref().unwrap();
    assert_eq!(example.query["version"], "2024");
    assert_eq!(example.query["ids"], json!([1]), "a list of integers");
}

#[test]
fn what_every_operation_must_have_belongs_to_the_transport() {
    let version = json!({"name": "api-version", "in": "query", "required": true, "schema": {"type": "string", "enum": ["2024-01-01"]}});
    let header =
        json!({"name": "X-Rev", "in": "header", "required": true, "schema": {"type": "string", "default": "7"}});
    let one = |more: Value| json!({"get": {"parameters": [version, header, more], "responses": {}}});
    let own = json!({"name": "X-Kind", "in": "header", "required": true, "schema": {"type": "string", "enum": ["a"]}});
    let free = json!({"name": "X-Trace", "in": "header", "schema": {"type": "string"}});
    let (manifest, remarks) =
        drafted(&document(json!({"/a": one(own), "/b": one(free.clone()), "/c": one(free)}), json!({})));
    assert_eq!(manifest.transport.query["api-version"], "2024-01-01");
    assert_eq!(manifest.transport.headers["X-Rev"], "7");
    assert!(manifest.operations.iter().all(|operation| operation.query.is_empty()));
    assert_eq!(manifest.operations[0].headers["X-Kind"], "a");
    assert_eq!(manifest.transport.caller_headers, ["X-Trace"]);
    let lines: Vec<_> = remarks.lines().filter(|line| line.contains("X-Trace")).collect();
    assert_eq!(lines, ["the header X-Trace is the callers' to set (2 operations, 0 of which require it)"]);
    assert_eq!(manifest.auth.test.as_deref(), Some("get_a"), "nothing is left to ask for");
}

#[test]
fn names_in_paths_are_plain() {
    let parameters = json!([{"name": "App-ID", "in": "path", "required": true, "schema": {"type": "integer"}}]);
    let text = asking("/apps/{App-ID}/{id}", parameters);
    let (manifest, remarks) = drafted(&text);
    let operation = &manifest.operations[0];
    assert_eq!(operation.path.as_deref(), Some("/apps/{App_ID}/{id}"));
    assert_eq!(serde_json::to_value(&operation.path_params["App_ID"]).unwrap()["type"], "integer");
    assert!(operation.path_params["id"].required, "the document does not describe it");
    assert!(remarks.contains("does not describe {id}"), "{remarks}");
    assert_eq!(findings(&text), Vec::<String>::new());
}

#[test]
fn a_path_has_no_query_and_no_fragment() {
    let get = json!({"get": {"responses": {"200": {"content": {"text/plain": {}}}}}});
    let post = |id: &str| json!({"post": {"operationId": id, "responses": {}}});
    let text = document(
        json!({"/files?beta=true": get, "/#X-Target=One": post("one"), "/things/{a}": post("first"), "/things/{b}": post("second")}),
        json!({}),
    );
    let (manifest, remarks) = drafted(&text);
    let ids: Vec<_> = manifest.operations.iter().map(|operation| operation.id.as_str()).collect();
    assert_eq!(ids, ["get_files_beta_true", "first"]);
    assert_eq!(manifest.operations[0].path.as_deref(), Some("/files"));
    assert_eq!(manifest.operations[0].query["beta"].values, [json!("true")]);
    assert!(remarks.contains("one: is left out: it has a path with `#`"), "{remarks}");
    assert!(remarks.contains("second: is left out: it is the same call as first"), "{remarks}");
}
