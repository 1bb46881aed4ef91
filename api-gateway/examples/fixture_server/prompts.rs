//! Prompts.

use api_gateway::mcp::{MethodReply, RpcError, ToolReply};
use serde_json::{Value, json};

use crate::resources::PNG;
use crate::{Cx, input, result};

pub(crate) fn list() -> Value {
    let prompt = |name: &str, arguments: &[&str]| {
        let arguments: Vec<_> = arguments
            .iter()
            .map(|name| json!({"name": name, "description": format!("The argument {name}."), "required": true}))
            .collect();
        json!({"name": name, "description": format!("The prompt {name}."), "arguments": arguments})
    };
    json!({"prompts": [
        prompt("test_simple_prompt", &[]),
        prompt("test_prompt_with_arguments", &["arg1", "arg2"]),
        prompt("test_prompt_with_embedded_resource", &["resourceUri"]),
        prompt("test_prompt_with_image", &[]),
        prompt("test_input_required_result_prompt", &[]),
    ]})
}

pub(crate) fn get(cx: &Cx, params: &Value) -> MethodReply {
    let argument = |name: &str| params["arguments"][name].as_str().unwrap_or_default();
    let text = |text: &str| json!({"type": "text", "text": text});
    let contents = match params["name"].as_str().unwrap_or_default() {
        "test_simple_prompt" => vec![text("This is a simple prompt for testing.")],
        "test_prompt_with_arguments" => {
            let (first, second) = (argument("arg1"), argument("arg2"));
            vec![text(&format!("Prompt with arguments: arg1='{first}', arg2='{second}'"))]
        }
        "test_prompt_with_embedded_resource" => {
            let embedded = "Embedded resource content for testing.";
            let resource = json!({"uri": argument("resourceUri"), "mimeType": "text/plain", "text": embedded});
            let block = json!({"type": "resource", "resource": resource});
            vec![block, text("Please process the embedded resource above.")]
        }
        "test_prompt_with_image" => {
            let image = json!({"type": "image", "data": PNG, "mimeType": "image/png"});
            vec![image, text("Please analyze the image above.")]
        }
        "test_input_required_result_prompt" => match input::answer(cx, "user_context") {
            Some(answer) => vec![text(&format!("Context: {}", input::field(&answer, "context")))],
            None => {
                let form = input::form("What context should the prompt use?", "context", "string");
                return match input::ask(cx.capabilities, &json!({"user_context": form}), None) {
                    ToolReply::InputRequired(ask) => MethodReply::InputRequired(ask),
                    ToolReply::Error(error) => MethodReply::Error(error),
                    _ => MethodReply::Error(RpcError::internal("an unexpected answer")),
                };
            }
        },
        name => return MethodReply::Error(RpcError::invalid_params(format!("there is no prompt {name:?}"))),
    };
    let messages: Vec<_> = contents.into_iter().map(|content| json!({"role": "user", "content": content})).collect();
    result(&json!({"messages": messages}), false)
}
