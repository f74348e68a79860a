//! A store that goes away, forgets, and answers late.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::super::Secondary;
use super::super::command::*;
use super::super::ledger::Ledger;
use super::*;
use crate::budget::store::StoreAway;

/// The store's clock at the start of a test.
const START: i64 = 1_700_000_000_000;

/// One ledger, which can be made to fail in every way.
#[derive(Debug)]
struct Fickle {
    state: Mutex<State>,
    began: Instant,
    /// Held-back replies to admits wait for this.
    let_go: Notify,
}

#[derive(Debug, Default)]
struct State {
    ledger: Option<Ledger>,
    is_away: bool,
    fails_adopts: bool,
    holds_admits: bool,
    hangs: bool,
    calls: Vec<&'static str>,
}

impl Fickle {
    fn new() -> Arc<Fickle> {
        let state = State { ledger: Some(Ledger::new(0)), ..State::default() };
        Arc::new(Fickle { state: Mutex::new(state), began: Instant::now(), let_go: Notify::new() })
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
    }

    fn ledger(&self) -> Ledger {
        self.state.lock().ledger.clone().unwrap()
    }

    fn count(&self, name: &str) -> usize {
        self.state.lock().calls.iter().filter(|call| **call == name).count()
    }

    async fn answer(&self, call: &Call) -> Result<Reply, StoreAway> {
        if self.state.lock().hangs {
            std::future::pending::<()>().await;
        }
        let (reply, is_held) = {
            let mut state = self.state.lock();
            state.calls.push(call.command.name());
            if state.is_away || (state.fails_adopts && call.command.name() == "adopt") {
                return Err(StoreAway);
            }
            let is_held = state.holds_admits && call.command.name() == "admit";
            (state.ledger.as_mut().unwrap().apply(call, self.now_ms()), is_held)
        };
        if is_held {
            self.let_go.notified().await;
        }
        Ok(reply)
    }
}

impl Store for Fickle {
    fn call<'a>(
        &'a self,
        _installation: &'a Arc<str>,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Reply, StoreAway>> {
        self.answer(call).boxed()
    }

    fn now_ms(&self) -> i64 {
        START + i64::try_from(self.began.elapsed().as_millis()).unwrap()
    }
}

fn replica(store: &Arc<Fickle>, on_loss: OnStoreLoss) -> Arc<Replica> {
    let caps = Caps::new(0, Secondary::default());
    let replica = Arc::new(Replica::new(7, Arc::clone(store) as Arc<dyn Store>, caps, on_loss));
    let tended = Arc::clone(&replica);
    let noted = Arc::clone(store);
    let returned = move |_: &str| noted.set(|state| state.calls.push("returned"));
    tokio::spawn(async move { tended.tend(returned).await });
    replica
}

fn installation() -> Arc<str> {
    Arc::from("bot/acme")
}

fn share() -> Share {
    Share { agent: "a".into(), weight: 1, guarantee: 0, ceiling: None, guarantees: 0 }
}

fn admit(replica: &Replica) -> Admit {
    Admit {
        lease: replica.new_lease(),
        share: share(),
        place: Place { resource: "core".into(), head: "a/core/r/7".into(), route: "GET /repos".into() },
        left_route: None,
        is_write: false,
        is_graphql: false,
        price: Some(1),
        points: 1,
        creates_content: false,
        repository: None,
        is_interactive: false,
        patience_ms: 0,
        random: 0,
        is_observing: false,
    }
}

async fn ask(replica: &Replica) -> (LeaseId, Reply) {
    let admit = admit(replica);
    let lease = admit.lease;
    (lease, replica.call(&installation(), Command::Admit(admit.into())).await)
}

fn is_granted(reply: &Reply) -> bool {
    matches!(reply.outcome, Outcome::Granted { .. })
}

async fn settle(replica: &Replica, lease: LeaseId, used: i64) {
    let now = replica.link(&installation()).lock().store_time();
    let reset_in_ms = START + 3_000_000 - now;
    let figures = Figures { resource: "core".into(), limit: 15_000, used, reset_in_ms };
    let settle = Settle {
        lease,
        share: share(),
        resource: "core".into(),
        route: "GET /repos".into(),
        cost: Some(1),
        figures: Some(figures),
        is_success: true,
        elapsed_ms: 100,
        refused: None,
        has_ended: true,
    };
    replica.call(&installation(), Command::Settle(settle.into())).await;
}

/// A replica whose store knows the pool.
async fn at_work(on_loss: OnStoreLoss) -> (Arc<Fickle>, Arc<Replica>) {
    let store = Fickle::new();
    let replica = replica(&store, on_loss);
    let (lease, reply) = ask(&replica).await;
    assert!(is_granted(&reply));
    settle(&replica, lease, 1).await;
    sleep(Duration::from_secs(3)).await;
    (store, replica)
}

#[tokio::test(start_paused = true)]
async fn an_older_reply_heard_late_puts_no_pool_back() {
    let (_, replica) = at_work(OnStoreLoss::Degrade).await;
    let (lease, older) = ask(&replica).await;
    settle(&replica, lease, 2).await;
    let link = replica.link(&installation());
    let known = link.lock().pool("core");
    assert_ne!(known, older.pool);
    link.lock().note(&older);
    assert_eq!(link.lock().pool("core"), known);
}

/// Otherwise the status page shows it until the next call, which in a quiet pool may never come.
#[tokio::test(start_paused = true)]
async fn a_cancelled_call_is_not_in_flight() {
    let (_, replica) = at_work(OnStoreLoss::Degrade).await;
    let in_flight = || replica.pool(&installation(), "core").unwrap().0.in_flight;
    let (lease, _) = ask(&replica).await;
    assert_eq!(in_flight(), 1);
    let cancel = Cancel { lease, resource: "core".into(), route: "GET /repos".into() };
    replica.call(&installation(), Command::Cancel(cancel)).await;
    assert_eq!(in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_dropped_call_had_to_tell_is_told_by_the_next() {
    let (store, replica) = at_work(OnStoreLoss::Degrade).await;
    let (lease, reply) = ask(&replica).await;
    assert!(is_granted(&reply));
    replica.ended(&installation(), lease);
    let has_to_tell = || replica.link(&installation()).lock().has_ended();
    assert!(has_to_tell());
    store.set(|state| state.holds_admits = true);
    assert!(ask(&replica).now_or_never().is_none(), "its caller goes while the store thinks");
    assert!(has_to_tell());
    store.set(|state| state.holds_admits = false);
    assert!(is_granted(&ask(&replica).await.1) && !has_to_tell());
}

#[tokio::test(start_paused = true)]
async fn degraded_it_goes_on_with_a_part_and_hands_over_what_it_did() {
    let (store, replica) = at_work(OnStoreLoss::Degrade).await;
    store.set(|state| state.is_away = true);
    let mut granted = 0;
    for _ in 0..100 {
        let (lease, reply) = ask(&replica).await;
        if is_granted(&reply) {
            granted += 1;
            settle(&replica, lease, 1 + granted).await;
        }
        sleep(Duration::from_millis(200)).await;
    }
    // Half of 15,000 an hour, over 20 s.
    assert!((20..=60).contains(&granted), "{granted}");
    let before = store.ledger();
    store.set(|state| state.is_away = false);
    sleep(Duration::from_secs(2)).await;
    let spent: i64 = store.ledger().spent().iter().map(|spent| spent.points).sum();
    assert_eq!(spent, before.spent().iter().map(|spent| spent.points).sum::<i64>() + granted);
    assert_eq!((store.count("adopt"), store.count("returned")), (1, 1));
    assert!(is_granted(&ask(&replica).await.1), "the store counts again");
}

#[tokio::test(start_paused = true)]
async fn refusing_it_lets_nothing_through_until_the_store_is_back() {
    let (store, replica) = at_work(OnStoreLoss::Refuse).await;
    let (lease, _) = ask(&replica).await;
    store.set(|state| state.is_away = true);
    let refusal = Outcome::Refused { retry_after: 2, reason: Reason::StoreAway };
    assert_eq!(ask(&replica).await.1.outcome, refusal);
    settle(&replica, lease, 2).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(ask(&replica).await.1.outcome, refusal);
    store.set(|state| state.is_away = false);
    sleep(Duration::from_secs(2)).await;
    assert!(is_granted(&ask(&replica).await.1));
    assert_eq!(store.ledger().leases_of(7), 1, "what was settled meanwhile holds no slot");
}

#[tokio::test(start_paused = true)]
async fn never_heard_of_a_pool_it_asks_github_seldom() {
    let store = Fickle::new();
    store.set(|state| state.is_away = true);
    let replica = replica(&store, OnStoreLoss::Degrade);
    let mut granted = 0;
    for _ in 0..300 {
        granted += usize::from(is_granted(&ask(&replica).await.1));
        sleep(Duration::from_millis(100)).await;
    }
    assert!((5..=7).contains(&granted), "one in five seconds: {granted}");
}

#[tokio::test(start_paused = true)]
async fn alone_it_is_one_of_those_that_use_the_installation() {
    let (store, replica) = at_work(OnStoreLoss::Degrade).await;
    let rate = async |installation: &str| {
        let look = Command::Look(Look { share: share(), resource: "core".into() });
        replica.call(&Arc::from(installation), look).await.pool.unwrap().rate
    };
    // Three replicas use this installation; then this replica hears of one that it has to itself.
    for other in [8, 9] {
        let stamp = Stamp { replica: other, last_reply: None, caps: replica.caps(), ended: Vec::new() };
        let beat = Call { stamp, command: Command::Heartbeat(Known::default()) };
        store.answer(&beat).await.unwrap();
    }
    let before = rate("bot/acme").await;
    store.set(|state| state.ledger = Some(Ledger::new(0)));
    rate("bot/other").await;
    store.set(|state| state.is_away = true);
    let alone = rate("bot/acme").await;
    assert!((5..=7).contains(&(before / alone)), "{before} {alone}");
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_comes_late_counts_for_a_replica_that_has_gone_alone() {
    let (store, replica) = at_work(OnStoreLoss::Degrade).await;
    store.set(|state| state.holds_admits = true);
    let late = {
        let replica = Arc::clone(&replica);
        tokio::spawn(async move { ask(&replica).await })
    };
    sleep(Duration::from_millis(10)).await;
    store.set(|state| state.is_away = true);
    let _ = ask(&replica).await;
    store.let_go.notify_one();
    let (lease, reply) = late.await.unwrap();
    assert!(is_granted(&reply));
    let look = Command::Look(Look { share: share(), resource: "core".into() });
    let pool = replica.call(&installation(), look).await.pool.unwrap();
    assert!(pool.in_flight >= 1, "{pool:?}");
    settle(&replica, lease, 2).await;
    let look = Command::Look(Look { share: share(), resource: "core".into() });
    let after = replica.call(&installation(), look).await.pool.unwrap();
    assert_eq!(after.in_flight, pool.in_flight - 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fell_back_is_told_once_what_it_lost() {
    let (store, replica) = at_work(OnStoreLoss::Degrade).await;
    for _ in 0..3 {
        let _ = ask(&replica).await;
        sleep(Duration::from_millis(300)).await;
    }
    let copy = store.ledger();
    for _ in 0..3 {
        let _ = ask(&replica).await;
        sleep(Duration::from_millis(300)).await;
    }
    let held = store.ledger().leases_of(7);
    assert!(held > copy.leases_of(7));
    store.set(|state| state.ledger = Some(copy));
    let _ = ask(&replica).await;
    assert_eq!((store.count("adopt"), store.ledger().leases_of(7) >= held), (1, true));
    for _ in 0..5 {
        let _ = ask(&replica).await;
    }
    assert_eq!(store.count("adopt"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_an_empty_store_could_not_be_told_is_told_later() {
    let (store, replica) = at_work(OnStoreLoss::Degrade).await;
    let (_, reply) = ask(&replica).await;
    assert!(is_granted(&reply));
    store.set(|state| (state.ledger, state.fails_adopts) = (Some(Ledger::new(2_000)), true));
    assert!(!is_granted(&ask(&replica).await.1));
    assert_eq!((store.count("adopt"), store.ledger().leases_of(7)), (1, 0));
    store.set(|state| state.fails_adopts = false);
    sleep(Duration::from_millis(1_500)).await;
    assert_eq!((store.count("adopt"), store.ledger().leases_of(7)), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_keeps_failing_is_tried_ever_more_seldom() {
    let (store, replica) = at_work(OnStoreLoss::Degrade).await;
    let mut tries = Vec::new();
    for _ in 0..4 {
        let before = store.count("heartbeat");
        for _ in 0..60 {
            // Heartbeats work, and every admit fails, as with one garbled key.
            store.set(|state| state.is_away = true);
            let _ = ask(&replica).await;
            store.set(|state| state.is_away = false);
            sleep(Duration::from_secs(1)).await;
        }
        tries.push(store.count("adopt"));
        assert!(store.count("heartbeat") > before);
    }
    assert!(tries[3] - tries[2] <= 4, "{tries:?}");
}

/// The next heartbeat registered it again, and it counted as missing for two minutes.
#[tokio::test(start_paused = true)]
async fn a_replica_that_has_left_sends_nothing_more() {
    let (store, replica) = at_work(OnStoreLoss::Degrade).await;
    replica.leave().await;
    sleep(Duration::from_secs(30)).await;
    assert_eq!(store.state.lock().calls.last(), Some(&"leave"));
}

/// It waited for each installation in turn, and the audit log waited for it.
#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_does_not_hold_up_a_replica_that_leaves() {
    let (store, replica) = at_work(OnStoreLoss::Degrade).await;
    store.set(|state| state.hangs = true);
    // A heartbeat hangs, too.
    sleep(Duration::from_secs(10)).await;
    let left = tokio::time::timeout(Duration::from_secs(5), replica.leave()).await;
    assert!(left.is_ok());
}
