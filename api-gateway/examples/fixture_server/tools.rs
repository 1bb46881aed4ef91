//! What the tools do.

use std::time::Duration;

use api_gateway::mcp::{ContentReply, Envelope, Era, LogLevel, RpcError, ToolReply};
use serde_json::{Value, json};

use crate::Cx;
use crate::input::{Sealer, answer, ask, field, form, full_form, roots, sampling};
use crate::resources::{PNG, WAV};

const PAUSE: Duration = Duration::from_millis(50);

pub(crate) async fn call(sealer: &Sealer, cx: &Cx, tool: &str, arguments: &Value) -> ToolReply {
    match tool {
        "test_tool_with_progress" => with_progress(cx).await,
        "test_tool_with_logging" => with_logging(cx).await,
        "test_slow" => slow(cx).await,
        _ if asks(tool) => asking(sealer, cx, tool, arguments),
        _ => plain(cx, tool),
    }
}

#[expect(clippy::panic, reason = "a tool that is at fault")]
fn plain(cx: &Cx, tool: &str) -> ToolReply {
    let image = json!({"type": "image", "data": PNG, "mimeType": "image/png"});
    let resource = |uri: &str, kind: &str, text: &str| json!({"type": "resource", "resource": {"uri": uri, "mimeType": kind, "text": text}});
    match tool {
        "test_simple_text" => text("This is a simple text response for testing."),
        "test_image_content" => blocks(&json!([image])),
        "test_audio_content" => blocks(&json!([{"type": "audio", "data": WAV, "mimeType": "audio/wav"}])),
        "test_embedded_resource" => blocks(&json!([resource(
            "test://embedded-resource",
            "text/plain",
            "This is an embedded resource content."
        )])),
        "test_multiple_content_types" => blocks(&json!([
            {"type": "text", "text": "Multiple content types test:"},
            image,
            resource("test://mixed-content-resource", "application/json", r#"{"test":"data","value":123}"#),
        ])),
        "test_error_handling" => {
            ToolReply::Content(ContentReply::error_text("This tool intentionally returns an error for testing"))
        }
        "test_logging_tool" => {
            if let Some(log) = &cx.log {
                log.send(LogLevel::Info, "the client asked for this");
            }
            text("done")
        }
        "test_missing_capability" if !cx.capabilities.sampling => {
            ToolReply::Error(RpcError::missing_capability(r#"{"sampling":{}}"#))
        }
        "test_structured" => ToolReply::Envelope(Envelope::ok(r#"{"ok":true,"data":{"line":"a\nb"}}"#)),
        "test_panic" => panic!("the fixture was asked to be at fault"),
        _ => text("done"),
    }
}

async fn with_progress(cx: &Cx) -> ToolReply {
    for step in [0.0, 50.0, 100.0] {
        if let Some(progress) = &cx.progress {
            progress.report(step, Some(100.0), None);
        }
        tokio::time::sleep(PAUSE).await;
    }
    text("All steps are done.")
}

async fn with_logging(cx: &Cx) -> ToolReply {
    for line in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
        if let Some(log) = &cx.log {
            log.send(LogLevel::Info, line);
        }
        tokio::time::sleep(PAUSE).await;
    }
    text("Three messages were logged.")
}

async fn slow(cx: &Cx) -> ToolReply {
    tokio::select! {
        () = cx.cancel.cancelled() => ToolReply::Content(ContentReply::error_text("cancelled")),
        () = tokio::time::sleep(Duration::from_secs(2)) => text("done"),
    }
}

fn asks(tool: &str) -> bool {
    tool.starts_with("test_input_required_result_")
        || tool.starts_with("test_elicitation")
        || matches!(tool, "test_sampling" | "test_streaming_elicitation")
}

/// Tools that need the client. Older revisions would have the server send a request for it, which an endpoint without
/// sessions cannot.
fn asking(sealer: &Sealer, cx: &Cx, tool: &str, arguments: &Value) -> ToolReply {
    if cx.era() == Era::Legacy {
        let why = "this needs a request from server to client, which a stateless endpoint does not send";
        return ToolReply::Content(ContentReply::error_text(why));
    }
    let declared = cx.capabilities;
    let argument = |name: &str| arguments[name].as_str().unwrap_or_default();
    let once = |key: &str, request: Value, done: &dyn Fn(&Value) -> String| match answer(cx, key) {
        Some(answer) => text(&done(&answer)),
        None => ask(declared, &json!({key: request}), None),
    };
    match tool.trim_start_matches("test_input_required_result_") {
        "elicitation" | "test_streaming_elicitation" => {
            let hello = |answer: &Value| format!("Hello, {}!", field(answer, "name"));
            once("user_name", form("What is your name?", "name", "string"), &hello)
        }
        "sampling" => once("capital_question", sampling("What is the capital of France?"), &|answer| {
            format!("The model says: {}", answer["content"]["text"])
        }),
        "list_roots" => once("client_roots", roots(), &|answer| format!("Roots: {}", answer["roots"])),
        "test_sampling" => once("model", sampling(argument("prompt")), &|answer| {
            format!("LLM response: {}", answer["content"]["text"].as_str().unwrap_or_default())
        }),
        "test_elicitation" => once("user", contact(argument("message")), &|answer| format!("User response: {answer}")),
        "test_elicitation_sep1034_defaults" => once("user", defaults(), &completed),
        "test_elicitation_sep1330_enums" => once("user", enums(), &completed),
        "capabilities" => {
            let mut requests = json!({});
            if declared.sampling {
                requests["model"] = sampling("What is the capital of France?");
            }
            if declared.elicitation_form {
                requests["user"] = form("What is your name?", "name", "string");
            }
            match answer(cx, "model").or_else(|| answer(cx, "user")) {
                Some(_) => text("done"),
                None => ask(declared, &requests, None),
            }
        }
        kind => stateful(sealer, cx, tool, kind).unwrap_or_else(ToolReply::Error),
    }
}

/// Tools that keep a state between the rounds.
fn stateful(sealer: &Sealer, cx: &Cx, tool: &str, kind: &str) -> Result<ToolReply, RpcError> {
    let state = cx.input.state.as_deref().map(|sealed| sealer.open(tool, sealed)).transpose()?;
    let ask = |requests: Value, next: &str| ask(cx.capabilities, &requests, Some(sealer.seal(tool, next)));
    Ok(match (kind, state) {
        ("multi_round", Some("first")) if answer(cx, "step1").is_some() => {
            ask(json!({"step2": form("Step 2: What is your favorite color?", "color", "string")}), "second")
        }
        ("multi_round", Some("second")) if answer(cx, "step2").is_some() => text("Both steps are done."),
        ("multi_round", _) => ask(json!({"step1": form("Step 1: What is your name?", "name", "string")}), "first"),
        ("multiple_inputs", Some(_))
            if ["user_name", "greeting", "client_roots"].iter().all(|key| answer(cx, key).is_some()) =>
        {
            text("All three were answered.")
        }
        ("multiple_inputs", _) => ask(
            json!({
                "user_name": form("What is your name?", "name", "string"),
                "greeting": sampling("Generate a greeting"),
                "client_roots": roots(),
            }),
            "asked",
        ),
        (_, Some(_)) if answer(cx, "confirm").is_some() => text("state-ok"),
        _ => ask(json!({"confirm": form("Please confirm", "ok", "boolean")}), "asked"),
    })
}

fn contact(message: &str) -> Value {
    let properties = json!({
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    });
    full_form(message, &properties, &json!(["username", "email"]))
}

fn defaults() -> Value {
    let properties = json!({
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": true},
    });
    full_form("Please check these values", &properties, &json!([]))
}

fn enums() -> Value {
    let options = json!(["option1", "option2", "option3"]);
    let titled = json!([{"const": "value1", "title": "First"}, {"const": "value2", "title": "Second"}]);
    let properties = json!({
        "untitledSingle": {"type": "string", "enum": options},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {"type": "string", "enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": options}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    });
    full_form("Please choose", &properties, &json!([]))
}

fn completed(answer: &Value) -> String {
    format!(
        "Elicitation completed: action={}, content={}",
        answer["action"].as_str().unwrap_or_default(),
        answer["content"]
    )
}

fn text(text: &str) -> ToolReply {
    ToolReply::Content(ContentReply::text(text))
}

fn blocks(blocks: &Value) -> ToolReply {
    ToolReply::Content(ContentReply::blocks(blocks.to_string()))
}
