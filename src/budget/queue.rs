//! The waiting at this replica: a queue for each agent, pool and kind of call, and only its head asks
//! the store.
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
    /// A head's call is under way.
    is_asking: bool,
    told: Told,
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
    fn wake_head(&self) {
        if let Some((_, head)) = self.waiting.first_key_value() {
            head.wake.notify_one();
        }
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
    is_asking: bool,
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
            let overtakes = state.waiting.first_key_value().is_some_and(|(head, _)| is_interactive && head.0);
            if overtakes {
                // It may go where the head before it could not.
                state.told.ask_at = None;
            }
            state.waiting.insert(rank, Waiter { wake: Arc::clone(&wake), since: Instant::now() });
        }
        drop(by_key);
        Ticket { queues: self, key, queue, rank, wake, is_asking: false, has_left: false }
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
                queue.wake_head();
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
                let is_head = queue.waiting.first_key_value().is_some_and(|(rank, _)| *rank == self.rank);
                match is_head && !queue.is_asking {
                    true => {
                        let ask_at = queue.told.ask_at.unwrap_or(now).min(deadline);
                        if ask_at <= now {
                            (queue.is_asking, self.is_asking) = (true, true);
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

    /// The head was told to wait.
    pub(super) fn hold(&mut self, told: Told) {
        let mut queue = lock(&self.queue);
        (queue.told, queue.is_asking, self.is_asking) = (told, false, false);
        if queue.waiting.first_key_value().is_some_and(|(rank, _)| *rank != self.rank) {
            // A more urgent one came meanwhile: what was told is not meant for it.
            queue.told.ask_at = None;
        }
        queue.wake_head();
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
        queue.waiting.remove(&self.rank);
        if self.is_asking {
            queue.is_asking = false;
        }
        if forget {
            queue.told = Told::default();
        }
        if queue.waiting.is_empty() && !queue.is_asking {
            let left_behind = std::mem::take(&mut queue.told).route;
            drop(queue);
            by_key.remove(&self.key);
            return left_behind;
        }
        queue.wake_head();
        None
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this lock")
}

#[cfg(test)]
mod tests {
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
