//! What the budget costs a call on the embedded store, and what it holds of many agents.
//!
//! `cargo bench --bench budget`; the memory is printed first.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench that can't go on ends")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group};
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;
use tollgate::budget::command::{Admit, Call, Cancel, Caps, Command, LeaseId, Outcome, Place, Share, Stamp};
use tollgate::budget::store::{MemoryStore, Store};
use tollgate::budget::{Budget, Charge, Identity, OnStoreLoss, Secondary, Settings, Tuning, Wait};
use tollgate::clock::{Clock, ManualClock};
use tollgate::github::rate_limit::{self, Reading};
use tollgate::metrics::Metrics;

const WAIT: Wait = Wait { patience: Duration::from_secs(4), is_interactive: false };
const WINDOW_S: i64 = 3600;

/// Caps that hold nobody.
fn roomy() -> Secondary {
    Secondary {
        concurrent: 1_000_000,
        rest_points_per_minute: 1_000_000,
        rest_points_per_minute_total: 1_000_000,
        ..Secondary::default()
    }
}

/// A budget whose time stands still until it is moved.
struct Bench {
    budget: Arc<Budget>,
    clock: Arc<ManualClock>,
}

impl Bench {
    fn new() -> Bench {
        let clock = Arc::new(ManualClock::at_seconds(1_700_000_000));
        let secondary = roomy();
        let settings = Settings {
            tuning: Tuning { headroom_thousandths: 0, secondary, is_observing: false },
            on_store_loss: OnStoreLoss::Degrade,
            calls_max: 1_000_000,
        };
        let store = Arc::new(MemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>));
        let identity = Identity { replica: 1, seed: 1 };
        let budget = Budget::new(settings, identity, store, Arc::new(Metrics::new()));
        Bench { budget, clock }
    }

    /// GitHub's answer as of now, of a pool that never runs dry.
    fn reading(&self, used: i64) -> Reading {
        let now = self.clock.now_seconds();
        let reset = (now / WINDOW_S + 1) * WINDOW_S;
        let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(now.unsigned_abs()));
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-ratelimit-limit", "1000000".to_owned()),
            ("x-ratelimit-used", used.to_string()),
            ("x-ratelimit-remaining", (1_000_000 - used).to_string()),
            ("x-ratelimit-reset", reset.to_string()),
            ("x-ratelimit-resource", "core".to_owned()),
            ("date", date),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        rate_limit::read(StatusCode::OK, &headers, None, false)
    }
}

fn charge(agent: &str, installation: &str) -> Charge {
    Charge {
        installation: installation.into(),
        resource: "core".into(),
        agent: agent.into(),
        weight: 3,
        guarantee: 0,
        ceiling: None,
        guarantees: 0,
        route: "GET /repos/{owner}/{repo}".into(),
        is_write: false,
        creates_content: false,
        repository: None,
        price: Some(1),
    }
}

/// Time of the admissions, and of the settlings, of so many calls, one after the other.
async fn run(calls: u64) -> (Duration, Duration) {
    let bench = Bench::new();
    let charge = charge("agent", "bot/acme");
    let (mut admitting, mut settling) = (Duration::ZERO, Duration::ZERO);
    for call in 0..calls {
        let started = Instant::now();
        let mut reservation = bench.budget.admit(&charge, WAIT).await.unwrap();
        admitting += started.elapsed();
        reservation.mark_sent();
        let used = i64::try_from(call).unwrap() % 10_000;
        let reading = bench.reading(used);
        let started = Instant::now();
        black_box(reservation.settle(&reading, Duration::from_millis(80), true).await);
        settling += started.elapsed();
        bench.clock.advance(Duration::from_millis(70));
    }
    (admitting, settling)
}

fn budget(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut group = criterion.benchmark_group("budget");
    group.bench_function("admit", |bencher| {
        bencher.iter_custom(|calls| runtime.block_on(run(calls)).0);
    });
    group.bench_function("settle", |bencher| {
        bencher.iter_custom(|calls| runtime.block_on(run(calls)).1);
    });
    group.bench_function("admit, the store's step alone", |bencher| {
        bencher.iter_custom(|calls| runtime.block_on(steps(calls)));
    });
    group.finish();
}

/// Time of so many admissions at the store itself, each cancelled afterwards.
async fn steps(calls: u64) -> Duration {
    let clock = Arc::new(ManualClock::at_seconds(1_700_000_000));
    let store = MemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>);
    let installation: Arc<str> = "bot/acme".into();
    let caps = Caps::new(0, roomy());
    let share = Share { agent: "agent".into(), weight: 3, guarantee: 0, ceiling: None, guarantees: 0 };
    let (resource, route): (Arc<str>, Arc<str>) = ("core".into(), "GET /repos/{owner}/{repo}".into());
    let place =
        Place { resource: Arc::clone(&resource), head: "agent/core/r/1".into(), route: Arc::clone(&route) };
    let mut took = Duration::ZERO;
    for number in 0..calls {
        let lease = LeaseId { replica: 1, number };
        let admit = Admit {
            lease,
            share: share.clone(),
            place: place.clone(),
            left_route: None,
            is_write: false,
            is_graphql: false,
            price: Some(1),
            points: 1,
            creates_content: false,
            repository: None,
            is_interactive: false,
            patience_ms: 4_000,
            random: 7,
            is_observing: false,
        };
        let stamp = Stamp { replica: 1, last_reply: None, caps, ended: Vec::new() };
        let call = Call { stamp: stamp.clone(), command: Command::Admit(admit.into()) };
        let started = Instant::now();
        let reply = store.call(&installation, &call).await;
        took += started.elapsed();
        let granted = matches!(reply.unwrap().outcome, Outcome::Granted { .. });
        assert!(granted, "call {number} was not let through");
        let (resource, route) = (Arc::clone(&resource), Arc::clone(&route));
        let cancel = Command::Cancel(Cancel { lease, resource, route });
        black_box(store.call(&installation, &Call { stamp, command: cancel }).await.unwrap());
    }
    took
}

/// Resident memory of this process, KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Every agent makes a call in an installation; of one installation all of them do.
async fn memory() {
    for (agents, installations) in [(10_000, 1), (10_000, 1_000)] {
        let before = resident();
        let bench = Bench::new();
        for place in 0..agents {
            let installation = format!("bot/account-{}", place % installations);
            let charge = charge(&format!("agent-{place}"), &installation);
            let mut reservation = bench.budget.admit(&charge, WAIT).await.unwrap();
            reservation.mark_sent();
            reservation.settle(&bench.reading(1), Duration::from_millis(80), true).await;
            bench.clock.advance(Duration::from_millis(5));
        }
        let grown = resident().saturating_sub(before);
        println!("{agents} agents, {installations} installations: {grown} KiB more resident");
        drop(bench);
    }
}

criterion_group!(benches, budget);

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(memory());
    benches();
    Criterion::default().configure_from_args().final_summary();
}
