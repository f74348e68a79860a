//! Uses remembered in Redis: for all replicas together.
//!
//! One script looks and records in one step. The memory is as old as a key that says since when, and of
//! which server: an empty Redis has none, and one that restarted or took over from another has a new
//! replication id, so in both cases the memory begins anew. Beside it each replica keeps in mind what it
//! used itself.

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

/// What all replicas remember.
#[derive(Debug)]
pub struct RedisSpent {
    redis: Arc<RedisClient>,
    clock: Arc<dyn Clock>,
    /// What this replica used: a second line, should Redis forget what it confirmed.
    own: MemorySpent,
}

impl RedisSpent {
    /// Looks at Redis, so that a memory that begins now does so before the first approval is signed. A
    /// Redis that is away is looked at later.
    pub async fn begin(redis: Arc<RedisClient>, clock: Arc<dyn Clock>) -> RedisSpent {
        let own = MemorySpent::of_all_times(Arc::clone(&clock));
        let spent = RedisSpent { redis, clock, own };
        // Where Redis' clock is ahead by more, approvals count as older until ours is there, too.
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
