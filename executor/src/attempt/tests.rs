//! The rules of one attempt, against a real vendor on loopback, through the real way out.

use std::sync::atomic::Ordering;
use std::time::Duration;

use plugboard_core::identity::IdentityError;
use plugboard_core::job::Job;
use plugboard_core::journal::{Claim, JournalState};
use serde_json::{Value, json};

use super::*;
use crate::testing::{Act, Bench, Fate, Vendor, bearer, closed_port, expired, fields, inline};

const SECRET: &str = "s3cret/key+1234567890";

async fn bench(script: Vec<Act>) -> (Bench, Vendor) {
    bench_of(bearer(), script).await
}

async fn bench_of(parts: Value, script: Vec<Act>) -> (Bench, Vendor) {
    let vendor = Vendor::start(script).await;
    let bench = Bench::new(parts, fields(&[("api_key", SECRET), ("token", "tok_first_1234")]), vendor.addr);
    (bench, vendor)
}

fn ok() -> Act {
    Act::json(200, json!({"ok": true}))
}

/// Every effect with an operation that has it.
const OPERATIONS: [(&str, &str, Effect); 4] = [
    ("list", "/orders", Effect::Read),
    ("replace", "/orders/1", Effect::Idempotent),
    ("pay", "/payments", Effect::Keyed),
    ("send", "/messages", Effect::Once),
];

pub(super) async fn state(bench: &Bench, job: &Job) -> Option<JournalState> {
    bench.deps.journal.look(&job.execution_id).await.unwrap().map(|record| record.state)
}

#[tokio::test]
async fn a_call_succeeds_and_is_written_down_unless_it_is_a_read() {
    let (bench, vendor) = bench(vec![ok()]).await;
    for (operation, path, effect) in OPERATIONS {
        let mut job = bench.job(operation, path);
        if effect != Effect::Read {
            job.body = inline(&json!({"a": 1}));
        }
        assert_eq!(bench.run(&job, 1).await, Fate::Acked);
        let (envelope, data) = bench.reply();
        assert_eq!(envelope["ok"], true, "{envelope}");
        assert_eq!(
            (&envelope["state"], &envelope["status"], &envelope["attempts"]),
            (&json!("succeeded"), &json!(200), &json!(1))
        );
        assert_eq!(envelope["operation"], operation);
        assert_eq!(envelope["account"]["label"], "Main");
        assert!(envelope.get("data").is_none());
        assert_eq!(data, json!({"ok": true}));
        let expected = if effect == Effect::Read { None } else { Some(JournalState::Done) };
        assert_eq!(state(&bench, &job).await, expected);
    }
    assert_eq!(vendor.calls(), 4);
    let keyed = vendor.requests.lock()[2].to_lowercase();
    assert!(keyed.contains("idempotency-key: "), "{keyed}");
}

#[tokio::test]
async fn once_is_never_sent_twice() {
    let (bench, vendor) = bench(vec![Act::Hang]).await;
    let job = bench.job("send", "/messages");
    assert_eq!(bench.run(&job, 1).await, Fate::Acked);
    let (envelope, _) = bench.reply();
    assert_eq!((&envelope["state"], &envelope["error"]["code"]), (&json!("unknown"), &json!("OUTCOME_UNKNOWN")));
    assert_eq!((&envelope["error"]["safe_to_retry"], &envelope["attempts"]), (&json!(false), &json!(1)));
    for starts in 2..=7 {
        assert_eq!(bench.run_on(&bench.other_executor(), &job, starts).await, Fate::Acked);
        assert_eq!(bench.reply().0["error"]["code"], "OUTCOME_UNKNOWN");
    }
    assert_eq!(vendor.calls(), 1);
}

#[tokio::test]
async fn an_open_intent_of_a_lost_executor_ends_a_once_call_and_is_taken_over_for_others() {
    for (operation, path, effect) in OPERATIONS.into_iter().skip(1) {
        let (bench, vendor) = bench(vec![ok()]).await;
        let job = bench.job(operation, path);
        // An executor claimed it and vanished.
        assert!(matches!(bench.other_executor().journal.claim(&job).await.unwrap(), Claim::Granted(_)));
        assert_eq!(bench.run(&job, 2).await, Fate::Acked);
        let (envelope, _) = bench.reply();
        if effect == Effect::Once {
            assert_eq!(envelope["error"]["code"], "OUTCOME_UNKNOWN");
            assert_eq!((vendor.calls(), state(&bench, &job).await), (0, Some(JournalState::Unknown)));
        } else {
            assert_eq!(envelope["ok"], true);
            assert_eq!((vendor.calls(), state(&bench, &job).await), (1, Some(JournalState::Done)));
        }
    }
}

#[tokio::test]
async fn an_aborted_once_call_is_not_made_again() {
    let (bench, vendor) = bench(vec![Act::Sleep]).await;
    let job = bench.job("send", "/messages");
    let attempt = run(&bench.deps, bench.world.delivery(job.clone(), 1));
    assert!(tokio::time::timeout(Duration::from_millis(300), attempt).await.is_err());
    assert_eq!(bench.world.fates.lock().pop(), Some(Fate::Dropped));
    assert_eq!(vendor.calls(), 1);
    assert_eq!(bench.run(&job, 2).await, Fate::Acked);
    assert_eq!(bench.reply().0["error"]["code"], "OUTCOME_UNKNOWN");
    assert_eq!(vendor.calls(), 1);
}

#[tokio::test]
async fn an_ended_call_is_told_again_and_not_made_again() {
    let (bench, vendor) = bench(vec![ok()]).await;
    let job = bench.job("send", "/messages");
    bench.run(&job, 1).await;
    let first = bench.reply();
    assert_eq!(bench.run(&job, 2).await, Fate::Acked);
    assert_eq!(bench.reply(), first);
    assert_eq!(bench.run(&expired(job.clone()), 3).await, Fate::Acked);
    assert_eq!(bench.reply(), first);
    assert_eq!(bench.run(&job, 9).await, Fate::Acked);
    assert_eq!(bench.reply(), first);
    assert!(bench.world.buried.lock().is_empty());
    assert_eq!(vendor.calls(), 1);
}

#[tokio::test]
async fn a_redelivered_read_is_simply_made_again() {
    let (bench, vendor) = bench(vec![ok()]).await;
    let job = bench.job("list", "/orders");
    assert_eq!(bench.run(&job, 1).await, Fate::Acked);
    assert_eq!(bench.run(&job, 2).await, Fate::Acked);
    assert_eq!(vendor.calls(), 2);
}

#[tokio::test]
async fn what_may_be_repeated_is_repeated_once_after_a_broken_connection() {
    for (operation, path, effect) in OPERATIONS.into_iter().take(3) {
        let (bench, vendor) = bench(vec![Act::Hang, ok()]).await;
        let job = bench.job(operation, path);
        assert_eq!(bench.run(&job, 1).await, Fate::Acked);
        let (envelope, _) = bench.reply();
        assert_eq!((&envelope["ok"], &envelope["attempts"]), (&json!(true), &json!(2)), "{effect:?}");
        let requests = vendor.requests.lock();
        assert_eq!(requests[0], requests[1], "the same key in every attempt");
    }
    for (operation, path, effect) in OPERATIONS.into_iter().take(3) {
        let (bench, vendor) = bench(vec![Act::Hang]).await;
        bench.run(&bench.job(operation, path), 1).await;
        let error = bench.reply().0["error"].clone();
        let code = if effect == Effect::Read { "UPSTREAM_UNREACHABLE" } else { "OUTCOME_UNKNOWN" };
        assert_eq!((&error["code"], &error["outcome"]), (&json!(code), &json!("unknown")));
        assert_eq!(error["safe_to_retry"], effect != Effect::Keyed, "{effect:?}");
        assert_eq!(vendor.calls(), 2);
    }
}

#[tokio::test]
async fn a_refusal_after_an_unanswered_try_of_an_idempotent_call_proves_nothing() {
    let gone = Act::json(404, json!({"message": "no such order"}));
    let (bench, _vendor) = bench(vec![Act::Hang, gone]).await;
    bench.run(&bench.job("replace", "/orders/1"), 1).await;
    let (envelope, _) = bench.reply();
    assert_eq!((&envelope["state"], &envelope["error"]["code"]), (&json!("unknown"), &json!("UPSTREAM_REJECTED")));
    assert_eq!(envelope["error"]["safe_to_retry"], true);
}

/// The vendor has not looked at the key: it is still at the first try, or does not look at all.
#[tokio::test]
async fn a_refusal_without_a_look_at_the_key_proves_nothing() {
    for status in [409, 401, 403] {
        let (bench, _vendor) = bench(vec![Act::Hang, Act::json(status, json!({}))]).await;
        bench.run(&bench.job("pay", "/payments"), 1).await;
        let (envelope, _) = bench.reply();
        let error = &envelope["error"];
        assert_eq!((&error["outcome"], &error["safe_to_retry"]), (&json!("unknown"), &json!(false)), "{envelope}");
    }
    let (bench, _vendor) = bench(vec![Act::Hang, Act::json(422, json!({}))]).await;
    bench.run(&bench.job("pay", "/payments"), 1).await;
    assert_eq!(bench.reply().0["error"]["outcome"], "rejected");
}

/// A start that was redelivered before anybody had an intent is the first to send.
#[tokio::test]
async fn not_sent_is_said_of_a_second_start_that_took_nothing_over() {
    for (operation, path, effect) in OPERATIONS.into_iter().skip(1) {
        let bench = Bench::new(bearer(), fields(&[("api_key", SECRET)]), closed_port().await);
        bench.run(&bench.job(operation, path), 3).await;
        assert_eq!(bench.reply().0["error"]["outcome"], "not_sent", "{effect:?}");
    }
}

#[tokio::test]
async fn what_never_left_is_not_sent_for_any_effect() {
    for (operation, path, effect) in OPERATIONS {
        let bench = Bench::new(bearer(), fields(&[("api_key", SECRET)]), closed_port().await);
        let job = bench.job(operation, path);
        assert_eq!(bench.run(&job, 1).await, Fate::Acked);
        let (envelope, _) = bench.reply();
        let error = &envelope["error"];
        assert_eq!((&error["code"], &error["outcome"]), (&json!("UPSTREAM_UNREACHABLE"), &json!("not_sent")));
        assert_eq!((&error["safe_to_retry"], &envelope["attempts"]), (&json!(true), &json!(0)));
        let expected = if effect == Effect::Read { None } else { Some(JournalState::Closed) };
        assert_eq!(state(&bench, &job).await, expected);
    }
}

#[tokio::test]
async fn a_vendor_that_is_silent_until_the_deadline() {
    for (operation, path, code) in [
        ("list", "/orders", "DEADLINE_EXCEEDED"),
        ("send", "/messages", "OUTCOME_UNKNOWN"),
        ("replace", "/orders/1", "OUTCOME_UNKNOWN"),
    ] {
        let (bench, vendor) = bench(vec![Act::Sleep]).await;
        let mut job = bench.job(operation, path);
        job.deadline = bench.deps.clock.now().plus(Duration::from_millis(200));
        bench.run(&job, 1).await;
        let error = bench.reply().0["error"].clone();
        assert_eq!((&error["code"], &error["outcome"]), (&json!(code), &json!("unknown")));
        assert_eq!(vendor.calls(), 1);
    }
}

#[tokio::test]
async fn a_late_job_is_closed_and_not_made() {
    let (bench, vendor) = bench(vec![ok()]).await;
    let job = expired(bench.job("send", "/messages"));
    assert_eq!(bench.run(&job, 1).await, Fate::Acked);
    let error = bench.reply().0["error"].clone();
    assert_eq!((&error["code"], &error["outcome"]), (&json!("DEADLINE_EXCEEDED"), &json!("not_sent")));
    assert_eq!(state(&bench, &job).await, Some(JournalState::Closed));
    // Somebody may be at it: then nobody says "not sent".
    let job = expired(bench.job("send", "/messages"));
    bench.other_executor().journal.claim(&job).await.unwrap();
    assert_eq!(bench.run(&job, 2).await, Fate::Acked);
    assert_eq!(bench.reply().0["error"]["code"], "OUTCOME_UNKNOWN");
    let job = expired(bench.job("replace", "/orders/1"));
    bench.other_executor().journal.claim(&job).await.unwrap();
    assert_eq!(bench.run(&job, 2).await, Fate::Acked);
    assert_eq!(bench.reply().0["error"]["code"], "OUTCOME_UNKNOWN");
    assert_eq!(state(&bench, &job).await, Some(JournalState::Done));
    let read = expired(bench.job("list", "/orders"));
    bench.run(&read, 1).await;
    assert_eq!(bench.reply().0["error"]["outcome"], "not_sent");
    bench.run(&read, 2).await;
    assert_eq!(bench.reply().0["error"]["outcome"], "unknown");
    assert_eq!(vendor.calls(), 0);
}

#[tokio::test]
async fn a_job_that_was_started_too_often_is_buried_once_and_answered() {
    let (bench, vendor) = bench(vec![ok()]).await;
    let job = bench.job("send", "/messages");
    assert_eq!(bench.run(&job, MAX_STARTS + 1).await, Fate::Acked);
    let error = bench.reply().0["error"].clone();
    assert_eq!((&error["code"], &error["outcome"]), (&json!("INTERNAL"), &json!("not_sent")));
    assert_eq!(state(&bench, &job).await, Some(JournalState::Closed));
    let open = bench.job("send", "/messages");
    bench.other_executor().journal.claim(&open).await.unwrap();
    assert_eq!(bench.run(&open, MAX_STARTS + 1).await, Fate::Acked);
    assert_eq!(bench.reply().0["error"]["code"], "OUTCOME_UNKNOWN");
    let read = bench.job("list", "/orders");
    bench.run(&read, MAX_STARTS + 1).await;
    assert_eq!(bench.reply().0["error"]["outcome"], "unknown");
    assert_eq!(bench.world.buried.lock().len(), 3);
    assert_eq!(vendor.calls(), 0);
}

#[tokio::test]
async fn without_the_journal_nothing_is_sent() {
    let (bench, vendor) = bench(vec![ok()]).await;
    bench.store.failures.store(1, Ordering::SeqCst);
    let job = bench.job("send", "/messages");
    assert!(matches!(bench.run(&job, 1).await, Fate::Nacked(_)));
    assert!(!bench.has_reply());
    assert_eq!(vendor.calls(), 0);
    assert_eq!(bench.run(&job, 2).await, Fate::Acked);
    assert_eq!(bench.reply().0["ok"], true);
}

#[tokio::test]
async fn an_outcome_waits_for_the_journal_before_it_is_told() {
    let (bench, _vendor) = bench(vec![Act::json(200, json!({"id": 1}))]).await;
    let job = bench.job("send", "/messages");
    let attempt = bench.run(&job, 1);
    let trouble = async {
        while bench.deps.journal.look(&job.execution_id).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        bench.store.failures.store(3, Ordering::SeqCst);
    };
    let (fate, ()) = tokio::join!(attempt, trouble);
    assert_eq!(fate, Fate::Acked);
    assert_eq!(bench.reply().0["ok"], true);
    assert_eq!(state(&bench, &job).await, Some(JournalState::Done));
}

#[tokio::test]
async fn who_was_taken_over_says_nothing() {
    let (bench, _vendor) = bench(vec![Act::Sleep]).await;
    let mut job = bench.job("replace", "/orders/1");
    job.deadline = bench.deps.clock.now().plus(Duration::from_millis(400));
    let attempt = bench.run(&job, 1);
    let other = bench.other_executor();
    let rival = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(matches!(other.journal.claim(&job).await.unwrap(), Claim::Granted(_)));
    };
    let (fate, ()) = tokio::join!(attempt, rival);
    assert!(matches!(fate, Fate::Nacked(_)), "the rival still needs the job: {fate:?}");
    assert!(!bench.has_reply());
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let mut parts = bearer();
    parts["transport"]["headers"]["Authorization"] = json!("Bearer {token}");
    parts["transport"]["token"] = json!({
        "kind": "client_credentials", "url": "https://api.shop.example/token",
        "client_id": "{account.client_id}", "client_secret": "{account.api_key}",
    });
    let refused = Act::json(401, json!({"message": "token expired"}));
    let (bench, vendor) = bench_of(parts.clone(), vec![refused.clone(), ok()]).await;
    bench.world.vault.lock().push(Ok(fields(&[("api_key", SECRET), ("token", "tok_second_5678")])));
    assert_eq!(bench.run(&bench.job("send", "/messages"), 1).await, Fate::Acked);
    let (envelope, _) = bench.reply();
    assert_eq!((&envelope["ok"], &envelope["attempts"]), (&json!(true), &json!(2)));
    assert!(vendor.requests.lock()[1].contains("Bearer tok_second_5678"));

    let (bench, vendor) = bench_of(parts.clone(), vec![refused.clone()]).await;
    bench.run(&bench.job("send", "/messages"), 1).await;
    let error = bench.reply().0["error"].clone();
    assert_eq!((&error["code"], &error["outcome"]), (&json!("ACCOUNT_EXPIRED"), &json!("rejected")));
    assert_eq!((vendor.calls(), bench.world.refreshes.load(Ordering::SeqCst)), (2, 1));

    let (bench, _vendor) = bench_of(parts, vec![refused.clone()]).await;
    bench.world.vault.lock().push(Err(IdentityError::Unavailable("test".into())));
    bench.run(&bench.job("send", "/messages"), 1).await;
    assert_eq!(bench.reply().0["error"]["code"], "OVERLOADED", "the account is not to blame");

    let (bench, vendor) = self::bench(vec![refused]).await;
    bench.run(&bench.job("send", "/messages"), 1).await;
    assert_eq!(bench.reply().0["error"]["code"], "ACCOUNT_EXPIRED");
    assert_eq!((vendor.calls(), bench.world.refreshes.load(Ordering::SeqCst)), (1, 0));
}

#[tokio::test]
async fn trouble_with_the_account_is_told_apart() {
    let table = [
        (IdentityError::NotFound { what: "account" }, "NOT_CONNECTED", json!("reconnect")),
        (IdentityError::NeedsReauth, "ACCOUNT_EXPIRED", json!("reconnect")),
        (IdentityError::VendorRefused { message: "no".into() }, "ACCOUNT_EXPIRED", json!("reconnect")),
        (IdentityError::Unavailable("x".into()), "OVERLOADED", json!("wait")),
        (IdentityError::TicketRefused, "INTERNAL", Value::Null),
    ];
    for (trouble, code, fix) in table {
        let (bench, vendor) = bench(vec![ok()]).await;
        *bench.world.vault.lock() = vec![Err(trouble)];
        let job = bench.job("send", "/messages");
        assert_eq!(bench.run(&job, 1).await, Fate::Acked);
        let error = bench.reply().0["error"].clone();
        assert_eq!((&error["code"], &error["outcome"]), (&json!(code), &json!("not_sent")));
        assert_eq!(error["fix"]["kind"], fix);
        assert_eq!((vendor.calls(), state(&bench, &job).await), (0, Some(JournalState::Closed)));
    }
}

#[tokio::test]
async fn short_trouble_of_the_auth_service_is_waited_out() {
    let (bench, _vendor) = bench(vec![ok()]).await;
    bench.world.vault.lock().insert(0, Err(IdentityError::Unavailable("x".into())));
    bench.run(&bench.job("list", "/orders"), 1).await;
    assert_eq!(bench.reply().0["ok"], true);
}

#[tokio::test]
async fn an_echoed_secret_comes_back_masked() {
    let (bench, vendor) = bench(vec![Act::Echo]).await;
    bench.run(&bench.job("list", "/orders"), 1).await;
    assert!(vendor.requests.lock()[0].contains(SECRET), "it was really sent");
    let (envelope, data) = bench.reply();
    let all = format!("{envelope}{data}");
    assert!(all.contains("Bearer ***") && !all.contains("s3cret"), "{all}");
}

#[tokio::test]
async fn large_answers_go_to_the_blob_store() {
    let large = json!({"x": "y".repeat(300 * 1024)});
    let (bench, _vendor) = bench(vec![Act::json(200, large.clone())]).await;
    bench.run(&bench.job("send", "/messages"), 1).await;
    let (envelope, data) = bench.reply();
    assert_eq!(envelope["ok"], true);
    let stored = bench.world.blobs.lock()[data["blob"].as_str().unwrap()].clone();
    assert_eq!(stored, large.to_string().as_bytes());
    *bench.world.blobs_down.lock() = true;
    bench.run(&bench.job("send", "/messages"), 1).await;
    let error = bench.reply().0["error"].clone();
    assert_eq!((&error["outcome"], &error["safe_to_retry"]), (&json!("applied"), &json!(false)));
}

#[tokio::test]
async fn a_body_in_the_blob_store_is_fetched() {
    let (bench, vendor) = bench(vec![ok()]).await;
    let mut job = bench.job("send", "/messages");
    let body = json!({"text": "from afar"}).to_string();
    let id = bench.deps.blobs.put(&job.organization, body.clone().into()).await.unwrap();
    job.body = Some(plugboard_core::job::Payload::Blob { id, bytes: body.len() as u64 });
    bench.run(&job, 1).await;
    assert!(vendor.requests.lock()[0].ends_with(&body));
    bench.world.blobs.lock().clear();
    let lost = Job { execution_id: plugboard_core::ids::ExecutionId::generate(), ..job };
    assert_eq!(bench.run(&lost, 1).await, Fate::Acked);
    assert_eq!(bench.reply().0["error"]["outcome"], "not_sent");
}

#[tokio::test]
async fn a_background_job_is_kept_and_told_to_nobody() {
    for (operation, path, _) in OPERATIONS {
        let (bench, _vendor) = bench(vec![ok()]).await;
        let mut job = bench.job(operation, path);
        job.reply_to = None;
        assert_eq!(bench.run(&job, 1).await, Fate::Acked);
        assert!(!bench.has_reply());
        assert_eq!(state(&bench, &job).await, Some(JournalState::Done));
    }
}

#[tokio::test]
async fn a_reply_that_cannot_be_sent_is_kept() {
    let (bench, _vendor) = bench(vec![ok()]).await;
    bench.world.reply_failures.store(2, Ordering::SeqCst);
    bench.run(&bench.job("list", "/orders"), 1).await;
    assert_eq!(bench.reply().0["ok"], true);
    bench.world.reply_failures.store(3, Ordering::SeqCst);
    let job = bench.job("list", "/orders");
    assert_eq!(bench.run(&job, 1).await, Fate::Acked);
    assert_eq!(state(&bench, &job).await, Some(JournalState::Done));
}

#[tokio::test]
async fn an_unknown_manifest_is_told() {
    let (bench, vendor) = bench(vec![ok()]).await;
    let mut job = bench.job("send", "/messages");
    job.manifest_digest = "0".repeat(64);
    assert_eq!(bench.run(&job, 1).await, Fate::Acked);
    let error = bench.reply().0["error"].clone();
    assert_eq!((&error["code"], &error["outcome"], vendor.calls()), (&json!("INTERNAL"), &json!("not_sent"), 0));
}

#[tokio::test]
async fn a_blocked_address_is_not_tried_again() {
    let mut parts = bearer();
    parts["modules"] = json!({"api": {"summary": "s", "base_url": "https://{account.host}"}});
    let bench = Bench::new(parts, fields(&[("api_key", SECRET), ("host", "127.0.0.9")]), closed_port().await);
    let job = bench.job("send", "/messages");
    assert_eq!(bench.run(&job, 1).await, Fate::Acked);
    let error = bench.reply().0["error"].clone();
    assert_eq!((&error["code"], &error["outcome"]), (&json!("EGRESS_BLOCKED"), &json!("not_sent")));
}
