//! The set in Redis: one key, accessed with plain commands.

use std::fmt;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use redis::{Cmd, Value, cmd, from_redis_value};

use super::Names;
use crate::budget::store::StoreAway;
use crate::config;
use crate::redis_client::RedisClient;

const KEY: &str = "tollgate:1:disabled";
/// A member that can't be an agent's name. It distinguishes an empty set from a lost one.
const MARK: &str = "*";

/// Runs commands on Redis: the connection, or a stand-in in tests.
pub trait Commands: Send + Sync + fmt::Debug {
    /// Runs one command within its own timeouts; `op` is its label in the metrics.
    ///
    /// # Errors
    /// When Redis can't be reached, does not answer in time, or answers with an error.
    fn command<'a>(&'a self, op: &'static str, command: &'a Cmd) -> BoxFuture<'a, Result<Value, StoreAway>>;
}

impl Commands for RedisClient {
    fn command<'a>(&'a self, op: &'static str, command: &'a Cmd) -> BoxFuture<'a, Result<Value, StoreAway>> {
        RedisClient::command(self, op, command).boxed()
    }
}

#[derive(Debug)]
pub(super) struct SharedSet {
    redis: Arc<dyn Commands>,
}

impl SharedSet {
    pub(super) fn new(redis: Arc<dyn Commands>) -> SharedSet {
        SharedSet { redis }
    }

    /// The set's members; `None` if nothing was ever written or everything was lost.
    pub(super) async fn members(&self) -> Result<Option<Names>, StoreAway> {
        let answer = self.redis.command("disabled_read", cmd("SMEMBERS").arg(KEY)).await?;
        let members: Vec<Vec<u8>> = from_redis_value(answer).map_err(|_| StoreAway)?;
        let is_marked = members.iter().any(|member| member == MARK.as_bytes());
        let names = members.into_iter().filter_map(|member| String::from_utf8(member).ok());
        Ok(is_marked.then(|| names.filter(|name| config::is_name(name)).collect()))
    }

    pub(super) async fn set(&self, agent: &str, is_disabled: bool) -> Result<(), StoreAway> {
        let mut command = match is_disabled {
            true => cmd("SADD"),
            false => cmd("SREM"),
        };
        command.arg(KEY).arg(agent);
        if is_disabled {
            command.arg(MARK);
        }
        self.redis.command("disabled_write", &command).await.map(drop)
    }

    pub(super) async fn restore(&self, names: &Names) -> Result<(), StoreAway> {
        let mut command = cmd("SADD");
        command.arg(KEY).arg(MARK);
        for name in names {
            command.arg(name);
        }
        self.redis.command("disabled_write", &command).await.map(drop)
    }
}
