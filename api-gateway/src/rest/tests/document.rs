use std::collections::BTreeSet;

use http::Method;
use serde_json::Value;

use super::support::World;

async fn document() -> (World, Value) {
    let world = World::new().await;
    let document = world.get("/api/v1/openapi.json", "").await.expect(200);
    (world, document)
}

#[tokio::test]
async fn every_route_is_in_the_document_and_nothing_else() {
    let (world, document) = document().await;
    let mut served = BTreeSet::new();
    for (path, _) in crate::rest::routes() {
        // Whatever is not allowed tells what is.
        let reply = world.ask(Method::TRACE, path, "", None).await;
        let allowed = reply.headers["allow"].to_str().unwrap().to_ascii_lowercase();
        let methods = allowed.split(',').filter(|method| *method != "head");
        served.extend(methods.map(|method| (path.to_owned(), method.to_owned())));
    }
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        described.extend(item.as_object().unwrap().keys().map(|method| (path.clone(), method.clone())));
    }
    assert_eq!(served, described);
}

#[tokio::test]
async fn the_document_is_sound() {
    let (_, document) = document().await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    assert!(!document["info"]["title"].as_str().unwrap().is_empty());
    assert!(!document["info"]["version"].as_str().unwrap().is_empty());
    check_references(&document, &document);
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let place = format!("{method} {path}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{place}");
            check_parameters(path, operation, &place);
            check_responses(operation, &place);
        }
    }
}

/// Every parameter of the path is described, and no other.
fn check_parameters(path: &str, operation: &Value, place: &str) {
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    let described: BTreeSet<_> = parameters
        .iter()
        .filter(|parameter| parameter["in"] == "path")
        .map(|parameter| {
            assert_eq!(parameter["required"], true, "{place}");
            parameter["name"].as_str().unwrap().to_owned()
        })
        .collect();
    let named: BTreeSet<_> = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{'))
        .map(|part| part.trim_end_matches('}').to_owned())
        .collect();
    assert_eq!(described, named, "{place}");
}

/// Successes have bodies, and refusals are problem documents wherever a key is wanted.
fn check_responses(operation: &Value, place: &str) {
    let responses = operation["responses"].as_object().unwrap();
    let closed = operation.get("security").is_none_or(|security| security != &serde_json::json!([{}]));
    for (status, response) in responses {
        assert!(!response["description"].as_str().unwrap().is_empty(), "{place}");
        let content = response["content"].as_object();
        let refusal = status == "default" || (status.starts_with(['4', '5']) && closed);
        match content {
            None => assert!(status == "204" || status == "304", "{place} {status}"),
            Some(content) if refusal => {
                let schema = &content["application/problem+json"]["schema"]["$ref"];
                assert_eq!(schema, "#/components/schemas/Problem", "{place} {status}");
            }
            Some(content) => assert!(content.contains_key("application/json"), "{place} {status}"),
        }
    }
    if closed {
        for status in ["401", "403", "503"] {
            assert!(responses.contains_key(status), "{place} {status}");
        }
    }
    if operation.get("requestBody").is_some() {
        for status in ["400", "413", "415"] {
            assert!(responses.contains_key(status), "{place} {status}");
        }
    }
}

/// Every `$ref` leads somewhere.
fn check_references(document: &Value, value: &Value) {
    match value {
        Value::Object(object) => {
            if let Some(target) = object.get("$ref").and_then(Value::as_str) {
                let pointer = target.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{target}");
            }
            object.values().for_each(|value| check_references(document, value));
        }
        Value::Array(items) => items.iter().for_each(|value| check_references(document, value)),
        _ => {}
    }
}

#[tokio::test]
async fn schemas_say_what_the_routes_take_and_give() {
    let (_, document) = document().await;
    let schema = |name: &str| document["components"]["schemas"][name].clone();
    let problem = schema("Problem");
    let required: Vec<_> = problem["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(required, ["type", "title", "status", "detail", "code"]);
    assert!(problem["properties"].get("challenge").is_none());
    assert_eq!(schema("ErrorCode")["enum"].as_array().unwrap().len(), 28);
    assert_eq!(schema("Scope")["enum"].as_array().unwrap().len(), 6);
    for name in ["NewConnection", "ConnectionChange", "KeyRequest", "NewOrganization"] {
        assert_eq!(schema(name)["additionalProperties"], false, "{name}");
    }
    assert_eq!(schema("NewConnection")["required"], serde_json::json!(["service", "credentials"]));
    assert_eq!(document["components"]["securitySchemes"]["api_key"]["scheme"], "bearer");
    assert_eq!(schema("Connection")["properties"]["created_at"]["format"], "date-time");
}
