//! Resources.

use api_gateway::mcp::{MethodReply, RpcError};
use serde_json::{Value, json};

use crate::result;

/// One red pixel.
pub(crate) const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
/// A header without samples.
pub(crate) const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA=";

pub(crate) fn list() -> Value {
    let resource = |uri: &str, name: &str, kind: &str| json!({"uri": uri, "name": name, "description": format!("The resource {name}."), "mimeType": kind});
    json!({"resources": [
        resource("test://static-text", "static-text", "text/plain"),
        resource("test://static-binary", "static-binary", "image/png"),
        resource("test://watched-resource", "watched-resource", "text/plain"),
    ]})
}

pub(crate) fn templates() -> Value {
    json!({"resourceTemplates": [{
        "uriTemplate": "test://template/{id}/data",
        "name": "template",
        "description": "Data for an id.",
        "mimeType": "application/json",
    }]})
}

pub(crate) fn read(params: &Value) -> MethodReply {
    let uri = params["uri"].as_str().unwrap_or_default();
    let text = |kind: &str, text: &str| json!({"uri": uri, "mimeType": kind, "text": text});
    let content = match uri {
        "test://static-text" => text("text/plain", "This is the content of the static text resource."),
        "test://static-binary" => json!({"uri": uri, "mimeType": "image/png", "blob": PNG}),
        "test://watched-resource" => text("text/plain", "Nothing happens here."),
        _ => match uri.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data")) {
            Some(id) => {
                let data = json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")});
                text("application/json", &data.to_string())
            }
            None => {
                let error = RpcError::invalid_params("Resource not found").with_data(json!({"uri": uri}).to_string());
                return MethodReply::Error(error);
            }
        },
    };
    result(&json!({"contents": [content]}), true)
}
