//! The configured agents, found by their keys, of which only SHA-256 digests are kept; [`roster`] knows which
//! agents are served now.

pub mod disabled;

pub mod roster;

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::Agent;

/// What metrics and logs call callers that are no agent.
pub const NOBODY: &str = "none";

type KeyDigest = [u8; 32];

/// All configured agents.
#[derive(Debug)]
pub struct Agents {
    /// Keyed by the first eight bytes of the digest. A key is 256 random bits, so learning a digest's prefix from
    /// the look-up's timing leads to no key; the rest is compared in constant time.
    by_digest: HashMap<u64, Vec<(KeyDigest, Arc<Agent>)>>,
    by_name: HashMap<String, Arc<Agent>>,
    /// Points per hour of `core` guaranteed to agents with repositories of an owner (lower case).
    guaranteed_of_owner: HashMap<String, u32>,
    /// Points per hour of `core` guaranteed to agents with every repository.
    guaranteed_everywhere: u32,
    /// Points per hour of `core` guaranteed to all agents together.
    guaranteed: u32,
}

impl Agents {
    pub fn new(agents: Vec<Agent>) -> Agents {
        let mut by_digest = HashMap::<u64, Vec<(KeyDigest, Arc<Agent>)>>::new();
        let mut guaranteed_of_owner = HashMap::<String, u32>::new();
        let (mut guaranteed_everywhere, mut guaranteed) = (0, 0);
        for agent in agents.iter().filter(|agent| !agent.disabled) {
            let points = agent.guarantee.unwrap_or_default();
            guaranteed += points;
            if agent.repositories.is_everything() {
                guaranteed_everywhere += points;
                continue;
            }
            for owner in agent.repositories.owners() {
                *guaranteed_of_owner.entry(owner.to_ascii_lowercase()).or_default() += points;
            }
        }
        let mut by_name = HashMap::new();
        for agent in agents.into_iter().map(Arc::new) {
            by_name.insert(agent.name.clone(), Arc::clone(&agent));
            for digest in &agent.key_sha256 {
                by_digest.entry(prefix(digest)).or_default().push((*digest, Arc::clone(&agent)));
            }
        }
        Agents { by_digest, by_name, guaranteed_of_owner, guaranteed_everywhere, guaranteed }
    }

    /// Points per hour of `core` guaranteed in total to the agents that may use the installation on `account`;
    /// with `None`, to all agents.
    pub fn guarantees_of(&self, account: Option<&str>) -> u32 {
        let Some(account) = account.filter(|_| self.guaranteed > 0) else { return self.guaranteed };
        let of_owner = self.guaranteed_of_owner.get(&account.to_ascii_lowercase());
        self.guaranteed_everywhere + of_owner.copied().unwrap_or_default()
    }

    /// The agent whose key this is, and the key's SHA-256.
    pub fn find(&self, key: &[u8]) -> Option<(&Arc<Agent>, [u8; 32])> {
        let digest: KeyDigest = Sha256::digest(key).into();
        let candidates = self.by_digest.get(&prefix(&digest))?;
        let (_, agent) = candidates.iter().find(|(known, _)| bool::from(known.ct_eq(&digest)))?;
        Some((agent, digest))
    }

    /// The agent of this name.
    pub fn named(&self, name: &str) -> Option<&Arc<Agent>> {
        self.by_name.get(name)
    }

    /// All agents, in no particular order.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Agent>> {
        self.by_name.values()
    }
}

fn prefix(digest: &KeyDigest) -> u64 {
    u64::from_be_bytes(digest[..8].try_into().expect("a digest has more than eight bytes"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::DraftRule;
    use crate::policy::repositories::RepositorySet;

    pub(super) fn agent(name: &str, repositories: &[&str], guarantee: Option<u32>) -> Agent {
        Agent {
            name: name.to_owned(),
            key_sha256: Vec::new(),
            weight: 1,
            guarantee,
            ceiling: None,
            repositories: RepositorySet::new(repositories.iter().map(|text| text.parse().unwrap()).collect()),
            installation: None,
            allow: Vec::new(),
            require_approval: Vec::new(),
            draft_pull_requests: DraftRule::Off,
            disabled: false,
        }
    }

    #[test]
    fn guarantees_are_those_of_all_who_may_use_the_installation() {
        let gone = Agent { disabled: true, ..agent("gone", &["acme/*"], Some(9_000)) };
        let agents = vec![
            agent("a", &["acme/*", "acme/tool"], Some(500)),
            agent("b", &["*"], Some(100)),
            agent("c", &["other/tool"], Some(7)),
            agent("d", &["acme/*"], None),
            gone,
        ];
        let agents = Agents::new(agents);
        for (account, sum) in [(Some("Acme"), 600), (Some("other"), 107), (Some("new"), 100), (None, 607)] {
            assert_eq!(agents.guarantees_of(account), sum, "{account:?}");
        }
    }
}
