//! Logs: one line of JSON or text for each event, and never a secret.
//!
//! Tokens and keys live in types whose debug output is redacted. Other crates' lines below `warn` are dropped
//! whatever the filter says, because at trace level they print what goes over the wire.

mod aside;
mod json_lines;

use std::io::IsTerminal;

use tracing::Level;
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

pub use aside::{Writing, lines_lost};
use json_lines::JsonLines;

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Json,
    Text,
}

/// Starts logging to standard error; `filter` as in `RUST_LOG`, such as `tollgate=debug`. Dropping the
/// returned [`Writing`] writes the lines that still wait.
///
/// # Errors
/// When the filter does not parse, the writing thread can't be started, or logging was started before.
pub fn start(filter: &str, format: Option<LogFormat>) -> anyhow::Result<Writing> {
    let filter: EnvFilter = filter.parse()?;
    let ours = filter_fn(|metadata| {
        let target = metadata.target();
        // h2 warns of every reset stream, so a client could fill the log; redis warns of every attempt to
        // reach a node. Our own lines report what matters.
        let is_loud = target.starts_with("h2") || target.starts_with("redis");
        target.starts_with("tollgate") || (*metadata.level() <= Level::WARN && !is_loud)
    });
    let is_terminal = std::io::stderr().is_terminal();
    let format = format.unwrap_or(match is_terminal {
        true => LogFormat::Text,
        false => LogFormat::Json,
    });
    let (lines, writing) = aside::start(std::io::stderr())?;
    let layer = match format {
        LogFormat::Json => JsonLines::to(lines).with_filter(filter.and(ours)).boxed(),
        LogFormat::Text => {
            fmt::layer().with_ansi(is_terminal).with_writer(lines).with_filter(filter.and(ours)).boxed()
        }
    };
    tracing_subscriber::registry().with(layer).try_init()?;
    Ok(writing)
}
