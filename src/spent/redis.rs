//! Uses remembered in Redis, for all replicas together.
//!
//! One script checks and records in one step. A key says since when Redis remembers, and which
//! server that is. An empty Redis lacks the key, and one that restarted or took over from another
//! has a new replication id; in both cases the memory begins anew. In addition each replica
//! remembers what it used itself.

use std::sync::{Arc, LazyLock};

use futures_util::future::{BoxFuture, FutureExt};
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

/// The memory that all replicas share.
#[derive(Debug)]
pub struct RedisSpent {
    redis: Arc<RedisClient>,
    clock: Arc<dyn Clock>,
    /// What this replica used itself: a second line of defense, should Redis forget what it confirmed.
    own: MemorySpent,
}

impl RedisSpent {
    /// Looks at Redis, so that a memory that begins now does so before the first approval is
    /// signed. If Redis is away, it is looked at later.
    pub async fn begin(redis: Arc<RedisClient>, clock: Arc<dyn Clock>) -> RedisSpent {
        let own = MemorySpent::of_all_times(Arc::clone(&clock));
        let spent = RedisSpent { redis, clock, own };
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
        let args = [now.as_str(), &spend.request_id, &issued, &expires];
        match self.redis.script("approval_spend", &SPEND, &keys, &args).await? {
            Value::Int(1) => self.own.record(spend),
            Value::Int(0) => Ok(Spent::Again),
            Value::Int(-1) => Ok(Spent::Forgotten),
            _ => Err(StoreAway),
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
