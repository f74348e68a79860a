//! Which agents are served now: those of the configuration in force, less those that operators switched off.
//!
//! A request keeps its agent as configured when the request came in. Whether that agent is still served is asked
//! here, and agents waiting for a turn are told when they no longer are.

use std::sync::Arc;

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::sync::watch;

use super::Agents;
use super::disabled::DisabledAgents;
use crate::budget::store::StoreAway;
use crate::config::Agent;

/// Whether an agent is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Served,
    /// Disabled by the configuration file or by an operator.
    Disabled,
    /// The configuration in force has no agent of this name.
    Removed,
}

/// All agents that exist now.
#[derive(Debug)]
pub struct Roster {
    agents: ArcSwap<Agents>,
    disabled: DisabledAgents,
    /// Told of every change to either field above.
    changes: watch::Sender<()>,
}

/// Why an agent can't be switched off or on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SwitchError {
    #[error("No agent has this name.")]
    Unknown,
    #[error("The configuration file disables this agent: change `disabled` there.")]
    InFile,
    #[error(
        "Redis did not confirm it, so nothing was changed here; it may have arrived all the same. Send it again."
    )]
    Away,
}

impl From<StoreAway> for SwitchError {
    fn from(_: StoreAway) -> SwitchError {
        SwitchError::Away
    }
}

impl Roster {
    pub fn new(agents: Arc<Agents>, disabled: DisabledAgents) -> Roster {
        Roster { agents: ArcSwap::new(agents), changes: disabled.changes(), disabled }
    }

    /// The agents of the configuration in force.
    pub fn agents(&self) -> Arc<Agents> {
        self.agents.load_full()
    }

    /// Installs the agents of another configuration. Agents that operators switched off stay off.
    pub fn replace(&self, agents: Arc<Agents>) {
        self.agents.store(agents);
        self.changes.send_replace(());
    }

    pub fn standing(&self, name: &str) -> Standing {
        match self.agents.load().named(name) {
            None => Standing::Removed,
            Some(agent) if self.is_disabled(agent) => Standing::Disabled,
            Some(_) => Standing::Served,
        }
    }

    /// Waits until an agent is not served (returns at once if it already isn't) and says why.
    pub async fn until_not_served(&self, name: &str) -> Standing {
        let mut changes = self.changes.subscribe();
        loop {
            match self.standing(name) {
                Standing::Served => {}
                ended => return ended,
            }
            // This roster owns the sender, so only a change ends this wait.
            let _ = changes.changed().await;
        }
    }

    /// Whether an agent of the configuration in force is disabled, by the file or by an operator.
    pub fn is_disabled(&self, agent: &Agent) -> bool {
        agent.disabled || self.disabled.contains(&agent.name)
    }

    /// Switches an agent off or on. An agent that the file disables can't be switched on.
    ///
    /// # Errors
    /// When nothing was changed: unknown agent, disabled in the file, or as in [`DisabledAgents::set`].
    pub async fn switch(&self, name: &str, is_disabled: bool) -> Result<(), SwitchError> {
        let agents = self.agents();
        let agent = agents.named(name).ok_or(SwitchError::Unknown)?;
        if agent.disabled && !is_disabled {
            return Err(SwitchError::InFile);
        }
        Ok(self.disabled.set(name, is_disabled).await?)
    }

    /// Follows the switches of other replicas; see [`DisabledAgents::tend`].
    pub async fn tend(&self) {
        self.disabled.tend().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::agent;
    use super::*;

    fn agents(list: Vec<Agent>) -> Arc<Agents> {
        Arc::new(Agents::new(list))
    }

    fn roster() -> Roster {
        let gone = Agent { disabled: true, ..agent("gone", &["*"], None) };
        Roster::new(agents(vec![agent("a", &["*"], None), gone]), DisabledAgents::in_process())
    }

    #[tokio::test]
    async fn the_file_s_word_stands_above_the_switch() {
        let roster = roster();
        let standings = || (roster.standing("a"), roster.standing("gone"));
        assert_eq!(standings(), (Standing::Served, Standing::Disabled));
        assert_eq!(roster.switch("a", true).await, Ok(()));
        assert_eq!(roster.switch("gone", true).await, Ok(()));
        assert_eq!(standings(), (Standing::Disabled, Standing::Disabled));
        assert_eq!(roster.switch("a", false).await, Ok(()));
        assert_eq!(roster.switch("gone", false).await, Err(SwitchError::InFile));
        assert_eq!(roster.switch("A", true).await, Err(SwitchError::Unknown));
        assert_eq!(standings(), (Standing::Served, Standing::Disabled));
    }

    #[tokio::test]
    async fn what_was_switched_off_stays_off_under_another_configuration() {
        let roster = roster();
        roster.switch("a", true).await.unwrap();
        roster.replace(agents(vec![agent("a", &["*"], None), agent("gone", &["*"], None)]));
        assert_eq!((roster.standing("a"), roster.standing("gone")), (Standing::Disabled, Standing::Served));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_told() {
        let roster = roster();
        let soon =
            |name: &'static str| tokio::time::timeout(Duration::from_secs(1), roster.until_not_served(name));
        assert_eq!(soon("gone").await, Ok(Standing::Disabled));
        assert_eq!(soon("nobody").await, Ok(Standing::Removed));
        assert!(soon("a").await.is_err());
        let (told, _) = tokio::join!(soon("a"), roster.switch("a", true));
        assert_eq!(told, Ok(Standing::Disabled));
        roster.switch("a", false).await.unwrap();
        let (told, ()) = tokio::join!(soon("a"), async { roster.replace(agents(Vec::new())) });
        assert_eq!(told, Ok(Standing::Removed));
    }
}
