//! The store that all replicas share: a Lua script in Redis makes each step.
//!
//! The scripts are the ledger once more, in the order and with the names of `ledger/`, and give the
//! same bits for the same steps at the same times. An installation's ledger lies in a few keys with
//! one hash tag, so that they share one slot of a cluster:
//!
//! | key `tollgate:1:{INSTALLATION}:…` | what it holds |
//! | --- | --- |
//! | `i` | hash: epoch, clocks, cooldown, the rings in all |
//! | `l` | hash: everything else by name, such as `resource:core`, `member:core\|AGENT`, `gate:pool:core`, `tag:…`, `head:…`, `ring:ROUTE`, `lease:REPLICA-NUMBER` |
//! | `x` | sorted set: calls in flight, by when they expire |
//! | `b` | hash: each agent's part in the load of the last minute |
//! | `r` | sorted set: the replicas' last heartbeats |
//! | `s` | sorted set: when the next write of an agent to a repository is due |
//! | `n:RESOURCE` | sorted set: agents seen, by when they are forgotten |
//! | `o:GATE`, `e:GATE` | sorted sets: waiting heads by start tag, and by when their places expire |
//!
//! Every key expires some hours after its last use, `i` after a month.

mod batches;
mod reply;
mod request;
mod scripts;

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use redis::{Script, Value};
use tokio::time::Instant;

use super::command::{Call, Reply};
use super::store::{PAUSE_AT_BIRTH_MS, Store, StoreAway};
use crate::redis_client::RedisClient;
use batches::{Ask, Batches, Step};

pub use reply::{Garbled, read, replies};
pub use request::{Frame, Part, Request};
pub use scripts::Scripts;

/// Keeps the ledgers in Redis.
#[derive(Debug)]
pub struct RedisStore {
    batches: Arc<Batches<Redis>>,
}

/// Runs the scripts.
#[derive(Debug)]
struct Redis {
    client: Arc<RedisClient>,
    scripts: Scripts,
}

impl RedisStore {
    pub fn new(client: Arc<RedisClient>) -> RedisStore {
        RedisStore { batches: Batches::new(Redis { client, scripts: Scripts::default() }) }
    }

    async fn run(&self, installation: &Arc<str>, call: &Call) -> Result<Reply, StoreAway> {
        let name = call.command.name();
        let step = Step { name, part: Part::new(call), since: Instant::now() };
        let redis = self.batches.store();
        let value = match redis.scripts.alone(&call.command) {
            None => self.batches.ask(installation, step).await?,
            Some(script) => redis.run(script, installation, vec![step]).await?.swap_remove(0),
        };
        read(&value, &call.command).map_err(|garbled| {
            tracing::error!(%installation, script = name, "{garbled}");
            StoreAway
        })
    }
}

impl Redis {
    /// Returns as many replies as there are steps.
    async fn run(
        &self,
        script: &Script,
        installation: &str,
        steps: Vec<Step>,
    ) -> Result<Vec<Value>, StoreAway> {
        let wanted: Vec<_> = steps.iter().map(|step| (step.name, step.since)).collect();
        let frame = Frame { pause_ms: PAUSE_AT_BIRTH_MS, now_ms: None };
        let request = Request::new(installation, steps.into_iter().map(|step| step.part).collect(), frame);
        let value = self.client.script_for(&wanted, script, &request.keys, &request.arguments).await?;
        replies(value, wanted.len()).map_err(|garbled| {
            tracing::error!(installation, "{garbled}");
            StoreAway
        })
    }
}

impl Ask for Redis {
    async fn ask(&self, installation: &str, steps: Vec<Step>) -> Result<Vec<Value>, StoreAway> {
        self.run(self.scripts.calls(), installation, steps).await
    }
}

impl Store for RedisStore {
    fn call<'a>(
        &'a self,
        installation: &'a Arc<str>,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Reply, StoreAway>> {
        self.run(installation, call).boxed()
    }
}
