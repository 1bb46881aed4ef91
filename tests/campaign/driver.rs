//! The callers: an open loop of calls over MCP, each followed until it has an end, and every answer written down.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plugboard_tests::mcp_client::McpClient;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::manifest::SERVICE;
use crate::records::{Answer, Asked, Class, Clock, Log, Told, body_hash, roll};

/// Calls a second.
const RATE: u64 = 20;
/// Of this many calls, the first tenant makes as many as all others have in common, and one: ten times a quiet one's share.
const SHARES: u64 = 19;
/// How often a caller makes a call again that was refused with nothing sent.
const PATIENCE: usize = 6;
/// What a call has to end in. Of those that are looked up later, too.
pub(crate) const DEADLINE: Duration = Duration::from_secs(45);
/// Of a caller whose call is not made past the queue.
const SHORT_WAIT: Duration = Duration::from_millis(2_500);

/// A tenant as callers know it.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) name: String,
    pub(crate) key: String,
    /// Of the account, and of somebody else's.
    pub(crate) account: String,
    pub(crate) foreign_account: String,
}

#[derive(Debug)]
pub(crate) struct Driver {
    callers: Vec<Caller>,
    gateways: Vec<String>,
    log: Log,
    clock: Clock,
    seed: u64,
    /// The first tenant makes all of its calls, not a tenth of them.
    loud: AtomicBool,
    stop: AtomicBool,
    /// From here on nobody asks again. Milliseconds of the clock.
    give_up: AtomicU64,
    /// When the newest call that succeeded was begun.
    newest: Mutex<BTreeMap<Class, u64>>,
}

/// A call to be made.
#[derive(Debug, Clone)]
struct Plan {
    marker: String,
    caller: Caller,
    class: Class,
    module: &'static str,
    arguments: Value,
    body: String,
    /// Repeated when it was refused with nothing sent.
    stubborn: bool,
}

impl Driver {
    pub(crate) fn new(callers: Vec<Caller>, gateways: Vec<String>, log: Log, clock: Clock, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            callers,
            gateways,
            log,
            clock,
            seed,
            loud: AtomicBool::new(true),
            stop: AtomicBool::new(false),
            give_up: AtomicU64::new(u64::MAX),
            newest: Mutex::default(),
        })
    }

    /// Makes calls until told to stop; comes back when all of them have ended or been given up.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut calls = JoinSet::new();
        let mut tick = tokio::time::interval(Duration::from_millis(1000 / RATE));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut number = 0;
        while !self.stop.load(Ordering::Relaxed) {
            tick.tick().await;
            number += 1;
            let (this, Some(plan)) = (self.clone(), self.plan(number)) else { continue };
            calls.spawn(async move { this.follow(plan, usize::try_from(number).unwrap()).await });
            while calls.try_join_next().is_some() {}
        }
        while calls.join_next().await.is_some() {}
    }

    /// Whether the first tenant makes ten times as many calls as each of the others, or as many.
    pub(crate) fn set_loud(&self, loud: bool) {
        self.loud.store(loud, Ordering::Relaxed);
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(crate) fn give_up_at(&self, at: u64) {
        self.give_up.store(at, Ordering::Relaxed);
    }

    /// Whether a read and a write that were begun after this moment have succeeded.
    pub(crate) fn succeeded_since(&self, at: u64) -> bool {
        let newest = self.newest.lock().unwrap();
        let since = |class| newest.get(&class).is_some_and(|begun| *begun >= at);
        since(Class::Read) && (since(Class::Once) || since(Class::Keyed) || since(Class::Idempotent))
    }

    /// `None`: a call that the first tenant does not make, since it is quiet.
    fn plan(&self, number: u64) -> Option<Plan> {
        let text = number.to_string();
        let dice = |what: &str| roll(self.seed, &["driver", what, &text]);
        let share = dice("tenant") % SHARES;
        if (1..10).contains(&share) && !self.loud.load(Ordering::Relaxed) {
            return None;
        }
        let caller = self.callers[if share < 10 { 0 } else { usize::try_from(share).unwrap() - 9 }].clone();
        let class = match dice("class") % 100 {
            0..40 => Class::Read,
            40..60 => Class::Idempotent,
            60..80 => Class::Keyed,
            _ => Class::Once,
        };
        let module = match dice("module") % 1000 {
            _ if class == Class::Read => "api",
            0..15 => "closed",
            15..25 => "canary",
            _ => "api",
        };
        let marker = format!("{}-{number:06}", caller.name);
        let mut plan = self.call(caller, class, module, marker);
        if class != Class::Read {
            // A fifth is handed over and asked for later, and a fifth waits too shortly for anything but the queue.
            match dice("background") % 5 {
                0 => plan.arguments["wait_ms"] = json!(0),
                1 => plan.arguments["wait_ms"] = json!(SHORT_WAIT.as_millis() as u64),
                _ => {}
            }
            plan.stubborn = dice("stubborn").is_multiple_of(2);
        }
        // Somebody tries with an account that is not theirs.
        if dice("thief").is_multiple_of(50) {
            plan.arguments["instance_id"] = json!(plan.caller.foreign_account);
        }
        Some(plan)
    }

    fn call(&self, caller: Caller, class: Class, module: &'static str, marker: String) -> Plan {
        let (method, path) = match class {
            Class::Read => ("GET", "/things"),
            Class::Idempotent => ("PUT", "/things"),
            Class::Keyed => ("POST", "/charges"),
            Class::Once => ("POST", "/messages"),
        };
        let mut arguments = json!({
            "service": SERVICE, "module": module, "method": method, "path": format!("{path}/{marker}"),
            "instance_id": caller.account, "deadline_ms": DEADLINE.as_millis() as u64,
        });
        let mut body = Value::Null;
        if class != Class::Read {
            // Long enough to be cut in its midst.
            body = json!({"marker": marker, "text": "abcdefgh".repeat(256)});
            arguments["body"] = body.clone();
            arguments["idempotency_key"] = json!(format!("key-{marker}"));
        }
        Plan { marker, caller, class, module, arguments, body: body_hash(&body), stubborn: false }
    }

    /// A job that goes into the queue while nobody takes it: its execution.
    pub(crate) async fn hand_over(&self, marker: &str, deadline: Duration) -> Option<String> {
        let mut plan = self.call(self.callers[1].clone(), Class::Idempotent, "api", marker.to_owned());
        plan.arguments["wait_ms"] = json!(0);
        plan.arguments["deadline_ms"] = json!(deadline.as_millis() as u64);
        match self.ask(&plan, 0, "call", &plan.arguments).await {
            Answer::Told(told) => told.execution_id,
            _ => None,
        }
    }

    /// How that went.
    pub(crate) async fn end_of(&self, marker: &str, execution: &str) {
        let plan = self.call(self.callers[1].clone(), Class::Idempotent, "api", marker.to_owned());
        self.look(&plan, 0, execution).await;
    }

    /// As a client does: an answer that did not come is asked for again under the same key, by the other gateway.
    async fn follow(&self, plan: Plan, number: usize) {
        let mut refused = 0;
        for nth in number.. {
            if self.clock.now() > self.give_up.load(Ordering::Relaxed) {
                return;
            }
            let begun = self.clock.now();
            let mut answer = self.ask(&plan, nth, "call", &plan.arguments).await;
            if let Answer::Told(told) = &answer
                && !told.is_final()
                && let Some(execution) = &told.execution_id
            {
                match self.look(&plan, nth, execution).await {
                    Some(told) => answer = Answer::Told(told),
                    None => return,
                }
            }
            let Answer::Told(told) = answer else {
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            };
            if told.succeeded() && !told.replayed {
                let mut newest = self.newest.lock().unwrap();
                let newest = newest.entry(plan.class).or_default();
                *newest = begun.max(*newest);
            }
            refused += 1;
            let again = told.not_sent() && plan.stubborn && plan.module == "api" && refused < PATIENCE;
            if !again {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Asks by execution id until there is an end; `None` when it was given up.
    async fn look(&self, plan: &Plan, number: usize, execution: &str) -> Option<Told> {
        let arguments = json!({"service": SERVICE, "execution_id": execution});
        for nth in number.. {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if let Answer::Told(told) = self.ask(plan, nth, "look", &arguments).await
                && told.is_final()
                && told.execution_id.as_deref() == Some(execution)
            {
                return Some(told);
            }
            if self.clock.now() > self.give_up.load(Ordering::Relaxed) {
                return None;
            }
        }
        None
    }

    /// Once more for what is unknown, when everything has healed.
    pub(crate) async fn look_once(&self, asked: &Asked, execution: &str) {
        let Some(caller) = self.callers.iter().find(|caller| caller.name == asked.tenant) else { return };
        let plan = self.call(caller.clone(), asked.class, "api", asked.marker.clone());
        self.ask(&plan, 0, "look", &json!({"service": SERVICE, "execution_id": execution})).await;
    }

    async fn ask(&self, plan: &Plan, nth: usize, kind: &str, arguments: &Value) -> Answer {
        let client = McpClient::modern(&self.gateways[nth % self.gateways.len()], &plan.caller.key);
        let params = json!({"name": "connector_execute", "arguments": arguments});
        let body = client.message("tools/call", params).to_string();
        let from = self.clock.now();
        let answer = match client.try_post(&body, "tools/call", Some("connector_execute")).await {
            Err(error) => Answer::Lost { why: kind_of(&error).to_owned() },
            Ok(reply) => match told(&reply.json["result"]["structuredContent"]) {
                Some(told) => Answer::Told(told),
                None => Answer::Refused { http: reply.status, text: reply.text.chars().take(400).collect() },
            },
        };
        self.log.append(&Asked {
            marker: plan.marker.clone(),
            tenant: plan.caller.name.clone(),
            class: plan.class,
            module: plan.module.to_owned(),
            body: plan.body.clone(),
            kind: kind.to_owned(),
            from,
            to: self.clock.now(),
            answer: answer.clone(),
        });
        answer
    }
}

fn kind_of(error: &reqwest::Error) -> &'static str {
    match error {
        error if error.is_connect() => "connect",
        error if error.is_timeout() => "timeout",
        _ => "broken",
    }
}

fn told(envelope: &Value) -> Option<Told> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let error = &envelope["error"];
    Some(Told {
        state: text(&envelope["state"])?,
        code: text(&error["code"]),
        outcome: text(&error["outcome"]),
        safe_to_retry: error["safe_to_retry"].as_bool(),
        execution_id: text(&envelope["execution_id"]),
        replayed: envelope["replayed"] == true,
        effect: envelope["data"]["effect"].as_u64(),
    })
}
