//! How many bytes of request bodies are held in memory, in all and per agent.
//!
//! Bodies that decide, and small ones that may have to be sent again, are held whole. Without a
//! bound, an agent could open connections until memory is full. Large bodies (files written through
//! the API) have room of their own, one per agent at a time, so that they never crowd out the small
//! ones. They take it as their bytes arrive: a body that is only announced keeps nobody out.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::ProxyError;

/// The longest body that counts as small, in bytes.
pub(crate) const SMALL_BYTES_MAX: u64 = 1024 * 1024;
/// The bound on small bodies of all agents together, in bytes.
const HELD_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// The bound on small bodies of one agent, in bytes.
const HELD_BYTES_PER_AGENT_MAX: u64 = 8 * 1024 * 1024;
/// The bound on large bodies of all agents together, and on each of them, in bytes.
pub(crate) const LARGE_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Counts the bytes held.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    all: u64,
    by_agent: HashMap<String, u64>,
    /// Bytes of large bodies, and the agents that have one.
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

/// Room for one body. Dropping it gives the room back.
#[derive(Debug)]
pub(crate) struct Room {
    held: Held,
    agent: String,
    is_large: bool,
    bytes: u64,
}

impl Held {
    /// Reserves room for a body of at most `bytes`; a large one takes its room with
    /// [`Room::grow_to`].
    pub(crate) fn room(&self, agent: &str, bytes: u64) -> Result<Room, ProxyError> {
        let is_large = bytes > SMALL_BYTES_MAX;
        let mut counts = self.counts.lock();
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
}

/// The error when there is no room for one more body.
pub(crate) fn full() -> ProxyError {
    ProxyError::Overloaded("Too many request bodies are being received at once; nothing was sent to GitHub.")
}

impl Room {
    /// Takes room up to `bytes`, which is how much of a large body has arrived.
    ///
    /// # Errors
    /// If there is no more room for large bodies.
    pub(crate) fn grow_to(&mut self, bytes: u64) -> Result<(), ProxyError> {
        if !self.is_large || bytes <= self.bytes {
            return Ok(());
        }
        if !self.held.counts.lock().take_large(bytes - self.bytes) {
            return Err(full());
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut counts = self.held.counts.lock();
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
        assert!(held.counts.lock().by_agent.is_empty());
        assert_eq!(held.counts.lock().all, 0);
    }

    #[test]
    fn large_bodies_have_room_of_their_own() {
        const MIB: u64 = 1024 * 1024;
        let held = Held::default();
        let mut large = held.room("a", LARGE_BYTES_MAX).unwrap();
        assert_eq!(held.room("a", 2 * MIB).unwrap_err().code(), "overloaded", "one at a time");
        // A body that is only announced takes nothing.
        let mut other = held.room("b", LARGE_BYTES_MAX).unwrap();
        other.grow_to(100 * MIB).unwrap();
        large.grow_to(28 * MIB).unwrap();
        large.grow_to(20 * MIB).unwrap();
        assert_eq!(large.grow_to(28 * MIB + 1).unwrap_err().code(), "overloaded");
        assert!(held.room("a", 1024).is_ok() && held.room("b", MIB).is_ok());
        drop(other);
        large.grow_to(LARGE_BYTES_MAX).unwrap();
        drop(large);
        let counts = held.counts.lock();
        assert_eq!((counts.large, counts.large_of.len(), counts.all), (0, 0, 0));
    }
}
