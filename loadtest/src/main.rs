//! Fleets of simulated agents against the real proxy; hands over to [`cli`], nothing else.

mod bounds;
mod cli;
mod demo;
mod scenarios;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
