//! The agents that operators switched off while tollgate runs, beside those the file disables.
//!
//! What is read on every request's way is a set in this process, without a lock. Where the set
//! outlives the process it is kept in Redis, and all replicas follow it.

mod shared;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::budget::store::StoreAway;
pub use shared::Commands;
use shared::SharedSet;

/// A change is in force on every replica within this and the time Redis takes.
const POLL_EVERY: Duration = Duration::from_millis(250);

type Names = HashSet<String>;

/// What operators switched off.
///
/// In this process ([`DisabledAgents::in_process`]), a restart forgets it: an agent that shall stay out
/// needs `disabled: true` in the file, too. In Redis ([`DisabledAgents::in_redis`]) it outlives every
/// replica; while Redis is away the last known state stays in force.
#[derive(Debug, Default)]
pub struct DisabledAgents {
    names: ArcSwap<Names>,
    /// Told of every change.
    changes: watch::Sender<()>,
    /// None: it lives in this process alone.
    shared: Option<SharedSet>,
    /// One at a time speaks to Redis and writes `names`, so that a poll that began before a change
    /// can't undo it here.
    turn: Mutex<()>,
    /// Redis did not answer the last time; to say so once.
    is_away: AtomicBool,
}

impl DisabledAgents {
    pub fn in_process() -> DisabledAgents {
        DisabledAgents::default()
    }

    /// Knows what is in Redis when it returns, unless Redis is away: then nobody is switched off until it
    /// answers.
    pub async fn in_redis(redis: Arc<dyn Commands>) -> DisabledAgents {
        let disabled = DisabledAgents { shared: Some(SharedSet::new(redis)), ..DisabledAgents::in_process() };
        disabled.poll().await;
        disabled
    }

    pub fn contains(&self, agent: &str) -> bool {
        self.names.load().contains(agent)
    }

    /// Tells of every change.
    pub fn changes(&self) -> watch::Sender<()> {
        self.changes.clone()
    }

    fn put(&self, names: Names) {
        self.names.store(Arc::new(names));
        self.changes.send_replace(());
    }

    /// Switches an agent off, or on again; in force here at once.
    ///
    /// # Errors
    /// When Redis did not confirm it: it is not in force here then. If Redis did it all the same, the
    /// next poll brings it.
    pub async fn set(&self, agent: &str, is_disabled: bool) -> Result<(), StoreAway> {
        let _turn = self.turn.lock().await;
        let mut names = Names::clone(&self.names.load());
        if let Some(shared) = &self.shared {
            names = self.follow(shared).await?;
            shared.set(agent, is_disabled).await?;
        }
        match is_disabled {
            true => names.insert(agent.to_owned()),
            false => names.remove(agent),
        };
        self.put(names);
        Ok(())
    }

    /// Follows Redis; never ends. In this process there is nothing to follow.
    pub async fn tend(&self) {
        if self.shared.is_none() {
            return;
        }
        let mut ticks = interval(POLL_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.poll().await;
        }
    }

    async fn poll(&self) {
        let Some(shared) = &self.shared else { return };
        let _turn = self.turn.lock().await;
        let is_away = self.follow(shared).await.is_err();
        match (self.is_away.swap(is_away, Ordering::Relaxed), is_away) {
            (false, true) => tracing::warn!("Redis is away: agents stay enabled or disabled as last known"),
            (true, false) => tracing::info!("Redis is back: enabled and disabled agents are known again"),
            _ => {}
        }
    }

    /// Takes over what Redis has. A Redis that lost its data is told what is known here: a fail-over must
    /// not let an agent back in.
    async fn follow(&self, shared: &SharedSet) -> Result<Names, StoreAway> {
        let known = self.names.load_full();
        let found = match shared.members().await? {
            Some(found) => found,
            None if known.is_empty() => Names::new(),
            None => {
                tracing::warn!(agents = known.len(), "Redis lost which agents are disabled; told it again");
                shared.restore(&known).await?;
                return Ok(Names::clone(&known));
            }
        };
        if found != *known {
            self.put(found.clone());
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
