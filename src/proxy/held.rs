//! How much of request bodies is held in memory, in all and for one agent.
//!
//! A body that decides, and a small one that may have to be sent again, is held whole. Without a
//! bound, an agent could open connections until the memory is full. Large ones (files written through
//! the API) have room of their own, one for each agent at a time, so that they never crowd out the
//! small ones. They take it as their bytes come: what is only announced keeps nobody out.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::error::ProxyError;

/// Longest body that counts as small.
pub(crate) const SMALL_BYTES_MAX: u64 = 1024 * 1024;
/// Small bodies held for everybody together.
const HELD_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Small bodies held for one agent.
const HELD_BYTES_PER_AGENT_MAX: u64 = 8 * 1024 * 1024;
/// Large bodies held for everybody together, and the longest there can be.
pub(crate) const LARGE_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Counts what is held.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    all: u64,
    by_agent: HashMap<String, u64>,
    /// Large bodies in all, and the agents that have one.
    large: u64,
    large_of: HashSet<String>,
}

impl Counts {
    fn take_small(&mut self, agent: &str, bytes: u64) -> bool {
        let own = self.by_agent.get(agent).copied().unwrap_or_default();
        if self.all + bytes > HELD_BYTES_MAX || own + bytes > HELD_BYTES_PER_AGENT_MAX {
            return false;
        }
        self.all += bytes;
        *self.by_agent.entry(agent.to_owned()).or_default() += bytes;
        true
    }

    fn take_large(&mut self, bytes: u64) -> bool {
        let fits = self.large + bytes <= LARGE_BYTES_MAX;
        self.large += if fits { bytes } else { 0 };
        fits
    }

    fn give_back_small(&mut self, agent: &str, bytes: u64) {
        self.all -= bytes;
        if let Some(own) = self.by_agent.get_mut(agent) {
            *own -= bytes;
            if *own == 0 {
                self.by_agent.remove(agent);
            }
        }
    }
}

/// Room for one body; given back when dropped.
#[derive(Debug)]
pub(crate) struct Room {
    held: Held,
    agent: String,
    is_large: bool,
    bytes: u64,
}

impl Held {
    /// Takes room for a body of at most so many bytes; a large one takes it with [`Room::grow_to`].
    pub(crate) fn room(&self, agent: &str, bytes: u64) -> Result<Room, ProxyError> {
        let is_large = bytes > SMALL_BYTES_MAX;
        let mut counts = self.lock();
        let is_taken = match is_large {
            true => counts.large_of.insert(agent.to_owned()),
            false => counts.take_small(agent, bytes),
        };
        if !is_taken {
            return Err(full());
        }
        let bytes = if is_large { 0 } else { bytes };
        Ok(Room { held: self.clone(), agent: agent.to_owned(), is_large, bytes })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().expect("nothing panics while it holds this lock")
    }
}

/// No room for one more.
pub(crate) fn full() -> ProxyError {
    ProxyError::Overloaded("Too many request bodies are being received at once; nothing was sent to GitHub.")
}

impl Room {
    /// So much of the body has come.
    ///
    /// # Errors
    /// When large bodies have no more room.
    pub(crate) fn grow_to(&mut self, bytes: u64) -> Result<(), ProxyError> {
        if !self.is_large || bytes <= self.bytes {
            return Ok(());
        }
        if !self.held.lock().take_large(bytes - self.bytes) {
            return Err(full());
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut counts = self.held.lock();
        if self.is_large {
            counts.large -= self.bytes;
            counts.large_of.remove(&self.agent);
        } else {
            counts.give_back_small(&self.agent, self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_agent_leaves_room_for_the_others() {
        let held = Held::default();
        let mut rooms: Vec<Room> = (0..8).map(|_| held.room("greedy", 1024 * 1024).unwrap()).collect();
        assert_eq!(held.room("greedy", 1).unwrap_err().code(), "overloaded");
        assert!(held.room("other", 1024 * 1024).is_ok());
        rooms.pop();
        assert!(held.room("greedy", 1).is_ok());
        drop(rooms);
        assert!(held.counts.lock().unwrap().by_agent.is_empty());
        assert_eq!(held.counts.lock().unwrap().all, 0);
    }

    #[test]
    fn large_bodies_have_room_of_their_own() {
        const MIB: u64 = 1024 * 1024;
        let held = Held::default();
        let mut large = held.room("a", LARGE_BYTES_MAX).unwrap();
        assert_eq!(held.room("a", 2 * MIB).unwrap_err().code(), "overloaded", "one at a time");
        // What is only announced takes nothing.
        let mut other = held.room("b", LARGE_BYTES_MAX).unwrap();
        other.grow_to(100 * MIB).unwrap();
        large.grow_to(28 * MIB).unwrap();
        large.grow_to(20 * MIB).unwrap();
        assert_eq!(large.grow_to(28 * MIB + 1).unwrap_err().code(), "overloaded");
        assert!(held.room("a", 1024).is_ok() && held.room("b", MIB).is_ok());
        drop(other);
        large.grow_to(LARGE_BYTES_MAX).unwrap();
        drop(large);
        let counts = held.lock();
        assert_eq!((counts.large, counts.large_of.len(), counts.all), (0, 0, 0));
    }
}
