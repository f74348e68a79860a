//! How much of request bodies is held in memory, in all and for one agent.
//!
//! A body that decides, and a small one that may have to be sent again, is held whole. Without a
//! bound, an agent could open connections until the memory is full.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::error::ProxyError;

/// Bytes held for everybody together.
const HELD_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Bytes held for one agent.
const HELD_BYTES_PER_AGENT_MAX: u64 = 8 * 1024 * 1024;

/// Counts what is held.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    all: u64,
    by_agent: HashMap<String, u64>,
}

/// Room for one body; given back when dropped.
#[derive(Debug)]
pub(crate) struct Room {
    held: Held,
    agent: String,
    bytes: u64,
}

impl Held {
    /// Takes room for a body of at most so many bytes.
    pub(crate) fn room(&self, agent: &str, bytes: u64) -> Result<Room, ProxyError> {
        let mut counts = self.counts.lock().expect("nothing panics while it holds this lock");
        let own = counts.by_agent.get(agent).copied().unwrap_or_default();
        if counts.all + bytes > HELD_BYTES_MAX || own + bytes > HELD_BYTES_PER_AGENT_MAX {
            return Err(ProxyError::Overloaded(
                "Too many request bodies are being received at once; nothing was sent to GitHub.",
            ));
        }
        counts.all += bytes;
        *counts.by_agent.entry(agent.to_owned()).or_default() += bytes;
        Ok(Room { held: self.clone(), agent: agent.to_owned(), bytes })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut counts = self.held.counts.lock().expect("nothing panics while it holds this lock");
        counts.all -= self.bytes;
        if let Some(own) = counts.by_agent.get_mut(&self.agent) {
            *own -= self.bytes;
            if *own == 0 {
                counts.by_agent.remove(&self.agent);
            }
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
}
