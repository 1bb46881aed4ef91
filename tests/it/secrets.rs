//! A secret goes in, works, and is never seen again.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use base64::Engine;
use futures::StreamExt;
use plugboard_tests::examples::{example_call, manifests};
use plugboard_tests::leaks::found_in;
use plugboard_tests::stack::{Shape, Stack};
use plugboard_tests::tenant::{Tenant, hubspot_read, hubspot_write, unique};
use plugboard_tests::vendor::{Answer, Vendor};
use plugboard_tests::wait::eventually;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::handles::end_of;
use crate::shared::Site;

fn assert_absent(secret: &str, text: &str, what: &str) {
    let places = [(PathBuf::from(what), text.as_bytes().to_vec())];
    let found = found_in(secret, &places);
    assert!(found.is_empty(), "{found:?}: {text}");
}

pub(crate) async fn a_vendor_that_echoes_gives_nothing_away(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let client = tenant.mcp();
    for manifest in manifests() {
        let account = tenant.connect(&manifest.key, "Main", &site.vendor).await;
        let operation = &manifest.operations[0];
        let call = example_call(&manifest, operation);
        for status in [200, 400, 401, 403, 404, 429, 500] {
            // A wait that no caller has the patience for: what a vendor says is said at once.
            site.vendor.on(&account.mark, Answer::echo(status).header("Retry-After", "60"));
            let envelope = client.execute(call.clone()).await;
            let text = envelope.to_string();
            let what = format!("{} {status}", manifest.key);
            for secret in account.secrets() {
                assert_absent(&secret, &text, &what);
            }
            // It did come back: this is not an empty test. An issued token that is refused is asked for again, which
            // says nothing of the answer.
            assert!(text.contains("***") || status == 401 && account.token.is_some(), "{what}: {text}");
        }
        // As plain text, in the middle of something binary, and by handle.
        let shown = if account.only_signs { &account.secret } else { &account.mark };
        let page = format!("<html>your key is {shown}</html>");
        site.vendor.on(&account.mark, Answer::bytes(500, "text/html", page));
        assert_absent(shown, &client.execute(call.clone()).await.to_string(), &manifest.key);
        let binary = [&[0, 159, 146, 150][..], shown.as_bytes(), &[255, 0]].concat();
        site.vendor.on(&account.mark, Answer::bytes(200, "application/octet-stream", binary));
        assert_absent(shown, &client.execute(call.clone()).await.to_string(), &manifest.key);
    }
    let account = tenant.connect("hubspot", "Big", &site.vendor).await;
    let page = json!({"padding": "x".repeat(5 << 20), "token": account.secret, "more": "y".repeat(1 << 20)});
    site.vendor.on(&account.mark, Answer::json(200, &page));
    let mut call = hubspot_read();
    call["service"] = json!("hubspot:Big");
    let envelope = client.execute(call).await;
    let result = envelope["truncated"]["result_id"].clone();
    let slice = json!({"service": "hubspot", "result_id": result, "offset": (5 << 20) - 200, "limit": 1000});
    let slice = client.execute(slice).await;
    assert!(slice["data"].as_str().unwrap().contains("***"), "{slice}");
    assert_absent(&account.secret, &slice.to_string(), "a slice");
}

pub(crate) async fn secrets_are_in_nothing_that_is_written(site: &Site) {
    let replies = match site.stack.shape() {
        Shape::Embedded => None,
        Shape::Distributed => Some(overheard_replies(&site.stack).await),
    };
    let tenant = Tenant::new(&site.stack).await;
    let (client, rest) = (tenant.mcp(), tenant.rest());
    let mut secrets = vec![tenant.key.clone(), site.stack.operator_key().to_owned()];
    let mut answers = String::new();
    for manifest in manifests() {
        let account = tenant.connect(&manifest.key, "Main", &site.vendor).await;
        let call = example_call(&manifest, &manifest.operations[0]);
        for answer in [Answer::echo(200), Answer::echo(500), Answer::echo(401), Answer::cut(), Answer::halfway()] {
            site.vendor.on(&account.mark, answer);
            answers.push_str(&client.execute(call.clone()).await.to_string());
        }
        secrets.extend(account.secrets());
        answers.push_str(&rest.get(&format!("/api/v1/connections/{}", account.id)).await.text);
    }
    // A label is no secret: it shows that looking finds what is there.
    let control = unique();
    let labelled = tenant.connect("hubspot", &control, &site.vendor).await;
    site.vendor.on(&labelled.mark, Answer::echo(200));
    for call in [hubspot_read(), hubspot_write("a")] {
        let mut call = call;
        call["service"] = json!(format!("hubspot:{control}"));
        call["wait_ms"] = json!(0);
        let handle = client.execute(call).await;
        answers.push_str(&end_of(&client, &handle).await.to_string());
    }
    secrets.push(labelled.secret);
    let refused = json!({"service": "github", "label": "x", "credentials": {"access_token": "short;secret?value"}});
    answers.push_str(&rest.post("/api/v1/connections", &refused).await.text);
    secrets.push("short;secret?value".to_owned());
    answers.push_str(&rest.get("/api/v1/connections").await.text);
    answers.push_str(&rest.get("/api/v1/organizations/me/api-keys").await.text);
    let (_, issued) = rest.issue(&["write:tools"]).await;
    tenant.with_key(&issued).execute(hubspot_read()).await;
    secrets.push(issued);

    let mut places = site.stack.written();
    assert!(!found_in(&control, &places).is_empty(), "the look into {} files finds nothing at all", places.len());
    places.push((PathBuf::from("answers"), answers.into_bytes()));
    if let Some(replies) = replies {
        let overheard = replies.lock().unwrap().clone();
        assert!(overheard.len() > 10_000, "outcomes go over the broker");
        places.push((PathBuf::from("replies"), overheard));
    }
    let found: Vec<String> = secrets.iter().flat_map(|secret| found_in(secret, &places)).collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// What executors tell gateways over the broker. It is stored nowhere, so it is listened to, with a gateway's rights.
async fn overheard_replies(stack: &Stack) -> Arc<Mutex<Vec<u8>>> {
    let nats = stack.broker().await;
    // Of the queue, and of the express lane.
    let replies = nats.subscribe("plugboard.reply.>").await.unwrap();
    let mut messages = futures::stream::select(replies, nats.subscribe("plugboard.express_news.>").await.unwrap());
    nats.flush().await.unwrap();
    let overheard = Arc::new(Mutex::new(Vec::new()));
    let heard = overheard.clone();
    tokio::spawn(async move {
        // The connection lives as long as somebody listens.
        let _nats = nats;
        while let Some(message) = messages.next().await {
            heard.lock().unwrap().extend_from_slice(&message.payload);
        }
    });
    overheard
}

/// Everything a collector of traces is sent, and the most talkative logs.
pub(crate) async fn secrets_are_in_no_trace() {
    let collected = Arc::new(Mutex::new(Vec::new()));
    let collector = collector(collected.clone()).await;
    let vendor = Vendor::start();
    let stack = Stack::options(Shape::Embedded)
        .vendor(&vendor)
        .environment("PLUGBOARD_TELEMETRY__OTLP_ENDPOINT", collector)
        .environment("PLUGBOARD_TELEMETRY__SAMPLE_RATIO", "1")
        .environment("PLUGBOARD_TELEMETRY__LOG", "trace")
        .start();
    let tenant = Tenant::new(&stack).await;
    let client = tenant.mcp();
    let mut secrets = vec![tenant.key.clone()];
    for manifest in manifests() {
        let account = tenant.connect(&manifest.key, "Main", &vendor).await;
        let call = example_call(&manifest, &manifest.operations[0]);
        for answer in [Answer::echo(200), Answer::echo(500), Answer::cut()] {
            vendor.on(&account.mark, answer);
            client.execute(call.clone()).await;
        }
        // What custody does with a credential is as silent as what a call does.
        let why = json!({"reason": "a test"});
        let revoked = tenant.rest().post(&format!("/api/v1/connections/{}/revoke", account.id), &why).await;
        assert_eq!(revoked.status, 200, "{}", revoked.text);
        client.execute(call).await;
        secrets.extend(account.secrets());
    }
    let kept = tenant.connect("hubspot", "Kept", &vendor).await;
    let operator = stack.rest(stack.operator_key());
    let rotated = operator.post("/api/v1/master-keys/rotate", &json!({})).await;
    assert_eq!(rotated.status, 202, "{}", rotated.text);
    let mut answers = rotated.text;
    eventually("everything is sealed anew", std::time::Duration::from_secs(20), || async {
        operator.get("/api/v1/master-keys").await.text.contains("\"done\":true").then_some(())
    })
    .await;
    answers.push_str(&tenant.rest().get("/api/v1/audit?limit=1000").await.text);
    answers.push_str(&tenant.rest().get("/api/v1/organizations/me/revocations").await.text);
    answers.push_str(&operator.get("/api/v1/master-keys").await.text);
    secrets.extend(kept.secrets());
    secrets.push(stack.operator_key().to_owned());
    for key in std::fs::read_to_string(stack.data().join("master.key")).unwrap().lines() {
        secrets.push(key.rsplit(':').next().unwrap().to_owned());
    }
    eventually("spans are exported", std::time::Duration::from_secs(20), || async {
        let bytes = collected.lock().unwrap();
        memchr::memmem::find(&bytes, b"connector_execute").map(|_| ())
    })
    .await;
    let mut places = stack.written();
    places.push((PathBuf::from("traces"), collected.lock().unwrap().clone()));
    places.push((PathBuf::from("answers"), answers.into_bytes()));
    let found: Vec<String> = secrets.iter().flat_map(|secret| found_in(secret, &places)).collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// Just enough of HTTP/2 for an exporter to speak: frames are acknowledged and kept, calls are never answered.
async fn collector(collected: Arc<Mutex<Vec<u8>>>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let collected = collected.clone();
            tokio::spawn(async move {
                const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
                const SETTINGS_ACK: &[u8] = &[0, 0, 0, 4, 1, 0, 0, 0, 0];
                // A window large enough for everything.
                const WINDOW: &[u8] = &[0, 0, 4, 8, 0, 0, 0, 0, 0, 0x3f, 0, 0, 0];
                stream.write_all(&[SETTINGS, SETTINGS_ACK, WINDOW].concat()).await.ok();
                let mut chunk = vec![0; 1 << 16];
                while let Ok(read @ 1..) = stream.read(&mut chunk).await {
                    collected.lock().unwrap().extend_from_slice(&chunk[..read]);
                }
            });
        }
    });
    format!("http://{address}")
}

#[test]
fn the_look_finds_every_form() {
    let secret = "cnr-a/b+\"7";
    for text in [
        secret.to_owned(),
        hex::encode(secret),
        base64::engine::general_purpose::STANDARD.encode(format!("user:{secret}")),
        base64::engine::general_purpose::STANDARD.encode(format!("u:{secret};")),
        Value::from(secret).to_string(),
    ] {
        assert!(!found_in(secret, &[(PathBuf::new(), text.clone().into_bytes())]).is_empty(), "{text}");
    }
}
