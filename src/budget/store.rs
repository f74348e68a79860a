//! Where a ledger is kept: in this process, or shared by all replicas.

use std::fmt;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt, ready};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use thiserror::Error;

use super::command::{Call, Reply};
use super::ledger::Ledger;
use crate::clock::{Clock, SystemClock};

/// The store could not be asked, or did not answer in time. The step may have been done all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the store of the budget can't be reached")]
pub struct StoreAway;

/// Keeps one ledger per installation and takes it one step further with each call.
///
/// All stores give the same replies to the same calls at the same times.
pub trait Store: Send + Sync + fmt::Debug {
    /// One step.
    ///
    /// # Errors
    /// If the store is away.
    fn call<'a>(
        &'a self,
        installation: &'a Arc<str>,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Reply, StoreAway>>;

    /// The store's time as far as it is known without asking, in epoch milliseconds.
    fn now_ms(&self) -> i64 {
        SystemClock.now_ms()
    }
}

/// The embedded store; all its users live in one process.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    ledgers: Mutex<Ledgers>,
}

#[derive(Debug, Default)]
struct Ledgers {
    by_installation: FxHashMap<Arc<str>, Arc<Mutex<Ledger>>>,
    /// At this many ledgers, those that nobody uses any more are dropped.
    sweep_at: usize,
    /// Passed to ledgers that are made from now on.
    pause_at_birth_ms: i64,
}

/// Up to this many ledgers are kept without checking whether they are used.
const SWEPT_FROM: usize = 64;

/// A store that lost everything grants nothing for this long, until replicas have told what they know.
pub const PAUSE_AT_BIRTH_MS: i64 = 2_000;

impl MemoryStore {
    pub fn new(clock: Arc<dyn Clock>) -> MemoryStore {
        MemoryStore { clock, ledgers: Mutex::default() }
    }

    /// Loses everything, like a shared store that comes back empty.
    pub fn empty(&self) {
        let mut ledgers = self.ledgers.lock();
        ledgers.by_installation.clear();
        ledgers.pause_at_birth_ms = PAUSE_AT_BIRTH_MS;
    }

    /// Calls in flight of one replica, in all installations.
    pub fn leases_of(&self, replica: u64) -> usize {
        let ledgers: Vec<_> = self.ledgers.lock().by_installation.values().cloned().collect();
        ledgers.iter().map(|ledger| ledger.lock().leases_of(replica)).sum()
    }

    fn ledger(&self, installation: &Arc<str>) -> Arc<Mutex<Ledger>> {
        let mut ledgers = self.ledgers.lock();
        if let Some(ledger) = ledgers.by_installation.get(installation) {
            return Arc::clone(ledger);
        }
        if ledgers.by_installation.len() >= ledgers.sweep_at.max(SWEPT_FROM) {
            let now = self.clock.now_ms();
            ledgers.by_installation.retain(|_, ledger| !ledger.lock().is_forgotten(now));
            ledgers.sweep_at = 2 * ledgers.by_installation.len();
        }
        let ledger = Arc::new(Mutex::new(Ledger::new(ledgers.pause_at_birth_ms)));
        ledgers.by_installation.insert(Arc::clone(installation), Arc::clone(&ledger));
        ledger
    }
}

impl Store for MemoryStore {
    fn call<'a>(
        &'a self,
        installation: &'a Arc<str>,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Reply, StoreAway>> {
        let ledger = self.ledger(installation);
        let reply = ledger.lock().apply(call, self.clock.now_ms());
        ready(Ok(reply)).boxed()
    }

    fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::command::{Caps, Command, Look, Share, Stamp};
    use super::*;
    use crate::clock::ManualClock;

    #[tokio::test]
    async fn ledgers_nobody_uses_are_thrown_out() {
        let clock = Arc::new(ManualClock::at_seconds(1_700_000_000));
        let store = MemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let caps = Caps::new(0, crate::budget::Secondary::default());
        let share = Share { agent: "a".into(), weight: 1, guarantee: 0, ceiling: None, guarantees: 0 };
        for round in 0..20 {
            for place in 0..100 {
                let stamp = Stamp { replica: 1, last_reply: None, caps, ended: Vec::new() };
                let look = Look { share: share.clone(), resource: "core".into() };
                let call = Call { stamp, command: Command::Look(look) };
                store.call(&format!("bot/{round}-{place}").into(), &call).await.unwrap();
            }
            clock.advance(Duration::from_secs(3 * 3600));
        }
        assert!(
            store.ledgers.lock().by_installation.len() <= 200,
            "{}",
            store.ledgers.lock().by_installation.len()
        );
    }
}
