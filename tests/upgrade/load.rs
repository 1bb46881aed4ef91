//! The callers. None of them repeats anything: a call that fails has failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plugboard_proto::gateway::v1::execution_client::ExecutionClient;
use plugboard_proto::gateway::v1::{ExecuteRequest, State};
use plugboard_tests::mcp_client::McpClient;
use plugboard_tests::stack::Stack;
use plugboard_tests::tenant::{Tenant, hubspot_read, hubspot_write, unique};
use plugboard_tests::vendor::{Answer, Vendor};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::Request;
use tonic::transport::Channel;

use crate::tally::{Kind, Tally};

const TENANTS: usize = 3;
/// Of each kind and tenant, one over connections that are kept and one over new ones.
const PAUSE: Duration = Duration::from_millis(40);
/// A vendor's pace; some calls take longer than the balancer needs to notice anything.
const USUAL: Duration = Duration::from_millis(20);
const SLOW: Duration = Duration::from_millis(3_000);
/// What is in the name of a write that takes long.
const SLOWLY: &str = "slowly";
/// Longer than anybody who stops waits for it.
const VERY_SLOW: Duration = Duration::from_secs(14);
/// And than a silent answer may take before it becomes a stream of events.
const STREAMED: Duration = Duration::from_secs(24);
const PATIENT: usize = 6;
/// How long a background call may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(75);

#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    callers: JoinSet<()>,
}

impl Load {
    pub(crate) async fn start(stack: &Stack, vendor: &Vendor, tally: &Tally) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        let answer = |delay| Answer::json(200, &json!({"id": "1"})).after(delay);
        for _ in 0..TENANTS {
            let tenant = Tenant::new(stack).await;
            let account = tenant.connect("hubspot", "Main", vendor).await;
            vendor.on(&account.mark, answer(USUAL));
            let gateway = tenant.rest().issue(&["connector:gateway", "write:tools"]).await.1;
            for client in [tenant.mcp(), tenant.mcp().on_new_connections()] {
                let caller = Caller { client, tally: tally.clone(), stop: stop.clone() };
                callers.spawn(caller.clone().reads());
                callers.spawn(caller.clone().writes(PAUSE, unique()));
                callers.spawn(caller.clone().writes(PAUSE, format!("{SLOWLY}-{}", unique())));
                callers.spawn(caller.submits(unique()));
            }
            let url = stack.ready()["grpc_url"].as_str().unwrap().to_owned();
            let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
            callers.spawn(grpc_reads(channel, gateway, tally.clone(), stop.clone()));
        }
        // The newest rule comes first.
        vendor.on(SLOWLY, answer(SLOW));
        for (kind, takes, count) in [(Kind::Slow, VERY_SLOW, PATIENT), (Kind::Streamed, STREAMED, 2 * PATIENT)] {
            let tenant = Tenant::new(stack).await;
            let account = tenant.connect("hubspot", "Main", vendor).await;
            vendor.on(&account.mark, answer(takes));
            for _ in 0..count {
                let caller = Caller { client: tenant.mcp(), tally: tally.clone(), stop: stop.clone() };
                callers.spawn(caller.waits(kind));
            }
        }
        Self { stop, callers }
    }

    /// Ends when all calls have.
    pub(crate) async fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.callers.join_next().await {
            ended.unwrap();
        }
    }
}

#[derive(Debug, Clone)]
struct Caller {
    client: McpClient,
    tally: Tally,
    stop: Arc<AtomicBool>,
}

impl Caller {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    async fn reads(self) {
        while self.goes_on() {
            let answer = self.ask(hubspot_read()).await;
            self.tally.count(Kind::Read, &answer.map(drop));
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Reads that take so long that a gateway which stops gives a handle instead of the answer.
    async fn waits(self, kind: Kind) {
        while self.goes_on() {
            let answer = self.ask_as(kind, hubspot_read()).await;
            let handle = answer.as_ref().ok().filter(|answer| answer["state"] == "running");
            let execution = handle.and_then(|answer| answer["execution_id"].as_str()).map(str::to_owned);
            self.tally.count(kind, &answer.map(drop));
            if let Some(execution) = execution {
                self.tally.accepted(&execution);
                self.clone().looks(execution).await;
            }
        }
    }

    async fn writes(self, pause: Duration, name: String) {
        for number in 0.. {
            if !self.goes_on() {
                return;
            }
            let marker = format!("{name}-{number}");
            let answer = self.ask(hubspot_write(&marker)).await;
            if answer.is_ok() {
                self.tally.wrote(&marker);
            }
            self.tally.count(Kind::Write, &answer.map(drop));
            tokio::time::sleep(pause).await;
        }
    }

    async fn submits(self, name: String) {
        let mut looking = JoinSet::new();
        for number in 0.. {
            if !self.goes_on() {
                break;
            }
            let marker = format!("{name}-{number}");
            let mut call = hubspot_write(&marker);
            call["wait_ms"] = json!(0);
            let answer = self.ask(call).await;
            if let Ok(handle) = &answer {
                let execution = handle["execution_id"].as_str().unwrap_or_default().to_owned();
                self.tally.wrote(&marker);
                self.tally.accepted(&execution);
                looking.spawn(self.clone().looks(execution));
            }
            self.tally.count(Kind::Background, &answer.map(drop));
            tokio::time::sleep(2 * PAUSE).await;
        }
        while let Some(ended) = looking.join_next().await {
            ended.unwrap();
        }
    }

    /// Asks by execution id until the call has ended.
    async fn looks(self, execution: String) {
        let began = std::time::Instant::now();
        while began.elapsed() < ENDS_WITHIN {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let answer = self.ask(json!({"service": "hubspot", "execution_id": execution})).await;
            let ended = answer.as_ref().is_ok_and(|answer| answer["state"] == "succeeded");
            self.tally.count(Kind::Look, &answer.map(drop));
            if ended {
                self.tally.ended(&execution);
                return;
            }
        }
    }

    /// One call: its envelope, if it is a success or a handle.
    async fn ask(&self, arguments: Value) -> Result<Value, String> {
        self.ask_as(Kind::Read, arguments).await
    }

    async fn ask_as(&self, kind: Kind, arguments: Value) -> Result<Value, String> {
        let params = json!({"name": "connector_execute", "arguments": arguments});
        let mut body = self.client.message("tools/call", params);
        if kind == Kind::Streamed {
            body["params"]["_meta"]["progressToken"] = json!(1);
        }
        let sent = self.client.try_post(&body.to_string(), "tools/call", Some("connector_execute")).await;
        let reply = sent.map_err(|error| format!("no answer: {error:?}"))?;
        let message = reply.last_event().unwrap_or_else(|| reply.json.clone());
        let envelope = message["result"]["structuredContent"].clone();
        if reply.status == 200 && envelope["ok"] == true {
            return Ok(envelope);
        }
        Err(format!("{}: {}", reply.status, reply.text.chars().take(600).collect::<String>()))
    }
}

async fn grpc_reads(channel: Channel, key: String, tally: Tally, stop: Arc<AtomicBool>) {
    let mut client = ExecutionClient::new(channel);
    while !stop.load(Ordering::Relaxed) {
        let mut request = Request::new(ExecuteRequest {
            service: "hubspot".into(),
            module: "crm".into(),
            method: "GET".into(),
            path: "/crm/v3/owners".into(),
            ..ExecuteRequest::default()
        });
        request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        let answer = match client.execute(request).await {
            Ok(answer) if answer.get_ref().state == State::Succeeded as i32 => Ok(()),
            Ok(answer) => Err(format!("{:?}", answer.into_inner())),
            Err(status) => Err(format!("{status:?}")),
        };
        tally.count(Kind::Grpc, &answer);
        tokio::time::sleep(PAUSE).await;
    }
}
