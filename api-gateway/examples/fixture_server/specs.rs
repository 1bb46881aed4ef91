//! The tool list.

use api_gateway::mcp::ToolSpec;
use serde_json::{Value, json};

/// Tools without arguments: name and description. The first one is what the suite calls to check headers.
const PLAIN: [(&str, &str); 24] = [
    ("test_simple_text", "Returns one text block."),
    ("test_image_content", "Returns one image block."),
    ("test_audio_content", "Returns one audio block."),
    ("test_embedded_resource", "Returns one embedded resource."),
    ("test_multiple_content_types", "Returns text, image and resource."),
    ("test_error_handling", "Always fails."),
    ("test_tool_with_progress", "Reports progress three times."),
    ("test_tool_with_logging", "Logs three messages."),
    ("test_logging_tool", "Logs one message, if the client asked for logs."),
    ("test_missing_capability", "Needs sampling."),
    ("test_streaming_elicitation", "Asks for a name."),
    ("test_elicitation_sep1034_defaults", "Asks with default values."),
    ("test_elicitation_sep1330_enums", "Asks with enumerations."),
    ("test_input_required_result_elicitation", "Asks for a name."),
    ("test_input_required_result_sampling", "Asks a model."),
    ("test_input_required_result_list_roots", "Asks for roots."),
    ("test_input_required_result_request_state", "Asks with a state."),
    ("test_input_required_result_multiple_inputs", "Asks three things at once."),
    ("test_input_required_result_multi_round", "Asks twice."),
    ("test_input_required_result_tampered_state", "Refuses a state it did not issue."),
    ("test_input_required_result_capabilities", "Asks only what the client can answer."),
    ("test_slow", "Takes two seconds, or until it is cancelled."),
    ("test_structured", "Returns the product's envelope."),
    ("test_panic", "Is at fault."),
];

pub(crate) fn tools() -> Vec<ToolSpec> {
    let plain = PLAIN.map(|(name, description)| spec(name, description, json!({"type": "object", "properties": {}})));
    let with_arguments = [
        spec("test_sampling", "Asks a model.", with_string("prompt", &json!({"type": "string"}))),
        spec("test_elicitation", "Asks the user.", with_string("message", &json!({"type": "string"}))),
        spec(
            "test_mirrored_argument",
            "Has an argument that is mirrored into a header.",
            with_string("region", &json!({"type": "string", "x-mcp-header": "Region"})),
        ),
        spec("json_schema_2020_12_tool", "Tool with JSON Schema 2020-12 features", full_schema()),
    ];
    plain.into_iter().chain(with_arguments).collect()
}

fn spec(name: &str, description: &str, input_schema: Value) -> ToolSpec {
    ToolSpec {
        name: name.to_owned(),
        title: None,
        description: description.to_owned(),
        input_schema,
        output_schema: None,
        annotations: None,
        meta: None,
    }
}

fn with_string(name: &str, schema: &Value) -> Value {
    json!({"type": "object", "properties": {name: schema}, "required": [name]})
}

/// Every keyword must survive the way to the client.
fn full_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}}
            }
        },
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"}
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": false
    })
}
