//! What only separate processes can show: one of them dies or stands still.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plugboard_tests::stack::{Stack, signal};
use plugboard_tests::tenant::{Tenant, hubspot_read, hubspot_write, unique};
use plugboard_tests::vendor::{Answer, Vendor};
use plugboard_tests::wait::eventually;
use serde_json::{Value, json};

const EXECUTORS: [&str; 3] = ["executor-1", "executor-2", "executor-3"];

/// Whose sockets are connected to this port.
fn connected_to(port: u16, pids: &[u32]) -> HashSet<u32> {
    let wanted = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let inodes: HashSet<String> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.len() > 9 && fields[2].ends_with(&wanted) && fields[3] == "01")
        .map(|fields| format!("socket:[{}]", fields[9]))
        .collect();
    let holds = |pid: &&u32| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files
            .filter_map(|file| std::fs::read_link(file.path()).ok())
            .any(|link| inodes.contains(&*link.to_string_lossy()))
    };
    pids.iter().filter(holds).copied().collect()
}

/// Regular files that a process has open or mapped for writing, and memory it shares.
fn writable_files(pid: u32) -> HashSet<String> {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap().flatten().filter_map(|entry| {
        let info = std::fs::read_to_string(entry.path()).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?.trim().to_owned();
        // The last octal digit holds the access mode: 1 to write, 2 for both.
        let writes = flags.ends_with(['1', '2', '5', '6']);
        let link = std::fs::read_link(format!("/proc/{pid}/fd/{}", entry.file_name().display())).ok()?;
        let link = link.to_string_lossy().into_owned();
        (writes && (link.starts_with('/') && !link.starts_with("/dev/null") || link.starts_with("/dev/shm")))
            .then_some(link)
    });
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mapped = maps.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let shared = fields.get(1)?.ends_with('s') && fields.get(1)?.contains('w');
        shared.then(|| fields.get(5).unwrap_or(&"anonymous shared memory").to_string())
    });
    descriptors.chain(mapped).collect()
}

pub(crate) async fn no_two_services_share_a_file() {
    let stack = Stack::cluster().executors(2).sandbox().start();
    assert_eq!(stack.mcp(stack.api_key()).execute(hubspot_write("a")).await["ok"], true);
    let names = ["gateway-1", "executor-1", "executor-2", "auth-1", "catalog", "nats-1", "redis", "limits"];
    let mut owners: HashMap<String, &str> = HashMap::new();
    let mut pids = HashSet::new();
    for name in names {
        let pid = stack.pid(name);
        assert!(pids.insert(pid), "{name} is no process of its own");
        for file in writable_files(pid) {
            let other = owners.insert(file.clone(), name);
            assert!(other.is_none(), "{name} and {other:?} share {file}");
        }
    }
    // The look does find what is open.
    assert!(owners.keys().any(|file| file.ends_with(".log")), "{owners:?}");
}

pub(crate) async fn every_executor_calls() {
    let vendor = Vendor::start();
    let stack = Stack::cluster().executors(3).vendor(&vendor).without_limits().start();
    let tenant = Tenant::new(&stack).await;
    let account = tenant.connect("hubspot", "Shop", &vendor).await;
    vendor.on(&account.mark, Answer::json(200, &json!({"results": []})).after(Duration::from_millis(50)));
    let pids: Vec<u32> = EXECUTORS.iter().map(|name| stack.pid(name)).collect();
    let client = tenant.mcp();
    eventually("all three have called", Duration::from_secs(30), || async {
        let calls = (0..30).map(|_| client.execute(hubspot_read()));
        for envelope in futures::future::join_all(calls).await {
            assert_eq!(envelope["ok"], true, "{envelope}");
        }
        (connected_to(vendor.port(), &pids).len() == pids.len()).then_some(())
    })
    .await;
    for request in vendor.received(&account.mark) {
        assert_eq!(request.header("authorization"), format!("Bearer {}", account.secret));
        assert_eq!(request.host(), "api.hubapi.com");
    }
    // No other service speaks to vendors.
    let others: Vec<u32> = ["gateway-1", "auth-1", "catalog"].iter().map(|name| stack.pid(name)).collect();
    assert!(connected_to(vendor.port(), &others).is_empty());
}

/// One caller after the other until told to stop. Returns every call with its name and its answer.
async fn load(tenant: Tenant, worker: usize, stop: Arc<AtomicBool>) -> Vec<(bool, String, Value)> {
    let client = tenant.mcp();
    let mut made = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let is_read = (worker + made.len()).is_multiple_of(3);
        let name = unique();
        let call = if is_read { hubspot_read() } else { hubspot_write(&name) };
        // An answer that does not come fails the test in the client.
        let envelope = client.execute(call).await;
        made.push((is_read, name, envelope));
    }
    made
}

pub(crate) async fn a_killed_executor_loses_nothing_and_repeats_no_post() {
    const WORKERS: usize = 16;
    let vendor = Vendor::start();
    let stack = Stack::cluster().executors(3).vendor(&vendor).without_limits().start();
    let tenant = Tenant::new(&stack).await;
    let account = tenant.connect("hubspot", "Shop", &vendor).await;
    vendor.on(&account.mark, Answer::json(200, &json!({"id": "1"})).after(Duration::from_millis(15)));
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..WORKERS).map(|worker| tokio::spawn(load(tenant.clone(), worker, stop.clone()))).collect();
    let mut before = 0;
    for name in EXECUTORS {
        // Each dies while calls go through it.
        eventually("calls go through", Duration::from_secs(30), || async {
            (vendor.count(&account.mark) >= before + 150).then_some(())
        })
        .await;
        signal(stack.pid(name), "KILL");
        before = vendor.count(&account.mark);
    }
    eventually("calls go through again", Duration::from_secs(40), || async {
        (vendor.count(&account.mark) >= before + 300).then_some(())
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    let mut made = Vec::new();
    for worker in workers {
        made.extend(worker.await.unwrap());
    }
    let times = vendor.tally(|request| Some(request.json()["properties"]["dealname"].as_str()?.to_owned()));
    let (mut fine, mut unknown) = (0, 0);
    for (is_read, name, envelope) in &made {
        let made = times.get(name).copied().unwrap_or_default();
        assert!(made <= 1, "a POST was made {made} times: {envelope}");
        match (envelope["ok"] == true, is_read) {
            (true, false) => assert_eq!(made, 1, "{envelope}"),
            (true, true) => {}
            (false, true) => panic!("a read is simply made again: {envelope}"),
            (false, false) => {
                assert_eq!(envelope["error"]["code"], "OUTCOME_UNKNOWN", "{envelope}");
                unknown += 1;
                continue;
            }
        }
        fine += 1;
    }
    eprintln!("{fine} done, {unknown} unknown");
    // At most what was under way at each of the three deaths.
    assert!(unknown <= EXECUTORS.len() * WORKERS, "{unknown} of {}", made.len());
    assert!(fine > 500, "{fine}");
    // The supervisor has started them again.
    for name in EXECUTORS {
        stack.pid(name);
    }
}

/// The services share nothing but the broker and the store: without the broker no answer can come.
pub(crate) async fn nothing_is_answered_while_the_broker_stands_still() {
    const STILL: Duration = Duration::from_secs(3);
    let stack = Stack::cluster().executors(2).sandbox().start();
    let client = stack.mcp(stack.api_key());
    assert_eq!(client.execute(hubspot_read()).await["ok"], true);
    stack.signal("nats-1", "STOP");
    let mut calls: Vec<_> = [hubspot_read(), hubspot_write("a")]
        .into_iter()
        .map(|call| {
            let client = client.clone();
            Box::pin(async move { client.execute(call).await })
        })
        .collect();
    for call in &mut calls {
        assert!(tokio::time::timeout(STILL, call).await.is_err(), "an answer came from nowhere");
    }
    stack.signal("nats-1", "CONT");
    for envelope in futures::future::join_all(calls).await {
        // Published late or refused: either is the truth, as long as nothing is claimed that did not happen.
        let honest = envelope["ok"] == true
            || ["OVERLOADED", "OUTCOME_UNKNOWN", "DEADLINE_EXCEEDED"]
                .contains(&envelope["error"]["code"].as_str().unwrap());
        assert!(honest, "{envelope}");
    }
    // And it goes on.
    eventually("calls are served again", Duration::from_secs(20), || async {
        (client.execute(hubspot_read()).await["ok"] == true).then_some(())
    })
    .await;
}

/// While no executor takes anything, a call is told so as soon as it is clear that it would wait in vain; one that has
/// time is taken, and what is never begun ends as not sent.
pub(crate) async fn a_call_that_would_not_make_it_is_refused_at_once() {
    let vendor = Vendor::start();
    let stack = Stack::cluster().executors(2).vendor(&vendor).start();
    let tenant = Tenant::new(&stack).await;
    let account = tenant.connect("hubspot", "Shop", &vendor).await;
    vendor.on(&account.mark, Answer::json(200, &json!({"id": "1"})));
    let client = tenant.mcp();
    assert_eq!(client.execute(hubspot_write("a")).await["ok"], true);
    let executors = |what: &str| ["executor-1", "executor-2"].iter().for_each(|name| stack.signal(name, what));
    executors("STOP");
    let call = |name: &str, deadline_ms: u64, wait_ms: u64| {
        let mut call = hubspot_write(name);
        (call["deadline_ms"], call["wait_ms"]) = (json!(deadline_ms), json!(wait_ms));
        call
    };
    let (never, late) = (unique(), unique());
    // Nobody takes it before its deadline.
    let unbegun = client.execute(call(&never, 3_000, 0)).await;
    assert_eq!(unbegun["state"], "running", "{unbegun}");
    let waiting = client.execute(call(&late, 120_000, 100)).await;
    assert_eq!(waiting["state"], "running", "{waiting}");
    let refused = eventually("a call is refused", Duration::from_secs(20), || async {
        let began = tokio::time::Instant::now();
        let told = client.execute(call("c", 5_000, 2_000)).await;
        (told["error"]["code"] == "OVERLOADED").then(|| (told, began.elapsed()))
    })
    .await;
    let (told, took) = refused;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!((&told["error"]["outcome"], &told["error"]["fix"]["kind"]), (&json!("not_sent"), &json!("wait")));
    assert!(told["error"]["retry_after_ms"].as_u64().is_some_and(|wait| wait >= 2_000), "{told}");
    // Whoever has time is taken.
    assert_eq!(client.execute(call("d", 300_000, 100)).await["state"], "running");
    let ended = crate::handles::end_of(&client, &unbegun).await;
    assert_eq!(
        (&ended["error"]["code"], &ended["error"]["outcome"]),
        (&json!("DEADLINE_EXCEEDED"), &json!("not_sent"))
    );
    executors("CONT");
    assert_eq!(crate::handles::end_of(&client, &waiting).await["ok"], true);
    assert_eq!((vendor.count(&never), vendor.count(&late)), (0, 1));
}

/// Longer than one request to JetStream is waited for.
const WITHOUT_LEADER: Duration = Duration::from_secs(8);

/// Two of three nats-servers stand still, so that JetStream has no leader: a gateway that is started then does not end, and
/// goes on when there is one. (Whether it is ready meanwhile depends on what the third server still answers.)
pub(crate) async fn a_start_without_a_leader_waits_for_one() {
    let stack = Stack::cluster().nats(3).sandbox().start();
    let before = stack.pid("gateway-1");
    // Of the server that goes on.
    let broker = stack.broker().await;
    for server in ["nats-2", "nats-3"] {
        stack.signal(server, "STOP");
    }
    // It leads by itself until it notices that nobody follows.
    eventually("JetStream says that it has no leader", Duration::from_secs(40), || async {
        let answer = broker.request("$JS.API.INFO", "".into()).await.ok()?;
        let answer: Value = serde_json::from_slice(&answer.payload).ok()?;
        (answer["error"]["code"] == 503).then_some(())
    })
    .await;
    stack.signal("gateway-1", "KILL");
    let started = eventually("the gateway is started again", Duration::from_secs(20), || async {
        Some(stack.pid("gateway-1")).filter(|pid| *pid != before)
    })
    .await;
    let said = async |path: &str| Some(reqwest::get(format!("{}{path}", stack.url())).await.ok()?.status().as_u16());
    eventually("it is alive", Duration::from_secs(20), || async {
        (said("/healthz").await == Some(200)).then_some(())
    })
    .await;
    tokio::time::sleep(WITHOUT_LEADER).await;
    assert_eq!(said("/healthz").await, Some(200));
    assert_eq!(stack.pid("gateway-1"), started, "it has not ended");
    for server in ["nats-2", "nats-3"] {
        stack.signal(server, "CONT");
    }
    let ready = || async { (said("/readyz").await == Some(200)).then_some(()) };
    eventually("it is ready", Duration::from_secs(40), ready).await;
    let client = stack.mcp(stack.api_key());
    eventually("it calls", Duration::from_secs(40), || async {
        (client.execute(hubspot_write(&unique())).await["ok"] == true).then_some(())
    })
    .await;
    assert_eq!(stack.pid("gateway-1"), started);
}
