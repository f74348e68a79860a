//! The store that all replicas share: each step is one Lua script at Redis.
//!
//! The scripts are the ledger once more, in the order and with the names of `ledger/`, and give the same
//! bits for the same calls at the same times. What an installation's ledger is made of lies in a few
//! keys with one hash tag, so that it is one slot of a cluster:
//!
//! | key `tollgate:1:{INSTALLATION}:…` | what it holds |
//! | --- | --- |
//! | `i` | hash: epoch, clocks, cooldown, the rings over everything |
//! | `l` | hash: everything else by name, such as `resource:core`, `member:core\|AGENT`, `gate:pool:core`, `tag:…`, `head:…`, `ring:ROUTE`, `lease:REPLICA-NUMBER` |
//! | `x` | sorted set: calls in flight, by when they lapse |
//! | `b` | hash: each agent's part in the load of the last minute |
//! | `r` | sorted set: the replicas' last heartbeats |
//! | `s` | sorted set: when the next write of an agent to a repository is due |
//! | `n:RESOURCE` | sorted set: agents seen, by when they are forgotten |
//! | `o:GATE`, `e:GATE` | sorted sets: waiting heads by start tag, and by the end of their place |
//!
//! Every key lapses some hours after its last use, `i` after a month.

mod reply;
mod request;
mod scripts;

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};

use super::command::{Call, Reply};
use super::store::{PAUSE_AT_BIRTH_MS, Store, StoreAway};
use crate::redis_client::RedisClient;

pub use reply::{Garbled, read};
pub use request::Request;
pub use scripts::{Clock, Scripts};

/// Keeps the ledgers in Redis.
#[derive(Debug)]
pub struct RedisStore {
    client: Arc<RedisClient>,
    scripts: Scripts,
}

impl RedisStore {
    pub fn new(client: Arc<RedisClient>) -> RedisStore {
        RedisStore { client, scripts: Scripts::new(Clock::Server) }
    }

    async fn run(&self, installation: &str, call: &Call) -> Result<Reply, StoreAway> {
        let request = Request::new(installation, call, PAUSE_AT_BIRTH_MS);
        let (name, script) = self.scripts.of(&call.command);
        let value = self.client.script(name, script, &request.keys, &[&request.argument]).await?;
        read(&value, &call.command).map_err(|garbled| {
            tracing::error!(installation, script = name, "{garbled}");
            StoreAway
        })
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
