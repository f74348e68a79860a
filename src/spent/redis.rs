//! Uses remembered in Redis, for all replicas together.
//!
//! One script checks and records in one step. A key says since when Redis remembers, and which
//! server that is. An empty Redis lacks the key, and one that restarted or took over from another
//! has a new replication id; in both cases the memory begins anew. In addition each replica
//! remembers what it used itself.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use futures_util::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use redis::{Script, Value, from_redis_value};

use super::{MemorySpent, Spent, SpentStore, Use};
use crate::budget::store::StoreAway;
use crate::clock::Clock;
use crate::redis_client::RedisClient;

const SINCE: &str = "tollgate:1:{approvals}:since";

static SPEND: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("since.lua"), include_str!("spend.lua"))));
static LOOK: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("since.lua"), "return since\n")));

/// The most uses that may be unsure at a time; of any more, the approval counts as used.
const UNSURE_MAX: usize = 1024;

/// The memory that all replicas share.
#[derive(Debug)]
pub struct RedisSpent {
    redis: Arc<RedisClient>,
    clock: Arc<dyn Clock>,
    /// What this replica used itself: a second line of defense, should Redis forget what it confirmed.
    own: MemorySpent,
    /// Uses that Redis may have recorded, although its answer did not come, by approval: the request, whose call
    /// was not sent, and when the approval expires. The next request that comes with the approval takes its place.
    unsure: Mutex<HashMap<String, (String, i64)>>,
}

impl RedisSpent {
    /// Looks at Redis, so that a memory that begins now does so before the first approval is
    /// signed. If Redis is away, it is looked at later.
    pub async fn begin(redis: Arc<RedisClient>, clock: Arc<dyn Clock>) -> RedisSpent {
        let own = MemorySpent::of_all_times(Arc::clone(&clock));
        let spent = RedisSpent { redis, clock, own, unsure: Mutex::default() };
        // If Redis' clock is ahead by more than that, new approvals count as too old until ours gets there.
        if let Ok(since) = spent.since().await
            && since > spent.clock.now_seconds()
        {
            super::until_next_second(spent.clock.as_ref()).await;
        }
        spent
    }

    async fn since(&self) -> Result<i64, StoreAway> {
        let keys = [SINCE.to_owned()];
        let now = self.clock.now_seconds().to_string();
        let answer = self.redis.script("approval_look", &LOOK, &keys, &[&now]).await?;
        from_redis_value(answer).map_err(|_| StoreAway)
    }

    async fn record(&self, spend: &Use) -> Result<Spent, StoreAway> {
        if let Some(known) = self.own.known(spend) {
            return Ok(known);
        }
        let keys = [SINCE.to_owned(), format!("tollgate:1:{{approvals}}:used:{}", spend.approval)];
        let (issued, expires) = (spend.issued_at.to_string(), spend.expires_at.to_string());
        let now = self.clock.now_seconds().to_string();
        // Taken out, so that only one request has it.
        let unsure = self.unsure.lock().remove(&spend.approval);
        let request_id = unsure.map_or_else(|| spend.request_id.clone(), |(request_id, _)| request_id);
        let mut asked = Asked { of: self, spend, request_id, is_answered: false };
        let args = [now.as_str(), &asked.request_id, &issued, &expires];
        let answer = self.redis.script("approval_spend", &SPEND, &keys, &args).await?;
        asked.is_answered = true;
        match answer {
            Value::Int(1) => self.own.record(spend),
            Value::Int(0) => Ok(Spent::Again),
            Value::Int(-1) => Ok(Spent::Forgotten),
            _ => Err(StoreAway),
        }
    }
}

/// A question to Redis. Dropped without an answer, since Redis is away or the caller has hung up, it leaves its place
/// to the next request: its own call is not sent.
struct Asked<'a> {
    of: &'a RedisSpent,
    spend: &'a Use,
    request_id: String,
    is_answered: bool,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        let now = self.of.clock.now_seconds();
        let mut unsure = self.of.unsure.lock();
        unsure.retain(|_, (_, expires_at)| *expires_at > now);
        if unsure.len() < UNSURE_MAX {
            let place = (std::mem::take(&mut self.request_id), self.spend.expires_at);
            // Of several requests at once, the first is most likely the one that Redis knows.
            unsure.entry(self.spend.approval.clone()).or_insert(place);
        }
    }
}

impl SpentStore for RedisSpent {
    fn spend<'a>(&'a self, spend: &'a Use) -> BoxFuture<'a, Result<Spent, StoreAway>> {
        self.record(spend).boxed()
    }

    fn is_up(&self) -> bool {
        self.redis.is_up()
    }

    fn look(&self) -> BoxFuture<'_, Result<(), StoreAway>> {
        async { self.since().await.map(drop) }.boxed()
    }
}
