//! `tollgate serve`: run the proxy until SIGTERM or Ctrl-C.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::config::{self, Config};
use crate::telemetry::{self, LogFormat};

/// Run the proxy.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The configuration file. Without one GITHUB_TOKEN is served to one agent, whose key is printed.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What is logged, as in `tollgate=debug`.
    #[arg(long, env = "TOLLGATE_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
    /// How log lines look; text on a terminal, else JSON.
    #[arg(long, env = "TOLLGATE_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

pub(super) fn run(args: &ServeArgs, err: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let Some(config) = load(args, err)? else {
        return Ok(ExitCode::FAILURE);
    };
    telemetry::start(&args.log, args.log_format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(config))?;
    // What is still running was given its time to drain.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

/// The configuration, or its problems on standard error.
fn load(args: &ServeArgs, err: &mut dyn Write) -> anyhow::Result<Option<Config>> {
    let loaded = match &args.config {
        Some(path) => config::from_file(path).map(|(config, warnings)| {
            if !warnings.is_empty() {
                let _ = writeln!(err, "{warnings}");
            }
            config
        }),
        None => config::from_environment().map(|(config, key)| {
            let listen = config.server.listen;
            let _ = writeln!(
                err,
                "tollgate: one agent, all repositories the token reaches, reads and plain writes."
            );
            let _ = writeln!(err, "  base URL  http://{listen}");
            let _ = writeln!(err, "  key       {}    (shown once; a new one at each start)", key.expose());
            config
        }),
    };
    match loaded {
        Ok(config) => Ok(Some(config)),
        Err(problems) => {
            writeln!(err, "{problems}")?;
            Ok(None)
        }
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let app = App::start(config).await?;
    let stop = app.stop_token();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tracing::info!(listen = %app.address()?, admin_listen = %app.admin_address()?, "tollgate serves");
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stop.cancel();
    });
    app.run().await;
    tracing::info!("stopped");
    Ok(())
}
