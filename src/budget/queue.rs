//! The waiting at this replica: a queue for each agent, pool and kind of call. While all are let through
//! its first few ask the store together; as soon as one is told to wait, only the head asks.
//!
//! A head that is told to wait sleeps exactly as long as it is told, so each has a time of its own and
//! nobody polls. What can't be served within its patience is sent away at once, with a booking. Who
//! hangs up leaves the queue; the next one takes over the head's place.

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

/// Calls of a queue whose questions are under way at the same time, while nobody is told to wait.
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

#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeMap<Rank, Waiter>,
    /// How many of them are asking: the first ones, but for a more urgent one that came since.
    asking: usize,
    told: Told,
    /// How often somebody was told to wait.
    holds: u64,
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

    /// Whether another one may ask, at the time that was told if there is one.
    fn has_room(&self) -> bool {
        self.asking == 0 || (self.told.ask_at.is_none() && self.asking < ASKING_MAX)
    }

    fn set_asking(&mut self, rank: Rank, is_asking: bool) {
        let Some(waiter) = self.waiting.get_mut(&rank) else { return };
        match (waiter.is_asking, is_asking) {
            (false, true) => self.asking += 1,
            (true, false) => self.asking -= 1,
            _ => {}
        }
        waiter.is_asking = is_asking;
    }
}

/// What somebody in a queue is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Ask the store now.
    Ask,
    /// The patience has ended, and somebody else is at the head.
    Late,
}

/// One call's place in its queue; dropped, it is left.
#[derive(Debug)]
pub(super) struct Ticket<'a> {
    queues: &'a Queues,
    key: QueueKey,
    queue: Arc<Mutex<Queue>>,
    rank: Rank,
    wake: Arc<Notify>,
    /// How often somebody had been told to wait when it asked.
    holds: u64,
    has_left: bool,
}

impl Queues {
    pub(super) fn join(&self, key: QueueKey, is_interactive: bool) -> Ticket<'_> {
        let rank = (!is_interactive, self.arrivals.fetch_add(1, Ordering::Relaxed));
        let wake = Arc::new(Notify::new());
        let mut by_key = lock(&self.by_key);
        let queue = Arc::clone(by_key.entry(key.clone()).or_default());
        {
            let mut state = lock(&queue);
            if is_interactive && state.next().is_some_and(|((next_is_patient, _), _)| *next_is_patient) {
                // It may go where the one before it could not.
                state.told.ask_at = None;
            }
            let waiter = Waiter { wake: Arc::clone(&wake), since: Instant::now(), is_asking: false };
            state.waiting.insert(rank, waiter);
        }
        drop(by_key);
        Ticket { queues: self, key, queue, rank, wake, holds: 0, has_left: false }
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
                let is_next = queue.next().is_some_and(|(rank, _)| *rank == self.rank);
                match is_next && queue.has_room() {
                    true => {
                        let ask_at = queue.told.ask_at.unwrap_or(now).min(deadline);
                        if ask_at <= now {
                            self.holds = queue.holds;
                            queue.set_asking(self.rank, true);
                            if queue.has_room() {
                                queue.wake_next();
                            }
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
        queue.set_asking(self.rank, false);
        (queue.told, queue.holds) = (told, queue.holds + 1);
        let (is_patient, _) = self.rank;
        if is_patient && queue.next().is_some_and(|((next_is_patient, _), _)| !next_is_patient) {
            // A more urgent one came meanwhile: what was told is not meant for it.
            queue.told.ask_at = None;
        }
        queue.wake_next();
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
        queue.set_asking(self.rank, false);
        queue.waiting.remove(&self.rank);
        // What somebody else was told meanwhile holds on.
        if forget && queue.holds == self.holds {
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn key(resource: &str) -> QueueKey {
        QueueKey {
            installation: "bot/acme".into(),
            resource: resource.into(),
            agent: "a".into(),
            is_write: false,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_sleeps_is_woken_when_more_is_known() {
        let (queues, began) = (Queues::default(), Instant::now());
        let deadline = began + Duration::from_secs(60);
        let mut waiting: Vec<Ticket<'_>> =
            ["core", "search"].map(|resource| queues.join(key(resource), false)).into();
        for ticket in &mut waiting {
            assert_eq!(ticket.turn(deadline).await, Turn::Ask);
            ticket.hold(Told { ask_at: Some(began + Duration::from_secs(10)), ..Told::default() });
        }
        queues.ask_again("bot/acme", Some("core"));
        assert_eq!((waiting[0].turn(deadline).await, began.elapsed()), (Turn::Ask, Duration::ZERO));
        assert_eq!((waiting[1].turn(deadline).await, began.elapsed()), (Turn::Ask, Duration::from_secs(10)));
        waiting.iter_mut().for_each(|ticket| drop(ticket.leave(true)));
    }

    /// How many of them may ask now.
    fn asking(waiting: &mut [Ticket<'_>], deadline: Instant) -> usize {
        let asks = |ticket: &mut Ticket<'_>| ticket.turn(deadline).now_or_never() == Some(Turn::Ask);
        waiting.iter_mut().map(asks).filter(|asks| *asks).count()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_ask_together_while_all_are_let_through() {
        let queues = Queues::default();
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut waiting: Vec<Ticket<'_>> = (0..40).map(|_| queues.join(key("core"), false)).collect();
        assert_eq!(asking(&mut waiting, deadline), ASKING_MAX);
        // One is let through: the next one is woken and asks.
        waiting[3].leave(true);
        assert_eq!(waiting[16].turn(deadline).await, Turn::Ask);
        assert_eq!(asking(&mut waiting[17..], deadline), 0);
        // One that hangs up while it asks makes room, too.
        waiting[4].leave(false);
        assert_eq!(waiting[17].turn(deadline).await, Turn::Ask);
        waiting.iter_mut().for_each(|ticket| drop(ticket.leave(true)));
        assert!(lock(&queues.by_key).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_was_told_holds_for_those_behind_it_whatever_the_others_hear() {
        let (queues, began) = (Queues::default(), Instant::now());
        let deadline = began + Duration::from_secs(60);
        let route: Arc<str> = "GET /user".into();
        let told =
            Told { ask_at: Some(began + Duration::from_secs(9)), route: Some(route), ..Told::default() };
        let mut waiting: Vec<Ticket<'_>> = (0..20).map(|_| queues.join(key("core"), false)).collect();
        assert_eq!(asking(&mut waiting, deadline), ASKING_MAX);
        waiting[1].hold(told.clone());
        for granted in (2..ASKING_MAX).chain([0]) {
            waiting[granted].leave(true);
            assert_eq!(asking(&mut waiting[ASKING_MAX..], deadline), 0);
        }
        assert_eq!((waiting[1].turn(deadline).await, began.elapsed()), (Turn::Ask, Duration::from_secs(9)));
        assert_eq!(asking(&mut waiting[ASKING_MAX..], deadline), 0);
        // The head hangs up: the next one takes over its place, and asks alone.
        waiting[1].leave(false);
        assert_eq!(waiting[16].told().route, told.route);
        assert_eq!(asking(&mut waiting[16..], deadline), 1);
        // It is let through: the others ask together again.
        waiting[16].leave(true);
        assert_eq!(asking(&mut waiting[17..], deadline), 3);
        waiting.iter_mut().for_each(|ticket| drop(ticket.leave(true)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_urgent_call_asks_though_another_was_told_to_wait() {
        let queues = Queues::default();
        let deadline = Instant::now() + Duration::from_secs(60);
        let told = Told { ask_at: Some(deadline), ..Told::default() };
        let mut patient = queues.join(key("core"), false);
        assert_eq!(patient.turn(deadline).await, Turn::Ask);
        let mut urgent = queues.join(key("core"), true);
        assert_eq!(urgent.turn(deadline).now_or_never(), Some(Turn::Ask));
        patient.hold(told.clone());
        assert_eq!(patient.turn(deadline).now_or_never(), None);
        let mut next = queues.join(key("core"), true);
        assert_eq!(next.turn(deadline).now_or_never(), Some(Turn::Ask));
        next.hold(told);
        urgent.leave(true);
        assert_eq!(patient.turn(deadline).now_or_never(), None, "an urgent one is before it");
        next.leave(false);
        assert_eq!(patient.turn(deadline).await, Turn::Ask);
        patient.leave(true);
    }

    #[tokio::test(start_paused = true)]
    async fn thousands_are_woken_one_after_the_other() {
        let (queues, began) = (Queues::default(), Instant::now());
        let deadline = began + Duration::from_secs(60);
        let agents = (0..2_000).map(|agent| QueueKey { agent: agent.to_string().into(), ..key("core") });
        let mut waiting: Vec<Ticket<'_>> = agents.map(|key| queues.join(key, false)).collect();
        for ticket in &mut waiting {
            assert_eq!(ticket.turn(deadline).await, Turn::Ask);
            ticket.hold(Told { ask_at: Some(deadline), ..Told::default() });
        }
        queues.ask_again("bot/acme", None);
        let turns = waiting.iter_mut().map(|ticket| async {
            ticket.turn(deadline).await;
            began.elapsed()
        });
        let mut asked = futures_util::future::join_all(turns).await;
        asked.sort_unstable();
        assert!(asked[1_999] <= Duration::from_millis(1_001), "{:?}", asked[1_999]);
        let most_at_once = asked.chunk_by(|one, other| one == other).map(<[Duration]>::len).max();
        assert!(most_at_once <= Some(TOGETHER + 3), "{most_at_once:?}");
        waiting.iter_mut().for_each(|ticket| drop(ticket.leave(true)));
    }
}
