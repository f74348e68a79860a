//! What replicas tell each other, so that a change that one of them learns of is known to all.
//!
//! News takes effect here at once and goes to the other replicas over a Redis channel. Redis keeps nothing for a
//! replica that does not listen: whenever a replica starts listening, or finds that it missed something,
//! everything counts as changed. Without Redis there is only one replica, and nobody to tell.

mod hearing;

mod listen;

mod news;

mod outbox;

mod send;

mod wire;

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use moka::sync::Cache;
use thiserror::Error;
use tokio::time::timeout;

pub use news::{DELIVERY_BYTES_MAX, News, Seen};

use super::changes::Changes;
use crate::metrics::Metrics;
use crate::redis_client::RedisClient;
use hearing::Hearing;
use outbox::Outbox;

const CHANNEL: &str = "tollgate:1:news";
/// How long `publish` waits for Redis to take the news.
const PUBLISH_MAX: Duration = Duration::from_millis(100);
/// How long deliveries are remembered. GitHub redelivers what is at most three days old, GitHub Enterprise Server
/// seven.
const DELIVERED_FOR: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Deliveries remembered; processing one a second time does no harm.
const DELIVERED_MAX: u64 = 65_536;

/// The other replicas have not been told yet. They will be, or will know that they missed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the other replicas are told later")]
pub struct NotShared;

/// Forgets what is cached about an installation that ended or changed.
pub trait Forget: Send + Sync + fmt::Debug {
    /// Forgets the account's installations and their tokens.
    fn forget<'a>(&'a self, account: &'a str) -> BoxFuture<'a, ()>;
}

/// Tells all replicas what changed.
#[derive(Debug)]
pub struct Feed {
    changes: Arc<Changes>,
    /// Ids of deliveries that any replica has processed.
    delivered: Cache<Box<str>, ()>,
    /// Set once. Weak, because its owner holds this feed.
    forgetful: OnceLock<Weak<dyn Forget>>,
    /// `None`: there is only one replica.
    shared: Option<Shared>,
    metrics: Arc<Metrics>,
}

/// What a replica among several has.
#[derive(Debug)]
struct Shared {
    redis: Arc<RedisClient>,
    /// This replica's name in messages.
    name: String,
    outbox: Outbox,
    hearing: Hearing,
}

impl Feed {
    pub fn new(changes: Arc<Changes>, redis: Option<Arc<RedisClient>>, metrics: Arc<Metrics>) -> Feed {
        let shared = redis.map(|redis| Shared {
            redis,
            name: format!("{:016x}", rand::random::<u64>()),
            outbox: Outbox::default(),
            hearing: Hearing::new(),
        });
        let delivered = Cache::builder().max_capacity(DELIVERED_MAX).time_to_live(DELIVERED_FOR).build();
        Feed { changes, delivered, forgetful: OnceLock::new(), shared, metrics }
    }

    /// Sets who forgets an installation that ended; only the first call counts.
    pub fn forget_with(&self, forgetful: Weak<dyn Forget>) {
        let _ = self.forgetful.set(forgetful);
    }

    /// Applies the news here before it returns, and tells all other replicas unless it fails. Waits at most 100
    /// ms for Redis, and not at all while Redis does not answer.
    ///
    /// # Errors
    /// When the others will only be told later; that happens without the caller.
    pub async fn publish(&self, news: News) -> Result<(), NotShared> {
        self.apply(&news).await;
        let Some(shared) = &self.shared else {
            self.note_delivery(&news);
            return Ok(());
        };
        let receipt = shared.outbox.put(news).ok_or(NotShared)?;
        match timeout(PUBLISH_MAX, receipt).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(NotShared),
        }
    }

    /// Sends and listens until dropped. Returns at once without Redis.
    pub async fn tend(&self) {
        if let Some(shared) = &self.shared {
            tokio::join!(self.send(shared), self.listen(shared));
        }
    }

    /// Whether this replica hears of every change that any replica learns of. While it doesn't, nothing may be
    /// trusted without asking GitHub.
    pub fn is_whole(&self) -> bool {
        self.shared.as_ref().is_none_or(|shared| shared.hearing.is_whole())
    }

    /// Whether any replica has processed this webhook delivery.
    pub fn is_delivered(&self, id: &str) -> bool {
        self.delivered.contains_key(id)
    }

    /// What is known of changes.
    pub fn changes(&self) -> &Arc<Changes> {
        &self.changes
    }

    async fn apply(&self, news: &News) {
        for change in &news.changes {
            self.changes.note(change);
        }
        if let Some(seen) = &news.seen {
            for event in &seen.events {
                match seen.is_list {
                    true => self.changes.pinged(&seen.account, event),
                    false => self.changes.seen(&seen.account, event),
                }
            }
        }
        for account in &news.ended {
            if let Some(forgetful) = self.forgetful.get().and_then(Weak::upgrade) {
                forgetful.forget(account).await;
            }
        }
    }

    /// A delivery is done only when all replicas know its news: until then a redelivery must be processed again.
    fn note_delivery(&self, news: &News) {
        if let Some(id) = &news.delivery {
            self.delivered.insert(id.as_str().into(), ());
        }
    }

    fn count(&self, result: &'static str) {
        self.metrics.feed_messages.with_label_values(&[result]).inc();
    }
}
