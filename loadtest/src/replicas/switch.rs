//! An operator switches an agent off at one replica: it is out everywhere, also after a restart.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Empty;
use tokio::time::{Instant, sleep, timeout};

use super::Options;
use super::journal::TARGET;
use super::verdict::Verdict;
use super::world::{Backing, REPLICAS, World, http_client, name};

const AGENT: usize = 3;
/// Within this it is in force everywhere, seconds.
const SPREADS_WITHIN_S: f64 = 1.0;
const GIVEN_UP_AFTER: Duration = Duration::from_secs(5);

pub(super) async fn run(options: &Options, verdict: &mut Verdict) -> anyhow::Result<()> {
    let mut world = World::start(options, "switch", Backing::Single).await?;
    for replica in 0..REPLICAS {
        let found = ask(&world, replica, AGENT).await?;
        anyhow::ensure!(found == (StatusCode::OK, None), "before: replica {replica} said {found:?}");
    }
    let off = switch(&world, 0, "disable").await?;
    let seconds = spread(&world, off, true).await?;
    verdict.at_most("off everywhere after, s", seconds, SPREADS_WITHIN_S);
    let other = ask(&world, 1, AGENT + 1).await?;
    anyhow::ensure!(other.0 == StatusCode::OK, "another agent is refused: {other:?}");

    for (replica, how) in [(1, "restarted"), (0, "that was told is restarted")] {
        world.replicas[replica].kill9()?;
        world.replicas[replica].restart().await?;
        let found = ask(&world, replica, AGENT).await?;
        if !is_off(&found) {
            verdict.broken(format!("replica {replica} {how}, and the agent's first call there: {found:?}"));
        }
    }
    verdict.figure("replicas restarted meanwhile", 2.0);
    let on = switch(&world, 2, "enable").await?;
    let seconds = spread(&world, on, false).await?;
    verdict.at_most("on everywhere after, s", seconds, SPREADS_WITHIN_S);
    Ok(())
}

async fn switch(world: &World, replica: usize, what: &str) -> anyhow::Result<Instant> {
    let path = format!("/api/agents/{}/{what}", name(AGENT));
    let (status, said) = world.admin(Method::POST, replica, &path).await?;
    anyhow::ensure!(status == StatusCode::OK, "{what} at replica {replica}: {status} {said}");
    Ok(Instant::now())
}

/// Seconds until all replicas agree.
async fn spread(world: &World, since: Instant, wants_off: bool) -> anyhow::Result<f64> {
    let mut last = Duration::ZERO;
    for replica in 0..REPLICAS {
        loop {
            let found = ask(world, replica, AGENT).await?;
            if is_off(&found) == wants_off {
                break;
            }
            last = since.elapsed();
            anyhow::ensure!(last < GIVEN_UP_AFTER, "replica {replica} still says {found:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(last.as_secs_f64())
}

type Answer = (StatusCode, Option<String>);

fn is_off((status, code): &Answer) -> bool {
    *status == StatusCode::FORBIDDEN && code.as_deref() == Some("operation_forbidden")
}

async fn ask(world: &World, replica: usize, agent: usize) -> anyhow::Result<Answer> {
    let url = format!("http://{}{TARGET}{agent}", world.replicas[replica].address);
    let bearer = format!("Bearer {}", world.keys[agent].expose());
    let request = Request::get(url).header("authorization", bearer).body(Empty::<Bytes>::new())?;
    // A connection of its own: a replica may have been restarted.
    let response = timeout(GIVEN_UP_AFTER, http_client().request(request)).await.context("no answer")??;
    let code = response.headers().get("x-tollgate-error").and_then(|code| code.to_str().ok());
    Ok((response.status(), code.map(str::to_owned)))
}
