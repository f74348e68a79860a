//! Simpler policies, to compare with: token buckets that follow GitHub's headers.
//!
//! One bucket for each agent shares statically, one for all shares by who comes first. Both know all that
//! is in flight at all replicas at once, which flatters them.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tollgate::github::rate_limit::{RateLimit, Reading};

use super::entries::Entry;
use super::format::Scenario;
use super::gate::Refusal;

/// As many as tollgate has in flight at once.
const IN_FLIGHT_MAX: u64 = 90;
/// How long until a full house is asked again.
const PROBE: Duration = Duration::from_millis(50);
/// Points all buckets hold together, and how long a reset is given to have happened.
const DEPTH: f64 = 8.0;
const GUARD: Duration = Duration::from_secs(1);
/// Where GitHub names no time.
const COOLDOWN: Duration = Duration::from_secs(60);

/// Buckets of equal size.
#[derive(Debug)]
pub(super) struct Buckets {
    resource: String,
    /// Held while its owner waits for a point, so whoever comes first is served first.
    queues: Vec<Mutex<()>>,
    state: Rc<RefCell<State>>,
}

#[derive(Debug)]
struct State {
    window: Option<Window>,
    levels: Vec<(f64, Instant)>,
    in_flight: u64,
    cool_until: Instant,
}

/// What GitHub said last.
#[derive(Debug, Clone)]
struct Window {
    limit: u64,
    used: u64,
    reset: Instant,
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Held {
    resource: String,
    bucket: usize,
    state: Rc<RefCell<State>>,
}

impl Buckets {
    pub(super) fn new(scenario: &Scenario, count: usize) -> Buckets {
        let now = Instant::now();
        let state = State { window: None, levels: vec![(0.0, now); count], in_flight: 0, cool_until: now };
        Buckets {
            resource: scenario.resource.clone(),
            queues: (0..count).map(|_| Mutex::new(())).collect(),
            state: Rc::new(RefCell::new(state)),
        }
    }

    pub(super) async fn admit(&self, entry: &Entry) -> Result<Held, Refusal> {
        let bucket = entry.agent % self.queues.len();
        let turn = async {
            let _queue = self.queues[bucket].lock().await;
            loop {
                let wait = match self.state.borrow_mut().take(bucket, Instant::now()) {
                    Ok(()) => return,
                    Err(wait) => wait,
                };
                sleep(wait.max(Duration::from_millis(1))).await;
            }
        };
        let refused = |_| Refusal { retry_after: Duration::ZERO, reason: "out of time".to_owned() };
        timeout(entry.arrivals.patience.duration(), turn).await.map_err(refused)?;
        Ok(Held { resource: self.resource.clone(), bucket, state: Rc::clone(&self.state) })
    }
}

impl State {
    /// Takes a point, or says how long to wait.
    fn take(&mut self, bucket: usize, now: Instant) -> Result<(), Duration> {
        if now < self.cool_until {
            return Err(self.cool_until - now);
        }
        if self.in_flight >= IN_FLIGHT_MAX {
            return Err(PROBE);
        }
        self.window.take_if(|window| now >= window.reset + GUARD);
        match &self.window {
            // One finds out what the window is.
            None if self.in_flight > 0 => return Err(PROBE),
            None => {}
            Some(window) => {
                let left = window.limit.saturating_sub(window.used + self.in_flight);
                if left == 0 {
                    return Err((window.reset + GUARD).saturating_duration_since(now).min(COOLDOWN));
                }
                let seconds = window.reset.saturating_duration_since(now).as_secs_f64().max(1.0);
                let count = self.levels.len() as f64;
                let rate = left as f64 / seconds / count;
                let (level, at) = &mut self.levels[bucket];
                *level = (*level + (now - *at).as_secs_f64() * rate).min((DEPTH / count).max(1.0));
                *at = now;
                if *level < 1.0 {
                    return Err(Duration::from_secs_f64(((1.0 - *level) / rate).min(COOLDOWN.as_secs_f64())));
                }
                *level -= 1.0;
            }
        }
        self.in_flight += 1;
        Ok(())
    }

    fn observe(&mut self, limit: &RateLimit, date: i64) {
        let date = u64::try_from(date).unwrap_or_default();
        let reset = Instant::now() + Duration::from_secs(limit.reset.saturating_sub(date));
        let is_same = |window: &Window| reset < window.reset + GUARD * 3 && window.reset < reset + GUARD * 3;
        match &mut self.window {
            Some(window) if is_same(window) => window.used = window.used.max(limit.used),
            Some(window) if reset < window.reset => {}
            window => *window = Some(Window { limit: limit.limit, used: limit.used, reset }),
        }
    }
}

impl Held {
    pub(super) fn settle(&self, reading: &Reading) {
        let mut state = self.state.borrow_mut();
        if let (Some(limit), Some(date)) = (&reading.limit, reading.date)
            && limit.resource == self.resource
        {
            state.observe(limit, date);
        }
        // A query that cost more than the point it took.
        let more = reading.cost.map_or(0.0, |cost| f64::from(cost) - 1.0);
        state.levels[self.bucket].0 -= more;
        if let Some(refused) = &reading.refused
            && let Some(wait) = refused.retry_after
        {
            state.cool_until = Instant::now() + wait;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.state.borrow_mut().in_flight -= 1;
    }
}
