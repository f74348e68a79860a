//! Fleets of simulated agents against the real proxy; hands over to [`cli`], nothing else.

mod bounds;
mod cache;
mod capacity;
mod cli;
mod demo;
mod fleet;
mod replicas;
mod scenarios;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
