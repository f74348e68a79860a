//! Listens to the other replicas, and notices when it can't.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngExt;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::send::BEAT_EVERY;
use super::wire::{Garbled, Heard, Message};
use super::{CHANNEL, Feed, Shared};
use crate::cache::changes::Change;
use crate::redis_client::Subscription;

/// Longest wait for a server to answer a subscription.
const SUBSCRIBE_MAX: Duration = Duration::from_secs(3);
/// A subscription on which this replica has not heard itself for this long is useless: the server hangs, is not
/// the one that the others use, or lets nobody publish.
const SILENT_MAX: Duration = BEAT_EVERY.saturating_mul(3);

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often the log repeats that nothing is heard.
const REPEAT_LOG_AFTER: Duration = Duration::from_secs(30);

impl Feed {
    pub(super) async fn listen(&self, shared: &Shared) {
        let mut pause = PAUSE_MIN;
        let mut said_at: Option<Instant> = None;
        loop {
            let why = match timeout(SUBSCRIBE_MAX, shared.redis.subscribe(CHANNEL)).await {
                Ok(Ok(subscription)) => {
                    // Whatever was said before is unknown here.
                    self.changes.note(&Change::Everything);
                    shared.outbox.wake();
                    self.follow(shared, subscription).await;
                    if shared.is_whole.swap(false, Ordering::AcqRel) {
                        pause = PAUSE_MIN;
                    }
                    "it went silent".to_owned()
                }
                Ok(Err(why)) => why,
                Err(_) => "no server answered in time".to_owned(),
            };
            let now = Instant::now();
            if said_at.is_none_or(|said| now >= said + REPEAT_LOG_AFTER) {
                said_at = Some(now);
                tracing::warn!(
                    why,
                    channel = CHANNEL,
                    "other replicas are not heard, so nothing is believed without asking GitHub; is Redis \
                     running, and does its ACL allow the channel (&tollgate*)?"
                );
            }
            let part = rand::rng().random_range(0.5..1.0);
            sleep(pause.mul_f64(part)).await;
            pause = (2 * pause).min(PAUSE_MAX);
        }
    }

    /// Reads messages until the connection is lost or silent.
    async fn follow(&self, shared: &Shared, mut subscription: Subscription) {
        let mut heard = Heard::default();
        let mut silent_at = Instant::now() + SILENT_MAX;
        while let Ok(Some(message)) = timeout_at(silent_at, subscription.next()).await {
            let taken = self.take(shared, &mut heard, message.get_payload_bytes()).await;
            match taken {
                Ok(is_own) if is_own => {
                    silent_at = Instant::now() + SILENT_MAX;
                    if !shared.is_whole.swap(true, Ordering::AcqRel) {
                        tracing::info!("other replicas are heard");
                    }
                }
                Ok(_) => {}
                Err(Garbled) => {
                    self.count("garbled");
                    self.changes.note(&Change::Everything);
                }
            }
        }
    }

    /// Applies a message. Returns whether this replica sent it itself.
    async fn take(&self, shared: &Shared, heard: &mut Heard, bytes: &[u8]) -> Result<bool, Garbled> {
        let message = Message::read(bytes)?;
        if message.replica == shared.name {
            return Ok(true);
        }
        if heard.misses(&message) {
            self.count("missed");
            self.changes.note(&Change::Everything);
        }
        for news in message.news()? {
            self.apply(&news).await;
            self.note_delivery(&news);
        }
        self.count("heard");
        Ok(false)
    }
}
