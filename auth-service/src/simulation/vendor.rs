//! A vendor that replaces the refresh token at each use, and takes a used one for theft.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, StatusCode, Version};
use parking_lot::Mutex;
use plugboard_core::egress::{
    ConnectStage, EgressError, EgressErrorKind, EgressRequest, EgressResponse, TimeoutPhase, Upstream,
};
use serde_json::json;
use tokio::sync::oneshot;

use super::process::Process;
use super::world::World;

pub(super) const HOST: &str = "vendor.example.com";

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
    /// Done, perhaps after the caller's patience.
    Slow,
    Down,
    Limited,
    /// Done, and no answer ever comes.
    Silent,
}

const FATES: [Fate; 8] = [
    Fate::NoConnection,
    Fate::LostOnItsWay,
    Fate::ResetBefore,
    Fate::ResetAfter,
    Fate::Slow,
    Fate::Down,
    Fate::Limited,
    Fate::Silent,
];

#[derive(Default)]
struct Ledger {
    /// Refresh token → whose, and whether it was used.
    refresh: BTreeMap<String, (usize, bool)>,
    access: BTreeMap<String, usize>,
    /// Accounts that were ended because a used token came.
    ended: BTreeSet<usize>,
    /// Tokens that a request is being made with.
    under_way: BTreeSet<String>,
    /// Used, and the answer never reached anybody: a second try can spoil nothing more.
    unanswered: BTreeSet<String>,
    issued: u64,
}

pub(super) struct Vendor {
    world: Arc<World>,
    /// Of an access token.
    life: Duration,
    ledger: Mutex<Ledger>,
}

impl Vendor {
    pub(super) fn new(world: &Arc<World>, life: Duration) -> Arc<Self> {
        Arc::new(Self { world: world.clone(), life, ledger: Mutex::default() })
    }

    pub(super) fn life(&self) -> Duration {
        self.life
    }

    /// Access and refresh token.
    pub(super) fn issue(&self, account: usize) -> (String, String) {
        let mut ledger = self.ledger.lock();
        ledger.issued += 1;
        let (access, refresh) = (format!("access-{}", ledger.issued), format!("refresh-{}", ledger.issued));
        ledger.access.insert(access.clone(), account);
        ledger.refresh.insert(refresh.clone(), (account, false));
        (access, refresh)
    }

    pub(super) fn owner(&self, access: &str) -> Option<usize> {
        self.ledger.lock().access.get(access).copied()
    }

    fn fate(&self) -> Fate {
        match self.world.fault(self.world.weather.vendor) {
            true => self.world.draw(|random| random.pick(&FATES)),
            false => Fate::Answered,
        }
    }

    /// Until it is let go: somebody asks with this token.
    fn begin(self: &Arc<Self>, token: &str) -> Asking {
        let fresh = self.ledger.lock().under_way.insert(token.to_owned());
        if !fresh {
            self.world.violated(format!("I11, {token} is sent by two at once"));
        }
        Asking { vendor: self.clone(), token: token.to_owned() }
    }

    /// Answers with the next tokens; `None`: refused.
    fn renew(&self, token: &str) -> Option<(String, String)> {
        let account = {
            let mut ledger = self.ledger.lock();
            let (account, used) = ledger.refresh.get(token).copied()?;
            if used {
                if !ledger.unanswered.contains(token) {
                    drop(ledger);
                    self.world.violated(format!("I11, {token} of account {account} is used twice"));
                    ledger = self.ledger.lock();
                }
                ledger.ended.insert(account);
            }
            if ledger.ended.contains(&account) {
                return None;
            }
            ledger.refresh.insert(token.to_owned(), (account, true));
            account
        };
        Some(self.issue(account))
    }

    fn was_not_heard(&self, token: &str) {
        let account = {
            let mut ledger = self.ledger.lock();
            ledger.unanswered.insert(token.to_owned());
            ledger.refresh.get(token).map(|(account, _)| *account)
        };
        if let Some(account) = account {
            self.world.explain(account, "an answer was lost");
        }
    }

    async fn work(self: Arc<Self>, fate: Fate, token: String, end: oneshot::Sender<Option<(u16, String)>>) {
        let most = if fate == Fate::Slow { 12_000 } else { 300 };
        tokio::time::sleep(self.world.draw(|random| random.millis(1, most))).await;
        let answer = match fate {
            Fate::ResetBefore => None,
            Fate::Down => Some((503, String::new())),
            Fate::Limited => Some((429, String::new())),
            _ => {
                let new = self.renew(&token);
                self.world.note(
                    "vendor",
                    if new.is_some() { "renews" } else { "refuses" },
                    &format!("{token} {fate:?}"),
                );
                if matches!(fate, Fate::ResetAfter | Fate::Silent) {
                    self.was_not_heard(&token);
                }
                match (fate, new) {
                    (Fate::ResetAfter, _) => None,
                    (Fate::Silent, _) => return std::future::pending().await,
                    (_, Some((access, refresh))) => {
                        let life = self.life.as_secs();
                        let reply = json!({"access_token": access, "refresh_token": refresh, "expires_in": life});
                        Some((200, reply.to_string()))
                    }
                    (_, None) => Some((400, json!({"error": "invalid_grant"}).to_string())),
                }
            }
        };
        // Whoever has stopped waiting has said so.
        let _ = end.send(answer);
    }
}

struct Asking {
    vendor: Arc<Vendor>,
    token: String,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.vendor.ledger.lock().under_way.remove(&self.token);
    }
}

/// The way to the vendor from one service.
pub(super) struct VendorPort {
    pub(super) vendor: Arc<Vendor>,
    pub(super) process: Arc<Process>,
}

impl VendorPort {
    async fn call(&self, request: EgressRequest) -> Result<EgressResponse, EgressError> {
        let body = request.body.clone().unwrap_or_default();
        let mut pairs = url::form_urlencoded::parse(&body);
        let token = pairs.find(|(name, _)| name == "refresh_token").map(|(_, value)| value.into_owned());
        let token = token.expect("a refresh token");
        self.process.step(&token).await;
        let fate = self.vendor.fate();
        self.process.note(&format!("asks, {fate:?}"), &token);
        if fate == Fate::NoConnection {
            return Err(failure(EgressErrorKind::Connect { stage: ConnectStage::Tcp }));
        }
        let _asking = self.vendor.begin(&token);
        request.sent.set();
        if fate == Fate::LostOnItsWay {
            return Err(failure(EgressErrorKind::Broken));
        }
        let (end, ended) = oneshot::channel();
        // On its own: the vendor goes on whatever becomes of its caller.
        tokio::spawn(self.vendor.clone().work(fate, token.clone(), end));
        let answer = tokio::select! {
            biased;
            answer = ended => answer.ok().flatten(),
            () = tokio::time::sleep_until(request.deadline) => {
                self.vendor.was_not_heard(&token);
                return Err(failure(EgressErrorKind::Timeout { sent: true, phase: TimeoutPhase::Deadline }));
            }
        };
        self.process.step(&token).await;
        let Some((status, body)) = answer else { return Err(failure(EgressErrorKind::Broken)) };
        let body = Bytes::from(body);
        let bytes = body.len() as u64;
        Ok(EgressResponse {
            status: StatusCode::from_u16(status).expect("a status"),
            version: Version::HTTP_11,
            headers: HeaderMap::new(),
            body,
            remote: None,
            wire_bytes: bytes,
            decoded_bytes: bytes,
        })
    }
}

impl Upstream for VendorPort {
    fn send(&self, request: Box<EgressRequest>) -> BoxFuture<'_, Result<EgressResponse, EgressError>> {
        Box::pin(self.call(*request))
    }
}

fn failure(kind: EgressErrorKind) -> EgressError {
    EgressError::new(kind, HOST)
}
