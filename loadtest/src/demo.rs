//! `cargo demo`: the real tollgate before a stand-in for GitHub, and a fleet of agents to watch.
//!
//! Everything is in this one process and on loopback: [`world`] holds the stand-in and tollgate,
//! [`fleet`] the agents, which reach tollgate through sockets as anybody would. What is shown comes
//! from the agents, from the stand-in's own books and from tollgate's metrics ([`snapshot`]).

mod exposition;
pub(crate) mod fleet;
mod screen;
mod shares;
mod snapshot;
mod summary;
mod table;
mod tally;
mod world;

use std::io::{self, Write};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval};

use fleet::Fleet;
use screen::Screen;
use shares::Shares;
use snapshot::Observer;
pub(crate) use summary::Summary;
use table::Paint;
use world::{ADMIN_TOKEN, BY_HAND, LIMIT, PULL, REPOSITORY, WINDOW, World};

/// Between two frames, between two plain lines, and between two pushes of a person's.
const FRAME: Duration = Duration::from_millis(500);
const LINE: Duration = Duration::from_secs(2);
const PUSH: Duration = Duration::from_secs(7);

/// Between two looks at who got what; short beside the time an agent sleeps.
const SAMPLE: Duration = Duration::from_millis(250);

/// Of the table at the end, where there is no terminal.
const PLAIN_WIDTH: u16 = 100;

/// How it is to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// None: until a signal.
    pub(crate) seconds: Option<u64>,
    /// Those that share; a few that cost next to nothing are beside them.
    pub(crate) agents: usize,
    pub(crate) view: View,
}

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// A table, redrawn in place.
    Live { is_coloured: bool },
    /// A line now and then.
    Plain,
}

/// The whole demo, from the first line to the last.
pub(crate) async fn run(options: Options, out: impl Write) -> anyhow::Result<Summary> {
    let paint = Paint { is_on: options.view == View::Live { is_coloured: true } };
    let hires = fleet::hires(options.agents);
    let mut screen = Screen::new(out);
    let world = World::start(&hires).await?;
    screen.print(&introduction(&world, paint)?)?;

    let started = Instant::now();
    let observer = Observer::new(&world);
    let mut fleet = Fleet::start(&hires, &world)?;
    let mut shares = Shares::new(fleet.sharing().map(|agent| (agent.name.clone(), agent.character.weight())));
    let watched = watch(
        options,
        paint,
        Scene { world: &world, fleet: &fleet, observer: &observer },
        &mut shares,
        &mut screen,
    )
    .await;

    // The order matters: who sends first, then who passes on, then who answers.
    let seconds = started.elapsed().as_secs();
    fleet.stop().await;
    let last = observer.look(&world, &fleet, &shares).await;
    let books = world.stop().await?;
    let summary = Summary::new(seconds, &fleet, &shares, &books);
    if !ended_by_reader(watched)? {
        screen.clear()?;
        let width = if options.view == View::Plain { PLAIN_WIDTH } else { screen::size().0 };
        screen.print(&table::last(&last, width, paint))?;
        screen.print("\nThe agents have stopped, tollgate has drained, the stand-in is down.")?;
        screen.print(&summary.to_string())?;
    }
    Ok(summary)
}

/// What there is to watch.
#[derive(Debug, Clone, Copy)]
struct Scene<'a> {
    world: &'a World,
    fleet: &'a Fleet,
    observer: &'a Observer,
}

/// Shows what happens until the time is over or a signal comes.
async fn watch(
    options: Options,
    paint: Paint,
    scene: Scene<'_>,
    shares: &mut Shares,
    screen: &mut Screen<impl Write>,
) -> anyhow::Result<()> {
    let Scene { world, fleet, observer } = scene;
    let started = Instant::now();
    let mut samples = interval(SAMPLE);
    let mut looks = interval(if options.view == View::Plain { LINE } else { FRAME });
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pushes = interval(PUSH);
    let mut pushed = 0;
    let mut end = std::pin::pin!(end(options.seconds)?);
    loop {
        tokio::select! {
            _ = samples.tick() => {
                let (points, is_everybody_awake) = fleet.points();
                shares.sample(started.elapsed(), &points, is_everybody_awake);
            }
            _ = looks.tick() => {
                let snapshot = observer.look(world, fleet, shares).await;
                match options.view {
                    View::Live { .. } => screen.draw(|width| table::frame(&snapshot, width, paint))?,
                    View::Plain => screen.print(&table::line(&snapshot))?,
                }
            }
            _ = pushes.tick() => {
                pushed += 1;
                world.push(pushed);
            }
            () = &mut end => return Ok(()),
        }
    }
}

/// Ready when the demo is to end.
fn end(seconds: Option<u64>) -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        let over = async {
            match seconds {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = over => {}
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

/// Whether watching ended because nobody reads any more, as in `cargo demo | head`.
fn ended_by_reader(watched: anyhow::Result<()>) -> anyhow::Result<bool> {
    let Err(error) = watched else { return Ok(false) };
    match error.downcast_ref::<io::Error>() {
        Some(cause) if cause.kind() == io::ErrorKind::BrokenPipe => Ok(true),
        _ => Err(error),
    }
}

/// What is running, where to look, and what to try.
fn introduction(world: &World, paint: Paint) -> anyhow::Result<String> {
    let (base, admin, key) = (world.base_url(), world.admin_url(), world.key(BY_HAND)?);
    let place = |label: &str, place: &str, what: &str| {
        format!(
            " {}  {}  {}",
            paint.bold(format!("{label:<8}")),
            paint.accent(format!("{place:<40}")),
            paint.dim(what)
        )
    };
    let note = |text: String| paint.dim(format!("{:<11}{text}", ""));
    let mut lines = vec![
        paint.bold(
            "tollgate demo: the real proxy, a stand-in for GitHub and simulated agents, all on this machine",
        ),
        String::new(),
        place("tollgate", base, "the agents' API base URL"),
        place("operator", &format!("{admin}/"), "the status page, live"),
        place("", &format!("{admin}/metrics"), "for Prometheus"),
        place("", &format!("{admin}/readyz"), "is it ready to serve?"),
        place("GitHub", &format!("{}/books", world.control_url()), "what the stand-in has seen, as JSON"),
        place("settings", &world.file().display().to_string(), "as for `tollgate serve`; gone at the end"),
        note(format!("Its file `{ADMIN_TOKEN}` holds what disables an agent on the status page.")),
        note(format!(
            "The agents may see {REPOSITORY} and nothing else. GitHub's hour lasts {} s here, and gives",
            WINDOW.as_secs()
        )),
        note(format!(
            "{LIMIT} points; its limits of 900 points a minute for each route and of 500 writes an"
        )),
        note("hour are lifted, here and in the settings.".to_owned()),
    ];
    if !world.idle_keys.is_empty() {
        lines.push(note(format!("Without effect yet in this release: {}", world.idle_keys.join(", "))));
    }
    lines.extend(world.warnings.iter().cloned().map(note));
    let pull = format!("{base}/repos/{REPOSITORY}/pulls/{PULL}");
    let commands = [
        format!("KEY='Authorization: Bearer {key}'"),
        format!("curl -i -H \"$KEY\" {pull}"),
        format!("curl -i -H \"$KEY\" -X PUT {pull}/merge"),
    ];
    lines.push(format!(
        "\n {}  as agent `{BY_HAND}`: read a pull request; then try to merge it\n",
        paint.bold("by hand ")
    ));
    lines.extend(commands.iter().map(|command| format!("   {}", paint.accent(command))));
    lines.push(String::new());
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn three_seconds_prove_what_the_demo_says() {
        let mut out = Vec::new();
        let options = Options { seconds: Some(3), agents: 5, view: View::Plain };
        let summary = run(options, &mut out).await.unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(summary.holds(), "{text}");
        assert_eq!((summary.failed, summary.refused_wrongly, summary.let_through), (0, 0, 0), "{text}");
        assert_eq!(summary.requests, summary.served + summary.later + summary.refused);
        assert_eq!(summary.refusals, 0, "{text}");
        assert!(text.contains("too short to judge") && text.contains("reviewer     weight 8"), "{text}");
        assert!(summary.served > 10 && summary.refused > 0 && summary.merges_tried > 0, "{text}");
        assert!(summary.writes > 0, "{text}");
        assert!(summary.arrived >= summary.served, "{text}");
        assert!(
            text.contains("/readyz") && text.contains("curl -i") && text.contains("Proven in this run"),
            "{text}"
        );
    }

    #[test]
    fn a_reader_that_leaves_is_no_error() {
        let broken = |kind: io::ErrorKind| ended_by_reader(Err(io::Error::from(kind).into()));
        assert!(broken(io::ErrorKind::BrokenPipe).unwrap());
        assert!(broken(io::ErrorKind::StorageFull).is_err());
        assert!(!ended_by_reader(Ok(())).unwrap());
    }
}
