//! Twenty agents that always want more, over real sockets: shares by weight, and GitHub never refuses.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Barrier;
use tokio::time::Instant;

use github_sim::{PrimaryLimits, SecondaryLimits, SimConfig};

use crate::support::{Setup, Tollgate, UNCACHED, agent};

/// Weights 1 to 8, repeated.
const AGENTS: usize = 20;
/// Points of one window.
const LIMIT: u64 = 9_000;
const WINDOW_S: i64 = 75;
/// Calls each agent keeps open.
const OPEN: usize = 6;

fn weight(agent: usize) -> u64 {
    1 + (agent as u64) % 8
}

fn setup(max_wait: &str) -> Setup {
    let agents = (0..AGENTS).map(|place| {
        let weight = format!("weight: {}", weight(place));
        agent(&format!("agent-{place}"), &["repositories: [acme/*]", &weight])
    });
    let limits = PrimaryLimits { core: LIMIT, window_seconds: WINDOW_S, ..PrimaryLimits::default() };
    let secondary = SecondaryLimits {
        concurrency: Some(100),
        endpoint_points: Some(10_000),
        ..SecondaryLimits::github()
    };
    let further = format!(
        "budget:\n  max_wait: {max_wait}\n  secondary: {{ rest_points_per_minute: 9000, \
         rest_points_per_minute_total: 30000 }}\n"
    );
    Setup {
        sim: SimConfig { limits, secondary, ..SimConfig::default() },
        further,
        cache: UNCACHED,
        ..Setup::with(agents.collect())
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    served: u64,
    refused: u64,
}

/// Asks for a window less a second, like a client that obeys `retry-after`. All start when the last one has
/// connected, because the first may take what nobody else asks for.
async fn greedy(tollgate: Arc<Tollgate>, place: usize, all: Arc<Barrier>) -> Tally {
    let connected = tollgate.ask("GET", "/rate_limit").by(place).send().await;
    assert_eq!(connected.status, 200);
    all.wait().await;
    let until = Instant::now() + Duration::from_secs(WINDOW_S.unsigned_abs() - 1);
    let mut tally = Tally::default();
    while Instant::now() < until {
        let answer = tollgate.ask("GET", "/repos/acme/widgets").by(place).send();
        let Ok(answer) = tokio::time::timeout(until.saturating_duration_since(Instant::now()), answer).await
        else {
            break;
        };
        match answer.verdict().as_str() {
            "200" => tally.served += 1,
            "403 budget_exhausted" | "403 upstream_limited" => {
                tally.refused += 1;
                let seconds: u64 = answer.header("retry-after").parse().unwrap();
                tokio::time::sleep(Duration::from_secs(seconds)).await;
            }
            other => panic!("{other}: {}", answer.text()),
        }
    }
    tally
}

async fn race(max_wait: &str) {
    let tollgate = Arc::new(setup(max_wait).start().await);
    let all = Arc::new(Barrier::new(AGENTS * OPEN));
    let mut open = tokio::task::JoinSet::new();
    for place in (0..AGENTS).flat_map(|place| std::iter::repeat_n(place, OPEN)) {
        let greedy = greedy(Arc::clone(&tollgate), place, Arc::clone(&all));
        open.spawn(async move { (place, greedy.await) });
    }
    let mut tallies = [Tally::default(); AGENTS];
    while let Some(one) = open.join_next().await {
        let (place, tally) = one.unwrap();
        tallies[place].served += tally.served;
        tallies[place].refused += tally.refused;
    }
    let books = tollgate.sim.books();
    assert_eq!(books.violations_total(), 0, "{:?}", books.violations);
    assert!(
        !books.by_status.contains_key(&403) && !books.by_status.contains_key(&429),
        "{:?}",
        books.by_status
    );
    let served: u64 = tallies.iter().map(|tally| tally.served).sum();
    let weights: u64 = (0..AGENTS).map(weight).sum();
    for (place, tally) in tallies.iter().enumerate() {
        let share = served as f64 * weight(place) as f64 / weights as f64;
        let off = tally.served as f64 / share - 1.0;
        let refused = tally.refused as f64 / tally.served as f64;
        assert!(
            off.abs() <= 0.03,
            "agent {place} of weight {}: {} of {share:.0}",
            weight(place),
            tally.served
        );
        assert!(refused <= 1.1, "agent {place}: {refused:.2} refusals for each call served");
    }
    let lightest = tallies.iter().map(|tally| tally.served).min().unwrap();
    assert!(lightest >= 100, "the lightest was served {lightest} times");
    assert!(served as f64 >= 0.98 * LIMIT as f64, "{served} of {LIMIT}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patient_agents_share_by_weight() {
    race("30s").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn impatient_agents_share_by_weight() {
    race("4s").await;
}
