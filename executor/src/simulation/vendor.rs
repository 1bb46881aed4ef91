//! A vendor with a ledger. It keeps idempotency keys as the good ones do, and everything else as the bad ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, StatusCode, Version};
use parking_lot::Mutex;
use plugboard_core::egress::{
    AnswerHead, ConnectStage, EgressError, EgressErrorKind, EgressRequest, EgressResponse, SizeLimit, TimeoutPhase,
};
use plugboard_core::testing::Random;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::ledger::Ledger;
use super::process::Process;
use super::world::World;
use crate::Upstream;

const HOST: &str = "api.shop.example";

/// An answer of more than a queue message holds.
static LARGE: std::sync::LazyLock<Bytes> =
    std::sync::LazyLock::new(|| Bytes::from(format!("{{\"rows\":\"{}\"}}", "x".repeat(300 * 1024))));

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    /// No byte of it leaves.
    NoConnection,
    /// It leaves and never arrives.
    LostOnItsWay,
    /// It is read, and the connection is reset before anything is done.
    ResetBefore,
    /// It is done, and the connection is reset.
    ResetAfter,
    /// The connection is reset, and it is done a while later.
    ResetAndLate,
    /// It is done, and half an answer comes.
    Truncated,
    /// It is done, and the answer is no use.
    TooLarge,
    Large,
    /// Done after a while, perhaps after the caller's patience.
    Slow,
    /// Done, and no answer ever comes.
    Silent,
    Limited,
    Unauthorized,
    Rejected,
    Unavailable,
    /// Done, and 500 is what it says.
    FailsAfter,
}

const FATES: [Fate; 16] = [
    Fate::Answered,
    Fate::NoConnection,
    Fate::LostOnItsWay,
    Fate::ResetBefore,
    Fate::ResetAfter,
    Fate::ResetAndLate,
    Fate::Truncated,
    Fate::TooLarge,
    Fate::Large,
    Fate::Slow,
    Fate::Silent,
    Fate::Limited,
    Fate::Unauthorized,
    Fate::Rejected,
    Fate::Unavailable,
    Fate::FailsAfter,
];

/// What came of a key.
#[derive(Debug, Clone)]
enum Kept {
    /// The first request with it is being worked on.
    UnderWay,
    Done,
}

pub(super) struct Vendor {
    world: Arc<World>,
    pub(super) ledger: Ledger,
    keys: Mutex<BTreeMap<String, Kept>>,
}

/// How the vendor ends a request.
enum End {
    Answer(u16, Option<&'static str>),
    Reset(Option<u16>),
    TooLarge,
    Large,
    Nothing,
}

impl Vendor {
    pub(super) fn new(world: &Arc<World>) -> Arc<Self> {
        Arc::new(Self { world: world.clone(), ledger: Ledger::default(), keys: Mutex::default() })
    }

    fn fate(&self) -> Fate {
        match self.world.fault(self.world.weather.vendor) {
            true => self.world.draw(|random| random.pick(&FATES)),
            false => Fate::Answered,
        }
    }

    /// Does what fate has for a request that arrived.
    async fn work(
        self: Arc<Self>,
        fate: Fate,
        call: usize,
        line: usize,
        key: Option<String>,
        end: oneshot::Sender<End>,
    ) {
        let before = match fate {
            Fate::Slow => (500, 45_000),
            _ => (1, 200),
        };
        let wait = |random: &mut Random| random.millis(before.0, before.1);
        if matches!(fate, Fate::ResetBefore | Fate::Limited | Fate::Unauthorized | Fate::Unavailable) {
            tokio::time::sleep(self.world.draw(wait)).await;
            let answer = match fate {
                Fate::ResetBefore => End::Reset(None),
                Fate::Limited => End::Answer(429, self.world.draw(|random| random.pick(&[None, Some("1"), Some("3")]))),
                Fate::Unauthorized => {
                    self.ledger.refuse(line);
                    End::Answer(401, None)
                }
                _ => End::Answer(503, None),
            };
            let _ = end.send(answer);
            return;
        }
        // A key is looked at before anything else is done.
        if let Some(key) = &key {
            let found = self.keys.lock().get(key).cloned();
            match found {
                Some(Kept::Done) => {
                    self.world.note("vendor", "answers again", &format!("call {call}"));
                    let _ = end.send(End::Answer(200, None));
                    return;
                }
                Some(Kept::UnderWay) => {
                    self.world.note("vendor", "is at it", &format!("call {call}"));
                    let _ = end.send(End::Answer(409, None));
                    return;
                }
                None => drop(self.keys.lock().insert(key.clone(), Kept::UnderWay)),
            }
        }
        if fate == Fate::Rejected {
            if let Some(key) = &key {
                self.keys.lock().remove(key);
            }
            let _ = end.send(End::Answer(422, None));
            return;
        }
        let mut end = Some(end);
        if fate == Fate::ResetAndLate {
            let _ = end.take().map(|end| end.send(End::Reset(None)));
            tokio::time::sleep(self.world.draw(|random| random.millis(1, 8_000))).await;
        } else {
            tokio::time::sleep(self.world.draw(wait)).await;
        }
        self.ledger.act(line);
        self.world.note("vendor", "acts", &format!("call {call} {fate:?}"));
        if let Some(key) = key {
            self.keys.lock().insert(key, Kept::Done);
        }
        let Some(end) = end else { return };
        let _ = end.send(match fate {
            Fate::ResetAfter => End::Reset(None),
            Fate::Truncated => End::Reset(Some(200)),
            Fate::TooLarge => End::TooLarge,
            Fate::Large => End::Large,
            Fate::Silent => End::Nothing,
            Fate::FailsAfter => End::Answer(500, None),
            _ => End::Answer(200, None),
        });
    }
}

/// The way to the vendor from one process.
pub(super) struct VendorPort {
    pub(super) vendor: Arc<Vendor>,
    pub(super) process: Arc<Process>,
}

impl VendorPort {
    async fn call(&self, request: EgressRequest) -> Result<EgressResponse, EgressError> {
        let call = call_of(&request);
        let about = format!("call {call}");
        self.process.step("vendor", &about).await;
        if request.deadline <= Instant::now() {
            return Err(timeout(false, TimeoutPhase::Deadline));
        }
        let fate = self.vendor.fate();
        if fate == Fate::NoConnection {
            self.process.note("no connection", &about);
            return Err(failure(EgressErrorKind::Connect { stage: ConnectStage::Tcp }));
        }
        request.sent.set();
        self.process.note(&format!("sends {fate:?}"), &about);
        if fate == Fate::LostOnItsWay {
            self.process.step("vendor", &about).await;
            return Err(failure(EgressErrorKind::Broken));
        }
        let key = request.headers.get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::to_owned);
        let text = format!("{} {} {:?}", request.method, request.url, request.body);
        let line = self.vendor.ledger.receive(call, key.clone(), text);
        let (end, ended) = oneshot::channel();
        // On its own: the vendor goes on whatever becomes of its caller.
        tokio::spawn(self.vendor.clone().work(fate, call, line, key, end));
        let idle = Instant::now() + request.caps.idle;
        let answer = async {
            match ended.await {
                Ok(End::Nothing) | Err(_) => std::future::pending().await,
                Ok(end) => end,
            }
        };
        let end = tokio::select! {
            biased;
            end = answer => Ok(end),
            () = tokio::time::sleep_until(request.deadline.min(idle)) => {
                let phase = if idle < request.deadline { TimeoutPhase::Idle } else { TimeoutPhase::Deadline };
                Err(timeout(true, phase))
            }
        };
        self.process.step("vendor", &about).await;
        self.process.note("hears", &about);
        match end? {
            End::Answer(status, retry_after) => Ok(answer_of(status, retry_after, call)),
            End::Large => Ok(EgressResponse { body: LARGE.clone(), ..answer_of(200, None, call) }),
            End::Reset(status) => Err(failure(EgressErrorKind::Broken).with_head(status.map(head))),
            End::TooLarge => {
                let kind = EgressErrorKind::TooLarge { what: SizeLimit::Wire, limit: 1 };
                Err(failure(kind).with_head(Some(head(200))))
            }
            End::Nothing => Err(timeout(true, TimeoutPhase::Idle)),
        }
    }
}

impl Upstream for VendorPort {
    fn send(&self, request: Box<EgressRequest>) -> BoxFuture<'_, Result<EgressResponse, EgressError>> {
        Box::pin(self.call(*request))
    }
}

/// Every simulated request names its call.
fn call_of(request: &EgressRequest) -> usize {
    let mut pairs = request.url.query_pairs();
    pairs.find(|(name, _)| name == "call").and_then(|(_, value)| value.parse().ok()).expect("a call's number")
}

fn failure(kind: EgressErrorKind) -> EgressError {
    EgressError::new(kind, HOST)
}

fn timeout(sent: bool, phase: TimeoutPhase) -> EgressError {
    failure(EgressErrorKind::Timeout { sent, phase })
}

fn head(status: u16) -> AnswerHead {
    AnswerHead { status: StatusCode::from_u16(status).expect("a status"), headers: HeaderMap::new() }
}

fn answer_of(status: u16, retry_after: Option<&'static str>, call: usize) -> EgressResponse {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().expect("a value"));
    if let Some(seconds) = retry_after {
        headers.insert("retry-after", seconds.parse().expect("a value"));
    }
    let body = Bytes::from(format!("{{\"call\":{call}}}"));
    let bytes = body.len() as u64;
    let AnswerHead { status, .. } = head(status);
    EgressResponse {
        status,
        version: Version::HTTP_11,
        headers,
        body,
        remote: None,
        wire_bytes: bytes,
        decoded_bytes: bytes,
    }
}
