//! The waiting at this replica: a queue for each agent, pool and kind of call. While all its calls
//! are granted, the first few in a queue ask the store together. As soon as one is told to wait,
//! only the head asks, until several have been granted again.
//!
//! A head that is told to wait sleeps exactly as long as it is told, so each has a time of its own
//! and nobody polls. A call that can't be served within its patience is refused at once, with a
//! booking. A caller that hangs up leaves the queue, and the next one takes over the head's place.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::command::Reason;

/// Calls that share a head: those of one agent in one pool. Writes are apart, so that a write held
/// back never holds up a read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct QueueKey {
    pub(super) installation: Arc<str>,
    pub(super) resource: Arc<str>,
    pub(super) agent: Arc<str>,
    pub(super) is_write: bool,
}

/// How many calls of a queue may ask at the same time: in a new queue, and at most.
const ASKING_FIRST: usize = 4;
const ASKING_MAX: usize = 16;
/// How many heads are woken at the same moment, so that none takes all before the others ask.
const TOGETHER: usize = 128;
/// The pause between those beyond: thousands at once would be more than a store answers in time.
const APART: Duration = Duration::from_micros(500);

/// All queues that are not empty.
#[derive(Debug, Default)]
pub(super) struct Queues {
    by_key: Mutex<FxHashMap<QueueKey, Arc<Mutex<Queue>>>>,
    arrivals: AtomicU64,
}

/// Interactive calls first, then by arrival.
type Rank = (bool, u64);

/// A waiting call.
#[derive(Debug)]
struct Waiter {
    wake: Arc<Notify>,
    since: Instant,
    /// Its question to the store is under way.
    is_asking: bool,
}

/// How many of an agent's calls wait, and for how long the first of them has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waits {
    pub count: usize,
    pub longest: Duration,
}

#[derive(Debug)]
struct Queue {
    waiting: BTreeMap<Rank, Waiter>,
    /// How many of them are asking, and on which route. The store knows them all by one name, so
    /// they may have just one place there.
    asking: usize,
    route: Option<Arc<str>>,
    /// How often a call began to ask while no other was asking.
    round: u64,
    /// How many calls were granted since one was told to wait.
    granted: usize,
    told: Told,
    /// The round in which that was told, and whether to a call that is not interactive.
    told_in: (u64, bool),
}

impl Default for Queue {
    fn default() -> Queue {
        Queue {
            waiting: BTreeMap::new(),
            asking: 0,
            route: None,
            round: 1,
            granted: ASKING_FIRST,
            told: Told::default(),
            told_in: (0, false),
        }
    }
}

/// What the head was last told.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// When to ask again; none for at once.
    pub(super) ask_at: Option<Instant>,
    /// The time between two turns of the agent.
    pub(super) step: Duration,
    /// What holds it; none if it was told nothing yet.
    pub(super) reason: Option<Reason>,
    /// The route on which a place is kept meanwhile; none if there is no place.
    pub(super) route: Option<Arc<str>>,
}

impl Queue {
    /// The call that asks next.
    fn next(&self) -> Option<(&Rank, &Waiter)> {
        self.waiting.iter().find(|(_, waiter)| !waiter.is_asking)
    }

    fn wake_next(&self) {
        if let Some((_, waiter)) = self.next() {
            waiter.wake.notify_one();
        }
    }

    /// When the next call may ask; none for at once. What a patient call was told does not bind an
    /// interactive one.
    fn ask_at(&self, is_patient: bool) -> Option<Instant> {
        let (_, told_a_patient) = self.told_in;
        self.told.ask_at.filter(|_| is_patient || !told_a_patient)
    }

    /// Whether a call may ask beside those that are asking.
    fn has_room(&self, is_patient: bool, route: &Arc<str>) -> bool {
        self.asking == 0
            || (self.asking < self.granted.clamp(1, ASKING_MAX)
                && self.ask_at(is_patient).is_none()
                && self.route.as_ref() == Some(route))
    }

    fn begin_asking(&mut self, rank: Rank, route: &Arc<str>) {
        if self.asking == 0 {
            self.round += 1;
            self.route = Some(Arc::clone(route));
        }
        if let Some(waiter) = self.waiting.get_mut(&rank) {
            waiter.is_asking = true;
            self.asking += 1;
        }
        self.wake_next();
    }

    fn end_asking(&mut self, rank: Rank) {
        if let Some(waiter) = self.waiting.get_mut(&rank)
            && std::mem::take(&mut waiter.is_asking)
        {
            self.asking -= 1;
        }
    }

    /// A call was told to wait. Among those that asked in one round, interactive calls count before
    /// others, and then the one that may ask again first.
    fn hold(&mut self, told: Told, is_patient: bool) {
        self.granted = 0;
        let (round, told_a_patient) = self.told_in;
        if round != self.round {
            (self.told, self.told_in) = (told, (self.round, is_patient));
            return;
        }
        let route = self.told.route.take().or_else(|| told.route.clone());
        let is_first = told.ask_at < self.told.ask_at;
        if (told_a_patient, is_first) == (is_patient, true) || (told_a_patient && !is_patient) {
            (self.told, self.told_in) = (told, (self.round, is_patient));
        }
        self.told.route = route;
    }
}

/// What a call that is not at the head can expect.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outlook {
    /// The time until its turn, and between two turns of the agent.
    pub(super) rest: Duration,
    pub(super) step: Duration,
    /// What holds the head; none if it was told nothing yet.
    pub(super) reason: Option<Reason>,
}

/// What a waiting call is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Ask the store now.
    Ask,
    /// Its patience has ended, and another call is before it or asking.
    Late,
}

/// One call's place in its queue. Dropping it leaves the queue.
#[derive(Debug)]
pub(super) struct Ticket<'a> {
    queues: &'a Queues,
    key: QueueKey,
    queue: Arc<Mutex<Queue>>,
    rank: Rank,
    route: Arc<str>,
    wake: Arc<Notify>,
    has_left: bool,
}

impl Queues {
    pub(super) fn join(&self, key: QueueKey, route: &Arc<str>, is_interactive: bool) -> Ticket<'_> {
        let rank = (!is_interactive, self.arrivals.fetch_add(1, Ordering::Relaxed));
        let wake = Arc::new(Notify::new());
        let mut by_key = self.by_key.lock();
        let queue = Arc::clone(by_key.entry(key.clone()).or_default());
        {
            let mut state = queue.lock();
            let waiter = Waiter { wake: Arc::clone(&wake), since: Instant::now(), is_asking: false };
            state.waiting.insert(rank, waiter);
        }
        drop(by_key);
        Ticket { queues: self, key, queue, rank, route: Arc::clone(route), wake, has_left: false }
    }

    /// Lets heads at a pool, or at all pools of an installation, ask again, since what they were
    /// told no longer holds. If there are very many, they ask shortly after one another.
    pub(super) fn ask_again(&self, installation: &str, resource: Option<&str>) {
        let by_key = self.by_key.lock();
        let is_meant = |key: &QueueKey| {
            *key.installation == *installation && resource.is_none_or(|resource| *key.resource == *resource)
        };
        let mut ask_at = Instant::now();
        for (place, (_, queue)) in by_key.iter().filter(|(key, _)| is_meant(key)).enumerate() {
            if place >= TOGETHER {
                ask_at += APART;
            }
            let mut queue = queue.lock();
            if let Some(told) = &mut queue.told.ask_at {
                *told = ask_at.min(*told);
                queue.wake_next();
            }
        }
    }

    /// Whether a call to this installation waits.
    pub(super) fn is_anyone_at(&self, installation: &str) -> bool {
        let queues = self.by_key.lock();
        let mut at = queues.iter().filter(|(key, _)| &*key.installation == installation);
        at.any(|(_, queue)| !queue.lock().waiting.is_empty())
    }

    /// The waiting calls in all queues, by agent.
    pub(super) fn waiting(&self) -> BTreeMap<Arc<str>, Waits> {
        let mut waiting = BTreeMap::<Arc<str>, Waits>::new();
        let now = Instant::now();
        for (key, queue) in self.by_key.lock().iter() {
            let waits = waiting.entry(Arc::clone(&key.agent)).or_default();
            for waiter in queue.lock().waiting.values() {
                waits.count += 1;
                waits.longest = waits.longest.max(now.saturating_duration_since(waiter.since));
            }
        }
        waiting
    }
}

impl Ticket<'_> {
    /// None at the head.
    pub(super) fn outlook(&self) -> Option<Outlook> {
        let queue = self.queue.lock();
        let before = queue.waiting.range(..self.rank).count();
        let before = u32::try_from(before).unwrap_or(u32::MAX);
        let rest = queue.told.ask_at?.saturating_duration_since(Instant::now());
        let Told { step, reason, .. } = queue.told;
        (before > 0).then(|| Outlook { rest: rest + step * before, step, reason })
    }

    /// Waits until it is time to ask, or patience ends.
    pub(super) async fn turn(&mut self, deadline: Instant) -> Turn {
        loop {
            let now = Instant::now();
            let wait_until = {
                let mut queue = self.queue.lock();
                let (is_patient, _) = self.rank;
                let is_next = queue.next().is_some_and(|(rank, _)| *rank == self.rank);
                match is_next && queue.has_room(is_patient, &self.route) {
                    true => {
                        let ask_at = queue.ask_at(is_patient).unwrap_or(now).min(deadline);
                        if ask_at <= now {
                            queue.begin_asking(self.rank, &self.route);
                            return Turn::Ask;
                        }
                        ask_at
                    }
                    false if now >= deadline => return Turn::Late,
                    false => deadline,
                }
            };
            tokio::select! {
                biased;
                () = self.wake.notified() => {}
                () = tokio::time::sleep_until(wait_until) => {}
            }
        }
    }

    /// What the head before this one was told, so that its places can be taken over.
    pub(super) fn told(&self) -> Told {
        self.queue.lock().told.clone()
    }

    /// The call was told to wait.
    pub(super) fn hold(&mut self, told: Told) {
        let mut queue = self.queue.lock();
        let (is_patient, _) = self.rank;
        queue.end_asking(self.rank);
        queue.hold(told, is_patient);
        queue.wake_next();
    }

    /// The call was granted; it leaves the queue.
    pub(super) fn granted(&mut self) {
        {
            let mut queue = self.queue.lock();
            queue.granted = queue.granted.saturating_add(1);
        }
        self.leave(true);
    }

    /// Leaves the queue. Returns the route of a place at the store that is left behind, if nobody takes it over.
    pub(super) fn leave(&mut self, forget: bool) -> Option<Arc<str>> {
        if self.has_left {
            return None;
        }
        self.has_left = true;
        let mut by_key = self.queues.by_key.lock();
        let mut queue = self.queue.lock();
        queue.end_asking(self.rank);
        queue.waiting.remove(&self.rank);
        // What another call was told in the same round stays valid.
        if forget && queue.told_in.0 != queue.round {
            queue.told = Told::default();
        }
        if queue.waiting.is_empty() {
            let left_behind = std::mem::take(&mut queue.told).route;
            drop(queue);
            by_key.remove(&self.key);
            return left_behind;
        }
        queue.wake_next();
        None
    }
}
