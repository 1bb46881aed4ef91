//! What the server says of itself: how it keeps what it is given, and how it is.

use std::collections::HashMap;
use std::time::Duration;

use redis::FromRedisValue;

use super::{RedisStore, unavailable};
use crate::clock::{Clock, Millis};
use crate::doctor::clocks::Look;
use crate::store::StoreError;

/// Of times that Redis tells, as far as they are kept.
const GRAIN: Duration = Duration::from_millis(1);

/// The settings on which it depends whether something is lost. `None`: the server does not let us ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Persistence {
    pub append_only: Option<String>,
    pub append_fsync: Option<String>,
    pub eviction: Option<String>,
}

/// A setting with which something is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lack {
    pub setting: &'static str,
    pub wanted: &'static str,
    /// What happens with the present one.
    pub loses: &'static str,
    /// A restart alone is enough.
    pub everything: bool,
}

impl Lack {
    /// For the log, and for whoever is refused.
    pub fn told(&self) -> String {
        format!("{}: set {} {}", self.loses, self.setting, self.wanted)
    }
}

impl Persistence {
    /// `None`: it is not known.
    pub fn lacks(&self) -> Option<Vec<Lack>> {
        let append_only = self.append_only.as_deref()?;
        let mut lacks = Vec::new();
        if append_only != "yes" {
            let loses = "Redis keeps nothing over a restart";
            lacks.push(Lack { setting: "appendonly", wanted: "yes", loses, everything: true });
        } else if self.append_fsync.as_deref() != Some("always") {
            let loses = "Redis may lose the last second before a power cut, and with it a refreshed token";
            lacks.push(Lack { setting: "appendfsync", wanted: "always", loses, everything: false });
        }
        if self.eviction.as_deref() != Some("noeviction") {
            let loses = "Redis drops records when its memory is full";
            lacks.push(Lack { setting: "maxmemory-policy", wanted: "noeviction", loses, everything: false });
        }
        Some(lacks)
    }
}

/// A look at the server. What it does not tell is `None`.
#[derive(Debug, Clone, Default)]
pub struct RedisSeen {
    pub persistence: Persistence,
    pub version: Option<String>,
    /// `master` or `slave`, as Redis calls it.
    pub role: Option<String>,
    pub replicas: Option<u64>,
    /// Replicas without which no write is taken; 0: none are needed.
    pub replicas_wanted: Option<u64>,
    /// The last write of the append-only file went well.
    pub written: Option<bool>,
    pub memory_used: Option<u64>,
    /// 0: no limit.
    pub memory_most: Option<u64>,
    pub clock: Option<Look>,
}

impl RedisStore {
    /// Asks the server how it keeps what it is given. Warnings are for the log; call it once at startup.
    ///
    /// # Errors
    /// When a restart of Redis would lose accounts (`appendonly` off, without `allow_volatile`), it cannot be asked, or
    /// (with `require_durable`) for anything that would be a warning.
    pub async fn verify_durable(&self) -> Result<Vec<String>, StoreError> {
        let warnings = self.durability().await?;
        if self.require_durable && !warnings.is_empty() {
            return Err(StoreError::Unavailable(format!("{} (redis.require_durable)", warnings.join("; "))));
        }
        Ok(warnings)
    }

    async fn durability(&self) -> Result<Vec<String>, StoreError> {
        let Some(lacks) = self.persistence().await?.lacks() else {
            let unknown = "Redis does not tell its settings (CONFIG is not allowed); durability is not verified";
            return Ok(vec![unknown.to_owned()]);
        };
        match lacks.iter().find(|lack| lack.everything && !self.allow_volatile) {
            Some(lack) => Err(StoreError::Unavailable(lack.told())),
            None => Ok(lacks.iter().map(Lack::told).collect()),
        }
    }

    async fn persistence(&self) -> Result<Persistence, StoreError> {
        Ok(Persistence {
            append_only: self.setting("appendonly").await?,
            append_fsync: self.setting("appendfsync").await?,
            eviction: self.setting("maxmemory-policy").await?,
        })
    }

    /// Looks at all of it; nothing is changed.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn look(&self, clock: &dyn Clock) -> Result<RedisSeen, StoreError> {
        let persistence = self.persistence().await?;
        let info = self.info().await?;
        let number = |name: &str| info.get(name).and_then(|value| value.parse().ok());
        let wanted = self.setting("min-replicas-to-write").await?;
        let before = clock.now();
        let time: Option<(i64, i64)> = self.allowed(redis::cmd("TIME")).await?;
        let after = clock.now();
        Ok(RedisSeen {
            persistence,
            version: info.get("redis_version").cloned(),
            role: info.get("role").cloned(),
            replicas: number("connected_slaves"),
            replicas_wanted: wanted.and_then(|value| value.parse().ok()),
            written: info.get("aof_last_write_status").map(|status| status == "ok"),
            memory_used: number("used_memory"),
            memory_most: number("maxmemory"),
            clock: time.map(|(seconds, micros)| {
                let told = Millis(seconds.saturating_mul(1000).saturating_add(micros / 1000));
                Look { before, told, after, grain: GRAIN }
            }),
        })
    }

    /// The lines of `INFO`; none where it is not allowed.
    async fn info(&self) -> Result<HashMap<String, String>, StoreError> {
        let text: Option<String> = self.allowed(redis::cmd("INFO")).await?;
        let text = text.unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        Ok(lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
    }

    /// `None` when the server does not let us ask.
    async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        let mut ask = redis::cmd("CONFIG");
        ask.arg("GET").arg(name);
        let pairs: Option<Vec<String>> = self.allowed(ask).await?;
        Ok(pairs.and_then(|pairs| pairs.into_iter().nth(1)))
    }

    /// `None` when the server does not let us ask. Managed ones rename or forbid commands.
    async fn allowed<T: FromRedisValue>(&self, ask: redis::Cmd) -> Result<Option<T>, StoreError> {
        let mut connection = self.link.connection();
        match ask.query_async(&mut connection).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.code().is_some() => Ok(None),
            Err(error) => Err(unavailable(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_with_which_setting() {
        let with = |append_only: &str, append_fsync: &str, eviction: &str| Persistence {
            append_only: Some(append_only.to_owned()),
            append_fsync: Some(append_fsync.to_owned()),
            eviction: Some(eviction.to_owned()),
        };
        let lacks = |persistence: Persistence| -> Vec<&'static str> {
            persistence.lacks().unwrap().into_iter().map(|lack| lack.setting).collect()
        };
        assert!(lacks(with("yes", "always", "noeviction")).is_empty());
        assert_eq!(lacks(with("no", "everysec", "noeviction")), ["appendonly"]);
        assert_eq!(lacks(with("yes", "everysec", "allkeys-lru")), ["appendfsync", "maxmemory-policy"]);
        assert!(Persistence::default().lacks().is_none());
        let told = with("no", "always", "noeviction").lacks().unwrap()[0].told();
        assert_eq!(told, "Redis keeps nothing over a restart: set appendonly yes");
    }
}
