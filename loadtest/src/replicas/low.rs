//! Few calls: what the shared store adds to each, against the embedded one.

use std::time::Duration;

use tokio::time::sleep;

use super::Options;
use super::fleet::{Fleet, Manner};
use super::gauge::Reading;
use super::steady::Course;
use super::verdict::Verdict;
use super::world::{Backing, World};

/// Eight agents with one call each now and then: some fifteen a second, and nobody waits.
const MANNER: Manner = Manner { agents: 8, open: 1, pause: Duration::from_millis(500) };
const WARM_UP: Duration = Duration::from_secs(4);
const LASTS: Duration = Duration::from_secs(20);
/// An admission and a settlement; a few more where a call waits for the first ones of a window.
const CALLS_MAX: f64 = 2.1;

pub(super) async fn run(options: &Options, verdict: &mut Verdict) -> anyhow::Result<()> {
    let (embedded, _) = measure(options, Backing::Memory, verdict).await?;
    let (shared, reading) = measure(options, Backing::Single, verdict).await?;
    let steps = ["admit", "settle", "book", "cancel", "withdraw", "look"];
    let requests = reading.upstream.max(1.0);
    verdict.at_most("steps of the ledger a request", reading.calls_of(&steps) / requests, CALLS_MAX);
    verdict.figure("all store calls a request", reading.calls_total() / requests);
    verdict.figure("requests", reading.upstream);
    verdict.figure("p50 with Redis, ms", shared.0);
    verdict.figure("p50 embedded, ms", embedded.0);
    verdict.figure("p50 added, ms", shared.0 - embedded.0);
    verdict.figure("p99 with Redis, ms", shared.1);
    verdict.figure("p99 embedded, ms", embedded.1);
    verdict.figure("store p50, ms", reading.median_s() * 1000.0);
    Ok(())
}

/// Latencies at half and 99 of 100 in milliseconds, and what the replicas say.
async fn measure(
    options: &Options,
    backing: Backing,
    verdict: &mut Verdict,
) -> anyhow::Result<((f64, f64), Reading)> {
    let world = World::start(options, "low", backing).await?;
    let warming = Fleet::start(&world, MANNER, options.seed);
    sleep(WARM_UP).await;
    drop(warming);
    let before = world.reading().await?;
    let fleet = Fleet::start(&world, MANNER, options.seed + 1);
    sleep(LASTS).await;
    let reading = world.reading().await?.since(&before);
    eprintln!("{backing:?}: {}", fleet.notes.line());
    let latencies = fleet.notes.latencies_ms();
    let course = Course::of(world, fleet);
    course.judge(verdict);
    Ok((latencies, reading))
}
