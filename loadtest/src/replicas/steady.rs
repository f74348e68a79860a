//! Two whole windows without a disturbance; and what every run of greedy agents is judged by.

use std::time::Duration;

use github_sim::{Fault, FaultKind};
use tokio::time::{Instant, sleep};

use super::Options;
use super::fleet::{Fleet, Manner};
use super::gauge::Reading;
use super::journal::{Journal, Span, TARGET};
use super::verdict::Verdict;
use super::world::{Backing, LIMIT, WINDOW_S, World, weights};

/// The largest part by which a share may differ from its weight's in a whole window.
const WINDOW_ERROR_MAX: f64 = 0.03;
/// The least part of an undisturbed window that is to be used.
pub(super) const USED_MIN: f64 = 0.98;
/// Calls to the store for each upstream request while all queues are full.
const CALLS_MAX: f64 = 6.0;
/// What the stand-in takes for an answer, milliseconds: some calls are always in flight.
const ANSWERS_AFTER_MS: u64 = 200;
/// How often the progress is told.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// The first window opens within this.
const OPENS_WITHIN: Duration = Duration::from_secs(15);

/// A world with greedy agents in it, and what is known of it.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) world: World,
    pub(super) fleet: Fleet,
    pub(super) journal: Journal,
    began: Instant,
}

impl Course {
    /// Begins; gives when the first window opened, too.
    pub(super) async fn start(
        options: &Options,
        case: &str,
        backing: Backing,
    ) -> anyhow::Result<(Course, i64)> {
        let world = World::start(options, case, backing).await?;
        let far_away = Fault::new(FaultKind::SlowFirstByte { ms: ANSWERS_AFTER_MS });
        world.sim.faults().add(far_away.path(TARGET));
        let fleet = Fleet::start(&world, Manner::greedy(weights().len()), options.seed);
        let mut course = Course::of(world, fleet);
        while course.began.elapsed() < OPENS_WITHIN {
            course.journal.read(&course.world.sim);
            if let Some(window) = course.journal.windows(WINDOW_S).first() {
                let opened_ms = window.from_ms;
                return Ok((course, opened_ms));
            }
            sleep(Duration::from_millis(100)).await;
        }
        anyhow::bail!("nobody was served within {OPENS_WITHIN:?}: {}", course.world.complaints().join(" "))
    }

    /// What has run already.
    pub(super) fn of(world: World, fleet: Fleet) -> Course {
        Course { world, fleet, journal: Journal::default(), began: Instant::now() }
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.world.sim.clock().now_epoch_ms()
    }

    /// Waits for a time of the stand-in's, and says how it goes meanwhile.
    pub(super) async fn until(&mut self, at_ms: i64, what: &str) {
        loop {
            let left = u64::try_from(at_ms - self.now_ms()).unwrap_or(0);
            let left = Duration::from_millis(left);
            sleep(left.min(TELL_EVERY)).await;
            self.journal.read(&self.world.sim);
            self.tell(what);
            if left <= TELL_EVERY {
                return;
            }
        }
    }

    pub(super) fn tell(&self, what: &str) {
        let now_ms = self.now_ms();
        // Calls in flight are not in the journal yet.
        let pace = self.journal.pace(Span::new(now_ms - 5_000, now_ms - 200));
        let books = self.world.sim.books();
        let refusals = books.violations_total();
        eprintln!(
            "{:>4} s  {what}: {pace:.0} a second, {}, refused by the stand-in {refusals}",
            self.began.elapsed().as_secs(),
            self.fleet.notes.line(),
        );
    }

    /// What holds whatever happened.
    pub(super) fn judge(&self, verdict: &mut Verdict) {
        let books = self.world.sim.books();
        let said = |status: u16| books.by_status.get(&status).copied().unwrap_or(0);
        let refused = (said(403) + said(429)).max(books.violations_total());
        #[allow(clippy::cast_precision_loss, reason = "counts of calls")]
        verdict.at_most("refused by the stand-in", refused as f64, 0.0);
        if refused > 0 {
            verdict.note(format!("{:?}, {:?}", books.violations, books.by_status));
        }
        self.fleet.notes.judge(verdict);
        for line in self.world.complaints() {
            verdict.note(line);
        }
    }

    /// A whole window: at least a part of it is used, and that by weight.
    pub(super) fn judge_window(&self, window: Span, name: &str, used_min: f64, verdict: &mut Verdict) {
        #[allow(clippy::cast_precision_loss, reason = "some thousands")]
        let used = self.journal.served(window) as f64 / LIMIT as f64;
        verdict.at_least(format!("{name}: used"), used, used_min);
        let (error, agent) = self.journal.share_error(window, &weights());
        verdict.at_most(
            format!("{name}: share error (agent {agent}, weight {})", weights()[agent]),
            error,
            WINDOW_ERROR_MAX,
        );
    }
}

/// What the store had to do with it.
pub(super) fn judge_store(reading: &Reading, verdict: &mut Verdict) {
    verdict.at_most("store calls a request", reading.calls_total() / reading.upstream.max(1.0), CALLS_MAX);
    for (op, calls) in &reading.calls {
        verdict.note(format!("{op}: {:.3} a request", calls / reading.upstream.max(1.0)));
    }
    verdict.figure("CPU a store call, us", reading.cpu_s / reading.calls_total().max(1.0) * 1e6);
    verdict.figure("CPU a request, us", reading.cpu_s / reading.upstream.max(1.0) * 1e6);
    verdict.figure("store p50, ms", reading.median_s() * 1000.0);
}

pub(super) async fn run(options: &Options, verdict: &mut Verdict) -> anyhow::Result<()> {
    let (mut course, opened_ms) = Course::start(options, "steady", Backing::Single).await?;
    course.until(opened_ms + 5_000, "begins").await;
    let before = course.world.reading().await?;
    course.until(opened_ms + (2 * WINDOW_S - 2) * 1000, "steady").await;
    let reading = course.world.reading().await?.since(&before);
    // The second window may have opened some seconds late.
    course.until(opened_ms + (2 * WINDOW_S + 5) * 1000, "ends").await;
    let windows = course.journal.windows(WINDOW_S);
    anyhow::ensure!(windows.len() >= 2, "there were {} windows", windows.len());
    course.judge(verdict);
    for (place, window) in windows.iter().take(2).enumerate() {
        course.judge_window(*window, &format!("window {}", place + 1), USED_MIN, verdict);
    }
    judge_store(&reading, verdict);
    Ok(())
}
