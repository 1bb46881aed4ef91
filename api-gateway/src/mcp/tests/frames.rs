//! Bodies that are not one clean JSON-RPC message.

use super::*;

async fn answer(body: impl Into<Body>) -> (StatusCode, Value) {
    App::new().json(post(&[("mcp-protocol-version", "2025-11-25")], body)).await
}

#[tokio::test]
async fn what_is_not_json_is_a_parse_error() {
    for body in ["", "{", "nonsense", "{\"jsonrpc\":\"2.0\",}", "{} {}", "\u{feff}{}", "{\"id\":01}", "[1"] {
        let (status, answer) = App::new().json(post(&[], body)).await;
        assert_eq!(status, 400, "{body}");
        assert_eq!(answer["error"]["code"], -32700, "{body}: {answer}");
        assert_eq!(answer["id"], Value::Null);
    }
    let (status, body) = answer(vec![b'{', b'"', 0xff, b'"', b'}']).await;
    assert_eq!((status.as_u16(), &body["error"]["code"]), (400, &json!(-32700)));
}

#[tokio::test]
async fn an_unreadable_id_is_left_out_for_modern_clients() {
    let (status, body) = App::new().json(post(&[("mcp-protocol-version", "2026-07-28")], "{")).await;
    assert_eq!(status, 400);
    assert_eq!(body["error"]["code"], -32700);
    assert_eq!(body.get("id"), None);
}

#[tokio::test]
async fn json_of_another_shape_is_an_invalid_request() {
    for (body, id) in [
        (r#""text""#, json!(null)),
        ("1", json!(null)),
        ("null", json!(null)),
        (r#"{"id":1,"method":"ping"}"#, json!(1)),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, json!(1)),
        (r#"{"jsonrpc":"2.0","id":"x"}"#, json!("x")),
        (r#"{"jsonrpc":"2.0","id":2,"method":7}"#, json!(2)),
        (r#"{"jsonrpc":"2.0","id":2,"method":"ping","params":[1]}"#, json!(2)),
        (r#"{"jsonrpc":"2.0","id":2,"method":"ping","params":null}"#, json!(2)),
        (r#"{"jsonrpc":"2.0","id":2,"method":"ping","result":{}}"#, json!(2)),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, json!(null)),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, json!(null)),
        (r#"{"jsonrpc":"2.0","id":1e3,"method":"ping"}"#, json!(null)),
        (r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, json!(null)),
        (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, json!(null)),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, json!(null)),
    ] {
        let (status, answer) = answer(body).await;
        assert_eq!(status, 400, "{body}");
        assert_eq!(answer["error"]["code"], -32600, "{body}: {answer}");
        assert_eq!(answer["id"], id, "{body}");
    }
}

#[tokio::test]
async fn repeated_keys_and_depth_in_the_frame_are_refused_with_the_id() {
    let deep =
        format!(r#"{{"jsonrpc":"2.0","id":9,"method":"ping","params":{{"x":{}1{}}}}}"#, "[".repeat(80), "]".repeat(80));
    for (body, id, word) in [
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, json!(null), "\"id\""),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","m\u0065thod":"tools/list"}"#, json!(null), "\"method\""),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"a":1,"a":2}}}"#, json!(1), "\"a\""),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","name":"fail"}}"#,
            json!(1),
            "\"name\"",
        ),
        (deep.as_str(), json!(9), "64"),
    ] {
        let (status, answer) = answer(body.to_owned()).await;
        assert_eq!(status, 400, "{body}");
        assert_eq!(answer["error"]["code"], -32600, "{body}: {answer}");
        assert_eq!(answer["id"], id, "{body}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(word), "{answer}");
    }
}

#[tokio::test]
async fn problems_inside_the_arguments_are_tool_errors() {
    let deep = format!("{{\"x\":{}1{}}}", "[".repeat(70), "]".repeat(70));
    for (arguments, word) in [(r#"{"a":{"b":1,"b":2}}"#, "\"b\""), (deep.as_str(), "64")] {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{arguments}}}}}"#
        );
        let (status, answer) = answer(body).await;
        assert_eq!(status, 200);
        assert_eq!(answer["result"]["isError"], true, "{answer}");
        assert!(answer["result"]["content"][0]["text"].as_str().unwrap().contains(word), "{answer}");
    }
    // The scan ends at the first problem; a fault behind it is still found.
    let (status, answer) =
        answer(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":{"b":1,"b":2}"#).await;
    assert_eq!((status.as_u16(), &answer["error"]["code"]), (400, &json!(-32700)));
}

#[tokio::test]
async fn bodies_have_a_limit() {
    let mut settings = settings();
    settings.max_body_bytes = 1000;
    let app = App::with(settings);
    let body = |padding: usize| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"x":"{}"}}}}"#, "x".repeat(padding))
    };
    assert_eq!(app.json(post(&[], body(900))).await.0, 200);
    let (status, answer) = app.json(post(&[], body(1000))).await;
    assert_eq!(status, 413);
    assert_eq!(answer["error"]["code"], code::TOO_LARGE);
    // A declared length is believed before anything is read.
    let endless = Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    assert_eq!(app.json(post(&[("content-length", "5000000")], endless)).await.0, 413);
    // Without one, the count decides.
    let chunks =
        futures::stream::iter((0..100).map(|_| Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[b' '; 100]))));
    assert_eq!(app.json(post(&[], Body::from_stream(chunks))).await.0, 413);
}

#[tokio::test]
async fn a_body_that_never_comes_times_out() {
    let mut settings = settings();
    settings.body_timeout = Duration::from_millis(20);
    let endless = Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let (status, answer) = App::with(settings).json(post(&[], endless)).await;
    assert_eq!((status.as_u16(), &answer["error"]["code"]), (408, &json!(code::TIMEOUT)));
}

#[tokio::test]
async fn ids_come_back_as_they_were_written() {
    for id in ["0", "-7", "18446744073709551616", "\"\"", "\"\\u0041\\n\""] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        let response = App::new().send(post(&[], body)).await;
        assert_eq!(text(response).await, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
    }
}
