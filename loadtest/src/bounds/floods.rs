//! Floods that cost the sender little: bad keys, connections reset at once, HTTP/2 streams reset at once.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use rustls::ClientConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tollgate::secret::AgentKey;

use super::client::{Connection, get};
use super::http2::{reset_streams, trusting};
use super::ordinary::{LATENCY_BOUND, Ordinary};
use super::process::Target;
use super::report::{Figure, Report};
use super::usage::descriptors_settled;
use super::world::World;

/// Who floods, at once.
const FLOODERS: usize = 32;
const TLS_FLOODERS: usize = 8;
const TIME: Duration = Duration::from_secs(10);
/// Ordinary requests a second, meanwhile.
const PER_SECOND: u32 = 20;
const MEMORY_MIB: u64 = 150;
/// Descriptors that may be left of a flood, and how long they may take to go.
const DESCRIPTORS_LEFT: u64 = 20;
const DESCRIPTORS_PATIENCE: Duration = Duration::from_secs(10);
/// Less would be no flood.
const FLOOD_MIN: u64 = 5_000;

/// What the flooders did.
#[derive(Debug, Default)]
struct Tally {
    done: AtomicU64,
    /// Of those, what tollgate answered as it should.
    refused: AtomicU64,
}

pub(crate) async fn run(binary: &Path, report: &mut Report<impl Write>) -> anyhow::Result<()> {
    let world = World::start(binary).await?;
    let target = &world.tollgate.target;
    let ordinary = Ordinary::new(target, None)?;
    ordinary.warm_up().await?;
    let before = world.descriptors()?;

    let tally =
        flood(&ordinary, FLOODERS, "bad keys", report, |tally| bad_keys(target.clone(), tally)).await?;
    let (done, refused) = (tally.done.load(Ordering::Relaxed), tally.refused.load(Ordering::Relaxed));
    report.all("bad keys: refused with 401", refused, done)?;
    flood(&ordinary, FLOODERS, "resets", report, |tally| resets(target.clone(), tally)).await?;
    wind_up(&world, before, report).await?;

    let world = World::with_tls(binary).await?;
    let tls = trusting(&world.tollgate.certificate()?)?;
    let target = &world.tollgate.target;
    let ordinary = Ordinary::new(target, Some(&tls))?;
    ordinary.warm_up().await?;
    let before = world.descriptors()?;
    let flooder = |tally| stream_resets(target.clone(), tls.clone(), tally);
    flood(&ordinary, TLS_FLOODERS, "stream resets", report, flooder).await?;
    wind_up(&world, before, report).await
}

/// Lets flooders loose while ordinary requests are made; they end with it.
async fn flood<F>(
    ordinary: &Ordinary,
    flooders: usize,
    what: &str,
    report: &mut Report<impl Write>,
    flooder: impl Fn(Arc<Tally>) -> F,
) -> anyhow::Result<Arc<Tally>>
where
    F: Future<Output = ()> + Send + 'static,
{
    let tally = Arc::new(Tally::default());
    let mut tasks = JoinSet::new();
    for _ in 0..flooders {
        tasks.spawn(flooder(Arc::clone(&tally)));
    }
    let outcome = ordinary.run(PER_SECOND, TIME).await;
    tasks.shutdown().await;
    let done = Figure::Count(tally.done.load(Ordering::Relaxed));
    report.at_least(&format!("{what}: in {} s", TIME.as_secs()), done, Figure::Count(FLOOD_MIN))?;
    outcome.report(&format!("{what}: ordinary requests meanwhile"), report)?;
    report.below(&format!("{what}: the slowest of them"), Figure::Time(outcome.slowest), LATENCY_BOUND)?;
    Ok(tally)
}

/// What a flood leaves behind.
async fn wind_up(world: &World, before: u64, report: &mut Report<impl Write>) -> anyhow::Result<()> {
    let bound = before + DESCRIPTORS_LEFT;
    let left = descriptors_settled(world.tollgate.pid(), bound, DESCRIPTORS_PATIENCE).await?;
    report.at_most(&format!("descriptors afterwards; {before} before"), left, Figure::Count(bound))?;
    world.report_peak(Figure::mib(MEMORY_MIB), report)
}

/// One connection, a new key with every request.
async fn bad_keys(target: Target, tally: Arc<Tally>) {
    loop {
        let Ok(mut connection) = Connection::open(&target).await else {
            sleep(Duration::from_millis(1)).await;
            continue;
        };
        loop {
            connection.set_key(AgentKey::generate("guess").expose().to_owned());
            let answer = get(&mut connection, "/repos/a/b").await;
            tally.done.fetch_add(1, Ordering::Relaxed);
            match answer {
                Ok(StatusCode::UNAUTHORIZED) => tally.refused.fetch_add(1, Ordering::Relaxed),
                Ok(_) => continue,
                Err(_) => break,
            };
        }
    }
}

/// Connections that are reset as soon as they are there, within a head, or right after a request.
async fn resets(target: Target, tally: Arc<Tally>) {
    let request = target.head("GET /repos/a/b HTTP/1.1", "");
    for number in 0.. {
        let Ok(mut socket) = TcpStream::connect(target.address).await else {
            sleep(Duration::from_millis(1)).await;
            continue;
        };
        // Closing then sends RST in place of FIN, and nothing is left here in TIME_WAIT.
        let _ = socket.set_zero_linger();
        let sent = match number % 3 {
            0 => 0,
            1 => request.len() / 2,
            _ => request.len(),
        };
        let _ = socket.write_all(&request.as_bytes()[..sent]).await;
        tally.done.fetch_add(1, Ordering::Relaxed);
    }
}

async fn stream_resets(target: Target, tls: ClientConfig, tally: Arc<Tally>) {
    loop {
        let count = |streams| {
            tally.done.fetch_add(streams, Ordering::Relaxed);
        };
        if Box::pin(reset_streams(&target, tls.clone(), count)).await.is_err() {
            sleep(Duration::from_millis(1)).await;
        }
    }
}
