//! Uses remembered in this process, since it started; for a single replica.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt, ready};
use parking_lot::Mutex;

use super::{Spent, SpentStore, Use, first_second_after, until_next_second};
use crate::budget::store::StoreAway;
use crate::clock::Clock;

/// More approvals than people and machines sign in a day; beyond that none is accepted.
const USES_MAX: usize = if cfg!(test) { 4_096 } else { 1_000_000 };
/// A use is remembered longer than its approval lives, in case the clock is set back.
const REMEMBERED_BEYOND_SECONDS: i64 = 600;

/// The memory of this process.
#[derive(Debug)]
pub struct MemorySpent {
    clock: Arc<dyn Clock>,
    /// Epoch seconds; approvals issued before are not accepted.
    since: i64,
    uses: Mutex<Uses>,
}

#[derive(Debug, Default)]
struct Uses {
    by_approval: HashMap<String, Remembered>,
    /// At this many uses, expired ones are dropped.
    sweep_at: usize,
}

#[derive(Debug)]
struct Remembered {
    request_id: String,
    until: i64,
}

impl Uses {
    fn known(&self, spend: &Use) -> Option<Spent> {
        let known = self.by_approval.get(&spend.approval)?;
        Some(if known.request_id == spend.request_id { Spent::Fresh } else { Spent::Again })
    }
}

impl MemorySpent {
    /// Begins with the next whole second, and waits for it: an approval signed after this has
    /// returned is never older than the memory.
    pub async fn begin(clock: Arc<dyn Clock>) -> MemorySpent {
        let spent = MemorySpent::begin_soon(Arc::clone(&clock));
        until_next_second(clock.as_ref()).await;
        spent
    }

    /// Begins with the next whole second; approvals signed before that count as too old.
    pub fn begin_soon(clock: Arc<dyn Clock>) -> MemorySpent {
        MemorySpent { since: first_second_after(clock.now_ms()), clock, uses: Mutex::default() }
    }

    /// Complements a memory that outlives this process: it knows what was used here, but not which
    /// approvals are too old.
    pub fn of_all_times(clock: Arc<dyn Clock>) -> MemorySpent {
        MemorySpent { clock, since: i64::MIN, uses: Mutex::default() }
    }

    /// What is known about an approval; none if it was not used here.
    pub(super) fn known(&self, spend: &Use) -> Option<Spent> {
        self.uses.lock().known(spend)
    }

    pub(super) fn record(&self, spend: &Use) -> Result<Spent, StoreAway> {
        let now = self.clock.now_seconds();
        let mut uses = self.uses.lock();
        if let Some(known) = uses.known(spend) {
            return Ok(known);
        }
        if spend.issued_at < self.since {
            return Ok(Spent::Forgotten);
        }
        if uses.by_approval.len() >= uses.sweep_at.max(1024) {
            uses.by_approval.retain(|_, known| known.until > now);
            uses.sweep_at = (2 * uses.by_approval.len()).min(USES_MAX);
        }
        if uses.by_approval.len() >= USES_MAX {
            return Err(StoreAway);
        }
        let until = spend.expires_at.max(now) + REMEMBERED_BEYOND_SECONDS;
        let known = Remembered { request_id: spend.request_id.clone(), until };
        uses.by_approval.insert(spend.approval.clone(), known);
        Ok(Spent::Fresh)
    }
}

impl SpentStore for MemorySpent {
    fn spend<'a>(&'a self, spend: &'a Use) -> BoxFuture<'a, Result<Spent, StoreAway>> {
        ready(self.record(spend)).boxed()
    }

    fn is_up(&self) -> bool {
        true
    }

    fn look(&self) -> BoxFuture<'_, Result<(), StoreAway>> {
        ready(Ok(())).boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;

    fn of(approval: &str, issued_at: i64, request_id: &str) -> Use {
        Use {
            approval: approval.to_owned(),
            issued_at,
            expires_at: issued_at + 900,
            request_id: request_id.to_owned(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_approval_is_fresh_once() {
        let clock = Arc::new(ManualClock::at_seconds(1_000));
        let spent = MemorySpent::begin(Arc::clone(&clock) as Arc<dyn Clock>).await;
        clock.advance(Duration::from_secs(1));
        assert_eq!(spent.spend(&of("a", 1_001, "r1")).await, Ok(Spent::Fresh));
        assert_eq!(spent.spend(&of("a", 1_001, "r1")).await, Ok(Spent::Fresh), "the same request asks again");
        assert_eq!(spent.spend(&of("a", 1_001, "r2")).await, Ok(Spent::Again));
        assert_eq!(spent.spend(&of("b", 1_001, "r2")).await, Ok(Spent::Fresh));
        // Issued in the second in which `begin` was called, so it may have been used before.
        assert_eq!(spent.spend(&of("c", 1_000, "r3")).await, Ok(Spent::Forgotten));
    }

    #[tokio::test(start_paused = true)]
    async fn uses_are_forgotten_only_when_they_can_t_be_repeated() {
        let clock = Arc::new(ManualClock::at_seconds(1_000));
        let spent = MemorySpent::begin(Arc::clone(&clock) as Arc<dyn Clock>).await;
        for n in 0..2_000 {
            assert_eq!(spent.spend(&of(&format!("a{n}"), 1_001, "r")).await, Ok(Spent::Fresh));
        }
        clock.advance(Duration::from_secs(901));
        assert_eq!(spent.spend(&of("a0", 1_001, "again")).await, Ok(Spent::Again));
        clock.advance(Duration::from_secs(3_600));
        for n in 0..2_000 {
            assert_eq!(spent.spend(&of(&format!("b{n}"), 4_000, "r")).await, Ok(Spent::Fresh));
        }
        assert!(spent.uses.lock().by_approval.len() <= 2_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_memory_takes_uses_again_once_others_have_expired() {
        let clock = Arc::new(ManualClock::at_seconds(1_000));
        let spent = MemorySpent::of_all_times(Arc::clone(&clock) as Arc<dyn Clock>);
        // What a sweep leaves is more than half of the capacity.
        let mut known = 0;
        while spent.record(&of(&format!("a{known}"), 1_001, "r")).is_ok() {
            known += 1;
        }
        assert_eq!(known, USES_MAX);
        assert!(spent.record(&of("late", 1_001, "r")).is_err());
        clock.advance(Duration::from_secs(3_600));
        assert_eq!(spent.record(&of("later", 4_601, "r")), Ok(Spent::Fresh));
    }
}
