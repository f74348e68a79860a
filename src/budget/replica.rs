//! This replica's side of the store: what it asks, what it remembers, and how it goes on alone.
//!
//! It keeps what the store would need to be told if it came back empty: the calls in flight, what was
//! sent lately, and the pools as last seen. When the store can't be reached, the same ledger runs here
//! on a part of every rate, until the store is back and takes over what happened meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::command::{
    Admit, Call, Caps, Command, HandedLease, Handover, Known, LastReply, LeaseId, Outcome, Reply, Sent,
    Settle, Snapshot, Stamp,
};
use super::ledger::Ledger;
use super::ledger::ring::Ring;
use super::store::{Store, StoreAway};

/// How often the tending task looks around.
const TEND_EVERY: Duration = Duration::from_secs(1);
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// An installation nobody called for so long gets no heartbeats.
const IDLE_AFTER: Duration = Duration::from_secs(120);
/// What was known of it says nothing any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(7200);
/// Routes remembered before the quiet ones are swept out.
const ROUTES_KEPT: usize = 64;

/// One replica.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) id: u64,
    store: Arc<dyn Store>,
    caps: Caps,
    numbers: AtomicU64,
    links: Mutex<BTreeMap<Arc<str>, Arc<Mutex<Link>>>>,
}

/// What this replica knows of one installation.
#[derive(Debug)]
struct Link {
    /// The store's time in the last reply, and when it came.
    last: Option<(i64, Instant)>,
    epoch: i64,
    seq: i64,
    replicas: i64,
    cool: i64,
    pools: BTreeMap<Arc<str>, Snapshot>,
    held: BTreeMap<LeaseId, HandedLease>,
    sent: Sent,
    routes: FxHashMap<Arc<str>, Ring>,
    /// To be told with the next call.
    ended: Vec<LeaseId>,
    used_at: Instant,
    beat_at: Option<Instant>,
    renewed_at: Instant,
    alone: Option<Box<Ledger>>,
}

impl Link {
    fn new() -> Link {
        let now = Instant::now();
        Link {
            last: None,
            epoch: 0,
            seq: 0,
            replicas: 1,
            cool: 0,
            pools: BTreeMap::new(),
            held: BTreeMap::new(),
            sent: Sent::default(),
            routes: FxHashMap::default(),
            ended: Vec::new(),
            used_at: now,
            beat_at: None,
            renewed_at: now,
            alone: None,
        }
    }

    /// Whether nothing here would be missed.
    fn is_forgotten(&self) -> bool {
        self.used_at.elapsed() > FORGOTTEN_AFTER && self.held.is_empty() && self.alone.is_none()
    }

    fn stamp(&mut self, replica: u64, caps: Caps) -> Stamp {
        let last_reply = self.last.map(|(at, then)| LastReply { at, elapsed_ms: millis(then.elapsed()) });
        Stamp { replica, last_reply, caps, ended: std::mem::take(&mut self.ended) }
    }

    /// The store's time, as far as this replica can tell.
    fn store_time(&self) -> i64 {
        self.last.map_or(0, |(at, then)| at + millis(then.elapsed()))
    }

    fn known(&self) -> Known {
        Known { resources: self.pools.keys().cloned().collect() }
    }

    /// What it had to do with an installation it leaves; none if it had left before.
    fn leaving(&mut self) -> Option<Known> {
        self.beat_at.take().map(|_| self.known())
    }

    fn handover(&self, sent: Sent) -> Handover {
        Handover {
            leases: self.held.values().cloned().collect(),
            sent,
            pools: self.pools.values().cloned().collect(),
            spent: Vec::new(),
            cool: self.cool,
        }
    }

    /// Everything this replica sent lately, whoever counted it.
    fn journal(&self) -> Sent {
        let mut sent = self.sent.clone();
        sent.routes = self.routes.iter().map(|(route, ring)| (Arc::clone(route), ring.clone())).collect();
        sent
    }

    fn note(&mut self, reply: &Reply) {
        if self.last.is_none_or(|(at, _)| reply.now >= at) {
            self.last = Some((reply.now, Instant::now()));
        }
        self.seq = self.seq.max(reply.seq);
        if let Some(pool) = &reply.pool {
            self.replicas = pool.replicas.max(1);
            self.cool = self.cool.max(pool.cool);
            if pool.is_known {
                self.pools.insert(Arc::clone(&pool.resource), pool.clone());
            }
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

    /// The store is away: the same ledger goes on here.
    fn step_alone(&mut self, replica: u64, caps: Caps, command: Command) -> Reply {
        let now = self.store_time();
        let mut stamp = self.stamp(replica, caps);
        stamp.last_reply = None;
        let replicas = self.replicas;
        if self.alone.is_none() {
            let knowledge = self.handover(Sent::default());
            self.alone = Some(Box::new(Ledger::alone(&knowledge, replicas, now.max(1))));
        }
        let call = Call { stamp, command };
        let reply = match &mut self.alone {
            Some(ledger) => ledger.apply(&call, now),
            None => unreachable!("it was made above"),
        };
        if let Some(pool) = reply.pool.as_ref().filter(|pool| pool.is_known) {
            self.cool = self.cool.max(pool.cool);
            self.pools.insert(Arc::clone(&pool.resource), pool.clone());
        }
        self.take_note_of(&call.command, &reply);
        reply
    }
}

impl Replica {
    pub(super) fn new(id: u64, store: Arc<dyn Store>, caps: Caps) -> Replica {
        Replica { id, store, caps, numbers: AtomicU64::new(1), links: Mutex::default() }
    }

    pub(super) fn new_lease(&self) -> LeaseId {
        LeaseId { replica: self.id, number: self.numbers.fetch_add(1, Ordering::Relaxed) }
    }

    fn link(&self, installation: &Arc<str>) -> Arc<Mutex<Link>> {
        let mut links = lock(&self.links);
        if let Some(link) = links.get(installation) {
            return Arc::clone(link);
        }
        let link = Arc::new(Mutex::new(Link::new()));
        links.insert(Arc::clone(installation), Arc::clone(&link));
        link
    }

    /// One step at the store, or at this replica's own ledger while the store is away.
    pub(super) async fn call(&self, installation: &Arc<str>, command: Command) -> Reply {
        let link = self.link(installation);
        let (stamp, seq_before, epoch_before) = {
            let mut link = lock(&link);
            link.used_at = Instant::now();
            if link.alone.is_some() {
                return link.step_alone(self.id, self.caps, command);
            }
            (link.stamp(self.id, self.caps), link.seq, link.epoch)
        };
        let counts = matches!(command, Command::Admit(_) | Command::Settle(_));
        let call = Call { stamp, command };
        match self.store.call(installation, &call).await {
            Ok(reply) => {
                let was_lost = counts && reply.epoch == epoch_before && reply.seq <= seq_before;
                self.heard(installation, &link, &call.command, &reply, was_lost).await;
                reply
            }
            Err(StoreAway) => {
                let mut link = lock(&link);
                link.ended.extend(call.stamp.ended);
                link.step_alone(self.id, self.caps, call.command)
            }
        }
    }

    /// Takes note of a reply; a store that forgot something is told what this replica knows.
    async fn heard(
        &self,
        installation: &Arc<str>,
        link: &Arc<Mutex<Link>>,
        command: &Command,
        reply: &Reply,
        was_lost: bool,
    ) {
        let handover = {
            let mut link = lock(link);
            let is_another = link.epoch != 0 && reply.epoch != link.epoch;
            let handover = (is_another || was_lost).then(|| link.handover(link.journal()));
            if handover.is_some() {
                link.seq = 0;
            }
            link.epoch = reply.epoch;
            link.note(reply);
            link.take_note_of(command, reply);
            handover
        };
        if let Some(handover) = handover {
            self.tell(installation, link, Command::Adopt(Box::new(handover))).await;
        }
    }

    /// A call whose reply says nothing but that it was heard.
    async fn tell(
        &self,
        installation: &Arc<str>,
        link: &Arc<Mutex<Link>>,
        command: Command,
    ) -> Option<Reply> {
        let stamp = lock(link).stamp(self.id, self.caps);
        let call = Call { stamp, command };
        match self.store.call(installation, &call).await {
            Ok(reply) => {
                lock(link).note(&reply);
                Some(reply)
            }
            Err(StoreAway) => {
                lock(link).ended.extend(call.stamp.ended);
                None
            }
        }
    }

    /// Of each installation: its pools as last seen, and the store's time.
    pub(super) fn all_pools(&self) -> Vec<(Arc<str>, Vec<Snapshot>, i64)> {
        let of = |link: &Mutex<Link>| {
            let link = lock(link);
            (link.pools.values().cloned().collect(), link.store_time())
        };
        self.links()
            .into_iter()
            .map(|(name, link)| {
                let (pools, now) = of(&link);
                (name, pools, now)
            })
            .collect()
    }

    fn links(&self) -> Vec<(Arc<str>, Arc<Mutex<Link>>)> {
        lock(&self.links).iter().map(|(name, link)| (Arc::clone(name), Arc::clone(link))).collect()
    }

    /// Tells the store that this replica stops.
    pub(super) async fn leave(&self) {
        for (installation, link) in self.links() {
            let known = lock(&link).known();
            self.tell(&installation, &link, Command::Leave(known)).await;
        }
    }

    /// The body of a call's answer has ended: its slot is free with the next call.
    pub(super) fn ended(&self, installation: &Arc<str>, lease: LeaseId) {
        let link = self.link(installation);
        let mut link = lock(&link);
        link.held.remove(&lease);
        link.ended.push(lease);
    }

    /// Nobody knows what became of a call: its lease runs out by itself.
    pub(super) fn abandon(&self, installation: &Arc<str>, lease: LeaseId) {
        lock(&self.link(installation)).held.remove(&lease);
    }

    /// Heartbeats, renewals, and the way back to a store that was away. Never ends.
    pub(super) async fn tend(&self) {
        loop {
            tokio::time::sleep(TEND_EVERY).await;
            for (installation, link) in self.links() {
                self.tend_link(&installation, &link).await;
            }
            lock(&self.links).retain(|_, link| !lock(link).is_forgotten());
        }
    }

    async fn tend_link(&self, installation: &Arc<str>, link: &Arc<Mutex<Link>>) {
        let now = Instant::now();
        let is_idle = {
            let link = lock(link);
            now - link.used_at > IDLE_AFTER && link.held.is_empty()
        };
        if is_idle {
            // Silent without a word, it would count as missing, and rates would be lowered for it.
            let known = lock(link).leaving();
            if let Some(known) = known {
                self.tell(installation, link, Command::Leave(known)).await;
            }
            return;
        }
        let (is_alone, is_due, renewals, has_ended) = {
            let mut link = lock(link);
            let is_due = link.beat_at.is_none_or(|at| now - at >= HEARTBEAT_EVERY);
            let is_renewing = now - link.renewed_at >= RENEW_EVERY && !link.held.is_empty();
            if is_renewing {
                link.renewed_at = now;
            }
            let renewals: Vec<LeaseId> =
                if is_renewing { link.held.keys().copied().collect() } else { Vec::new() };
            (link.alone.is_some(), is_due, renewals, !link.ended.is_empty())
        };
        if is_alone {
            lock(link).renew_alone(self.id, self.caps, renewals);
            return self.return_to_store(installation, link).await;
        }
        if !renewals.is_empty() {
            self.tell(installation, link, Command::Renew(renewals)).await;
        }
        if is_due || has_ended {
            let heartbeat = Command::Heartbeat(lock(link).known());
            let reply = self.tell(installation, link, heartbeat.clone()).await;
            lock(link).beat_at = Some(now);
            if let Some(reply) = reply {
                self.heard(installation, link, &heartbeat, &reply, false).await;
            }
        }
    }

    /// Tries the store; if it answers, it takes over, and what was kept here is thrown away.
    async fn return_to_store(&self, installation: &Arc<str>, link: &Arc<Mutex<Link>>) {
        let heartbeat = Command::Heartbeat(lock(link).known());
        let Some(reply) = self.tell(installation, link, heartbeat).await else { return };
        let handover = {
            let link = lock(link);
            let Some(alone) = &link.alone else { return };
            let is_another = reply.epoch != link.epoch;
            let sent = if is_another { link.journal() } else { alone.sent() };
            Handover { spent: alone.spent(), ..link.handover(sent) }
        };
        let mut told: BTreeSet<LeaseId> = handover.leases.iter().map(|lease| lease.lease).collect();
        let mut next = handover;
        // What is let through while the store is being told is told in the next round.
        while self.tell(installation, link, Command::Adopt(Box::new(next))).await.is_some() {
            let mut link = lock(link);
            let mut late = link.handover(Sent::default());
            late.leases.retain(|lease| told.insert(lease.lease));
            if late.leases.is_empty() {
                (link.alone, link.epoch, link.seq) = (None, reply.epoch, 0);
                return;
            }
            next = late;
        }
    }
}

impl Link {
    fn renew_alone(&mut self, replica: u64, caps: Caps, leases: Vec<LeaseId>) {
        if !leases.is_empty() {
            self.step_alone(replica, caps, Command::Renew(leases));
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this lock")
}
