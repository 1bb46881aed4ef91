//! Schemas: what callers may send is what the document allows.

use plugboard_core::json_schema;
use serde_json::{Value, json};

use super::{document, drafted, findings};

/// The schema of a body as it is drafted, with the remarks.
fn body_of(schema: Value, components: Value) -> (Value, String) {
    let text = posting(schema, components);
    let (manifest, remarks) = drafted(&text);
    (manifest.operations[0].body.clone().unwrap(), remarks)
}

fn posting(schema: Value, components: Value) -> String {
    let body = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    document(
        json!({ "/a": { "post": { "operationId": "a", "requestBody": body, "responses": {} } } }),
        json!({ "components": { "schemas": components } }),
    )
}

fn property(schema: Value) -> Value {
    let (body, _) = body_of(json!({ "type": "object", "properties": { "p": schema } }), json!({}));
    body["properties"]["p"].clone()
}

fn takes(schema: &Value, value: Value) -> bool {
    json_schema::compile(schema).unwrap().is_valid(&value)
}

#[test]
fn this_or_null_is_this_and_may_be_null() {
    for choice in ["oneOf", "anyOf"] {
        assert_eq!(
            property(json!({ choice: [{"type": "null"}, {"type": "integer"}] })),
            json!({"type": ["integer", "null"]})
        );
    }
    let target = json!({"T": {"type": "object", "properties": {"a": {"type": "string"}}}});
    let reference = json!({"type": "object", "properties": {"p": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/T"}]}}});
    let (body, _) = body_of(reference, target);
    assert_eq!(body["properties"]["p"], json!({"type": ["object", "null"], "properties": {"a": {"type": "string"}}}));
    assert_eq!(property(json!({"type": "string", "nullable": true})), json!({"type": ["string", "null"]}));
    let listed = property(json!({"type": "string", "nullable": true, "enum": ["a"]}));
    assert!(takes(&listed, Value::Null) && takes(&listed, json!("a")) && !takes(&listed, json!("b")));
}

#[test]
fn a_choice_takes_what_any_branch_takes() {
    let plain = property(json!({"oneOf": [{"type": "string"}, {"type": "integer"}]}));
    assert_eq!(plain, json!({"type": ["string", "integer"]}));
    assert_eq!(property(json!({"type": ["string", "integer"]})), json!({"type": ["string", "integer"]}));
    let several = property(json!({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}));
    assert!(takes(&several, json!("a")) && takes(&several, json!(["a"])) && !takes(&several, json!([1])), "{several}");
    let both = property(json!({"oneOf": [
        {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}},
        {"type": "object", "properties": {"b": {"type": "integer"}}},
    ]}));
    assert!(takes(&both, json!({"a": 1, "b": 1})), "what fits two branches is refused by neither: {both}");
    assert!(!takes(&both, json!({"b": "x"})));
    let listed = property(json!({"type": "integer", "oneOf": [{"const": 0, "title": "none"}, {"const": 1}]}));
    assert_eq!(listed, json!({"type": "integer", "enum": [0, 1]}));
    assert_eq!(property(json!({"anyOf": [{"type": "string", "maxLength": 3}, {}]})), json!({}), "anything");
}

#[test]
fn a_schema_without_a_type_takes_values_of_every_type() {
    assert_eq!(property(json!({})), json!({}));
    assert_eq!(property(json!({"description": "anything"})), json!({"description": "anything"}));
    assert_eq!(property(json!({"type": "any"})), json!({}));
    assert_eq!(property(json!({"properties": {"a": {"type": "string"}}}))["type"], "object");
}

#[test]
fn keywords_that_mean_the_same_are_kept() {
    for schema in [
        json!({"const": "x"}),
        json!({"type": "integer", "exclusiveMinimum": 5, "multipleOf": 5}),
        json!({"type": "object", "additionalProperties": {"type": "string"}}),
        json!({"type": "array", "items": {"type": "string"}, "uniqueItems": true}),
    ] {
        assert_eq!(property(schema.clone()), schema);
    }
    let older = property(json!({"type": "number", "minimum": 5, "exclusiveMinimum": true}));
    assert_eq!(older, json!({"type": "number", "exclusiveMinimum": 5}));
    let (_, remarks) = body_of(json!({"type": "string", "not": {"const": "x"}}), json!({}));
    assert!(remarks.contains("the body leaves out what `not` says"), "{remarks}");
}

#[test]
fn a_list_below_the_deepest_level_has_items_of_any_kind() {
    let mut schema = json!({"type": "array", "items": {"type": "string"}});
    for _ in 0..5 {
        schema = json!({"type": "object", "properties": {"p": schema}});
    }
    let (body, remarks) = body_of(schema, json!({}));
    let list = body.pointer(&"/properties/p".repeat(5)).unwrap();
    assert_eq!(*list, json!({"type": "array"}));
    assert!(remarks.contains("left open below the fifth level"), "{remarks}");
}

/// A hundred members of which each has a hundred, and so on without end.
#[test]
fn a_schema_is_written_out_within_bounds() {
    let members: serde_json::Map<String, Value> =
        (0..100).map(|at| (format!("m{at}"), json!({"$ref": "#/components/schemas/Wide"}))).collect();
    let wide = json!({"type": "object", "properties": members});
    let (body, remarks) = body_of(json!({"$ref": "#/components/schemas/Wide"}), json!({"Wide": wide}));
    assert_eq!(body["properties"].as_object().unwrap().len(), 100);
    assert!(body.to_string().len() < 10_000, "{}", body.to_string().len());
    assert_eq!(body["properties"]["m99"], json!({"type": "object"}), "the last as open as the first");
    assert!(remarks.contains("the body is large, and left open below level 1"), "{remarks}");
}

/// What is cut off in an answer is empty, and not full of made-up texts.
#[test]
fn an_answer_has_members_of_its_types_alone() {
    let mut schema = json!({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}});
    for _ in 0..3 {
        schema = json!({"type": "object", "required": ["p"], "properties": {"p": schema}});
    }
    let answer = json!({"200": {"content": {"application/json": {"schema": schema}}}});
    let (manifest, _) = drafted(&document(json!({"/a": {"get": {"responses": answer}}}), json!({})));
    assert_eq!(manifest.operations[0].response_example, json!({"p": {"p": {"p": {}}}}));
}

#[test]
fn parts_of_all_of_are_held_together() {
    let schema = json!({"allOf": [
        {"type": "object", "required": ["a"], "properties": {"a": {"type": "string", "enum": ["x", "y"]}}},
        {"required": ["a", "b"], "properties": {"a": {"type": "string", "enum": ["y", "z"]}, "b": {"type": "string"}}},
    ]});
    let (body, _) = body_of(schema.clone(), json!({}));
    assert_eq!(body["required"], json!(["a", "b"]));
    assert_eq!(body["properties"]["a"], json!({"type": "string", "enum": ["y"]}));
    let wrong = findings(&posting(schema, json!({})));
    assert!(!wrong.iter().any(|finding| finding.contains("unique")), "{wrong:?}");
}

#[test]
fn values_of_another_type_are_converted_or_left_out() {
    assert_eq!(property(json!({"type": "string", "enum": [1, 2]})), json!({"type": "string", "enum": ["1", "2"]}));
    assert_eq!(property(json!({"type": "boolean", "default": "false"})), json!({"type": "boolean", "default": false}));
    assert_eq!(property(json!({"type": "integer", "default": "none"})), json!({"type": "integer"}));
    assert_eq!(
        property(json!({"type": "string", "enum": [["a", "b"]]})),
        json!({"type": "string", "enum": ["a", "b"]})
    );
    let list = property(json!({"type": "array", "items": {"type": "string"}, "enum": ["a", "b"]}));
    assert_eq!(list, json!({"type": "array", "items": {"type": "string", "enum": ["a", "b"]}}));
    let (_, remarks) = body_of(json!({"type": "integer", "enum": [1, "x"]}), json!({}));
    assert!(remarks.contains("values of another type"), "{remarks}");
}

#[test]
fn patterns_are_read_as_they_are_meant() {
    assert_eq!(property(json!({"type": "string", "pattern": "/^a+$/i"}))["pattern"], "(?i)^a+$");
    let (body, remarks) = body_of(json!({"type": "string", "pattern": "["}), json!({}));
    assert_eq!(body, json!({"type": "string"}));
    assert!(remarks.contains("does not compile"), "{remarks}");
}
