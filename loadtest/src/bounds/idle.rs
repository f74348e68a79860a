//! Thousands of connections that were used once and are kept, as by a fleet's HTTP libraries.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::Empty;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::client::{Connection, get};
use super::process::Target;
use super::report::{Figure, Report};
use super::world::World;

const CONNECTIONS: usize = 5_000;
/// That many are opened, or make their request, at once.
const AT_ONCE: usize = 50;
const MEMORY_MIB: u64 = 200;
/// While all of them make a request, [`AT_ONCE`] at a time, they are not idle.
const BUSY_MEMORY_MIB: u64 = 220;
const QUIET: Duration = Duration::from_secs(3);

type Connections = Vec<Connection<Empty<Bytes>>>;

pub(crate) async fn run(binary: &Path, report: &mut Report<impl Write>) -> anyhow::Result<()> {
    let world = World::start(binary).await?;
    let before = world.descriptors()?;
    let mut openers = JoinSet::new();
    for _ in 0..AT_ONCE {
        openers.spawn(open(world.tollgate.target.clone(), CONNECTIONS / AT_ONCE));
    }
    let mut groups: Vec<Connections> = Vec::new();
    while let Some(group) = openers.join_next().await {
        groups.push(group??);
    }
    sleep(QUIET).await;
    // Those to the upstream are kept for a while, too; 128 at most.
    let open = world.descriptors()?.saturating_sub(before);
    report.at_least(
        "connections open at tollgate",
        Figure::Count(open),
        Figure::Count(CONNECTIONS as u64),
    )?;
    let idle = Figure::Bytes(world.memory()?.now);
    report.below("resident memory while all are idle", idle, Figure::mib(MEMORY_MIB))?;
    let mut askers = JoinSet::new();
    for group in groups {
        askers.spawn(ask_again(group));
    }
    let mut served = 0;
    while let Some(group) = askers.join_next().await {
        served += group?;
    }
    report.all("second requests served, on the same connections", served, CONNECTIONS as u64)?;
    world.report_peak(Figure::mib(BUSY_MEMORY_MIB), report)
}

async fn open(target: Target, count: usize) -> anyhow::Result<Connections> {
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        let mut connection = Connection::open(&target).await?;
        let status = get(&mut connection, "/repos/a/b").await?;
        anyhow::ensure!(status == StatusCode::OK, "a first request: {status}");
        connections.push(connection);
    }
    Ok(connections)
}

async fn ask_again(mut connections: Connections) -> u64 {
    let mut served = 0;
    for connection in &mut connections {
        served += u64::from(get(connection, "/repos/a/b").await.is_ok_and(|status| status == StatusCode::OK));
    }
    served
}
