//! Logs: one line of JSON or text for each event, and never a secret.
//!
//! Tokens and keys live in types whose debug output is redacted. Other crates' lines below `warn` are dropped
//! whatever the filter says, because at trace level they print what goes over the wire.

mod aside;
mod json_lines;

use std::io::IsTerminal;

use anyhow::{Context, bail};
use tracing::Level;
use tracing_subscriber::filter::{EnvFilter, FilterExt, LevelFilter, filter_fn};
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

/// What is logged unless something else is asked for.
pub const DEFAULT_FILTER: &str = "info";

/// Starts logging to standard error; `filter` as in `RUST_LOG`, such as `tollgate=debug`, empty for the default.
/// Dropping the returned [`Writing`] writes the lines that still wait.
///
/// # Errors
/// When the filter would silence tollgate by mistake or does not parse, the writing thread can't be started, or
/// logging was started before.
pub fn start(filter: &str, format: Option<LogFormat>) -> anyhow::Result<Writing> {
    let filter = parse(filter)?;
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

/// [`EnvFilter`] takes any word for the target of other lines, so that `warning` would silence everything.
fn parse(text: &str) -> anyhow::Result<EnvFilter> {
    let text = if text.trim().is_empty() { DEFAULT_FILTER } else { text };
    let mut is_about_us = false;
    for directive in text.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        let is_ours = directive.parse::<LevelFilter>().is_ok()
            || directive.strip_prefix("tollgate").is_some_and(|rest| {
                rest.is_empty() || rest.starts_with(['=', '[']) || rest.starts_with("::")
            });
        if !is_ours && !directive.contains('=') {
            bail!("--log (TOLLGATE_LOG): `{}` is no level; {EXPECTED}", directive.escape_debug());
        }
        is_about_us |= is_ours;
    }
    if !is_about_us {
        bail!("--log (TOLLGATE_LOG): names no level for tollgate itself; {EXPECTED}");
    }
    text.parse().with_context(|| format!("--log (TOLLGATE_LOG): can't be read; {EXPECTED}"))
}

const EXPECTED: &str = "expected `error`, `warn`, `info`, `debug`, `trace` or `off`, or targets with levels, such as \
    `info,tollgate::budget=debug`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_would_silence_tollgate_by_mistake_is_refused() {
        for text in [
            "",
            " ",
            "info",
            "WARN",
            "off",
            "tollgate",
            "tollgate=debug",
            "warn,hyper=error",
            "tollgate::app=trace,",
        ] {
            parse(text).unwrap_or_else(|error| panic!("{text:?}: {error:#}"));
        }
        assert_eq!(parse("").unwrap().to_string(), DEFAULT_FILTER);
        for (text, said) in [
            ("warning", "`warning` is no level; expected `error`, `warn`"),
            ("info,verbose", "`verbose` is no level"),
            ("nonsense", "`nonsense` is no level"),
            ("tolgate=debug", "names no level for tollgate itself"),
            ("tollgates", "`tollgates` is no level"),
            ("hyper=warn", "names no level for tollgate itself"),
            ("tollgate=inf", "can't be read"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with("--log (TOLLGATE_LOG): ") && error.contains(said), "{text}: {error}");
        }
    }
}
