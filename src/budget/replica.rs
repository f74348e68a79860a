//! This replica's side of the store: what it asks, what it remembers, and how it goes on alone.
//!
//! It keeps what the store has to be told if it comes back empty: the calls in flight, what was
//! sent lately, and the pools as last seen. If the store can't be reached, the same ledger runs
//! here on a part of every rate, until the store is back and takes over what happened meanwhile.

mod link;
mod tending;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::command::{Call, Caps, Command, LeaseId, Outcome, Reason, Reply, Snapshot};
use super::store::Store;
use link::{Asked, Link};

/// How many replicas a replica assumes that never heard of any: a guess on the high side, so its share is small.
const REPLICAS_UNHEARD: i64 = 8;
/// Seconds after which a caller refused because the store is away may try again.
const TRY_AGAIN_S: i64 = 2;

/// What happens while the store is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnStoreLoss {
    /// Each replica goes on with a bounded local share.
    Degrade,
    /// Requests are refused with 503.
    Refuse,
}

/// A question to the store that is under way. If it is dropped unanswered, for example because its
/// caller hung up, nobody knows whether it arrived: what it had to report is reported again.
struct Question<'a> {
    link: &'a Mutex<Link>,
    asked: Option<Asked>,
}

impl Question<'_> {
    fn answered(mut self) -> Asked {
        self.asked.take().expect("taken by this alone")
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        if let Some(asked) = &self.asked {
            self.link.lock().never_told(asked);
        }
    }
}

/// One replica.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) id: u64,
    /// The id as written in names at the store.
    name: String,
    store: Arc<dyn Store>,
    caps: ArcSwap<Caps>,
    on_loss: OnStoreLoss,
    numbers: AtomicU64,
    /// The most replicas heard of at any installation, for installations not heard of yet; 0 if never.
    replicas: AtomicI64,
    links: Mutex<BTreeMap<Arc<str>, Arc<Mutex<Link>>>>,
    /// Held by the task that sends heartbeats.
    tending: tokio::sync::Mutex<()>,
    /// Cancelled when the replica stops.
    leaving: CancellationToken,
}

impl Replica {
    pub(super) fn new(id: u64, store: Arc<dyn Store>, caps: Caps, on_loss: OnStoreLoss) -> Replica {
        Replica {
            id,
            name: format!("{id:016x}"),
            store,
            caps: ArcSwap::from_pointee(caps),
            on_loss,
            numbers: AtomicU64::new(1),
            replicas: AtomicI64::new(0),
            links: Mutex::default(),
            tending: tokio::sync::Mutex::default(),
            leaving: CancellationToken::new(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn set_caps(&self, caps: Caps) {
        self.caps.store(Arc::new(caps));
    }

    fn caps(&self) -> Caps {
        **self.caps.load()
    }

    pub(super) fn new_lease(&self) -> LeaseId {
        LeaseId { replica: self.id, number: self.numbers.fetch_add(1, Ordering::Relaxed) }
    }

    fn link(&self, installation: &Arc<str>) -> Arc<Mutex<Link>> {
        let mut links = self.links.lock();
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
        let now = Instant::now();
        let asked = {
            let mut link = link.lock();
            link.is_used(now);
            if link.is_alone() {
                return self.step_alone(&mut link, command);
            }
            link.ask(now)
        };
        let call = Call { stamp: asked.stamp(self.id, self.caps()), command };
        let question = Question { link: &link, asked: Some(asked) };
        let replied = self.store.call(installation, &call).await;
        let Ok(reply) = replied else {
            drop(question);
            return self.step_alone(&mut link.lock(), call.command);
        };
        if self.heard(&link, &call.command, &reply, &question.answered()) {
            // Boxed; otherwise every step would keep room for it.
            Box::pin(self.pay(installation, &link)).await;
        }
        reply
    }

    /// A step while the store is away: the same ledger goes on here, or nothing is admitted.
    fn step_alone(&self, link: &mut Link, command: Command) -> Reply {
        let is_refused = self.on_loss == OnStoreLoss::Refuse && matches!(command, Command::Admit(_));
        if !is_refused {
            return self.own_step(link, command);
        }
        self.go_alone(link);
        let outcome = Outcome::Refused { retry_after: TRY_AGAIN_S, reason: Reason::StoreAway };
        Reply { now: link.store_time(), epoch: 0, seq: 0, outcome, view: None, pool: None }
    }

    fn own_step(&self, link: &mut Link, command: Command) -> Reply {
        self.go_alone(link);
        link.step_alone(self.id, self.caps(), command)
    }

    fn go_alone(&self, link: &mut Link) {
        let unheard = match self.replicas.load(Ordering::Relaxed) {
            0 => REPLICAS_UNHEARD,
            heard => heard,
        };
        link.go_alone(unheard, self.store.now_ms());
    }

    /// Takes note of a reply. True if the store forgot something and has to be told what this replica knows.
    fn heard(&self, link: &Mutex<Link>, command: &Command, reply: &Reply, asked: &Asked) -> bool {
        let mut link = link.lock();
        if link.is_alone() {
            // Another call found the store away in the meantime.
            link.heard_late(self.id, self.caps(), command, reply);
            return false;
        }
        link.hear(command, reply, asked);
        self.note_replicas(reply);
        link.owes()
    }

    fn note_replicas(&self, reply: &Reply) {
        if let Some(pool) = &reply.pool {
            self.replicas.fetch_max(pool.replicas.max(1), Ordering::Relaxed);
        }
    }

    /// Tells the store what it has lost. Whatever could not be told stays owed.
    async fn pay(&self, installation: &Arc<str>, link: &Arc<Mutex<Link>>) {
        let Some((debt, handover)) = link.lock().take_debt() else { return };
        if self.tell(installation, link, Command::Adopt(Box::new(handover))).await.is_none() {
            link.lock().owe(debt);
        }
    }

    /// A step whose reply matters only as a sign that it was heard.
    async fn tell(
        &self,
        installation: &Arc<str>,
        link: &Arc<Mutex<Link>>,
        command: Command,
    ) -> Option<Reply> {
        let asked = link.lock().ask(Instant::now());
        let call = Call { stamp: asked.stamp(self.id, self.caps()), command };
        let question = Question { link, asked: Some(asked) };
        let reply = self.store.call(installation, &call).await.ok()?;
        question.answered();
        link.lock().note(&reply);
        Some(reply)
    }

    /// Per installation: its pools as last seen, and the store's time in epoch milliseconds.
    pub(super) fn all_pools(&self) -> Vec<(Arc<str>, Vec<Snapshot>, i64)> {
        let links = self.links().into_iter();
        links
            .map(|(name, link)| {
                let link = link.lock();
                (name, link.pools(), link.store_time())
            })
            .collect()
    }

    /// Notes the window that an answer told of. True if those who wait at the pool could not foresee it when they were
    /// told when to ask again: the first figures, or another window before the last one was over.
    pub(super) fn note_window(&self, installation: &Arc<str>, pool: &Snapshot, now: i64) -> bool {
        pool.is_known && self.link(installation).lock().note_window(pool, now)
    }

    /// A pool as last seen here, and the store's time in epoch milliseconds.
    pub(super) fn pool(&self, installation: &Arc<str>, resource: &str) -> Option<(Snapshot, i64)> {
        let link = self.links.lock().get(installation).map(Arc::clone)?;
        let link = link.lock();
        Some((link.pool(resource)?, link.store_time()))
    }

    fn links(&self) -> Vec<(Arc<str>, Arc<Mutex<Link>>)> {
        self.links.lock().iter().map(|(name, link)| (Arc::clone(name), Arc::clone(link))).collect()
    }

    /// The body of a call's answer has ended: the next step frees its slot.
    pub(super) fn ended(&self, installation: &Arc<str>, lease: LeaseId) {
        self.link(installation).lock().ended(lease);
    }

    /// Nobody knows the outcome of a call: its lease expires by itself.
    pub(super) fn abandon(&self, installation: &Arc<str>, lease: LeaseId) {
        self.link(installation).lock().abandon(lease);
    }
}
