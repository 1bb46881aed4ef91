//! Calls that were started too often.

use std::process::{Command, Output};
use std::time::Duration;

use plugboard_tests::mcp_client::McpClient;
use plugboard_tests::stack::{Stack, binary};
use plugboard_tests::tenant::{Tenant, hubspot_read};
use plugboard_tests::vendor::{Answer, Vendor};
use plugboard_tests::wait::eventually;
use serde_json::{Value, json};

use crate::console;
use crate::handles::end_of;

/// After so many starts a call is given up.
const STARTS: usize = 5;
const SOON: Duration = Duration::from_secs(20);

pub(crate) fn email(service: &str) -> Value {
    let body = json!({"from": "a@shop.example", "to": ["b@shop.example"], "subject": "s", "html": "<p>t</p>"});
    json!({"service": service, "module": "emails", "method": "POST", "path": "/emails", "body": body})
}

async fn jobs(stack: &Stack, key: &str, words: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.arg("jobs").args(words).env("PLUGBOARD_URL", stack.url()).env("PLUGBOARD_API_KEY", key);
    command.env_remove("PLUGBOARD_OPERATOR_KEY");
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// A read, and e-mails that the vendor may do once a key: their process dies each time the vendor has them.
pub(crate) async fn what_never_ends_is_put_aside_and_can_be_made_again() {
    let vendor = Vendor::start();
    let mut stack = Stack::embedded().vendor(&vendor).start();
    let tenant = Tenant::new(&stack).await;
    let shop = tenant.connect("hubspot", "Shop", &vendor).await;
    let mail = tenant.connect("resend", "Mail", &vendor).await;
    let others = [tenant.connect("resend", "Offers", &vendor).await, tenant.connect("resend", "News", &vendor).await];
    let hangs = || Answer::json(200, &json!({"id": "7"})).after(Duration::from_secs(120));
    let marks: Vec<&str> = [&shop, &mail].into_iter().chain(&others).map(|account| account.mark.as_str()).collect();
    marks.iter().for_each(|mark| vendor.on(mark, hangs()));
    let mut ids = Vec::new();
    for mut call in [hubspot_read(), email("resend:Mail"), email("resend:Offers"), email("resend:News")] {
        call["wait_ms"] = json!(0);
        call["deadline_ms"] = json!(900_000);
        let handle = tenant.mcp().execute(call).await;
        ids.push(handle["execution_id"].as_str().unwrap_or_else(|| panic!("{handle}")).to_owned());
    }
    for start in 1..=STARTS {
        eventually("the vendor has all", SOON, || async {
            marks.iter().all(|mark| vendor.count(mark) >= start).then_some(())
        })
        .await;
        stack.kill();
        stack.try_start().unwrap();
    }
    let rest = stack.rest(&tenant.key);
    let letters = eventually("all are put aside", SOON, || async {
        let list = rest.get("/api/v1/dead-letters").await.expect(200);
        let letters = list["dead_letters"].as_array().unwrap().clone();
        (letters.len() == ids.len()).then_some(letters)
    })
    .await;
    assert!(marks.iter().all(|mark| vendor.count(mark) == STARTS));
    for letter in &letters {
        assert!(letter["reason"].as_str().unwrap().contains("started 6 times"), "{letter}");
        assert!(ids.iter().any(|id| letter["execution_id"] == **id), "{letter}");
    }

    // Nobody else's.
    let stranger = Tenant::new(&stack).await;
    let theirs = stack.rest(&stranger.key);
    assert_eq!(theirs.get("/api/v1/dead-letters").await.expect(200)["dead_letters"], json!([]));
    let path = format!("/api/v1/dead-letters/{}", ids[0]);
    theirs.get(&path).await.expect(404);
    theirs.delete(&path).await.expect(404);
    let everybodys = stack.rest(stack.operator_key()).get("/api/v1/dead-letters?limit=1").await.expect(200);
    assert!(everybodys["next"].is_string(), "{everybodys}");

    // On the console.
    marks.iter().for_each(|mark| vendor.on(mark, Answer::json(200, &json!({"id": "7"}))));
    console::made_again_from_the_page(&stack, &tenant, &ids[2]);
    eventually("it is sent", SOON, || async { (vendor.count(&others[0].mark) == STARTS + 1).then_some(()) }).await;
    console::dropped_from_the_page(&stack, &tenant, &ids[3]);
    rest.get(&format!("/api/v1/dead-letters/{}", ids[3])).await.expect(404);
    assert_eq!(vendor.count(&others[1].mark), STARTS);

    // The read is made again, and ends.
    let client = McpClient::modern(stack.url(), &tenant.key);
    let replayed = jobs(&stack, &tenant.key, &["replay", &ids[0]]).await;
    assert!(replayed.status.success(), "{replayed:?}");
    let new_id = String::from_utf8(replayed.stdout).unwrap().trim().to_owned();
    assert_ne!(new_id, ids[0]);
    let ended = end_of(&client, &json!({"service": "hubspot", "execution_id": new_id})).await;
    assert_eq!(ended["ok"], true, "{ended}");

    // The e-mail may have been sent.
    let refused = jobs(&stack, &tenant.key, &["replay", &ids[1]]).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("twice"), "{said}");
    assert_eq!(vendor.count(&mail.mark), STARTS);
    let listed = jobs(&stack, &tenant.key, &["list"]).await;
    let lines = String::from_utf8(listed.stdout).unwrap();
    assert!(lines.lines().count() == 1 && lines.contains(&ids[1]) && lines.contains("resend/"), "{lines}");
    let accepted = jobs(&stack, &tenant.key, &["replay", &ids[1], "--accept-duplicate"]).await;
    assert!(accepted.status.success(), "{accepted:?}");
    eventually("it is sent", SOON, || async { (vendor.count(&mail.mark) == STARTS + 1).then_some(()) }).await;
    let gone = jobs(&stack, &tenant.key, &["drop", &ids[1]]).await;
    assert!(!gone.status.success(), "{gone:?}");
}
