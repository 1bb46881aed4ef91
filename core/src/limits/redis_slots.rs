//! [`SlotLeases`] on Redis: a hash for each key, with a field for each holder.

use std::sync::LazyLock;

use ::redis::Script;
use async_trait::async_trait;

use super::LimitError;
use super::concurrency::{Ask, LEASE, SlotLeases};
use super::redis::RedisLimiter;
use crate::ids::InstanceId;

/// `KEYS`: the pool. `ARGV`: holder, wanted, in use, most, lease in ms. A field holds "slots wanted until".
///
/// While somebody has fewer than it wants, each holder's part is what is divided by their number. What is in use counts as
/// held until its calls have ended, so that together they never use more than there are.
static LEASE_SLOTS: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        local wanted, in_use, most = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
        local others, holders, hungry = 0, 1, false
        local fields = redis.call('HGETALL', KEYS[1])
        for at = 1, #fields, 2 do
            if fields[at] ~= ARGV[1] then
                local slots, wants, till = string.match(fields[at + 1], '^(%d+) (%d+) (%d+)$')
                if not till or tonumber(till) <= now then
                    redis.call('HDEL', KEYS[1], fields[at])
                else
                    others = others + tonumber(slots)
                    holders = holders + 1
                    hungry = hungry or tonumber(wants) > tonumber(slots)
                end
            end
        end
        if wanted == 0 and in_use == 0 then
            redis.call('HDEL', KEYS[1], ARGV[1])
            return 0
        end
        local grant = math.min(wanted, math.max(most - others, 0))
        if hungry then
            grant = math.min(grant, math.max(math.floor(most / holders), 1))
        end
        local field = math.max(grant, in_use) .. ' ' .. wanted .. ' ' .. string.format('%.0f', now + ARGV[5])
        redis.call('HSET', KEYS[1], ARGV[1], field)
        redis.call('PEXPIRE', KEYS[1], ARGV[5])
        return grant
        ",
    )
});

/// The slots as one executor leases them.
#[derive(Clone)]
pub struct RedisSlots {
    limiter: RedisLimiter,
    holder: InstanceId,
}

impl RedisSlots {
    /// Over the connection of the limits.
    pub fn new(limiter: RedisLimiter, holder: InstanceId) -> Self {
        Self { limiter, holder }
    }
}

#[async_trait]
impl SlotLeases for RedisSlots {
    async fn lease(&self, key: &str, ask: Ask) -> Result<u32, LimitError> {
        let mut script = LEASE_SLOTS.key(self.limiter.key_of(&format!("slots:{key}")));
        script.arg(self.holder.as_str()).arg(ask.wanted).arg(ask.in_use).arg(ask.most);
        script.arg(u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX));
        self.limiter.run(&script).await
    }
}
