//! `tollgate status`: what the status page shows, in the terminal.

mod table;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::status::Status;

/// A thousand agents and fifty installations are a fraction of it.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const EVERY: Duration = Duration::from_secs(2);
/// Where there is no terminal to ask.
const WIDTH: u16 = 120;

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Where the admin listener is.
    #[arg(long, value_name = "URL", env = "TOLLGATE_ADMIN", default_value = "http://127.0.0.1:9090")]
    admin: String,
    /// Show it anew every two seconds, until interrupted.
    #[arg(long)]
    watch: bool,
    /// Print the snapshot as it comes from `/api/status`; with --watch one line each time.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &StatusArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let uri = address(&args.admin)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if !args.watch {
            let text = shown(&fetch(&uri).await?, args.json)?;
            return ignoring_a_closed_pipe(out.write_all(text.as_bytes()));
        }
        let is_terminal = std::io::stdout().is_terminal() && !args.json;
        loop {
            // One that restarts is waited for: who watches wants to see it come back.
            let text = match fetch(&uri).await {
                Ok(json) => shown(&json, args.json)?,
                Err(error) if args.json => return Err(error),
                Err(error) => format!("{error:#}\n"),
            };
            let frame = if is_terminal { format!("\u{1b}[H\u{1b}[2J{text}") } else { text };
            if let Err(error) = out.write_all(frame.as_bytes()).and_then(|()| out.flush()) {
                return ignoring_a_closed_pipe(Err(error));
            }
            tokio::time::sleep(EVERY).await;
        }
    })
}

/// As with `tollgate status | head`.
fn ignoring_a_closed_pipe(written: std::io::Result<()>) -> anyhow::Result<ExitCode> {
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn address(admin: &str) -> anyhow::Result<Uri> {
    let base = admin.trim_end_matches('/');
    let base = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
    if !base.starts_with("http://") {
        bail!("--admin: {admin}: only http:// is spoken here, as the admin listener does");
    }
    format!("{base}/api/status").parse().with_context(|| format!("--admin: {admin} is no URL"))
}

async fn fetch(uri: &Uri) -> anyhow::Result<Bytes> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let work = async {
        let answer = client.get(uri.clone()).await.with_context(|| {
            format!("{uri} can't be reached; is tollgate running, and is this its admin listener (--admin)?")
        })?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("{uri}: the answer did not come whole: {error}"))?;
        match status {
            StatusCode::OK => Ok(body.to_bytes()),
            _ => bail!("{uri} answers {status}: that is not tollgate's admin listener, or an older one"),
        }
    };
    match tokio::time::timeout(ANSWER_WITHIN, work).await {
        Ok(answer) => answer,
        Err(_) => bail!("{uri} did not answer within {} s", ANSWER_WITHIN.as_secs()),
    }
}

fn shown(json: &[u8], as_json: bool) -> anyhow::Result<String> {
    let status: Status = serde_json::from_slice(json)
        .context("what came is no status; command and server may be of different versions")?;
    if as_json {
        return Ok(format!("{}\n", String::from_utf8_lossy(json)));
    }
    let columns = crossterm::terminal::size().map_or(0, |(columns, _)| columns);
    // Some terminals state no size.
    let width = if columns == 0 { WIDTH } else { columns };
    Ok(table::frame(&status, width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_may_be_short() {
        for (admin, uri) in [
            ("http://127.0.0.1:9090", "http://127.0.0.1:9090/api/status"),
            ("http://proxy/base/", "http://proxy/base/api/status"),
            ("proxy:9090", "http://proxy:9090/api/status"),
        ] {
            assert_eq!(address(admin).unwrap().to_string(), uri);
        }
        assert!(address("https://proxy").is_err() && address("http://a b").is_err());
    }
}
