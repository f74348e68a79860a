//! The fleet: agents that begin deeds at their own pace, whether or not the last one is done.
//!
//! Open loop: a slow proxy does not slow the agents down, it makes them pile up, which shows. So
//! that piling up has an end, an agent with [`UNDER_WAY_MAX`] deeds under way drops further ones and
//! counts them as failed.

pub(crate) mod agent;
pub(crate) mod characters;
pub(crate) mod client;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use agent::{Agent, Deed, Incident, Incidents};
use characters::{CHARACTERS, Character};
use client::Client;

use super::world::World;

const UNDER_WAY_MAX: usize = 32;
/// What is under way at the stop may take this much longer.
const LAST_DEEDS: Duration = Duration::from_secs(2);

/// Who takes part: name and character, before there is a key.
#[derive(Debug, Clone)]
pub(crate) struct Hire {
    pub(crate) name: String,
    pub(crate) character: Character,
}

/// The characters in turn, numbered from the second of a kind on.
pub(crate) fn hires(count: usize) -> Vec<Hire> {
    let hire = |index: usize| {
        let character = CHARACTERS[index % CHARACTERS.len()];
        let name = match index / CHARACTERS.len() {
            0 => character.name().to_owned(),
            round => format!("{}-{}", character.name(), round + 1),
        };
        Hire { name, character }
    };
    (0..count).map(hire).collect()
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
            tasks.spawn(work(Arc::clone(&agent), pace(hire.character, hires.len()), stop.clone()));
            agents.push(agent);
        }
        Ok(Fleet { agents, incidents, stop, tasks })
    }

    pub(crate) fn incidents(&self) -> Vec<Incident> {
        self.incidents.last()
    }

    /// No new deeds; those under way end.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// The mean time between two deeds. A large fleet does no more than a small one: what one
/// installation of GitHub's allows is the same for both.
fn pace(character: Character, agents: usize) -> Duration {
    let rounds = agents.div_ceil(CHARACTERS.len());
    character.pace() * u32::try_from(rounds).unwrap_or(u32::MAX)
}

/// An agent's life.
async fn work(agent: Arc<Agent>, pace: Duration, stop: CancellationToken) {
    let mut under_way = JoinSet::new();
    let mut due = Instant::now();
    let mut turn = 0;
    loop {
        // Up to half a pace early or late, so that agents do not march in step.
        due += pace.mul_f64(rand::random_range(0.5..1.5));
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            () = stop.cancelled() => break,
        }
        while under_way.try_join_next().is_some() {}
        if under_way.len() < UNDER_WAY_MAX {
            under_way.spawn(agent.character.act(Deed::new(Arc::clone(&agent), turn, due)));
        } else {
            agent.skip();
        }
        turn += 1;
    }
    // What does not end in time is aborted with the set.
    let _ = tokio::time::timeout(LAST_DEEDS, async { while under_way.join_next().await.is_some() {} }).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_fleet_has_more_of_each_kind_and_does_as_much() {
        let names: Vec<String> = hires(7).into_iter().map(|hire| hire.name).collect();
        assert_eq!(names, ["reviewer", "triage", "builder", "poller", "rogue", "reviewer-2", "triage-2"]);
        let reviewer = Character::Reviewer;
        assert_eq!(pace(reviewer, 1), reviewer.pace());
        assert_eq!(pace(reviewer, 5), reviewer.pace());
        assert_eq!(pace(reviewer, 20), reviewer.pace() * 4);
    }
}
