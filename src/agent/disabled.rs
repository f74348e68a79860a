//! The agents that operators switched off at run time, in addition to those the configuration file disables.
//!
//! Every request reads the set in this process, without a lock. If the set is to outlive the process it is also
//! kept in Redis, which all replicas follow.

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

/// A change reaches every replica within this time plus Redis's response time.
const POLL_EVERY: Duration = Duration::from_millis(250);

type Names = HashSet<String>;

/// The agents that operators switched off.
///
/// In process ([`DisabledAgents::in_process`]), a restart forgets the set: an agent that is to stay off also
/// needs `disabled: true` in the file. In Redis ([`DisabledAgents::in_redis`]) the set outlives every replica;
/// while Redis is away the last known state stays in force.
#[derive(Debug, Default)]
pub struct DisabledAgents {
    names: ArcSwap<Names>,
    /// Notified of every change.
    changes: watch::Sender<()>,
    /// `None`: the set lives in this process alone.
    shared: Option<SharedSet>,
    /// Held while talking to Redis and writing `names`, so that a poll that began before a change can't undo it.
    turn: Mutex<()>,
    /// Redis did not answer last time; kept so that the log says so only once.
    is_away: AtomicBool,
}

impl DisabledAgents {
    pub fn in_process() -> DisabledAgents {
        DisabledAgents::default()
    }

    /// Reads the set from Redis before returning. If Redis is away, nobody is switched off until it answers.
    pub async fn in_redis(redis: Arc<dyn Commands>) -> DisabledAgents {
        let disabled = DisabledAgents { shared: Some(SharedSet::new(redis)), ..DisabledAgents::in_process() };
        disabled.poll().await;
        disabled
    }

    pub fn contains(&self, agent: &str) -> bool {
        self.names.load().contains(agent)
    }

    /// The channel that is told of every change.
    pub fn changes(&self) -> watch::Sender<()> {
        self.changes.clone()
    }

    fn put(&self, names: Names) {
        self.names.store(Arc::new(names));
        self.changes.send_replace(());
    }

    /// Switches an agent off or on; takes effect here at once.
    ///
    /// # Errors
    /// When Redis did not confirm the change: it is then not in force here. If Redis applied it all the same, the
    /// next poll picks it up.
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

    /// Follows Redis; never ends. Returns at once if the set is in process.
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

    /// Takes over the set from Redis. If Redis lost its data, the set known here is written back: a failover must
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
