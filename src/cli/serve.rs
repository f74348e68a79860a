//! `tollgate serve`: run the proxy until SIGTERM or Ctrl-C.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::config::{self, Config, Problems, Reading, Watch};
use crate::secret::AgentKey;
use crate::telemetry::{self, LogFormat};

/// Run the proxy.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The configuration file. Without one GITHUB_TOKEN is served to one agent, whose key is printed.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What is logged, as in `warn` or `info,tollgate::budget=debug`.
    #[arg(long, env = "TOLLGATE_LOG", default_value = telemetry::DEFAULT_FILTER, value_name = "FILTER")]
    log: String,
    /// How log lines look; text on a terminal, else JSON.
    #[arg(long, env = "TOLLGATE_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

pub(super) fn run(args: &ServeArgs, err: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let Some((source, warnings)) = load(args, err)? else {
        return Ok(ExitCode::FAILURE);
    };
    let _log = telemetry::start(&args.log, args.log_format)?;
    for warning in warnings.iter() {
        tracing::warn!("{}", warning.plain());
    }
    let runtime = runtime()?;
    runtime.block_on(serve(source, err))?;
    // What is still running was given its time to drain.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

/// With one core there is nobody to share work with, and sharing it costs.
fn runtime() -> std::io::Result<Runtime> {
    let has_several = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
    let mut builder = if has_several { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    builder.enable_all().build()
}

/// A configuration, and where it came from.
enum Source {
    File {
        config: Config,
        watch: Option<Watch>,
        version: String,
    },
    /// With the key of its one agent.
    Environment {
        config: Config,
        key: AgentKey,
    },
}

/// None: its problems are on standard error.
fn load(args: &ServeArgs, err: &mut dyn Write) -> anyhow::Result<Option<(Source, Problems)>> {
    let loaded = match &args.config {
        Some(path) => {
            let (watch, Reading { outcome, version, .. }) = Watch::open(path);
            outcome.map(|(config, warnings)| (Source::File { config, watch, version }, warnings))
        }
        None => config::from_environment()
            .map(|(config, key)| (Source::Environment { config, key }, Problems::default())),
    };
    match loaded {
        Ok(loaded) => Ok(Some(loaded)),
        Err(problems) => {
            writeln!(err, "{problems}")?;
            Ok(None)
        }
    }
}

async fn start(source: Source, err: &mut dyn Write) -> anyhow::Result<App> {
    match source {
        Source::File { config, watch, version } => Ok(App::start(config).await?.following(watch, &version)),
        Source::Environment { config, key } => {
            let app = App::start(config).await?;
            writeln!(
                err,
                "tollgate: one agent, all repositories the token reaches, reads and plain writes."
            )?;
            writeln!(err, "  base URL  http://{}", app.address()?)?;
            writeln!(err, "  key       {}    (shown once; a new one at each start)", key.expose())?;
            Ok(app)
        }
    }
}

async fn serve(source: Source, err: &mut dyn Write) -> anyhow::Result<()> {
    // Before the start, which may take a moment: their default would end the process without a word.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let app = tokio::select! {
        app = start(source, err) => app?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let (stop, cut, reread) = (app.stop_token(), app.cut_token(), app.reread());
    tracing::info!(listen = %app.address()?, admin_listen = %app.admin_address()?, "tollgate serves");
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => reread.notify_one(),
            }
        }
        tracing::info!("stopping when what is under way has ended; a second signal cuts it");
        stop.cancel();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        cut.cancel();
    });
    // As a task of its own, accepting takes turns with the connections it starts.
    tokio::spawn(app.run()).await??;
    tracing::info!("stopped");
    Ok(())
}
