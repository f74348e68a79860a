//! `tollgate check`: every problem of a file at once, each with its path and line.

mod findings;
mod online;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::config::problem::Severity;
use crate::config::{self, ApprovalMode, Config};

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Ask GitHub, too: installations, permissions, limits, owners no installation covers; and Redis, if it is used.
    /// Reads only.
    #[arg(long)]
    pub online: bool,
}

/// Problems go to `err`, the summary of a sound file to `out`.
pub fn run(args: &CheckArgs, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<ExitCode> {
    match config::from_file(&args.config) {
        Ok((config, warnings)) => {
            if !warnings.is_empty() {
                writeln!(err, "{warnings}")?;
            }
            writeln!(out, "{}", summary(&config))?;
            if args.online {
                let wrong = online::run(config, out)?;
                if wrong > 0 {
                    writeln!(err, "{}", count(wrong, "problem"))?;
                    return Ok(ExitCode::FAILURE);
                }
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(problems) => {
            writeln!(err, "{problems}")?;
            writeln!(err, "{}", count(problems.count(Severity::Error), "problem"))?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn summary(config: &Config) -> String {
    let approvals = match config.policy.approval_mode {
        ApprovalMode::Signed => "signed",
        ApprovalMode::Presence => "presence",
    };
    format!(
        "ok: {}, {}, {}, approvals {approvals}, upstream {}",
        count(config.agents.len(), "agent"),
        count(config.apps.len(), "app"),
        count(config.tokens.len(), "token"),
        config.upstream.api_url.to_string().trim_end_matches('/'),
    )
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, text: &str) -> (ExitCode, String, String) {
        let config = std::env::temp_dir().join(format!("tollgate-check-{}-{name}.yaml", std::process::id()));
        std::fs::write(&config, text).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(&CheckArgs { config: config.clone(), online: false }, &mut out, &mut err).unwrap();
        std::fs::remove_file(config).unwrap();
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn sums_up_a_sound_file() {
        // `PATH` is a variable that every test run has, and its value could be a token.
        let text = "
tokens: [{ name: dev, token_env: PATH }]
policy: { approval: { mode: presence } }
budget: { redis: { url: redis://a:1 } }
agents: [{ name: a, key_sha256: \"00000000000000000000000000000000000000000000000000000000000000aa\", repositories: [\"*\"] }]
";
        let (code, out, err) = check("sound", text);
        assert_eq!(
            out, "ok: 1 agent, 0 apps, 1 token, approvals presence, upstream https://api.github.com\n",
            "{err}"
        );
        assert_eq!(err, "warning: budget.redis, line 4: is not used: `budget.store` is `memory`\n");
        assert_eq!(code, ExitCode::SUCCESS);
    }

    #[test]
    fn fails_with_every_problem_on_a_line() {
        let (code, out, err) = check("unsound", "agents:\n  - nam: a\n    weight: x\n");
        assert_eq!(code, ExitCode::FAILURE);
        assert_eq!(out, "");
        assert!(err.contains("agents[0].nam, line 2: unknown key, did you mean `name`?\n"), "{err}");
        assert!(err.contains("agents[0].weight, line 3: expected a whole number"), "{err}");
        assert!(err.ends_with("6 problems\n"), "{err}");
    }
}
