//! The command line: one file for each command.

pub mod approve;
pub mod check;
pub mod key;
pub mod schema;
pub mod serve;
pub mod status;

use std::io::{ErrorKind, Write};
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
        Command::Check(args) => check::run(&args, &mut WhileRead(out), &mut WhileRead(err)),
        Command::Key(args) => key::run(&args, &mut WhileRead(out)),
        // Nothing is signed unless it was shown.
        Command::Approve(args) => approve::run(&args, &mut out, &mut err),
        // Ends with its pipe by itself.
        Command::Status(args) => status::run(&args, &mut out),
        Command::Config(args) => schema::run(&args, &mut WhileRead(out)),
    }
}

/// Drops what nobody reads any more, as with `tollgate check | head`: the exit code still says what was found.
struct WhileRead<W>(W);

impl<W: Write> Write for WhileRead<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(bytes.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self.0.flush() {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            flushed => flushed,
        }
    }
}
