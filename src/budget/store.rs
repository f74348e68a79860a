//! Where a ledger is kept: in this process, or shared by all replicas.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use futures_util::future::{BoxFuture, FutureExt, ready};
use thiserror::Error;

use super::command::{Call, Reply};
use super::ledger::Ledger;
use crate::clock::Clock;

/// The store could not be asked, or did not answer in time. What was asked may have been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the store of the budget can't be reached")]
pub struct StoreAway;

/// Keeps one ledger for each installation and takes it a step further with each call.
///
/// Every store gives the same replies to the same calls at the same times.
pub trait Store: Send + Sync + fmt::Debug {
    /// One step.
    ///
    /// # Errors
    /// When the store is away.
    fn call(&self, installation: &Arc<str>, call: Call) -> BoxFuture<'_, Result<Reply, StoreAway>>;
}

/// The embedded store; all its users live in one process.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    ledgers: Mutex<Ledgers>,
}

#[derive(Debug, Default)]
struct Ledgers {
    by_installation: HashMap<Arc<str>, Arc<Mutex<Ledger>>>,
    /// Given to ledgers that are made from now on.
    pause_at_birth_ms: i64,
}

/// After it lost everything a store grants nothing for so long, until replicas have told what they know.
const PAUSE_AT_BIRTH_MS: i64 = 2_000;

impl MemoryStore {
    pub fn new(clock: Arc<dyn Clock>) -> MemoryStore {
        MemoryStore { clock, ledgers: Mutex::default() }
    }

    /// Loses everything, as a shared store does that comes back empty.
    pub fn empty(&self) {
        let mut ledgers = self.lock();
        ledgers.by_installation.clear();
        ledgers.pause_at_birth_ms = PAUSE_AT_BIRTH_MS;
    }

    /// Calls in flight of one replica, over all installations.
    pub fn leases_of(&self, replica: u64) -> usize {
        let ledgers: Vec<_> = self.lock().by_installation.values().cloned().collect();
        ledgers.iter().map(|ledger| lock(ledger).leases_of(replica)).sum()
    }

    fn ledger(&self, installation: &Arc<str>) -> Arc<Mutex<Ledger>> {
        let mut ledgers = self.lock();
        if let Some(ledger) = ledgers.by_installation.get(installation) {
            return Arc::clone(ledger);
        }
        let ledger = Arc::new(Mutex::new(Ledger::new(ledgers.pause_at_birth_ms)));
        ledgers.by_installation.insert(Arc::clone(installation), Arc::clone(&ledger));
        ledger
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ledgers> {
        lock(&self.ledgers)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this lock")
}

impl Store for MemoryStore {
    fn call(&self, installation: &Arc<str>, call: Call) -> BoxFuture<'_, Result<Reply, StoreAway>> {
        let ledger = self.ledger(installation);
        let reply = lock(&ledger).apply(&call, self.clock.now_ms());
        ready(Ok(reply)).boxed()
    }
}
