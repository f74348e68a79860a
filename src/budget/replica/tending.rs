//! Heartbeats, renewals, and the return to a store that was away.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::super::command::{Command, LeaseId};
use super::Replica;
use super::link::Link;

/// How often the tending task runs.
const TEND_EVERY: Duration = Duration::from_secs(1);
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// An installation that nobody called for this long gets no heartbeats.
const IDLE_AFTER: Duration = Duration::from_secs(120);
/// Installations tended at the same time: a slow store must not hold them all up.
const AT_ONCE: usize = 16;
/// How long the store has to take notice of a replica that stops.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

/// What is due on a link that reaches the store.
struct Due {
    renewals: Vec<LeaseId>,
    heartbeat: Option<Command>,
    is_owing: bool,
}

impl Replica {
    /// Returns only when the replica leaves. Calls `returned` with each installation whose store this replica is back
    /// at.
    pub(in crate::budget) async fn tend(&self, returned: impl Fn(&str)) {
        let _tending = self.tending.lock().await;
        self.leaving.run_until_cancelled(self.tend_on(returned)).await;
    }

    async fn tend_on(&self, returned: impl Fn(&str)) {
        loop {
            tokio::time::sleep(TEND_EVERY).await;
            let tend = async |(installation, link): (Arc<str>, Arc<Mutex<Link>>)| {
                let was_alone = link.lock().is_alone();
                self.tend_link(&installation, &link).await;
                if was_alone && !link.lock().is_alone() {
                    returned(&installation);
                }
            };
            stream::iter(self.links()).for_each_concurrent(AT_ONCE, tend).await;
            self.links.lock().retain(|_, link| !link.lock().is_forgotten());
        }
    }

    async fn tend_link(&self, installation: &Arc<str>, link: &Arc<Mutex<Link>>) {
        if link.lock().is_alone() {
            self.renew_alone(link);
            let may_return = link.lock().may_return();
            if may_return {
                self.return_to_store(installation, link).await;
            }
            return;
        }
        let leaving = {
            let mut link = link.lock();
            if link.is_idle_for(IDLE_AFTER) {
                // Silent without a leave, the replica would count as missing, and rates would be lowered for it.
                link.leaving()
            } else {
                None
            }
        };
        if let Some(known) = leaving {
            self.tell(installation, link, Command::Leave(known)).await;
            return;
        }
        let Some(due) = due(&mut link.lock()) else { return };
        if due.is_owing {
            self.pay(installation, link).await;
        }
        if !due.renewals.is_empty() {
            self.tell(installation, link, Command::Renew(due.renewals)).await;
        }
        if let Some(heartbeat) = due.heartbeat {
            let asked = link.lock().ask(Instant::now());
            let call = super::Call { stamp: asked.stamp(self.id, self.caps()), command: heartbeat };
            let question = super::Question { link, asked: Some(asked) };
            if let Ok(reply) = self.store.call(installation, &call).await
                && self.heard(link, &call.command, &reply, &question.answered())
            {
                Box::pin(self.pay(installation, link)).await;
            }
        }
    }

    fn renew_alone(&self, link: &Arc<Mutex<Link>>) {
        let mut link = link.lock();
        let now = Instant::now();
        if now - link.renewed_at >= RENEW_EVERY {
            link.renewed_at = now;
            let leases = link.leases();
            link.step_alone(self.id, self.caps(), Command::Renew(leases));
        }
    }

    /// Tries the store. If it answers, it takes over, and the ledger kept here is dropped.
    async fn return_to_store(&self, installation: &Arc<str>, link: &Arc<Mutex<Link>>) {
        let heartbeat = Command::Heartbeat(link.lock().known());
        let Some(reply) = self.tell(installation, link, heartbeat).await else { return };
        let Some(handover) = link.lock().account(reply.epoch) else { return };
        let mut told: BTreeSet<LeaseId> = handover.leases.iter().map(|lease| lease.lease).collect();
        let mut next = handover;
        // Calls granted while the store is being told are told in the next round.
        while self.tell(installation, link, Command::Adopt(Box::new(next))).await.is_some() {
            let mut link = link.lock();
            let late = link.since_account(|lease| told.insert(lease.lease));
            if late.leases.is_empty() {
                link.returned(reply.epoch);
                tracing::info!(installation = &**installation, "the store of the budget counts again");
                return;
            }
            next = late;
        }
    }

    /// Tells the store that this replica stops. Takes a few seconds at most.
    pub(in crate::budget) async fn leave(&self) {
        self.leaving.cancel();
        let leave = async |(installation, link): (Arc<str>, Arc<Mutex<Link>>)| {
            let known = link.lock().known();
            self.tell(&installation, &link, Command::Leave(known)).await;
        };
        let all_leave = async {
            // A heartbeat after it would undo it, and the replica would count as missing for two minutes.
            let _tended = self.tending.lock().await;
            stream::iter(self.links()).for_each_concurrent(AT_ONCE, leave).await;
        };
        if timeout(LEAVE_WITHIN, all_leave).await.is_err() {
            tracing::warn!(
                "the store of the budget is slow: for two minutes, this replica counts as missing"
            );
        }
    }
}

fn due(link: &mut Link) -> Option<Due> {
    let now = Instant::now();
    let is_idle = link.is_idle_for(IDLE_AFTER);
    let is_renewing = now - link.renewed_at >= RENEW_EVERY;
    if is_renewing {
        link.renewed_at = now;
    }
    let is_beating = link.beat_at.is_none_or(|at| now - at >= HEARTBEAT_EVERY);
    let beats = !is_idle && (is_beating || link.has_ended());
    if beats {
        link.beat_at = Some(now);
    }
    let due = Due {
        renewals: if is_renewing { link.leases() } else { Vec::new() },
        heartbeat: beats.then(|| Command::Heartbeat(link.known())),
        is_owing: link.owes(),
    };
    (due.is_owing || due.heartbeat.is_some() || !due.renewals.is_empty()).then_some(due)
}
