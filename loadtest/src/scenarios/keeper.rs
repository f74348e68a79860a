//! What keeps the ledgers of a run: the embedded store, the scripts at Redis, or both step by step.

use std::future::{pending, ready};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Context as _, ensure};
use futures_util::future::{BoxFuture, FutureExt as _};
use tollgate::budget::command::{Call, Reply};
use tollgate::budget::store::{MemoryStore, Store, StoreAway};
use tollgate::clock::Clock as _;

use super::clock::VirtualClock;
use super::entries::INSTALLATION;
use super::redis_server::Server;
use super::scripted::Scripted;
use super::span::seconds;

/// Where the ledgers of one run after the other are kept.
#[derive(Debug)]
pub(super) enum Home {
    Memory,
    Redis(Server),
    Both(Server),
}

impl Home {
    pub(super) fn start(store: super::Store) -> anyhow::Result<Home> {
        Ok(match store {
            super::Store::Memory => Home::Memory,
            super::Store::Redis => Home::Redis(Server::start()?),
            super::Store::Both => Home::Both(Server::start()?),
        })
    }

    /// Throws away what the last run left.
    pub(super) fn keeper(&self, clock: &Arc<VirtualClock>) -> anyhow::Result<Keeper> {
        let memory = || MemoryStore::new(Arc::clone(clock) as _);
        let kept = match self {
            Home::Memory => Kept::Memory(memory()),
            Home::Redis(server) => Kept::Redis(Scripted::new(server)?),
            Home::Both(server) => Kept::Both(memory(), Scripted::new(server)?),
        };
        Ok(Keeper { kept, clock: Arc::clone(clock), steps: AtomicU64::new(0), fault: Mutex::default() })
    }
}

#[derive(Debug)]
enum Kept {
    Memory(MemoryStore),
    Redis(Scripted),
    Both(MemoryStore, Scripted),
}

/// The store of one run.
///
/// After a fault it answers nobody any more, so that virtual time is over at once.
#[derive(Debug)]
pub(super) struct Keeper {
    kept: Kept,
    clock: Arc<VirtualClock>,
    steps: AtomicU64,
    /// The first thing that must not happen: stores that differ, or a Redis that is gone.
    fault: Mutex<Option<anyhow::Error>>,
}

impl Keeper {
    /// Loses everything, as a shared store does that comes back empty.
    pub(super) fn empty(&self) {
        if let Kept::Memory(memory) | Kept::Both(memory, _) = &self.kept {
            memory.empty();
        }
        if let Kept::Redis(scripted) | Kept::Both(_, scripted) = &self.kept {
            self.note(scripted.empty());
        }
    }

    /// Calls in flight of one replica.
    pub(super) fn leases_of(&self, replica: u64) -> usize {
        let leases = match &self.kept {
            Kept::Memory(memory) => Ok(memory.leases_of(replica)),
            Kept::Redis(scripted) => scripted.leases_of(INSTALLATION, replica),
            Kept::Both(memory, scripted) => scripted.leases_of(INSTALLATION, replica).and_then(|at_redis| {
                let embedded = memory.leases_of(replica);
                ensure!(embedded == at_redis, "replica {replica} has {embedded} leases, {at_redis} at Redis");
                Ok(embedded)
            }),
        };
        self.note(leases).unwrap_or_default()
    }

    /// Steps taken so far.
    pub(super) fn steps(&self) -> u64 {
        self.steps.load(Ordering::SeqCst)
    }

    /// What went wrong, if anything did.
    pub(super) fn take_fault(&self) -> Option<anyhow::Error> {
        self.fault().take()
    }

    fn step(&self, installation: &Arc<str>, call: &Call) -> anyhow::Result<Reply> {
        let number = self.steps.fetch_add(1, Ordering::SeqCst) + 1;
        match &self.kept {
            Kept::Memory(memory) => in_memory(memory, installation, call),
            Kept::Redis(scripted) => scripted.step(installation, call, self.clock.now_ms()),
            Kept::Both(memory, scripted) => {
                let now_ms = self.clock.now_ms();
                let embedded = in_memory(memory, installation, call)?;
                let at_redis = scripted.step(installation, call, now_ms)?;
                ensure!(
                    embedded == at_redis,
                    "the stores differ at step {number}\n  time      {now_ms}\n  call      {call:?}\n  \
                     embedded  {embedded:?}\n  redis     {at_redis:?}"
                );
                Ok(embedded)
            }
        }
    }

    /// Only the first fault tells anything.
    fn note<T>(&self, result: anyhow::Result<T>) -> Option<T> {
        result
            .with_context(|| format!("after {} s", seconds(self.clock.elapsed_ms())))
            .map_err(|error| {
                self.fault().get_or_insert(error);
            })
            .ok()
    }

    fn fault(&self) -> MutexGuard<'_, Option<anyhow::Error>> {
        self.fault.lock().expect("nothing panics while it holds this lock")
    }
}

impl Store for Keeper {
    fn call<'a>(
        &'a self,
        installation: &'a Arc<str>,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Reply, StoreAway>> {
        if self.fault().is_some() {
            return pending().boxed();
        }
        match self.note(self.step(installation, call)) {
            Some(reply) => ready(Ok(reply)).boxed(),
            None => pending().boxed(),
        }
    }
}

fn in_memory(memory: &MemoryStore, installation: &Arc<str>, call: &Call) -> anyhow::Result<Reply> {
    let reply = memory.call(installation, call).now_or_never().context("the embedded store waits")?;
    Ok(reply?)
}

#[cfg(test)]
mod tests {
    use tollgate::budget::Secondary;
    use tollgate::budget::command::{Caps, Command, Known, Outcome, Stamp};

    use super::*;

    fn heartbeat(replica: u64) -> Call {
        let caps = Caps::new(0, Secondary::default());
        let stamp = Stamp { replica, last_reply: None, caps, ended: Vec::new() };
        Call { stamp, command: Command::Heartbeat(Known::default()) }
    }

    fn ask(keeper: &Keeper, call: &Call) -> Option<Reply> {
        keeper.call(&Arc::from(INSTALLATION), call).now_or_never().map(Result::unwrap)
    }

    #[tokio::test(start_paused = true)]
    async fn stores_that_differ_end_a_run() {
        let home = Home::start(super::super::Store::Both).unwrap();
        let clock = Arc::new(VirtualClock::new());
        let keeper = home.keeper(&clock).unwrap();
        assert_eq!(ask(&keeper, &heartbeat(1)).unwrap().outcome, Outcome::Done);
        let Kept::Both(memory, _) = &keeper.kept else { panic!("both were asked for") };
        // Born again a little later than what is at Redis.
        memory.empty();
        tokio::time::advance(std::time::Duration::from_millis(5)).await;
        assert_eq!(ask(&keeper, &heartbeat(1)), None);
        assert_eq!(ask(&keeper, &heartbeat(2)), None);
        let fault = format!("{:#}", keeper.take_fault().unwrap());
        for part in ["differ at step 2", "time", "call      Call {", "embedded  Reply {", "redis     Reply {"]
        {
            assert!(fault.contains(part), "{part}: {fault}");
        }
        // The next run begins with nothing.
        assert_eq!(ask(&home.keeper(&clock).unwrap(), &heartbeat(1)).unwrap().outcome, Outcome::Done);
    }
}
