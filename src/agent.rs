//! The agents by their keys. Only SHA-256 digests of keys are kept.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::Agent;
use crate::policy::repositories::RepositorySet;

type KeyDigest = [u8; 32];

/// All configured agents.
#[derive(Debug)]
pub struct Agents {
    /// By the first eight bytes of the digest. A key is 256 random bits, so what the look-up's time
    /// could tell of a digest's prefix leads to no key; the rest is compared in constant time.
    by_digest: HashMap<u64, Vec<(KeyDigest, Arc<Agent>)>>,
    /// Of the agents that have one: their repositories, points an hour of `core`.
    guarantees: Vec<(RepositorySet, u32)>,
}

impl Agents {
    pub fn new(agents: Vec<Agent>) -> Agents {
        let mut by_digest = HashMap::<u64, Vec<(KeyDigest, Arc<Agent>)>>::new();
        let guarantee = |agent: &Agent| Some((agent.repositories.clone(), agent.guarantee?));
        let guarantees = agents.iter().filter(|agent| !agent.disabled).filter_map(guarantee).collect();
        for agent in agents.into_iter().map(Arc::new) {
            for digest in &agent.key_sha256 {
                by_digest.entry(prefix(digest)).or_default().push((*digest, Arc::clone(&agent)));
            }
        }
        Agents { by_digest, guarantees }
    }

    /// What is guaranteed, together, to all who may use the installation on an account; on none: to all.
    pub fn guarantees_of(&self, account: Option<&str>) -> u32 {
        let may_use = |repositories: &RepositorySet| {
            let is_owner = |account: &str| repositories.owners().contains(&account);
            repositories.is_everything() || account.is_none_or(is_owner)
        };
        self.guarantees
            .iter()
            .filter(|(repositories, _)| may_use(repositories))
            .map(|(_, points)| points)
            .sum()
    }

    /// The agent whose key this is.
    pub fn find(&self, key: &[u8]) -> Option<&Arc<Agent>> {
        let digest: KeyDigest = Sha256::digest(key).into();
        let candidates = self.by_digest.get(&prefix(&digest))?;
        candidates.iter().find(|(known, _)| bool::from(known.ct_eq(&digest))).map(|(_, agent)| agent)
    }
}

fn prefix(digest: &KeyDigest) -> u64 {
    u64::from_be_bytes(digest[..8].try_into().expect("a digest has more than eight bytes"))
}
