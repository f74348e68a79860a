//! Places for connections on the small listeners, for operators and for GitHub's webhook.
//!
//! Whoever opens connections and says nothing, or reads no answer, must not keep others out: when all places are taken,
//! the connection that has been quiet for the longest gives its place up.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// So many connections at once.
#[derive(Debug)]
pub struct Places {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// Grows with each connection that falls quiet.
    last: u64,
    /// Connections on which no request is being answered, the longest quiet first.
    quiet: BTreeMap<u64, CancellationToken>,
}

/// One connection's place, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    /// Its number among the quiet ones, while it is quiet.
    quiet: Mutex<Option<u64>>,
    given_up: CancellationToken,
}

impl Places {
    pub fn new(most: usize) -> Arc<Places> {
        Arc::new(Places { most, state: Mutex::default() })
    }

    /// A place for a connection that was just accepted; none when all are taken by connections that are being answered.
    pub fn take(self: &Arc<Places>) -> Option<Place> {
        {
            let mut state = self.state.lock();
            if state.taken >= self.most {
                let (_, given_up) = state.quiet.pop_first()?;
                given_up.cancel();
                state.taken -= 1;
            }
            state.taken += 1;
        }
        let place =
            Place { places: Arc::clone(self), quiet: Mutex::new(None), given_up: CancellationToken::new() };
        place.falls_quiet();
        Some(place)
    }
}

impl Place {
    /// A request is being answered.
    pub fn is_busy(&self) {
        if let Some(number) = self.quiet.lock().take() {
            self.places.state.lock().quiet.remove(&number);
        }
    }

    /// No request is being answered any more.
    pub fn falls_quiet(&self) {
        let mut number = self.quiet.lock();
        let mut state = self.places.state.lock();
        if self.given_up.is_cancelled() || number.is_some() {
            return;
        }
        state.last += 1;
        *number = Some(state.last);
        let last = state.last;
        state.quiet.insert(last, self.given_up.clone());
    }

    /// Ends when another connection needs the place.
    pub async fn given_up(&self) {
        self.given_up.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.is_busy();
        // One that was given up is counted no more.
        if !self.given_up.is_cancelled() {
            self.places.state.lock().taken -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_quiet_for_the_longest_makes_room() {
        let places = Places::new(2);
        let (first, second) = (places.take().unwrap(), places.take().unwrap());
        first.is_busy();
        let third = places.take().unwrap();
        assert!(!first.given_up.is_cancelled() && second.given_up.is_cancelled());
        third.is_busy();
        assert!(places.take().is_none(), "both are being answered");
        // Neither takes a place any more.
        second.falls_quiet();
        drop(second);
        assert!(places.take().is_none());
        first.falls_quiet();
        let fourth = places.take().unwrap();
        assert!(first.given_up.is_cancelled() && !third.given_up.is_cancelled());
        drop((first, third));
        let fifth = places.take().unwrap();
        assert!(!fourth.given_up.is_cancelled());
        drop((fourth, fifth));
        let state = places.state.lock();
        assert_eq!((state.taken, state.quiet.len()), (0, 0));
    }
}
