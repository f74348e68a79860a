//! What breaks, and how it is mended.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep};

use super::Case;
use super::steady::Course;
use super::verdict::Verdict;
use super::wire::Mode;
use super::world::{Backing, Ledger, ledger_key};

/// The replica that is killed or cut off.
const VICTIM: usize = 1;
const PAUSE: Duration = Duration::from_secs(10);
const SLOW_FOR: Duration = Duration::from_secs(20);
const SLOW: Duration = Duration::from_millis(50);
const CRAWL: Duration = Duration::from_millis(400);
/// Silent for so long, and then cut for as long.
const CUT_HALF: Duration = Duration::from_secs(15);
/// What a dead replica held is free again after this; and the next call takes note of it.
const LEASE: Duration = Duration::from_secs(30);
const LEASE_SLACK: Duration = Duration::from_secs(2);
/// A dead replica is started again after this.
const DOWN_FOR: Duration = Duration::from_secs(33);

/// Where the ledger is kept when it breaks.
pub(super) fn backing(case: Case) -> Backing {
    match case {
        Case::Slow | Case::Crawl | Case::Cut => Backing::Wired,
        Case::Sentinel => Backing::Sentinel,
        Case::Cluster => Backing::Cluster,
        Case::Steady | Case::Low | Case::Kill | Case::Empty | Case::Paused | Case::Switch => Backing::Single,
    }
}

/// How long it lasts at least: what is looked at as the time of the fault.
pub(super) fn lasts_s(case: Case) -> i64 {
    match case {
        Case::Kill => 33,
        Case::Cut => 30,
        Case::Slow | Case::Crawl => 20,
        _ => 10,
    }
}

/// Breaks it, and mends what does not mend itself.
pub(super) async fn strike(case: Case, course: &mut Course, verdict: &mut Verdict) -> anyhow::Result<()> {
    match case {
        Case::Kill => kill(course, verdict).await,
        Case::Empty => {
            let server = course.world.ledger.server()?;
            server.kill9()?;
            server.restart_empty().await
        }
        Case::Paused => {
            course.world.ledger.server()?.signal("STOP")?;
            rest(course, PAUSE, "Redis hangs").await;
            course.world.ledger.server()?.signal("CONT")
        }
        Case::Slow => slow(course, SLOW).await,
        Case::Crawl => slow(course, CRAWL).await,
        Case::Sentinel | Case::Cluster => fail_over(course, verdict).await,
        Case::Cut => {
            for (mode, what) in [(Mode::Silent, "a replica is silent"), (Mode::Cut, "a replica is cut off")] {
                course.world.ledger.wires()?[VICTIM].set(mode);
                rest(course, CUT_HALF, what).await;
            }
            course.world.ledger.wires()?[VICTIM].set(Mode::CLEAR);
            Ok(())
        }
        Case::Steady | Case::Low | Case::Switch => anyhow::bail!("nothing breaks in it"),
    }
}

async fn rest(course: &mut Course, time: Duration, what: &str) {
    let ms = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    course.until(course.now_ms() + ms, what).await;
}

async fn slow(course: &mut Course, delay: Duration) -> anyhow::Result<()> {
    course.world.ledger.wires()?.iter().for_each(|wire| wire.set(Mode::Open { delay }));
    rest(course, SLOW_FOR, "Redis is slow").await;
    course.world.ledger.wires()?.iter().for_each(|wire| wire.set(Mode::CLEAR));
    Ok(())
}

async fn fail_over(course: &mut Course, verdict: &mut Verdict) -> anyhow::Result<()> {
    let began = Instant::now();
    match &mut course.world.ledger {
        Ledger::Sentinel(watched) => watched.fail_over().await?,
        Ledger::Cluster(cluster) => cluster.fail_over(&ledger_key("i")).await?,
        Ledger::Memory | Ledger::Single(_) | Ledger::Wired(..) => anyhow::bail!("nobody takes over"),
    }
    verdict.figure("until another server was primary, s", began.elapsed().as_secs_f64());
    Ok(())
}

async fn kill(course: &mut Course, verdict: &mut Verdict) -> anyhow::Result<()> {
    course.fleet.notes.set_down(VICTIM, true);
    course.world.replicas[VICTIM].kill9()?;
    let killed = Instant::now();
    // What was on its way to Redis arrives.
    sleep(Duration::from_millis(500)).await;
    let dead = dead_replica(course).await?;
    let mut gone_after = None;
    let mut held = 0;
    while killed.elapsed() < DOWN_FOR {
        rest(course, Duration::from_millis(500), "a replica is dead").await;
        let left = leases(course).await?.get(&dead).map_or(0, BTreeSet::len);
        held = held.max(left);
        if left == 0 && gone_after.is_none() {
            gone_after = Some(killed.elapsed());
        }
    }
    let gone_s = gone_after.map_or(f64::INFINITY, |after| after.as_secs_f64());
    #[allow(clippy::cast_precision_loss, reason = "some dozens")]
    verdict.figure("calls the dead replica held", held as f64);
    verdict.at_most("given back after, s", gone_s, (LEASE + LEASE_SLACK).as_secs_f64());
    course.world.replicas[VICTIM].restart().await?;
    course.fleet.notes.set_down(VICTIM, false);
    Ok(())
}

/// The id whose leases stay as they are: the living have new ones all the time.
async fn dead_replica(course: &mut Course) -> anyhow::Result<String> {
    let before = leases(course).await?;
    sleep(Duration::from_secs(2)).await;
    let after = leases(course).await?;
    let newest = |leases: &BTreeSet<String>| leases.iter().next_back().cloned();
    let has_stayed = |id: &String| before.get(id).and_then(newest) == after.get(id).and_then(newest);
    let dead = before.keys().find(|id| has_stayed(id)).cloned();
    dead.context("the dead replica held no call, so that nothing can be given back: take another --seed")
}

/// Ids of the calls in flight, by replica.
async fn leases(course: &mut Course) -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let said = course.world.ledger.server()?.ask(&["ZRANGE", &ledger_key("x"), "0", "-1"]).await?;
    let mut leases: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (replica, number) in said.lines().filter_map(|line| line.split_once('-')) {
        leases.entry(replica.to_owned()).or_default().insert(number.to_owned());
    }
    Ok(leases)
}
