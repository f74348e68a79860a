//! `tollgate config schema`: the JSON schema of the file, for editors and checkers.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::config::raw;

#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    pub command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the JSON schema of the configuration file.
    Schema,
}

pub fn run(args: &ConfigArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let ConfigCommand::Schema = args.command;
    serde_json::to_writer_pretty(&mut *out, &schemars::schema_for!(raw::File))?;
    writeln!(out)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn schema() -> Value {
        let mut out = Vec::new();
        run(&ConfigArgs { command: ConfigCommand::Schema }, &mut out).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn forbids_unknown_keys_everywhere() {
        let schema = schema();
        let sections = schema["$defs"].as_object().unwrap().values().chain([&schema]);
        let mut count = 0;
        for section in sections.filter(|section| section.get("properties").is_some()) {
            assert_eq!(section["additionalProperties"], false, "{section}");
            count += 1;
        }
        assert!(count >= 18, "{count} sections");
    }

    #[test]
    fn documents_every_key() {
        let schema = schema();
        let sections = schema["$defs"].as_object().unwrap().values().chain([&schema]);
        for properties in sections.filter_map(|section| section["properties"].as_object()) {
            for (key, property) in properties {
                assert!(property.get("description").is_some(), "{key} has no description");
            }
        }
    }

    #[test]
    fn tells_what_must_be_said() {
        let schema = schema();
        assert_eq!(schema["required"], serde_json::json!(["policy", "agents"]));
        assert_eq!(schema["$defs"]["Agent"]["required"], serde_json::json!(["name", "repositories"]));
        assert_eq!(schema["$defs"]["Approval"]["required"], serde_json::json!(["mode"]));
    }
}
