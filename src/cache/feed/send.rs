//! Tells the other replicas: one message after another, each retried until Redis has it.

use std::time::Duration;

use rand::RngExt;
use tokio::time::{Instant, sleep, timeout_at};

use super::outbox::Waiting;
use super::{CHANNEL, Feed, Shared, wire};

/// How often a replica sends a message, even an empty one. It listens for its own messages, and the number in
/// them shows the others whether they missed its latest news.
pub(super) const BEAT_EVERY: Duration = Duration::from_secs(1);

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

impl Feed {
    pub(super) async fn send(&self, shared: &Shared) {
        let mut number = 0;
        let mut beat_at = Instant::now();
        loop {
            let mut batch = shared.outbox.take();
            if batch.is_empty() {
                // Woken without news by a new subscription, which waits for this replica's own message.
                let _ = timeout_at(beat_at, shared.outbox.woken()).await;
                batch = shared.outbox.take();
            }
            number += 1;
            self.tell(shared, number, &mut batch).await;
            beat_at = Instant::now() + BEAT_EVERY;
        }
    }

    async fn tell(&self, shared: &Shared, number: u64, batch: &mut [Waiting]) {
        let news = batch.iter().map(|waiting| &waiting.news);
        let message = wire::write(&shared.name, number, news).expect("news is text, and goes into memory");
        let mut pause = PAUSE_MIN;
        shared.hearing.sends(number);
        while shared.redis.publish(CHANNEL, &message).await.is_err() {
            self.count("failed");
            shared.outbox.set_failing(true);
            batch.iter_mut().for_each(Waiting::let_go);
            let part = rand::rng().random_range(0.5..1.0);
            sleep(pause.mul_f64(part)).await;
            pause = (2 * pause).min(PAUSE_MAX);
        }
        shared.outbox.set_failing(false);
        self.count("sent");
        for waiting in batch {
            self.note_delivery(&waiting.news);
            waiting.confirm();
        }
    }
}
