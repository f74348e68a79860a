//! What this replica knows of one installation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::super::command::{
    Admit, Call, Caps, Command, HandedLease, Handover, Known, LastReply, LeaseId, Outcome, Reply, Sent,
    Settle, Snapshot, Stamp,
};
use super::super::ledger::Ledger;
use super::super::ledger::ring::Ring;

/// What was known about an installation is of no use after it was silent for this long.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(7200);
/// Above this many routes, the quiet ones are swept out.
const ROUTES_KEPT: usize = 64;
/// A store that fell back, as after a fail-over, has lost at most the writes of this long.
const FALLBACK_MS: i64 = 10_000;
/// If the store is lost again this soon after it was found, it is left alone for longer each time.
const SOON: Duration = Duration::from_secs(10);
const REST_MIN: Duration = Duration::from_secs(2);
const REST_MAX: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    /// The store's time in the last reply, in epoch milliseconds, and when the reply came.
    last: Option<(i64, Instant)>,
    /// The store's time as guessed by a replica that never heard from it, and when that was.
    guessed: Option<(i64, Instant)>,
    epoch: i64,
    seq: i64,
    /// How often the store was found to have lost something.
    losses: u64,
    /// How many replicas use the installation, as last heard; 0 if never heard.
    replicas: i64,
    debt: Option<Debt>,
    cool: i64,
    pools: BTreeMap<Arc<str>, Snapshot>,
    /// The window that answers told of last, for each pool: its number, and its end in epoch milliseconds.
    windows: BTreeMap<Arc<str>, (i64, i64)>,
    held: BTreeMap<LeaseId, HandedLease>,
    sent: Sent,
    routes: FxHashMap<Arc<str>, Ring>,
    /// Reported with the next step.
    ended: Vec<LeaseId>,
    used_at: Instant,
    pub(super) beat_at: Option<Instant>,
    pub(super) renewed_at: Instant,
    alone: Option<Box<Ledger>>,
    /// When the store was last found again, and from when on it may be tried after a loss.
    healed_at: Option<Instant>,
    return_at: Instant,
    rest: Duration,
}

/// What the store has lost and has to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Debt {
    /// Its latest writes.
    Latest,
    Everything,
}

/// A step's stamp, and what was known when it was sent.
#[derive(Debug)]
pub(super) struct Asked {
    last_reply: Option<LastReply>,
    ended: Vec<LeaseId>,
    epoch: i64,
    seq: i64,
    losses: u64,
}

impl Asked {
    pub(super) fn stamp(&self, replica: u64, caps: Caps) -> Stamp {
        Stamp { replica, last_reply: self.last_reply, caps, ended: self.ended.clone() }
    }
}

impl Link {
    pub(super) fn new() -> Link {
        let now = Instant::now();
        Link {
            last: None,
            guessed: None,
            epoch: 0,
            seq: 0,
            losses: 0,
            replicas: 0,
            debt: None,
            cool: 0,
            pools: BTreeMap::new(),
            windows: BTreeMap::new(),
            held: BTreeMap::new(),
            sent: Sent::default(),
            routes: FxHashMap::default(),
            ended: Vec::new(),
            used_at: now,
            beat_at: None,
            renewed_at: now,
            alone: None,
            healed_at: None,
            return_at: now,
            rest: Duration::ZERO,
        }
    }

    pub(super) fn is_used(&mut self, now: Instant) {
        self.used_at = now;
    }

    /// Whether nobody called for `span`, and nothing is in flight.
    pub(super) fn is_idle_for(&self, span: Duration) -> bool {
        self.used_at.elapsed() > span && self.held.is_empty()
    }

    /// Whether nothing here would be missed.
    pub(super) fn is_forgotten(&self) -> bool {
        self.is_idle_for(FORGOTTEN_AFTER) && self.alone.is_none()
    }

    pub(super) fn is_alone(&self) -> bool {
        self.alone.is_some()
    }

    pub(super) fn ask(&mut self, now: Instant) -> Asked {
        let since = |then| millis(now.saturating_duration_since(then));
        Asked {
            last_reply: self.last.map(|(at, then)| LastReply { at, elapsed_ms: since(then) }),
            ended: std::mem::take(&mut self.ended),
            epoch: self.epoch,
            seq: self.seq,
            losses: self.losses,
        }
    }

    /// A step did not reach the store, or nobody knows whether it did.
    pub(super) fn never_told(&mut self, asked: &Asked) {
        self.ended.extend(&asked.ended);
    }

    pub(super) fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    pub(super) fn leases(&self) -> Vec<LeaseId> {
        self.held.keys().copied().collect()
    }

    pub(super) fn pools(&self) -> Vec<Snapshot> {
        self.pools.values().cloned().collect()
    }

    /// Notes the window that an answer told of. True if it is the first one, or another before the last one was over.
    pub(super) fn note_window(&mut self, pool: &Snapshot, now: i64) -> bool {
        let resource = Arc::clone(&pool.resource);
        let before = self.windows.insert(resource, (pool.window_number, pool.reset));
        before.is_none_or(|(number, end)| number != pool.window_number && now < end)
    }

    pub(super) fn pool(&self, resource: &str) -> Option<Snapshot> {
        self.pools.get(resource).cloned()
    }

    pub(super) fn known(&self) -> Known {
        Known { resources: self.pools.keys().cloned().collect() }
    }

    /// What the replica dealt with at an installation it leaves; none if it had left before.
    pub(super) fn leaving(&mut self) -> Option<Known> {
        self.beat_at.take().map(|_| self.known())
    }

    /// The store's time, as far as this replica knows, in epoch milliseconds.
    pub(super) fn store_time(&self) -> i64 {
        self.last.or(self.guessed).map_or(0, |(at, then)| at + millis(then.elapsed()))
    }

    pub(super) fn ended(&mut self, lease: LeaseId) {
        self.held.remove(&lease);
        self.ended.push(lease);
    }

    pub(super) fn abandon(&mut self, lease: LeaseId) {
        self.held.remove(&lease);
    }

    pub(super) fn note(&mut self, reply: &Reply) {
        if self.last.is_none_or(|(at, _)| reply.now >= at) {
            self.last = Some((reply.now, Instant::now()));
        }
        // Replies can be heard in any order.
        let is_latest = reply.seq >= self.seq;
        self.seq = self.seq.max(reply.seq);
        if let Some(pool) = &reply.pool {
            self.replicas = pool.replicas.max(1);
            self.cool = self.cool.max(pool.cool);
            if pool.is_known && is_latest {
                self.pools.insert(Arc::clone(&pool.resource), pool.clone());
            }
        }
    }

    /// Hears a reply. The store may have forgotten something since: it began anew, or its count of
    /// admits and settles is not above what it was.
    pub(super) fn hear(&mut self, command: &Command, reply: &Reply, asked: &Asked) {
        let counts = matches!(command, Command::Admit(_) | Command::Settle(_));
        let is_another = self.epoch != 0 && reply.epoch != self.epoch;
        let fell_back =
            counts && reply.epoch == asked.epoch && asked.losses == self.losses && reply.seq <= asked.seq;
        if is_another {
            self.owe(Debt::Everything);
        } else if fell_back {
            self.owe(Debt::Latest);
        }
        if is_another || fell_back {
            (self.seq, self.losses) = (0, self.losses + 1);
        }
        self.epoch = reply.epoch;
        self.note(reply);
        self.take_note_of(command, reply);
    }

    pub(super) fn owe(&mut self, debt: Debt) {
        self.debt = self.debt.max(Some(debt));
    }

    pub(super) fn owes(&self) -> bool {
        self.debt.is_some()
    }

    /// Takes what is owed, to be told now.
    pub(super) fn take_debt(&mut self) -> Option<(Debt, Handover)> {
        let debt = self.debt.take()?;
        let sent = match debt {
            Debt::Everything => self.journal(),
            Debt::Latest => self.journal().since(self.store_time() - FALLBACK_MS),
        };
        Some((debt, self.handover(sent)))
    }

    fn handover(&self, sent: Sent) -> Handover {
        Handover {
            leases: self.held.values().cloned().collect(),
            sent,
            pools: self.pools(),
            spent: Vec::new(),
            cool: self.cool,
        }
    }

    /// Everything this replica sent lately, whether the store or the replica counted it.
    fn journal(&self) -> Sent {
        let mut sent = self.sent.clone();
        sent.routes = self.routes.iter().map(|(route, ring)| (Arc::clone(route), ring.clone())).collect();
        sent
    }

    fn take_note_of(&mut self, command: &Command, reply: &Reply) {
        match (command, &reply.outcome) {
            (Command::Admit(admit), Outcome::Granted { price, .. }) => self.granted(admit, *price, reply.now),
            (Command::Settle(settle), _) => self.settled(settle),
            (Command::Cancel(cancel), _) => {
                self.held.remove(&cancel.lease);
            }
            _ => {}
        }
    }

    fn granted(&mut self, admit: &Admit, price: i64, now: i64) {
        let lease = HandedLease {
            lease: admit.lease,
            share: admit.share.clone(),
            resource: Arc::clone(&admit.place.resource),
            route: Arc::clone(&admit.place.route),
            price,
            points: admit.points,
            creates_content: admit.creates_content,
            is_settled: false,
            at: now,
        };
        self.held.insert(admit.lease, lease);
        self.sent.all.add(now, admit.points);
        if admit.creates_content {
            self.sent.content_minute.add(now, 1);
            self.sent.content_hour.add(now, 1);
        }
        if let Some(ring) = self.routes.get_mut(&admit.place.route) {
            ring.add(now, admit.points);
            return;
        }
        if self.routes.len() >= ROUTES_KEPT {
            self.routes.retain(|_, ring| !ring.is_over(now));
        }
        let mut ring = Ring::minute();
        ring.add(now, admit.points);
        self.routes.insert(Arc::clone(&admit.place.route), ring);
    }

    fn settled(&mut self, settle: &Settle) {
        match settle.has_ended {
            true => {
                self.held.remove(&settle.lease);
            }
            false => {
                if let Some(lease) = self.held.get_mut(&settle.lease) {
                    lease.is_settled = true;
                }
            }
        }
    }

    /// From now on this replica counts by itself, as one of the replicas heard of here, or of `unheard`.
    pub(super) fn go_alone(&mut self, unheard: i64, guessed: i64) {
        if self.alone.is_some() {
            return;
        }
        let now = Instant::now();
        if self.last.is_none() {
            self.guessed = Some((guessed, now));
        }
        let is_soon = self.healed_at.is_some_and(|at| now - at < SOON);
        self.rest = if is_soon { (2 * self.rest).clamp(REST_MIN, REST_MAX) } else { Duration::ZERO };
        self.return_at = now + self.rest;
        let replicas = if self.replicas > 0 { self.replicas } else { unheard };
        let knowledge = self.handover(Sent::default());
        self.alone = Some(Box::new(Ledger::alone(&knowledge, replicas, self.store_time().max(1))));
    }

    /// Makes one step of this replica's own ledger.
    pub(super) fn step_alone(&mut self, replica: u64, caps: Caps, command: Command) -> Reply {
        let now = self.store_time();
        // At the store their leases expire by themselves, since nobody renews them any more.
        let ended = std::mem::take(&mut self.ended);
        let stamp = Stamp { replica, last_reply: None, caps, ended };
        let call = Call { stamp, command };
        let reply = match &mut self.alone {
            Some(ledger) => ledger.apply(&call, now),
            None => unreachable!("only a replica that went alone steps alone"),
        };
        if let Some(pool) = reply.pool.as_ref().filter(|pool| pool.is_known) {
            self.cool = self.cool.max(pool.cool);
            self.pools.insert(Arc::clone(&pool.resource), pool.clone());
        }
        self.take_note_of(&call.command, &reply);
        reply
    }

    /// A reply from the store that came after this replica had gone alone. What it says about a
    /// call in flight holds here, too.
    pub(super) fn heard_late(&mut self, replica: u64, caps: Caps, command: &Command, reply: &Reply) {
        self.take_note_of(command, reply);
        match command {
            Command::Admit(admit) => {
                let Some(lease) = self.held.get(&admit.lease).cloned() else { return };
                let handover = Handover { leases: vec![lease], ..Handover::default() };
                self.step_alone(replica, caps, Command::Adopt(Box::new(handover)));
            }
            Command::Settle(_) | Command::Cancel(_) => {
                self.step_alone(replica, caps, command.clone());
            }
            _ => {}
        }
    }

    /// Whether the store may be tried again.
    pub(super) fn may_return(&self) -> bool {
        self.alone.is_some() && Instant::now() >= self.return_at
    }

    /// What happened here while the store was away, for a store that answers from `epoch`.
    pub(super) fn account(&mut self, epoch: i64) -> Option<Handover> {
        let alone = self.alone.as_ref()?;
        let is_another = epoch != self.epoch || self.debt == Some(Debt::Everything);
        let sent = if is_another { self.journal() } else { alone.sent() };
        Some(Handover { spent: alone.spent(), ..self.handover(sent) })
    }

    /// The granted calls that were not in what the store was told.
    pub(super) fn since_account(&self, is_new: impl FnMut(&HandedLease) -> bool) -> Handover {
        let mut late = self.handover(Sent::default());
        late.leases.retain(is_new);
        late
    }

    /// The store knows everything now, and counts again.
    pub(super) fn returned(&mut self, epoch: i64) {
        (self.alone, self.debt) = (None, None);
        (self.epoch, self.seq, self.losses) = (epoch, 0, self.losses + 1);
        self.healed_at = Some(Instant::now());
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
