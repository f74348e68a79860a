//! The clients: they send what the scenario says, and obey what they are told.

use std::rc::Rc;
use std::time::Duration;

use tokio::select;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};
use tollgate::github::rate_limit::{self, Reading};

use super::arrivals::When;
use super::entries::Entry;
use super::upstream::Call;
use super::world::World;

/// Between the end of a greedy slot's request and the next.
const SLOT_PAUSE: Duration = Duration::from_millis(5);
/// After this many refusals a client that is not greedy gives a request up.
const REFUSALS_MAX: u32 = 6;
/// How long clients take to notice that a replica died with their request in flight, or in its queue.
const REISSUE: Duration = Duration::from_secs(2);
const RECONNECT_MS: (u64, u64) = (1000, 1500);
/// Where GitHub refuses and names no time; and what a reset is given to have happened.
const BACK_OFF: Duration = Duration::from_secs(60);
const RESET_GUARD: Duration = Duration::from_secs(1);

/// How one try ended.
enum Try {
    /// With an answer or an error; either way the request is over.
    Over,
    Refused(Duration),
    /// The replica died while the request waited, or while it was in flight.
    CutInQueue,
    CutInFlight,
}

/// Starts whoever sends these arrivals.
pub(super) fn start(world: &Rc<World>, entry: &Rc<Entry>) {
    match entry.arrivals.when {
        When::Greedy { outstanding } => {
            for _ in 0..outstanding {
                spawn_local(slot(Rc::clone(world), Rc::clone(entry)));
            }
        }
        When::Paced { size, period, phase } => {
            let first_ms = entry.arrivals.from.ms() + phase.ms();
            spawn_local(paced(Rc::clone(world), Rc::clone(entry), size, first_ms, period.ms()));
        }
    }
}

/// One request after the other.
async fn slot(world: Rc<World>, entry: Rc<Entry>) {
    world.sleep_until(entry.arrivals.from.ms()).await;
    while entry.arrivals.is_open_at(world.now_ms()) {
        request(&world, &entry, entry.next_call()).await;
        sleep(SLOT_PAUSE).await;
    }
}

/// Requests by the clock, however the earlier ones fare.
async fn paced(world: Rc<World>, entry: Rc<Entry>, size: usize, first_ms: u64, period_ms: u64) {
    let mut at_ms = first_ms;
    loop {
        world.sleep_until(at_ms).await;
        if !entry.arrivals.is_open_at(at_ms) {
            return;
        }
        for _ in 0..size {
            let (world, entry) = (Rc::clone(&world), Rc::clone(&entry));
            let call = entry.next_call();
            spawn_local(async move { request(&world, &entry, call).await });
        }
        at_ms += period_ms;
    }
}

/// One request, with all its returns.
async fn request(world: &Rc<World>, entry: &Entry, call: Call) {
    let mut arrived_ms = world.now_ms();
    let mut refusals = 0;
    loop {
        match attempt(world, entry, &call, arrived_ms).await {
            Try::Over => return,
            Try::Refused(retry_after) => {
                refusals += 1;
                if !entry.arrivals.is_greedy() && refusals >= REFUSALS_MAX {
                    world.journal.borrow_mut().given_up(entry.agent, world.now_ms() - arrived_ms);
                    return;
                }
                // A client that is told nothing must not come back in the same instant without end.
                let pause = entry.arrivals.returns.pause(retry_after, refusals);
                sleep(pause.max(Duration::from_millis(1))).await;
                if entry.arrivals.is_greedy() && !entry.arrivals.is_open_at(world.now_ms()) {
                    return;
                }
            }
            Try::CutInQueue => sleep(world.pause(RECONNECT_MS.0, RECONNECT_MS.1)).await,
            Try::CutInFlight => {
                sleep(REISSUE).await;
                arrived_ms = world.now_ms();
            }
        }
    }
}

/// One try, by whichever replica.
async fn attempt(world: &Rc<World>, entry: &Entry, call: &Call, arrived_ms: u64) -> Try {
    let agent = entry.agent;
    let replica = world.choose_replica();
    let admitted = select! {
        biased;
        () = world.death(replica) => return Try::CutInQueue,
        admitted = world.gate.admit(replica, entry, call.kind) => admitted,
    };
    let mut pass = match admitted {
        Ok(pass) => pass,
        Err(refusal) => {
            world.journal.borrow_mut().refused(agent, refusal.reason);
            return Try::Refused(refusal.retry_after);
        }
    };
    world.journal.borrow_mut().sent(agent, world.now_ms() - arrived_ms);
    pass.mark_sent();
    let sent = Instant::now();
    let answer = select! {
        biased;
        () = world.death(replica) => return Try::CutInFlight,
        answer = world.send(entry, call) => answer.ok().flatten(),
    };
    let Some(answer) = answer else {
        world.journal.borrow_mut().agents[agent].failed += 1;
        return Try::Over;
    };
    if answer.is_refused() {
        world.journal.borrow_mut().agents[agent].limited += 1;
    }
    let is_graphql = world.scenario.is_graphql();
    let reading = rate_limit::read(answer.status, &answer.headers, answer.body.as_deref(), is_graphql);
    select! {
        biased;
        () = world.death(replica) => return Try::CutInFlight,
        () = pass.settle(&reading, sent.elapsed()) => {}
    }
    if answer.is_refused() { Try::Refused(back_off(&reading)) } else { Try::Over }
}

/// When GitHub says to come back.
fn back_off(reading: &Reading) -> Duration {
    let told = reading.refused.as_ref().and_then(|refused| refused.retry_after);
    let reset = reading.limit.as_ref().zip(reading.date).and_then(|(limit, date)| {
        Some(Duration::from_secs(limit.reset.saturating_sub(u64::try_from(date).ok()?)) + RESET_GUARD)
    });
    told.or(reset).unwrap_or(BACK_OFF)
}
