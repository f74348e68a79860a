//! The commands: what can be said to each, and what its result means as an exit code.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::bounds::{self, Part};
use crate::cache;
use crate::capacity;
use crate::demo::{self, Options, View};
use crate::fleet::{self, Contestant, Measures};
use crate::replicas::{self, Case};
use crate::scenarios::{self, Policy, Store};

/// Simulated agents at work through tollgate.
#[derive(Debug, Parser)]
#[command(name = "tollgate-loadtest", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(DemoArgs),
    Bounds(BoundsArgs),
    /// Let fifty agents read the same two hundred things over ten windows while tokens are renewed and some of
    /// them change; check that nearly all reads are free, and that none is wrong. Takes about two minutes.
    Cache,
    /// Measure what the shared store takes: memory, commands and CPU of a `redis-server` it starts and ends.
    Capacity,
    Fleet(FleetArgs),
    Replicas(ReplicasArgs),
    Scenarios(ScenariosArgs),
}

/// Run the proxy before a stand-in for GitHub, with a small fleet of agents, and watch them.
///
/// Needs no credential and no network. Exits with 1 if anything went through that must not.
#[derive(Debug, Args)]
struct DemoArgs {
    /// End after this many seconds; without it, Ctrl-C does.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=604_800))]
    seconds: Option<u64>,
    /// How many agents share the quota; a poller and a rogue are beside them.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=20))]
    agents: u16,
    /// A plain line every two seconds in place of the live table, as when the output is no terminal.
    #[arg(long)]
    plain: bool,
}

impl DemoArgs {
    fn options(&self) -> Options {
        let is_live = !self.plain && io::stdout().is_terminal();
        // https://no-color.org: set and not empty.
        let is_coloured = is_live && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Options {
            seconds: self.seconds,
            agents: usize::from(self.agents),
            view: if is_live { View::Live { is_coloured } } else { View::Plain },
        }
    }
}

/// Hold a tollgate to the bounds it promises, by streams beyond memory, idle callers and floods.
///
/// Needs no credential, no network but loopback, and `openssl` for a certificate. Takes about two
/// minutes and prints a row for each figure. Exits with 1 if a bound does not hold.
#[derive(Debug, Args)]
struct BoundsArgs {
    /// The binary to be started.
    #[arg(long, value_name = "BIN", default_value = "target/debug/tollgate")]
    tollgate: PathBuf,
    /// What to prove; all of it if nothing is named.
    #[arg(value_name = "PART")]
    parts: Vec<Part>,
}

/// What to say where a binary that was named, or is meant by default, does not run.
pub(crate) fn not_started(binary: &Path) -> String {
    let binary = binary.display();
    format!(
        "{binary} can't be started; `cargo build --bin tollgate` makes target/debug/tollgate, and with `--release` \
         target/release/tollgate"
    )
}

impl BoundsArgs {
    fn options(self) -> bounds::Options {
        let parts = if self.parts.is_empty() { Part::value_variants().to_vec() } else { self.parts };
        bounds::Options { tollgate: self.tollgate, parts }
    }
}

/// Let one fleet of agents work with tollgate and with what teams use today, side by side.
///
/// Needs no credential, no network but loopback; `loadtest/fleet/install` for what it is compared with. The
/// same plan of requests, twice what the quota allows, meets each contestant before a stand-in for GitHub whose
/// hour is a minute. Prints a row for each. Exits with 1 if GitHub refuses tollgate anything, or if tollgate
/// leaves quota unused or a class of agents without its part.
#[derive(Debug, Args)]
struct FleetArgs {
    /// How many agents there are.
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = clap::value_parser!(u16).range(20..=5000))]
    agents: u16,
    /// Replicas of `tollgate-redis`.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=9))]
    replicas: u8,
    /// Points of `core` in a window; GraphQL has a sixth of it.
    #[arg(long, value_name = "N", default_value_t = 6000, value_parser = clap::value_parser!(u64).range(600..=20_000))]
    limit: u64,
    /// Length of a window, seconds.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(20..=3600))]
    window: u64,
    /// How many windows; the first is not judged.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(2..=20))]
    windows: u64,
    /// Where chance begins: what is asked when.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The binary the replicas are.
    #[arg(long, value_name = "BIN", default_value = "target/release/tollgate")]
    tollgate: PathBuf,
    /// Where `loadtest/fleet/install` put Octokit and PyGithub.
    #[arg(long, value_name = "DIR", default_value = "target/clients")]
    clients: PathBuf,
    /// Write all figures to this file too, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page with plots to this file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Draw `alone` and `tollgate` side by side into this file, as SVG.
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Run nothing: draw what an earlier run wrote with `--json`.
    #[arg(long, value_name = "FILE", conflicts_with = "hour")]
    from: Option<PathBuf>,
    /// In place of all that: a whole hour of 15,000 points in virtual time, beside simpler policies.
    #[arg(long, conflicts_with_all = ["html", "picture", "json"])]
    hour: bool,
    /// Who takes part; all if nobody is named.
    #[arg(value_name = "CONTESTANT")]
    contestants: Vec<Contestant>,
}

impl FleetArgs {
    fn options(self) -> fleet::Options {
        let named = self.contestants;
        fleet::Options {
            tollgate: self.tollgate,
            clients: self.clients,
            measures: Measures {
                agents: usize::from(self.agents),
                limit: self.limit,
                window_s: self.window,
                windows: self.windows,
                seed: self.seed,
            },
            replicas: usize::from(self.replicas),
            contestants: if named.is_empty() { Contestant::value_variants().to_vec() } else { named },
            json: self.json,
            html: self.html,
            picture: self.picture,
        }
    }
}

/// Run three tollgates that share a Redis, break things, and check that they keep what one promises.
///
/// Needs no credential, no network but loopback, and `redis-server` with `redis-cli`. A case takes up to
/// two and a half minutes, all of them 25. Exits with 1 if one does not hold.
#[derive(Debug, Args)]
struct ReplicasArgs {
    /// The binary the replicas are.
    #[arg(long, value_name = "BIN", default_value = "target/release/tollgate")]
    tollgate: PathBuf,
    /// Where chance begins: which replica each call goes to.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Write all figures to this file too, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep the logs of the replicas in this directory.
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
    /// What to prove; all of it if nothing is named.
    #[arg(value_name = "CASE")]
    cases: Vec<Case>,
}

impl ReplicasArgs {
    fn options(self) -> replicas::Options {
        let ReplicasArgs { tollgate, seed, json, logs, cases } = self;
        let cases = if cases.is_empty() { Case::value_variants().to_vec() } else { cases };
        replicas::Options { tollgate, cases, seed, json, logs }
    }
}

/// Run scenarios in virtual time against the real budget, and check what each expects.
///
/// Needs no credential and no network; for `--store redis` and `both` a `redis-server`, which it starts
/// and ends itself. Prints a row for each scenario: part of the quota that was used, refusals by GitHub,
/// errors of the shares in 60 s windows and over the whole run, waits in seconds, refusals for each
/// request served of the worst agent, points left over at a reset, store calls a request. Exits with 1 if
/// an expectation does not hold, a file cannot be read, or the stores differ.
#[derive(Debug, Args)]
struct ScenariosArgs {
    /// Where the replicas keep the ledger.
    #[arg(long, value_enum, default_value_t = Store::Memory)]
    store: Store,
    /// Who decides when a request may go; the others are there to compare with, and not judged.
    #[arg(long, value_enum, default_value_t = Policy::Tollgate)]
    policy: Policy,
    /// Where chance begins; the same seed gives the same run.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Write all figures to this file too, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Run this scenario, not all of the files; may be said several times.
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// Files of scenarios.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

impl ScenariosArgs {
    fn options(self) -> scenarios::Options {
        let ScenariosArgs { store, policy, seed, json, only, files } = self;
        scenarios::Options { files, only, store, policy, seed, json }
    }
}

/// Runs the command that was given.
pub(crate) fn run() -> ExitCode {
    let Cli { command } = Cli::parse();
    let result = match command {
        Command::Demo(args) => {
            on_runtime(demo::run(args.options(), io::stdout())).map(|summary| summary.holds())
        }
        Command::Bounds(args) => {
            on_runtime(bounds::run(args.options(), io::stdout())).map(|summary| summary.holds())
        }
        Command::Cache => on_runtime(cache::run(io::stdout())).map(|summary| summary.holds()),
        Command::Capacity => capacity::run(io::stdout()).map(|()| true),
        // A runtime of its own, with a clock of its own.
        Command::Fleet(args) if args.hour => {
            fleet::hour::run(usize::from(args.agents), args.seed, io::stdout())
        }
        Command::Fleet(mut args) => match args.from.take() {
            Some(from) => fleet::redraw(&from, &args.options(), io::stdout()),
            None => on_runtime(async { fleet::run(&args.options(), io::stdout()).await }),
        }
        .map(|summary| summary.holds()),
        Command::Replicas(args) => {
            on_runtime(replicas::run(args.options(), io::stdout())).map(|summary| summary.holds())
        }
        // Each run makes a runtime of its own, with a clock of its own.
        Command::Scenarios(args) => {
            scenarios::run(&args.options(), io::stdout()).map(|summary| summary.holds())
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tollgate-loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn on_runtime<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    // Whatever is left had its time to end.
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn takes_what_a_demo_can_be_told() {
        let Command::Demo(args) = Cli::parse_from(["x", "demo", "--seconds", "3", "--plain"]).command else {
            panic!("it is the demo");
        };
        assert_eq!((args.seconds, args.agents), (Some(3), 5));
        assert_eq!(args.options().view, View::Plain);
        for wrong in [["--seconds", "0"], ["--agents", "0"], ["--agents", "21"]] {
            assert!(Cli::try_parse_from(["x", "demo"].iter().chain(&wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn scenarios_need_a_file() {
        let parse = |arguments: &[&str]| Cli::try_parse_from(["x", "scenarios"].iter().chain(arguments));
        let Ok(Cli { command: Command::Scenarios(args) }) = parse(&["--policy", "naive", "--seed", "7", "f"])
        else {
            panic!("they are scenarios");
        };
        let options = args.options();
        assert_eq!((options.seed, options.policy, options.store), (7, Policy::Naive, Store::Memory));
        assert!(parse(&[]).is_err() && parse(&["--store", "paper", "f"]).is_err());
        assert!(parse(&["--store", "both", "--only", "c01", "--only", "c02", "f"]).is_ok());
    }

    #[test]
    fn all_bounds_are_proven_unless_some_are_named() {
        let parts =
            |arguments: &[&str]| match Cli::parse_from(["x", "bounds"].iter().chain(arguments)).command {
                Command::Bounds(args) => args.options().parts,
                other => panic!("{other:?}"),
            };
        assert_eq!(parts(&[]).len(), 5);
        assert_eq!(parts(&["slow-reader", "idle"]), [Part::SlowReader, Part::Idle]);
        assert!(Cli::try_parse_from(["x", "bounds", "other"]).is_err());
    }
}
