//! A connection that only listens to a channel, and the means to publish on one.
//!
//! In a cluster every node relays what is published on any of them, so one node is enough. Nothing checks that
//! this is the right server: a subscriber that does not hear its own messages tries again.

use std::time::Duration;

use futures_util::StreamExt;
use rand::seq::SliceRandom;
use redis::aio::PubSubStream;
use redis::{Client, Msg, RedisConnectionInfo, cmd};
use secrecy::ExposeSecret;
use tokio::time::timeout;

use super::check::Trouble;
use super::settings::{RedisAddress, RedisPlace, RedisSettings};
use super::{RedisClient, link};
use crate::budget::store::StoreAway;

/// Longest time to connect to one server and have it confirm the subscription.
const SUBSCRIBE_MAX: Duration = Duration::from_secs(1);

/// The messages on a channel.
pub struct Subscription {
    messages: PubSubStream,
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}

impl Subscription {
    /// The next message; `None` once the connection is lost.
    pub async fn next(&mut self) -> Option<Msg> {
        self.messages.next().await
    }
}

impl RedisClient {
    /// Subscribes to a channel on a separate connection.
    ///
    /// # Errors
    /// Why no server accepts the subscription, for people to read.
    pub async fn subscribe(&self, channel: &str) -> Result<Subscription, String> {
        let settings = &self.core.settings;
        let mut last = "there is no server to ask".to_owned();
        for address in servers(settings).await? {
            let database = match settings.place {
                RedisPlace::Standalone { database, .. } => database,
                RedisPlace::Cluster { .. } | RedisPlace::Sentinel { .. } => 0,
            };
            let work = subscribe_at(settings, &address, database, channel);
            match timeout(SUBSCRIBE_MAX, work).await {
                Ok(Ok(subscription)) => return Ok(subscription),
                Ok(Err(why)) => last = why,
                Err(_) => last = format!("{address} did not answer in time"),
            }
        }
        Err(last)
    }

    /// Publishes a message on a channel, in one attempt. Kept apart from other calls' failures: a user whose ACL
    /// allows no channels can still share the budget.
    ///
    /// # Errors
    /// When Redis can't be reached, does not answer in time, or answers with an error.
    pub async fn publish(&self, channel: &str, message: &[u8]) -> Result<(), StoreAway> {
        let Some(link) = self.core.link() else { return Err(StoreAway) };
        let mut command = cmd("PUBLISH");
        command.arg(channel).arg(message);
        self.core.attempt(link, &command, None).await.map(drop).map_err(|_| StoreAway)
    }
}

/// The servers to subscribe to, in the order to try.
async fn servers(settings: &RedisSettings) -> Result<Vec<RedisAddress>, String> {
    match &settings.place {
        RedisPlace::Standalone { address, .. } => Ok(vec![address.clone()]),
        RedisPlace::Cluster { nodes } => {
            let mut nodes = nodes.clone();
            nodes.shuffle(&mut rand::rng());
            Ok(nodes)
        }
        RedisPlace::Sentinel { service, nodes } => {
            let mut nodes: Vec<&RedisAddress> = nodes.iter().collect();
            nodes.shuffle(&mut rand::rng());
            let mut last = "there is no sentinel to ask".to_owned();
            for node in nodes {
                match link::look_up(settings, service, node).await {
                    Ok(address) => return Ok(vec![address]),
                    Err(trouble) => last = said(trouble),
                }
            }
            Err(last)
        }
    }
}

async fn subscribe_at(
    settings: &RedisSettings,
    address: &RedisAddress,
    database: u32,
    channel: &str,
) -> Result<Subscription, String> {
    let mut redis = RedisConnectionInfo::default().set_skip_set_lib_name().set_db(i64::from(database));
    if let Some(password) = &settings.password {
        redis = redis.set_password(password.expose_secret());
        if let Some(username) = &settings.username {
            redis = redis.set_username(username);
        }
    }
    let info = link::connection_info(address, redis).map_err(said)?;
    let client = match link::certificates(settings) {
        Some(certificates) if address.is_tls => Client::build_with_tls(info, certificates),
        _ => Client::open(info),
    };
    let why = |error| {
        let text = said(link::trouble(&error, address));
        // A server that does not know AUTH echoes its arguments.
        let is_repeated =
            settings.password.as_ref().is_some_and(|password| text.contains(password.expose_secret()));
        if is_repeated { format!("{address} refuses the password") } else { text }
    };
    let (mut sink, messages) = client.map_err(why)?.get_async_pubsub().await.map_err(why)?.split();
    sink.subscribe(channel).await.map_err(why)?;
    Ok(Subscription { messages })
}

fn said(trouble: Trouble) -> String {
    match trouble {
        Trouble::Away(why) => why,
        Trouble::Wrong(error) => error.to_string(),
    }
}
