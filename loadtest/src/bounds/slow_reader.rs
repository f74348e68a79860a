//! A caller that asks for much and reads little: what it does not read must stay at GitHub.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::Empty;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};

use super::client::{Connection, get};
use super::report::{Figure, Report};
use super::usage::{Watch, queued};
use super::world::World;

const SIZE_MIB: u64 = 256;
/// Taken from upstream, not read, and in no queue of the kernel's: held by the two HTTP stacks, tollgate's
/// and the upstream's own.
const HELD_MIB: u64 = 8;
/// With the kernel's queues on both connections, which `net.ipv4.tcp_rmem` and `tcp_wmem` bound.
const TAKEN_MIB: u64 = 64;
/// Of which the allocator takes up to 2 MiB at once.
const GROWTH_MIB: u64 = 4;
/// 64 KiB a second, in sips.
const SIP_BYTES: usize = 16 * 1024;
const SIP_EVERY: Duration = Duration::from_millis(250);
const SIPS: u64 = 40;

pub(crate) async fn run(binary: &Path, report: &mut Report<impl Write>) -> anyhow::Result<()> {
    let world = World::start(binary).await?;
    // What the first answers make tollgate allocate is not the slow reader's.
    let mut warm: Connection<Empty<Bytes>> = Connection::open(&world.tollgate.target).await?;
    for path in ["/repos/a/b", "/repos/a/b/contents/16.bin", "/repos/a/b"] {
        get(&mut warm, path).await?;
    }
    drop(warm);
    let before = world.memory()?.now;
    let watch = Watch::start(world.tollgate.pid());
    let Slowly { read, taken, queued } = Box::pin(read_slowly(&world)).await?;
    let growth = watch.most().await?.saturating_sub(before);
    let held = taken.saturating_sub(read + queued);
    report.at_least(
        "bytes read, at 64 KiB/s",
        Figure::Bytes(read),
        Figure::Bytes(SIPS * SIP_BYTES as u64),
    )?;
    report.at_most("growth of resident memory meanwhile", Figure::Bytes(growth), Figure::mib(GROWTH_MIB))?;
    report.below("taken, not read, and not in the kernel", Figure::Bytes(held), Figure::mib(HELD_MIB))?;
    report.below("taken from upstream, of 256 MiB", Figure::Bytes(taken), Figure::mib(TAKEN_MIB))
}

/// Where the download was when the last byte was read.
struct Slowly {
    read: u64,
    taken: u64,
    queued: u64,
}

async fn read_slowly(world: &World) -> anyhow::Result<Slowly> {
    let mut socket = TcpStream::connect(world.tollgate.target.address).await?;
    let line = format!("GET /repos/a/b/contents/{SIZE_MIB}.bin HTTP/1.1");
    socket
        .write_all(
            world.tollgate.target.head(&line, "Accept: application/vnd.github.raw+json\r\n").as_bytes(),
        )
        .await?;
    let mut sips = interval(SIP_EVERY);
    sips.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sip = [0; SIP_BYTES];
    let mut read = 0;
    for _ in 0..SIPS {
        sips.tick().await;
        read += socket.read_exact(&mut sip).await.context("the download broke off")? as u64;
    }
    let taken = world.upstream.downloaded().context("no download was asked for")?.bytes;
    let queued = queued([world.tollgate.target.address.port(), world.upstream.address.port()])?;
    Ok(Slowly { read, taken, queued })
}
