//! What follows when GitHub refuses: silence, then a trial call, and lower estimates of unpublished limits.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::super::command::Caps;
use super::pool::Trial;
use super::units::{MINUTE_MS, UNLIMITED};

/// Refusals this far apart are unrelated.
const FORGET_MS: i64 = 2 * 60 * MINUTE_MS;
/// Refusals within this time, of calls that were in flight together, count as one.
const SAME_REFUSAL_MS: i64 = 5_000;
/// The lowest number of points a minute that is ever learned.
const LEARNED_MIN: i64 = 40;
/// An agent with less answer time than this in the last minute is never suspected: a tenth of the
/// 90 s of CPU time that GitHub grants (GitHub Docs, "Rate limits for the REST API"). Among a few
/// calls, one slow answer is more than half of the total, whoever asked for it.
const SUSPECT_MIN_MS: i64 = 9_000;

/// The effects of GitHub's refusals.
#[derive(Debug, Clone)]
pub(super) struct Cooldown {
    /// Nothing is sent before this time.
    pub(super) until: i64,
    /// After `until`: one call at a time, until one is answered.
    trial: Option<Trial>,
    /// How many trials in a row have failed.
    failures: i64,
    hits: i64,
    last_hit: i64,
    /// Secondary points a minute in all, as lowered by refusals; [`UNLIMITED`] if never lowered.
    pub(super) learned: i64,
    slots: i64,
    /// Limits are not raised again before this time.
    plateau: i64,
    grown_at: i64,
    loads: FxHashMap<Arc<str>, Load>,
    all: Decaying,
}

impl Default for Cooldown {
    fn default() -> Cooldown {
        Cooldown {
            until: 0,
            trial: None,
            failures: 0,
            hits: 0,
            last_hit: -FORGET_MS,
            learned: UNLIMITED,
            slots: UNLIMITED,
            plateau: 0,
            grown_at: 0,
            loads: FxHashMap::default(),
            all: Decaying::default(),
        }
    }
}

/// One agent's part in the load.
#[derive(Debug, Clone, Default)]
struct Load {
    spent: Decaying,
    boxed_until: i64,
    boxes: u32,
}

/// Answer time in milliseconds and secondary points of about the last minute.
#[derive(Debug, Clone, Copy, Default)]
struct Decaying {
    elapsed_ms: i64,
    points: i64,
    at: i64,
}

impl Decaying {
    fn add(&mut self, elapsed_ms: i64, points: i64, now: i64) {
        let kept = MINUTE_MS - (now - self.at).clamp(0, MINUTE_MS);
        self.elapsed_ms = self.elapsed_ms * kept / MINUTE_MS + elapsed_ms;
        self.points = self.points * kept / MINUTE_MS + points;
        self.at = now;
    }
}

/// What is known when GitHub refuses for a secondary limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hit {
    pub(super) retry_after_ms: i64,
    /// Secondary points of the last minute, in all.
    pub(super) all: i64,
    /// Whether the route's ring is far from its cap, so that the cap was not what was hit.
    pub(super) is_route_free: bool,
    pub(super) leases: i64,
    /// When the call was sent; the latest time there is if nobody knows.
    pub(super) sent_at: i64,
}

impl Cooldown {
    /// Secondary points a minute in all.
    pub(super) fn learned(&self, caps: &Caps) -> i64 {
        self.learned.min(caps.all)
    }

    pub(super) fn slots(&self, caps: &Caps) -> i64 {
        self.slots.min(caps.concurrent)
    }

    /// Until when the agent has to sit out, if it does.
    pub(super) fn boxed(&self, agent: &str, now: i64) -> Option<i64> {
        self.loads.get(agent).map(|load| load.boxed_until).filter(|until| *until > now)
    }

    /// Whether this call has to wait for a trial. Writes leave its first five seconds to reads.
    pub(super) fn is_on_trial(&mut self, is_write: bool, now: i64) -> bool {
        let Some(trial) = &mut self.trial else { return false };
        let is_first = trial.since == self.until;
        trial.is_spent(now) || (is_write && is_first && now < self.until + 5_000)
    }

    pub(super) fn take_trial(&mut self, now: i64) {
        if let Some(trial) = &mut self.trial {
            trial.take(now);
        }
    }

    pub(super) fn give_trial_back(&mut self) {
        if let Some(trial) = &mut self.trial {
            trial.give_back();
        }
    }

    /// Counts an answer in the load of the last minute.
    pub(super) fn load(&mut self, agent: &Arc<str>, elapsed_ms: i64, points: i64, now: i64) {
        let elapsed_ms = elapsed_ms.clamp(0, 10 * MINUTE_MS);
        self.all.add(elapsed_ms, points, now);
        if !self.loads.contains_key(agent) {
            self.loads.insert(Arc::clone(agent), Load::default());
        }
        if let Some(load) = self.loads.get_mut(agent) {
            load.spent.add(elapsed_ms, points, now);
        }
    }

    /// A call sent at `sent_at` was answered without a refusal.
    pub(super) fn answered(&mut self, sent_at: i64, caps: &Caps, now: i64) {
        if self.trial.is_some_and(|trial| sent_at >= trial.since) {
            (self.trial, self.failures) = (None, 0);
        }
        if self.learned < caps.all && now > self.plateau && now > self.grown_at + MINUTE_MS {
            self.learned = (self.learned + (self.learned / 50).max(4)).min(caps.all);
            self.slots += 1;
            self.grown_at = now;
        }
    }

    /// GitHub refused for a secondary limit, or for one that nobody can see.
    pub(super) fn hit(&mut self, hit: Hit, caps: &Caps, now: i64) {
        // Sent before the silence, it is no trial, and says nothing about the pace that was learned.
        let is_late = self.trial.is_some() && hit.sent_at < self.until;
        if !is_late && now >= self.last_hit + SAME_REFUSAL_MS {
            self.hits = if now - self.last_hit < FORGET_MS { self.hits + 1 } else { 1 };
            self.last_hit = now;
            match self.culprit(now).filter(|_| hit.is_route_free && hit.leases < 80) {
                Some(agent) => self.put_in_box(&agent, hit.retry_after_ms, now),
                None => self.lower(hit, caps),
            }
            self.plateau = now + 10 * MINUTE_MS * (1 << (self.hits - 1).clamp(0, 3));
            if self.trial.is_some() {
                self.failures += 1;
            }
        }
        let longer = 1 << self.failures.clamp(0, 4);
        self.until = self.until.max(now + hit.retry_after_ms * longer + 1_000);
        self.trial = Some(Trial::new(1, self.until));
    }

    /// If next to nothing was sent, the pace was not the cause, and no lower pace is learned.
    fn lower(&mut self, hit: Hit, caps: &Caps) {
        let pace = hit.all * 85 / 100;
        if pace >= LEARNED_MIN {
            self.learned = self.learned(caps).min(pace);
        }
        if hit.leases >= 30 {
            self.slots = self.slots(caps).min(hit.leases * 7 / 10).max(8);
        }
    }

    /// The likely cause of a limit on CPU time: the agent with more than half of all answer time,
    /// and much of it, at more than three times the others' time per point.
    fn culprit(&self, now: i64) -> Option<Arc<str>> {
        let decayed = |spent: Decaying| {
            let mut spent = spent;
            spent.add(0, 0, now);
            spent
        };
        let all = decayed(self.all);
        let loads = self.loads.iter().map(|(agent, load)| (agent, decayed(load.spent)));
        let (agent, top) = loads
            .max_by(|(a, left), (b, right)| left.elapsed_ms.cmp(&right.elapsed_ms).then_with(|| b.cmp(a)))?;
        let (others_ms, others_points) = (all.elapsed_ms - top.elapsed_ms, all.points - top.points);
        let is_much = top.elapsed_ms >= SUSPECT_MIN_MS;
        let is_most = 2 * top.elapsed_ms > all.elapsed_ms && top.points > 0 && others_points > 0;
        // top.ms / top.points > 3 others.ms / others.points
        let is_dearer = top.elapsed_ms * others_points > 3 * others_ms * top.points;
        (is_much && is_most && is_dearer).then(|| Arc::clone(agent))
    }

    fn put_in_box(&mut self, agent: &Arc<str>, retry_after_ms: i64, now: i64) {
        if let Some(load) = self.loads.get_mut(agent) {
            load.boxes = if now - load.boxed_until < FORGET_MS { load.boxes + 1 } else { 1 };
            load.boxed_until = now + retry_after_ms + MINUTE_MS * (1 << load.boxes.min(5));
        }
    }

    /// Takes over a silence that another replica was told of.
    pub(super) fn adopt(&mut self, until: i64, now: i64) {
        if until > self.until.max(now) {
            self.until = until;
            self.trial = Some(Trial::new(1, until));
        }
    }

    pub(super) fn sweep(&mut self, now: i64) {
        self.loads.retain(|_, load| now - load.spent.at < MINUTE_MS || now - load.boxed_until < FORGET_MS);
    }
}
