//! The waiting at this replica: a queue for each agent, pool and kind of call. While all are let through
//! its first few ask the store together; as soon as one is told to wait, only the head asks, until several
//! were let through again.
//!
//! A head that is told to wait sleeps exactly as long as it is told, so each has a time of its own and
//! nobody polls. What can't be served within its patience is sent away at once, with a booking. Who
//! hangs up leaves the queue; the next one takes over the head's place.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Calls that share a head: one agent's, at one pool; writes apart, so that a write held back never
/// holds a read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct QueueKey {
    pub(super) installation: Arc<str>,
    pub(super) resource: Arc<str>,
    pub(super) agent: Arc<str>,
    pub(super) is_write: bool,
}

/// Calls of a queue whose questions are under way at the same time: in a new one, and at most.
const ASKING_FIRST: usize = 4;
const ASKING_MAX: usize = 16;
/// Heads that are woken at the same moment, so that none takes what is there before the others ask.
const TOGETHER: usize = 128;
/// Between those beyond: thousands at once would be more than a store answers in time.
const APART: Duration = Duration::from_micros(500);

/// All queues that have somebody in them.
#[derive(Debug, Default)]
pub(super) struct Queues {
    by_key: Mutex<FxHashMap<QueueKey, Arc<Mutex<Queue>>>>,
    arrivals: AtomicU64,
}

/// Interactive before other, then by arrival.
type Rank = (bool, u64);

/// Somebody in a queue.
#[derive(Debug)]
struct Waiter {
    wake: Arc<Notify>,
    since: Instant,
    /// Its question is under way.
    is_asking: bool,
}

/// How many of an agent's calls wait, and how long the one that came first has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waits {
    pub count: usize,
    pub longest: Duration,
}

#[derive(Debug)]
struct Queue {
    waiting: BTreeMap<Rank, Waiter>,
    /// How many of them are asking, and on which route: the store knows all by one name, so they may have
    /// one place there.
    asking: usize,
    route: Option<Arc<str>>,
    /// Counts the times somebody asked while nobody did.
    round: u64,
    /// Calls let through since one was told to wait.
    granted: usize,
    told: Told,
    /// The round in which it was told, and whether to one that is not interactive.
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

/// What the head was told last.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// When to ask again; none: at once.
    pub(super) ask_at: Option<Instant>,
    /// Between two turns of the agent.
    pub(super) step: Duration,
    /// The route at which a place is kept meanwhile; none: no place.
    pub(super) route: Option<Arc<str>>,
}

impl Queue {
    /// Who asks next.
    fn next(&self) -> Option<(&Rank, &Waiter)> {
        self.waiting.iter().find(|(_, waiter)| !waiter.is_asking)
    }

    fn wake_next(&self) {
        if let Some((_, waiter)) = self.next() {
            waiter.wake.notify_one();
        }
    }

    /// When one may ask who is next; none: at once. What a patient one was told is not meant for an
    /// interactive one.
    fn ask_at(&self, is_patient: bool) -> Option<Instant> {
        let (_, told_a_patient) = self.told_in;
        self.told.ask_at.filter(|_| is_patient || !told_a_patient)
    }

    /// Whether one may ask beside those who are asking.
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

    /// One was told to wait. Of those who asked in one round the interactive ones are heeded, and who may
    /// ask again first.
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

/// What somebody in a queue is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Ask the store now.
    Ask,
    /// The patience has ended, and somebody else is before it or asking.
    Late,
}

/// One call's place in its queue; dropped, it is left.
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
        let mut by_key = lock(&self.by_key);
        let queue = Arc::clone(by_key.entry(key.clone()).or_default());
        {
            let mut state = lock(&queue);
            let waiter = Waiter { wake: Arc::clone(&wake), since: Instant::now(), is_asking: false };
            state.waiting.insert(rank, waiter);
        }
        drop(by_key);
        Ticket { queues: self, key, queue, rank, route: Arc::clone(route), wake, has_left: false }
    }

    /// What the heads at a pool, or at all of an installation's, were told holds no longer: each asks again,
    /// of very many one shortly after the other.
    pub(super) fn ask_again(&self, installation: &str, resource: Option<&str>) {
        let by_key = lock(&self.by_key);
        let is_meant = |key: &QueueKey| {
            *key.installation == *installation && resource.is_none_or(|resource| *key.resource == *resource)
        };
        let mut ask_at = Instant::now();
        for (place, (_, queue)) in by_key.iter().filter(|(key, _)| is_meant(key)).enumerate() {
            if place >= TOGETHER {
                ask_at += APART;
            }
            let mut queue = lock(queue);
            if let Some(told) = &mut queue.told.ask_at {
                *told = ask_at.min(*told);
                queue.wake_next();
            }
        }
    }

    /// Who waits, over all queues, by agent.
    pub(super) fn waiting(&self) -> BTreeMap<Arc<str>, Waits> {
        let mut waiting = BTreeMap::<Arc<str>, Waits>::new();
        let now = Instant::now();
        for (key, queue) in lock(&self.by_key).iter() {
            let waits = waiting.entry(Arc::clone(&key.agent)).or_default();
            for waiter in lock(queue).waiting.values() {
                waits.count += 1;
                waits.longest = waits.longest.max(now.saturating_duration_since(waiter.since));
            }
        }
        waiting
    }
}

impl Ticket<'_> {
    /// Until the turn of one who joins behind others; none at the head.
    pub(super) fn outlook(&self) -> Option<(Duration, Duration)> {
        let queue = lock(&self.queue);
        let before = queue.waiting.range(..self.rank).count();
        let before = u32::try_from(before).unwrap_or(u32::MAX);
        let rest = queue.told.ask_at?.saturating_duration_since(Instant::now());
        (before > 0).then(|| (rest + queue.told.step * before, queue.told.step))
    }

    /// Waits for the time to ask, or the end of patience.
    pub(super) async fn turn(&mut self, deadline: Instant) -> Turn {
        loop {
            let now = Instant::now();
            let wait_until = {
                let mut queue = lock(&self.queue);
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

    /// What the head before this one was told, for its places.
    pub(super) fn told(&self) -> Told {
        lock(&self.queue).told.clone()
    }

    /// It was told to wait.
    pub(super) fn hold(&mut self, told: Told) {
        let mut queue = lock(&self.queue);
        let (is_patient, _) = self.rank;
        queue.end_asking(self.rank);
        queue.hold(told, is_patient);
        queue.wake_next();
    }

    /// It was let through, and leaves the queue.
    pub(super) fn granted(&mut self) {
        {
            let mut queue = lock(&self.queue);
            queue.granted = queue.granted.saturating_add(1);
        }
        self.leave(true);
    }

    /// Leaves the queue; gives the route of a place at the store that is left behind, and nobody takes
    /// over.
    pub(super) fn leave(&mut self, forget: bool) -> Option<Arc<str>> {
        if self.has_left {
            return None;
        }
        self.has_left = true;
        let mut by_key = lock(&self.queues.by_key);
        let mut queue = lock(&self.queue);
        queue.end_asking(self.rank);
        queue.waiting.remove(&self.rank);
        // What another one was told who asked beside it holds on.
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this lock")
}
