//! The command line: one file for each command.

pub mod approve;
pub mod check;
pub mod key;
pub mod schema;
pub mod serve;
pub mod status;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A reverse proxy in front of the GitHub API for fleets of AI coding agents.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy.
    Serve(serve::ServeArgs),
    /// Validate a configuration file: every problem at once.
    Check(check::CheckArgs),
    /// Make keys for agents.
    Key(key::KeyArgs),
    /// Sign an approval of what a person reviewed.
    Approve(approve::ApproveArgs),
    /// The pools and agents of a running proxy.
    Status(status::StatusArgs),
    /// The configuration file's own description.
    Config(schema::ConfigArgs),
}

/// Runs the command of this process' arguments.
///
/// # Errors
/// With what to show the person who called.
pub fn run() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    match cli.command {
        Command::Serve(args) => serve::run(&args, &mut err),
        Command::Check(args) => check::run(&args, &mut out, &mut err),
        Command::Key(args) => key::run(&args, &mut out),
        Command::Approve(args) => approve::run(&args, &mut out, &mut err),
        Command::Status(args) => status::run(&args, &mut out),
        Command::Config(args) => schema::run(&args, &mut out),
    }
}
