//! Documents, and what becomes of them. Each finding on a published document has its small copy here.

mod access;
mod bodies;
mod examples;
mod operations;
mod parameters;
mod schemas;
mod whole_documents;

use plugboard_core::manifest::{Category, Connector};

use super::*;
use crate::load;

const OPENAPI: &str = r##"openapi: 3.1.0
info: {title: Parcel Hub, description: Ships parcels. And tracks them., version: "7"}
servers: [{url: "https://{region}.parcels.example/v2/", variables: {region: {default: eu}}}]
components:
  securitySchemes:
    key: {type: apiKey, in: header, name: X-Api-Key}
  parameters:
    Page: {name: page, in: query, schema: {type: integer, minimum: 1}}
  schemas:
    Address: {type: object, required: [city], properties: {city: {type: string, maxLength: 40}, zip: {type: [string, "null"]}}}
    Parcel:
      allOf:
        - {type: object, required: [weight_g], properties: {id: {type: string, readOnly: true}, weight_g: {type: integer, minimum: 1}}}
        - {type: object, required: [to], properties: {to: {$ref: "#/components/schemas/Address"}, parent: {$ref: "#/components/schemas/Parcel"}}}
paths:
  /parcels:
    get:
      operationId: listParcels
      tags: [Parcels]
      summary: List parcels. Newest first.
      parameters:
        - {$ref: "#/components/parameters/Page"}
        - {name: status, in: query, explode: false, schema: {type: array, items: {type: string}}}
        - {name: X-Trace, in: header, schema: {type: string}}
      responses: {"200": {content: {application/json: {example: {parcels: [{id: p1}]}}}}}
    post:
      operationId: createParcel
      tags: [Parcels]
      requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/Parcel"}}}}
      responses: {"201": {content: {application/json: {schema: {type: object, properties: {id: {type: string}}}}}}}
  /parcels/{id}:
    parameters: [{name: id, in: path, required: true, schema: {type: string}}]
    delete:
      tags: [Parcels]
      responses: {"204": {description: gone}}
"##;

fn wanted() -> Wanted {
    let selection = Selection::default();
    Wanted { key: None, category: Category::Logistics, today: "2026-11-28".to_owned(), selection }
}

fn manifest(draft: &Draft) -> Manifest {
    let source = Source { file: "draft.yaml".to_owned(), text: draft.text.clone() };
    load::manifest(&source).unwrap_or_else(|findings| panic!("{findings:?}\n{}", draft.text))
}

/// A document with these paths and whatever else is said of it.
fn document(paths: Value, more: Value) -> String {
    let mut document = json!({
        "openapi": "3.1.0",
        "info": { "title": "Parcel Hub" },
        "servers": [{ "url": "https://api.parcels.example" }],
        "paths": paths,
    });
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    document.to_string()
}

/// A draft that loads, and its remarks in one text.
fn drafted(text: &str) -> (Manifest, String) {
    let draft = draft(text, &wanted()).unwrap();
    (manifest(&draft), draft.remarks.join("\n"))
}

/// What lint says of a draft.
fn findings(text: &str) -> Vec<String> {
    draft(text, &wanted()).unwrap().findings().iter().map(ToString::to_string).collect()
}

#[test]
fn a_document_becomes_a_manifest_that_loads() {
    let draft = draft(OPENAPI, &wanted()).unwrap();
    let manifest = manifest(&draft);
    assert_eq!(
        (manifest.key.as_str(), manifest.modules["parcels"].base_url.as_str()),
        ("parcel_hub", "https://eu.parcels.example/v2")
    );
    assert_eq!(manifest.transport.headers["X-Api-Key"], "{account.api_key}");
    let ids: Vec<_> = manifest.operations.iter().map(|operation| operation.id.as_str()).collect();
    assert_eq!(ids, ["list_parcels", "create_parcel", "delete_parcels_id"]);
    let [list, create, delete] = &manifest.operations[..] else { panic!("three") };
    assert_eq!(list.summary, "List parcels.");
    assert_eq!(list.response_example, json!({"parcels": [{"id": "p1"}]}));
    assert_eq!(serde_json::to_value(&list.query["page"]).unwrap()["minimum"], 1.0);
    assert_eq!(manifest.auth.test.as_deref(), Some("list_parcels"));
    let body = create.body.as_ref().unwrap();
    assert_eq!(body["required"], json!(["weight_g", "to"]));
    assert!(body["properties"].get("id").is_none(), "what only the vendor writes");
    assert_eq!(create.request_example.as_ref().unwrap().body.as_ref().unwrap()["to"]["city"], "city-2");
    assert!(delete.path_params["id"].required && delete.response_example.is_null());
    assert!(draft.remarks.iter().any(|remark| remark.contains("X-Trace")), "{:?}", draft.remarks);
    Connector::from_manifest(manifest).unwrap();
}

#[test]
fn a_draft_is_clean() {
    assert_eq!(findings(OPENAPI), Vec::<String>::new());
}

#[test]
fn the_older_format_is_read_too() {
    let document = json!({
        "swagger": "2.0", "info": {"title": "Old"}, "host": "old.example", "basePath": "/api",
        "securityDefinitions": {"b": {"type": "basic"}},
        "paths": {"/things": {"post": {
            "operationId": "thing.add", "consumes": ["application/json"],
            "parameters": [{"name": "body", "in": "body", "required": true, "schema": {"$ref": "#/definitions/Thing"}}],
            "responses": {"200": {"schema": {"type": "object", "properties": {"id": {"type": "integer"}}}}},
        }}},
        "definitions": {"Thing": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}},
    });
    let manifest = manifest(&draft(&document.to_string(), &wanted()).unwrap());
    assert_eq!(manifest.modules["api"].base_url, "https://old.example/api");
    let operation = &manifest.operations[0];
    assert!(operation.body_required && operation.id == "thing_add");
    assert_eq!(operation.response_example, json!({"id": 1}));
    assert!(manifest.transport.basic.is_some());
}

#[test]
fn what_is_no_document_is_refused() {
    let refuse = |text: &str| draft(text, &wanted()).unwrap_err().to_string();
    assert!(refuse("{").contains("neither JSON nor YAML"));
    assert!(refuse("a: 1").contains("no OpenAPI"));
    assert!(refuse(r#"{"openapi":"3.0.0","paths":{}}"#).contains("no operations"));
}
