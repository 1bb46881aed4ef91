//! What clients are told about the three tools.
//!
//! Schemas are flat (no combinators, no `$ref`): several clients reject or mangle anything else. Clients cut
//! descriptions at 2048 characters, so the contract comes first.

use serde_json::{Value, json};

use crate::mcp::{McpSettings, ToolSpec};

pub const LIST_SERVICES: &str = "list_services";
pub const DESCRIBE_SERVICE: &str = "describe_service";
pub const CONNECTOR_EXECUTE: &str = "connector_execute";

const INSTRUCTIONS: &str = "Plugboard calls business services (marketplaces, CRM, banks, messengers, analytics) with the organization's own accounts.\n\
1. list_services: which services there are and which are connected.\n\
2. describe_service(service), then describe_service(service, module): the operations, their parameters and examples.\n\
3. connector_execute(service, module, method, path, query, body): one call.\n\
Arguments are checked before anything is sent; an error says which field is wrong and what would be right (error.field, error.fix).\n\
error.retryable says that a repeat may help; error.safe_to_retry says that it cannot double a side effect. After OUTCOME_UNKNOWN do not repeat: look at the vendor's side first.\n\
Several accounts of a service: \"service:Label\" or instance_id.\n\
A call that takes longer than wait_ms ends as state \"running\" with an execution_id: ask again with connector_execute(execution_id).";

/// The settings of the production endpoint, without the host's own (origins, hosts).
pub fn settings(service_header: bool) -> McpSettings {
    let mut settings = McpSettings::new(
        "plugboard",
        env!("CARGO_PKG_VERSION"),
        vec![list_services(), describe_service(), connector_execute(service_header)],
    );
    settings.info.title = Some("Plugboard".to_owned());
    settings.info.description = Some("Business services for AI agents, with your own accounts.".to_owned());
    settings.instructions = Some(INSTRUCTIONS.to_owned());
    settings
}

/// Read when the process starts: written with `json!`, they were a hundred kilobytes of code.
fn schema(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

fn read_only() -> Value {
    json!({"readOnlyHint": true, "destructiveHint": false, "idempotentHint": true, "openWorldHint": false})
}

fn list_services() -> ToolSpec {
    ToolSpec {
        name: LIST_SERVICES.to_owned(),
        title: Some("List services".to_owned()),
        description: "Lists the services that can be called, one line each, with whether an account is connected. \
                      Filter by words (query, English or Russian), category or connected."
            .to_owned(),
        input_schema: schema(include_str!("tool_specs/list_services.input.json")),
        output_schema: Some(schema(include_str!("tool_specs/list_services.output.json"))),
        annotations: Some(read_only()),
        meta: None,
    }
}

fn describe_service() -> ToolSpec {
    ToolSpec {
        name: DESCRIBE_SERVICE.to_owned(),
        title: Some("Describe a service".to_owned()),
        description: "The passport of a service. Without module: its modules, account fields, limits and hints. \
                      With module: every operation with method, path, parameters, body schema and examples."
            .to_owned(),
        input_schema: schema(include_str!("tool_specs/describe_service.input.json")),
        output_schema: Some(json!({"type": "object"})),
        annotations: Some(read_only()),
        meta: None,
    }
}

fn connector_execute(service_header: bool) -> ToolSpec {
    let mut input_schema = schema(include_str!("tool_specs/connector_execute.input.json"));
    if service_header
        && let Some(service) = input_schema.pointer_mut("/properties/service").and_then(Value::as_object_mut)
    {
        service.insert("x-mcp-header".to_owned(), json!("Service"));
    }
    ToolSpec {
        name: CONNECTOR_EXECUTE.to_owned(),
        title: Some("Call a service".to_owned()),
        description: "Makes one call to a service with a connected account. REST: method is the HTTP verb, path as in \
                      describe_service with the parameters filled in, query and body as objects. RPC: method is the \
                      vendor's method name, arguments in body, path left out. The answer is an envelope: ok, state \
                      (succeeded, failed, running, unknown), data (the vendor's answer), or error {code, message, \
                      field, fix, retryable, safe_to_retry}. Instead of a call: execution_id asks how an earlier one \
                      ended; result_id reads a part of a large answer."
            .to_owned(),
        input_schema,
        output_schema: Some(schema(include_str!("tool_specs/connector_execute.output.json"))),
        annotations: Some(json!({
            "readOnlyHint": false, "destructiveHint": true, "idempotentHint": false, "openWorldHint": true
        })),
        meta: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_cut_is_not_there() {
        let settings = settings(false);
        assert!(settings.instructions.unwrap().chars().count() <= 2048);
        for tool in &settings.tools {
            assert!(tool.description.chars().count() <= 2048, "{}", tool.name);
            assert_eq!(tool.input_schema["type"], "object");
            for combinator in ["anyOf", "oneOf", "allOf", "$ref"] {
                assert!(!tool.input_schema.to_string().contains(combinator), "{}", tool.name);
            }
            assert_eq!(tool.output_schema.as_ref().unwrap()["type"], "object");
        }
        let names: Vec<_> = settings.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(names, [LIST_SERVICES, DESCRIBE_SERVICE, CONNECTOR_EXECUTE]);
    }
}
