//! Listens to the other replicas, and notices when it can't.

use std::time::Duration;

use rand::RngExt;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::hearing::SILENT_MAX;
use super::wire::{Garbled, Heard, Message};
use super::{CHANNEL, Feed, Shared};
use crate::cache::changes::Change;
use crate::redis_client::Subscription;

/// Longest wait for a server to answer a subscription.
const SUBSCRIBE_MAX: Duration = Duration::from_secs(3);

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
                    if shared.hearing.is_lost() {
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
                Ok(Some(own)) => {
                    silent_at = Instant::now() + SILENT_MAX;
                    if shared.hearing.hears(own) {
                        tracing::info!("other replicas are heard");
                    }
                }
                Ok(None) => {}
                Err(Garbled) => {
                    self.count("garbled");
                    self.changes.note(&Change::Everything);
                }
            }
        }
    }

    /// Applies a message. If this replica sent it itself, returns its number.
    async fn take(&self, shared: &Shared, heard: &mut Heard, bytes: &[u8]) -> Result<Option<u64>, Garbled> {
        let message = Message::read(bytes)?;
        if message.replica == shared.name {
            return Ok(Some(message.number));
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
        Ok(None)
    }
}
