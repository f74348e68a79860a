//! `tollgate key new`: an agent's key, shown once, and the lines for the file that know it.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::agent::NOBODY;
use crate::secret::{AgentKey, hex};

#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    pub command: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make an agent key, print it once, and the lines for the file with its SHA-256.
    New {
        /// Name of the agent: letters, digits, `-` and `_`.
        #[arg(value_parser = agent_name)]
        agent: String,
    },
}

pub fn run(args: &KeyArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let KeyCommand::New { agent } = &args.command;
    let key = AgentKey::generate(agent);
    writeln!(
        out,
        "The key of agent `{agent}`; it is shown this once and kept nowhere:\n\
         \n    {}\n\n\
         For the configuration file (a list of hashes while an old key is still in use):\n\
         \n  - name: \"{agent}\"\n    key_sha256: \"{}\"\n    repositories: [OWNER/NAME]",
        key.expose(),
        hex(&key.sha256()),
    )?;
    Ok(ExitCode::SUCCESS)
}

fn agent_name(text: &str) -> Result<String, String> {
    if text == NOBODY {
        Err("is what metrics and logs call callers that are no agent".to_owned())
    } else if crate::config::is_name(text) {
        Ok(text.to_owned())
    } else {
        Err("a name has 1 to 64 letters, digits, `-` and `_`".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn prints_the_key_and_lines_that_know_it() {
        let args = KeyArgs { command: KeyCommand::New { agent: "code-reviewer".to_owned() } };
        let mut out = Vec::new();
        run(&args, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        let key = out.lines().map(str::trim).find(|line| line.starts_with("tg_code_reviewer_")).unwrap();
        assert!(out.contains(&format!("key_sha256: \"{}\"", hex(&Sha256::digest(key)))), "{out}");
        // In quotes, since a name may look like a number.
        assert!(out.contains("- name: \"code-reviewer\""), "{out}");
    }

    #[test]
    fn refuses_a_name_no_agent_can_have() {
        assert!(agent_name("a b").is_err());
        assert!(agent_name("").is_err());
        assert!(agent_name("none").unwrap_err().contains("no agent"));
        assert!(agent_name("reviewer_2").is_ok());
    }
}
