//! What is written down while the campaign runs, so that it can be judged later, and again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Milliseconds since the campaign began. All records have the same clock, since one process writes them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap()
    }
}

/// What a call may do at the vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Class {
    Read,
    Idempotent,
    Keyed,
    Once,
}

/// One line of the vendor's ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub(crate) enum Entry {
    /// On disk before anything was done.
    Request(Request),
    /// What came of it over the wire, as far as the vendor can tell.
    Answered { seq: u64, at: u64, status: u16 },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) seq: u64,
    pub(crate) at: u64,
    pub(crate) marker: String,
    pub(crate) method: String,
    pub(crate) path: String,
    /// The idempotency key of the vendor's protocol.
    pub(crate) key: Option<String>,
    pub(crate) body: String,
    /// Whose credential came with it; see [`Tagger`].
    pub(crate) credential: String,
    pub(crate) behaviour: String,
    /// Every byte of it came.
    pub(crate) complete: bool,
    /// It did what was asked; a repeat that the vendor recognised does nothing.
    pub(crate) effect: bool,
}

/// What a caller was told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(crate) enum Answer {
    /// No answer came.
    Lost {
        why: String,
    },
    /// Something else than the result of a tool.
    Refused {
        http: u16,
        text: String,
    },
    Told(Told),
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) state: String,
    pub(crate) code: Option<String>,
    pub(crate) outcome: Option<String>,
    pub(crate) safe_to_retry: Option<bool>,
    pub(crate) execution_id: Option<String>,
    pub(crate) replayed: bool,
    /// The number of the effect in the vendor's answer.
    pub(crate) effect: Option<u64>,
}

impl Told {
    pub(crate) fn is_final(&self) -> bool {
        self.state != "running"
    }

    pub(crate) fn succeeded(&self) -> bool {
        self.state == "succeeded"
    }

    /// Nothing left the building.
    pub(crate) fn not_sent(&self) -> bool {
        self.outcome.as_deref() == Some("not_sent")
    }

    pub(crate) fn unknown(&self) -> bool {
        self.state == "unknown"
    }
}

/// One question of a caller and its answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) marker: String,
    pub(crate) tenant: String,
    pub(crate) class: Class,
    pub(crate) module: String,
    pub(crate) body: String,
    /// `call`, or `look` for a question by execution id.
    pub(crate) kind: String,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) answer: Answer,
}

/// One fault.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fault {
    pub(crate) kind: String,
    pub(crate) target: String,
    pub(crate) at: u64,
    /// When its cause was gone.
    pub(crate) healed: u64,
    /// When a write and a read that began after that had succeeded.
    pub(crate) recovered: Option<u64>,
    /// It did happen.
    pub(crate) took: bool,
}

/// A stretch in which nothing was broken, with the first tenant loud or quiet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Phase {
    pub(crate) loud: bool,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// What was found when the dust had settled.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) seed: u64,
    pub(crate) minutes: f64,
    pub(crate) broken: Option<String>,
    pub(crate) ended: u64,
    /// Tenant → tag of its credential.
    pub(crate) credentials: BTreeMap<String, String>,
    pub(crate) canary_connections: u64,
    pub(crate) secrets_looked_for: u64,
    pub(crate) secrets_found: Vec<String>,
    pub(crate) audit_chains: u64,
    pub(crate) audit_faults: Vec<String>,
    pub(crate) jobs_left: Option<u64>,
    pub(crate) dead_letters: Vec<DeadLetter>,
    /// The execution that was made to kill its executors.
    pub(crate) poison: Option<String>,
    pub(crate) oauth: OAuthFacts,
    /// Process → resident memory in MiB and open files, look by look: when, and both.
    pub(crate) processes: BTreeMap<String, Vec<(u64, u64, u64)>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DeadLetter {
    pub(crate) execution_id: String,
    pub(crate) reason: String,
    pub(crate) starts: u32,
    /// The job in it can be read, and so be published again.
    pub(crate) has_job: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct OAuthFacts {
    pub(crate) rounds: u64,
    pub(crate) refreshed: u64,
    pub(crate) reused: u64,
    /// When an account was found to need its person.
    pub(crate) lost: Vec<u64>,
}

/// A file of one JSON document a line.
#[derive(Debug, Clone)]
pub(crate) struct Log(Arc<Mutex<File>>);

impl Log {
    pub(crate) fn create(folder: &Path, name: &str) -> Self {
        Self(Arc::new(Mutex::new(File::create(folder.join(name)).unwrap())))
    }

    pub(crate) fn append(&self, record: &impl Serialize) {
        let line = format!("{}\n", serde_json::to_string(record).unwrap());
        self.0.lock().unwrap().write_all(line.as_bytes()).unwrap();
    }

    /// It is on disk when this returns.
    pub(crate) fn append_durably(&self, record: &impl Serialize) {
        self.append(record);
        self.0.lock().unwrap().sync_data().unwrap();
    }
}

/// Everything the checker reads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Records {
    pub(crate) ledger: Vec<Entry>,
    pub(crate) asked: Vec<Asked>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) phases: Vec<Phase>,
    pub(crate) facts: Facts,
}

pub(crate) const LEDGER: &str = "ledger.jsonl";
pub(crate) const ASKED: &str = "calls.jsonl";
pub(crate) const FAULTS: &str = "faults.jsonl";
pub(crate) const PHASES: &str = "phases.jsonl";
pub(crate) const FACTS: &str = "facts.json";

impl Records {
    pub(crate) fn read(folder: &Path) -> Self {
        Self {
            ledger: lines(folder.join(LEDGER)),
            asked: lines(folder.join(ASKED)),
            faults: lines(folder.join(FAULTS)),
            phases: lines(folder.join(PHASES)),
            facts: serde_json::from_slice(&std::fs::read(folder.join(FACTS)).unwrap()).unwrap(),
        }
    }
}

fn lines<T: DeserializeOwned>(path: PathBuf) -> Vec<T> {
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

/// Names a credential without telling it.
#[derive(Debug, Clone)]
pub(crate) struct Tagger(String);

impl Tagger {
    pub(crate) fn new() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }

    pub(crate) fn tag(&self, credential: &str) -> String {
        let inner = Sha256::digest(format!("{}{credential}", self.0));
        hex::encode(&Sha256::digest([self.0.as_bytes(), &inner].concat())[..8])
    }
}

/// Of a JSON body as it is meant, however it is written.
pub(crate) fn body_hash(body: &Value) -> String {
    if body.is_null() {
        return String::new();
    }
    hex::encode(&Sha256::digest(body.to_string())[..8])
}

/// A number that follows from the seed and these words alone.
pub(crate) fn roll(seed: u64, words: &[&str]) -> u64 {
    let mut hash = Sha256::new_with_prefix(seed.to_be_bytes());
    for word in words {
        hash.update(word.as_bytes());
        hash.update([0]);
    }
    u64::from_be_bytes(hash.finalize()[..8].try_into().unwrap())
}
