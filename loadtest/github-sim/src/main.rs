//! Runs a simulator until Ctrl-C or SIGTERM, and prints its addresses on stdout.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Parser;
use github_sim::{SecondaryLimits, Sim, SimConfig, TokenForm};

/// A strict stand-in for api.github.com on the loopback interface.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Port of the API; 0 takes any free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Port of the uploads host.
    #[arg(long, default_value_t = 0)]
    uploads_port: u16,
    /// Port of the storage hosts behind redirects.
    #[arg(long, default_value_t = 0)]
    storage_port: u16,
    /// Port of the control API.
    #[arg(long, default_value_t = 0)]
    control_port: u16,
    /// The App's id.
    #[arg(long)]
    app_id: Option<u64>,
    /// The App's client id.
    #[arg(long)]
    client_id: Option<String>,
    /// The App's public key in PEM.
    #[arg(long, value_name = "FILE", conflicts_with = "private_key")]
    public_key: Option<PathBuf>,
    /// The App's private key in PEM; only its public half is used.
    #[arg(long, value_name = "FILE")]
    private_key: Option<PathBuf>,
    /// A further key of the App to accept, as while one is replaced; may be repeated.
    #[arg(long = "further-key", value_name = "FILE")]
    further_keys: Vec<PathBuf>,
    /// How long a minted installation token lives, in seconds.
    #[arg(long)]
    token_lifetime: Option<i64>,
    /// A personal access token to accept; may be repeated.
    #[arg(long = "pat", value_name = "TOKEN")]
    pats: Vec<String>,
    /// Primary limit of core and of graphql.
    #[arg(long)]
    limit: Option<u64>,
    /// Length of the core and graphql windows, in seconds.
    #[arg(long)]
    window: Option<i64>,
    /// Enforce the secondary limits that GitHub documents.
    #[arg(long)]
    secondary: bool,
    /// Mint tokens of 40 characters.
    #[arg(long)]
    short_tokens: bool,
    /// Base of API URLs in answers, as `https://api.github.com`.
    #[arg(long, value_name = "URL")]
    link_base: Option<String>,
    /// Base of upload URLs in answers.
    #[arg(long, value_name = "URL")]
    uploads_link_base: Option<String>,
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "the addresses on stdout are what callers wait for")]
async fn main() -> anyhow::Result<()> {
    let sim = Sim::start(config(Options::parse())?).await?;
    let ready = serde_json::json!({
        "api_url": sim.api_url(),
        "uploads_url": sim.uploads_url(),
        "storage_url": sim.storage_url(),
        "control_url": sim.control_url(),
        "app_id": sim.app_id(),
        "client_id": sim.client_id(),
    });
    println!("{ready}");
    ended().await?;
    sim.shutdown().await;
    Ok(())
}

fn config(options: Options) -> anyhow::Result<SimConfig> {
    let mut config = SimConfig {
        port: options.port,
        uploads_port: options.uploads_port,
        storage_port: options.storage_port,
        control_port: options.control_port,
        link_base: options.link_base,
        uploads_link_base: options.uploads_link_base,
        ..SimConfig::default()
    };
    config.app_id = options.app_id.unwrap_or(config.app_id);
    config.client_id = options.client_id.unwrap_or(config.client_id);
    config.personal_tokens.extend(options.pats);
    config.limits.core = options.limit.unwrap_or(config.limits.core);
    config.limits.graphql = options.limit.unwrap_or(config.limits.graphql);
    config.limits.window_seconds = options.window.unwrap_or(config.limits.window_seconds);
    if let Some(file) = options.public_key.or(options.private_key) {
        config.app_key_pem = Some(read(&file)?);
    }
    for file in &options.further_keys {
        config.further_keys_pem.push(read(file)?);
    }
    config.token_lifetime_seconds = options.token_lifetime.unwrap_or(config.token_lifetime_seconds);
    if options.secondary {
        config.secondary = SecondaryLimits::github();
    }
    if options.short_tokens {
        config.token_form = TokenForm::Short;
    }
    Ok(config)
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Waits for Ctrl-C or SIGTERM.
async fn ended() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted,
    }
}
