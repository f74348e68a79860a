//! The budget with its embedded store: what calls that wait hear of each other's answers.

use futures_util::FutureExt;
use http::StatusCode;
use tokio::time::Instant;

use super::store::MemoryStore;
use super::*;
use crate::clock::{Clock, ManualClock};
use crate::github::rate_limit::{Figures, RateLimit, Reading};

const NOW: i64 = 1_700_000_000;
const PATIENT: Wait = Wait { patience: Duration::from_secs(60), is_interactive: false };

fn budget(secondary: Secondary) -> Arc<Budget> {
    let tuning = Tuning { headroom_thousandths: 0, secondary, is_observing: false };
    let settings = Settings { tuning, on_store_loss: OnStoreLoss::Refuse, calls_max: 100 };
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at_seconds(NOW));
    let identity = Identity { replica: 1, seed: 1 };
    Budget::new(settings, identity, Arc::new(MemoryStore::new(clock)), Arc::default())
}

pub(super) fn charge(agent: &str) -> Charge {
    Charge {
        installation: "bot/acme".into(),
        resource: "core".into(),
        agent: agent.into(),
        weight: 1,
        guarantee: 0,
        ceiling: None,
        guarantees: 0,
        route: "GET /user".into(),
        is_write: false,
        creates_content: false,
        repository: None,
        price: Some(1),
    }
}

/// An answer by whose headers so many of 300 points are used, in a window that ends in so many seconds.
fn answer(used: u64, reset_in: i64) -> Reading {
    let limit = RateLimit {
        limit: 300,
        remaining: 300 - used,
        used,
        reset: u64::try_from(NOW + reset_in).unwrap(),
        resource: "core".to_owned(),
    };
    Reading {
        status: StatusCode::OK,
        limit: Some(limit),
        date: Some(NOW),
        figures: Figures::Read,
        refused: None,
        cost: None,
        is_partly_done: false,
    }
}

async fn settle(call: &mut Reservation, reading: &Reading) {
    call.mark_sent();
    call.settle(reading, Duration::from_millis(10), true).await;
}

/// The series stayed, with the share as of its last call.
#[tokio::test(start_paused = true)]
async fn who_was_not_seen_for_a_minute_has_no_share_in_the_metrics() {
    let budget = budget(Secondary::default());
    let shares = || {
        budget.export();
        let text = budget.metrics.render();
        text.lines().filter(|line| line.starts_with("tollgate_agent_share_ratio{")).count()
    };
    for agent in ["a", "b"] {
        settle(&mut budget.admit(&charge(agent), PATIENT).await.unwrap(), &answer(1, 600)).await;
    }
    assert_eq!(shares(), 2);
    tokio::time::advance(Duration::from_secs(59)).await;
    settle(&mut budget.admit(&charge("b"), PATIENT).await.unwrap(), &answer(2, 600)).await;
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(shares(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_at_a_slow_pool_is_woken_when_answers_tell_of_another_window() {
    let budget = budget(Secondary::default());
    let (first, second) = (charge("a"), charge("b"));
    settle(&mut budget.admit(&first, PATIENT).await.unwrap(), &answer(200, 600)).await;
    // Their answers are under way while the pool becomes slow.
    let mut in_flight = Vec::new();
    for charge in [&first, &second] {
        while let Some(admitted) = budget.admit(charge, PATIENT).now_or_never() {
            in_flight.push(admitted.unwrap());
        }
    }
    assert!(in_flight.len() >= 3, "{}", in_flight.len());
    let mut waits = Box::pin(budget.admit(&second, PATIENT));
    assert!((&mut waits).now_or_never().is_none(), "the pool is slow");
    let began = Instant::now();
    // GitHub has begun another window meanwhile, and three agree.
    for call in &mut in_flight {
        settle(call, &answer(3, 3_590)).await;
    }
    assert!(waits.await.is_ok());
    assert_eq!(began.elapsed(), Duration::ZERO, "not when it was to ask again");
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_wanted_if_half_are_taken_and_somebody_waits() {
    let budget = budget(Secondary { concurrent: 8, ..Secondary::default() });
    let (first, second) = (charge("a"), charge("b"));
    settle(&mut budget.admit(&first, PATIENT).await.unwrap(), &answer(0, 3_000)).await;
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.push(budget.admit(&first, PATIENT).await.unwrap());
    }
    let mut waits = Vec::new();
    while waits.is_empty() {
        let mut asked = Box::pin(budget.admit(&second, PATIENT));
        match (&mut asked).now_or_never() {
            Some(admitted) => taken.push(admitted.unwrap()),
            None => waits.push(asked),
        }
    }
    assert!(taken.len() >= 4 && taken[0].is_wanted(), "{}", taken.len());
    taken.drain(3..);
    assert!(!taken[0].is_wanted(), "five of eight slots are free");
    taken.push(budget.admit(&charge("c"), PATIENT).await.unwrap());
    assert!(taken[0].is_wanted());
    drop(waits);
    assert!(!taken[0].is_wanted(), "nobody waits");
}
