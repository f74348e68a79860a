//! Merges identical reads in flight: the first one admitted asks GitHub, the others wait for its answer. Nobody
//! waits for a request that the budget still holds, and nobody fails because the one that asked hung up.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::watch;

use super::entry::Entry;
use super::key::Key;

/// A key and the last change that its answer has to show: a read that begins after a write never takes the answer
/// to one that began before it.
type FlightKey = (Key, i64);

/// Below this number of flights, finished ones are not swept out.
const SWEPT_FROM: usize = 1_024;

/// The progress of a flight.
#[derive(Debug, Clone)]
pub enum State {
    /// Nobody has asked GitHub yet.
    Waiting,
    Flying,
    /// The answer; `None` if it can't be shared.
    Landed(Option<Arc<Entry>>),
}

/// A read that several requests share.
#[derive(Debug)]
pub struct Flight {
    state: watch::Sender<State>,
}

/// The request that asks GitHub. If it is dropped before landing, the next one may ask.
#[derive(Debug)]
pub struct Lead {
    flight: Arc<Flight>,
    has_landed: bool,
}

/// All flights of the cache.
#[derive(Debug, Default)]
pub struct Flights {
    by_key: Mutex<ByKey>,
}

#[derive(Debug, Default)]
struct ByKey {
    flights: FxHashMap<FlightKey, Weak<Flight>>,
    sweep_at: usize,
}

impl Flights {
    /// The flight that a read of this key joins; `changed_ms` is when its answer last changed, epoch milliseconds.
    pub fn join(&self, key: &Key, changed_ms: i64) -> Arc<Flight> {
        let mut by_key = self.by_key.lock();
        let key = (key.clone(), changed_ms);
        if let Some(flight) = by_key.flights.get(&key).and_then(Weak::upgrade)
            && !matches!(*flight.state.borrow(), State::Landed(_))
        {
            return flight;
        }
        if by_key.flights.len() >= by_key.sweep_at.max(SWEPT_FROM) {
            by_key.flights.retain(|_, flight| flight.strong_count() > 0);
            by_key.sweep_at = 2 * by_key.flights.len();
        }
        let flight = Arc::new(Flight { state: watch::Sender::new(State::Waiting) });
        by_key.flights.insert(key, Arc::downgrade(&flight));
        flight
    }
}

impl Flight {
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Makes the caller the one that asks GitHub; `None` if another already does.
    pub fn take_off(self: &Arc<Flight>) -> Option<Lead> {
        let took_off = self.state.send_if_modified(|state| {
            let is_first = matches!(state, State::Waiting);
            if is_first {
                *state = State::Flying;
            }
            is_first
        });
        took_off.then(|| Lead { flight: Arc::clone(self), has_landed: false })
    }
}

impl Lead {
    /// Gives the answer to all who wait.
    pub fn land(mut self, entry: Option<Arc<Entry>>) {
        self.has_landed = true;
        self.flight.state.send_replace(State::Landed(entry));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if !self.has_landed {
            self.flight.state.send_replace(State::Waiting);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn key(target: &str) -> Key {
        Key::new(("app/acme".into(), 1), None, target.to_owned(), &HeaderMap::new())
    }

    #[test]
    fn one_of_many_asks() {
        let flights = Flights::default();
        let one = flights.join(&key("/a"), 0);
        let other = flights.join(&key("/a"), 0);
        let lead = one.take_off().unwrap();
        assert!(other.take_off().is_none());
        lead.land(None);
        assert!(matches!(*other.watch().borrow(), State::Landed(None)));
        assert!(flights.join(&key("/a"), 0).take_off().is_some(), "what has landed is not joined");
    }

    #[test]
    fn who_hangs_up_leaves_it_to_the_next() {
        let flights = Flights::default();
        let flight = flights.join(&key("/a"), 0);
        drop(flight.take_off().unwrap());
        assert!(flight.take_off().is_some());
    }

    #[test]
    fn a_read_after_a_change_is_another_one() {
        let flights = Flights::default();
        let before = flights.join(&key("/a"), 0);
        let _lead = before.take_off().unwrap();
        assert!(flights.join(&key("/a"), 5).take_off().is_some());
        assert!(flights.join(&key("/b"), 0).take_off().is_some());
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let flights = Flights::default();
        for number in 0..5_000 {
            drop(flights.join(&key(&format!("/{number}")), 0));
        }
        assert!(flights.by_key.lock().flights.len() <= SWEPT_FROM);
    }
}
