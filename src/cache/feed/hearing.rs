//! Whether this replica hears the others, as far as it can know: only from its own messages that come back.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::send::BEAT_EVERY;

/// A replica that has not heard its own messages for this long hears nobody: the server hangs, is not the one that the
/// others use, or lets nobody publish.
pub(super) const SILENT_MAX: Duration = BEAT_EVERY.saturating_mul(3);
/// Own messages of which it is remembered when they were sent.
const SENT_MAX: usize = 8;

/// Redis hands out messages in the order in which it got them, so who hears its own message has heard all that was said
/// before it sent that one. When it hears it proves nothing: a process that was stopped finds old messages first.
#[derive(Debug)]
pub(super) struct Hearing {
    began: Instant,
    /// Milliseconds from `began` until which what was heard counts; 0 while nobody is heard.
    until_ms: AtomicU64,
    /// Number and time of the last messages sent.
    sent: Mutex<VecDeque<(u64, Instant)>>,
}

impl Hearing {
    pub(super) fn new() -> Hearing {
        Hearing { began: Instant::now(), until_ms: AtomicU64::new(0), sent: Mutex::default() }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.ms_at(Instant::now()) < self.until_ms.load(Ordering::Acquire)
    }

    /// Right before this replica sends the message of this number.
    pub(super) fn sends(&self, number: u64) {
        let mut sent = self.sent.lock();
        sent.truncate(SENT_MAX - 1);
        sent.push_front((number, Instant::now()));
    }

    /// This replica's own message of this number came back. True if nobody was heard before.
    pub(super) fn hears(&self, number: u64) -> bool {
        let sent_at = self.sent.lock().iter().find(|(sent, _)| *sent == number).map(|(_, at)| *at);
        let Some(sent_at) = sent_at else { return false };
        self.until_ms.fetch_max(self.ms_at(sent_at + SILENT_MAX), Ordering::AcqRel) == 0
    }

    /// The subscription is lost. True if somebody was heard on it.
    pub(super) fn is_lost(&self) -> bool {
        self.until_ms.swap(0, Ordering::AcqRel) > 0
    }

    fn ms_at(&self, at: Instant) -> u64 {
        u64::try_from((at - self.began).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// After a stop (SIGSTOP, no CPU), it served what it had: only a timer of its own would have told it.
    #[tokio::test(start_paused = true)]
    async fn a_replica_that_was_stopped_believes_nothing_until_it_hears_what_it_sends_then() {
        let hearing = Hearing::new();
        assert!(!hearing.is_whole());
        hearing.sends(1);
        assert!(hearing.hears(1) && hearing.is_whole());
        hearing.sends(2);
        advance(SILENT_MAX).await;
        assert!(!hearing.is_whole());
        assert!(!hearing.hears(2) && !hearing.is_whole(), "it lay there while the process was stopped");
        hearing.sends(3);
        assert!(!hearing.hears(3) && hearing.is_whole());
        assert!(hearing.is_lost() && !hearing.is_whole() && !hearing.is_lost());
        for number in 4..40 {
            hearing.sends(number);
        }
        assert!(!hearing.hears(4) && !hearing.is_whole(), "too old to know when it was sent");
        assert!(hearing.hears(39) && hearing.is_whole());
    }
}
