//! Connections that send a byte a second, to hold places for as long as possible.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::ordinary::{LATENCY_BOUND, Ordinary};
use super::process::Target;
use super::report::{Figure, Report};
use super::world::World;

const DRIBBLERS: u64 = 200;
const BETWEEN_BYTES: Duration = Duration::from_secs(1);
const PER_SECOND: u32 = 50;
const TIME: Duration = Duration::from_secs(15);
const MEMORY_MIB: u64 = 150;
/// When they all have begun.
const UNDER_WAY: Duration = Duration::from_secs(2);

/// What is sent so slowly.
#[derive(Debug, Clone, Copy)]
enum Slow {
    Head,
    /// A small body, which tollgate holds until it is whole.
    Body,
    /// A large one, which is under way to the upstream.
    Upload,
}

/// How many do it right now, and how many connections it took so far.
#[derive(Debug, Default)]
struct Tally {
    open: AtomicU64,
    opened: AtomicU64,
}

pub(crate) async fn run(binary: &Path, report: &mut Report<impl Write>) -> anyhow::Result<()> {
    let world = World::start(binary).await?;
    let ordinary = Ordinary::new(&world.tollgate.target, None)?;
    ordinary.warm_up().await?;
    let tally = Arc::new(Tally::default());
    let mut dribblers = JoinSet::new();
    for number in 0..DRIBBLERS {
        let slow = match number % 4 {
            0 | 1 => Slow::Head,
            2 => Slow::Body,
            _ => Slow::Upload,
        };
        let (target, tally) = (world.tollgate.target.clone(), Arc::clone(&tally));
        dribblers.spawn(async move {
            loop {
                let _ = dribble(&target, slow, &tally).await;
                // Cut off: it comes again, after a breath.
                sleep(Duration::from_millis(20)).await;
            }
        });
    }
    sleep(UNDER_WAY).await;
    let open_before = tally.open.load(Ordering::Relaxed);
    let outcome = ordinary.run(PER_SECOND, TIME).await;
    let open = open_before.min(tally.open.load(Ordering::Relaxed));
    dribblers.shutdown().await;
    let all = Figure::Count(DRIBBLERS);
    report.at_least("connections that dribble, at both ends of it", Figure::Count(open), all)?;
    // Heads are cut off after ten seconds, so more were opened than are open.
    let opened = Figure::Count(tally.opened.load(Ordering::Relaxed));
    report.at_least("connections it took them", opened, Figure::Count(DRIBBLERS * 3 / 2))?;
    outcome.report("ordinary requests meanwhile", report)?;
    report.below("the slowest of them", Figure::Time(outcome.slowest), LATENCY_BOUND)?;
    world.report_peak(Figure::mib(MEMORY_MIB), report)
}

/// Sends byte by byte until tollgate has enough of it.
async fn dribble(target: &Target, slow: Slow, tally: &Tally) -> std::io::Result<()> {
    let mut socket = TcpStream::connect(target.address).await?;
    tally.opened.fetch_add(1, Ordering::Relaxed);
    let _open = Open::new(tally);
    let (head, slowly): (String, &[u8]) = match slow {
        Slow::Head => ("GET /repos/a/b HTTP/1.1\r\nX-Slow: ".to_owned(), b"x"),
        Slow::Body => (target.head("POST /repos/a/b/issues HTTP/1.1", "Content-Length: 1000\r\n"), b" "),
        Slow::Upload => {
            let line = "POST /api/uploads/repos/a/b/releases/1/assets?name=x HTTP/1.1";
            (target.head(line, "Content-Type: text/plain\r\nContent-Length: 1073741824\r\n"), b"x")
        }
    };
    socket.write_all(head.as_bytes()).await?;
    let (mut reading, mut writing) = socket.split();
    let ends = async {
        let mut scratch = [0; 1024];
        while reading.read(&mut scratch).await.is_ok_and(|read| read > 0) {}
    };
    let sends = async {
        loop {
            sleep(BETWEEN_BYTES).await;
            if let Err(error) = writing.write_all(slowly).await {
                return error;
            }
        }
    };
    tokio::select! {
        () = ends => Ok(()),
        error = sends => Err(error),
    }
}

/// Counted while it lives.
struct Open<'a>(&'a Tally);

impl Open<'_> {
    fn new(tally: &Tally) -> Open<'_> {
        tally.open.fetch_add(1, Ordering::Relaxed);
        Open(tally)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
