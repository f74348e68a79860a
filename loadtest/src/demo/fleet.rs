//! The fleet: agents that share what there is, and those beside them.
//!
//! Those that share always have several deeds under way, and so always want more than they get. The
//! others begin deeds at their own pace, whether or not the last one is done (open loop): a slow proxy
//! does not slow them down, it makes their deeds pile up, which shows. So that piling up has an end, an
//! agent with [`UNDER_WAY_MAX`] deeds under way drops further ones and counts them as failed.

pub(crate) mod agent;
pub(crate) mod characters;
pub(crate) mod client;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use agent::{Agent, Deed, Incident, Incidents};
use characters::{BESIDE, Character, SHARING};
use client::Client;

use super::world::World;

/// Deeds that one which shares has under way.
const HANDS: usize = 12;
/// After a deed that failed, so that it does not fail thousands of times a second.
const AFTER_FAILURE: Duration = Duration::from_millis(250);
const UNDER_WAY_MAX: usize = 32;
/// What is under way at the stop may take this much longer.
const LAST_DEEDS: Duration = Duration::from_secs(2);

/// Who takes part: name and character, before there is a key.
#[derive(Debug, Clone)]
pub(crate) struct Hire {
    pub(crate) name: String,
    pub(crate) character: Character,
}

/// So many that share, the characters in turn and numbered from the second of a kind on, and those beside.
pub(crate) fn hires(sharing: usize) -> Vec<Hire> {
    let hire = |index: usize| {
        let character = SHARING[index % SHARING.len()];
        let name = match index / SHARING.len() {
            0 => character.name().to_owned(),
            round => format!("{}-{}", character.name(), round + 1),
        };
        Hire { name, character }
    };
    let beside = BESIDE.map(|character| Hire { name: character.name().to_owned(), character });
    (0..sharing).map(hire).chain(beside).collect()
}

/// Agents at work.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) agents: Vec<Arc<Agent>>,
    incidents: Arc<Incidents>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Fleet {
    /// Gives each hire its key and lets it begin.
    pub(crate) fn start(hires: &[Hire], world: &World) -> anyhow::Result<Fleet> {
        let incidents = Arc::new(Incidents::default());
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let mut agents = Vec::new();
        for hire in hires {
            let client = Client::with_key(world.base_url(), world.key(&hire.name)?)?;
            let agent = Agent::new(hire.name.clone(), hire.character, client, Arc::clone(&incidents));
            let agent = Arc::new(agent);
            match hire.character.pace() {
                Some(pace) => {
                    tasks.spawn(stroll(Arc::clone(&agent), pace, stop.clone()));
                }
                None => {
                    (0..HANDS).for_each(|_| drop(tasks.spawn(toil(Arc::clone(&agent), stop.clone()))));
                }
            }
            agents.push(agent);
        }
        Ok(Fleet { agents, incidents, stop, tasks })
    }

    pub(crate) fn incidents(&self) -> Vec<Incident> {
        self.incidents.last()
    }

    /// Those that share.
    pub(crate) fn sharing(&self) -> impl Iterator<Item = &Arc<Agent>> {
        self.agents.iter().filter(|agent| agent.character.shares())
    }

    /// What each of those that share has spent, and whether none of them sleeps.
    pub(crate) fn points(&self) -> (Vec<u64>, bool) {
        let now = Instant::now();
        let is_everybody_awake = self.sharing().all(|agent| agent.rest(now).is_none());
        (self.sharing().map(|agent| agent.tally().points).collect(), is_everybody_awake)
    }

    /// No new deeds; those under way end, or are given up.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// One deed after the other.
async fn toil(agent: Arc<Agent>, stop: CancellationToken) {
    let deeds = async {
        loop {
            if agent.character.act(Deed::new(Arc::clone(&agent))).await.is_none() {
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    };
    tokio::select! {
        () = deeds => {}
        () = stop.cancelled() => {}
    }
}

/// A deed now and then.
async fn stroll(agent: Arc<Agent>, pace: Duration, stop: CancellationToken) {
    let mut under_way = JoinSet::new();
    let mut due = Instant::now();
    loop {
        // Up to half a pace early or late, so that agents do not march in step.
        due += pace.mul_f64(rand::random_range(0.5..1.5));
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            () = stop.cancelled() => break,
        }
        while under_way.try_join_next().is_some() {}
        if under_way.len() < UNDER_WAY_MAX {
            under_way.spawn(agent.character.act(Deed::new(Arc::clone(&agent))));
        } else {
            agent.skip();
        }
    }
    // What does not end in time is aborted with the set.
    let _ = tokio::time::timeout(LAST_DEEDS, async { while under_way.join_next().await.is_some() {} }).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_fleet_has_more_of_each_kind_that_shares() {
        let names: Vec<String> = hires(7).into_iter().map(|hire| hire.name).collect();
        assert_eq!(
            names,
            [
                "reviewer",
                "builder",
                "sleeper",
                "triage",
                "scanner",
                "reviewer-2",
                "builder-2",
                "poller",
                "rogue"
            ]
        );
        assert_eq!(hires(1).len(), 1 + BESIDE.len());
    }
}
