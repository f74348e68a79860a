//! `tollgate config schema`: the JSON schema of the file, for editors and checkers.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

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
    let mut schema = schemars::schema_for!(raw::File);
    let sections = schema.ensure_object();
    allow_no_value(sections);
    for section in
        sections.get_mut("$defs").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut)
    {
        section.as_object_mut().into_iter().for_each(allow_no_value);
    }
    serde_json::to_writer_pretty(&mut *out, &schema)?;
    writeln!(out)?;
    Ok(ExitCode::SUCCESS)
}

/// A key without a value is as if it were not there, so each that may be left out may be null.
fn allow_no_value(section: &mut Map<String, Value>) {
    let required = section.get("required").cloned().unwrap_or_default();
    let is_required =
        |key: &String| required.as_array().is_some_and(|list| list.iter().any(|name| name == key.as_str()));
    let Some(properties) = section.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (_, property) in properties.iter_mut().filter(|(key, _)| !is_required(key)) {
        let Some(property) = property.as_object_mut() else { continue };
        if let Some(reference) = property.remove("$ref") {
            property.insert("anyOf".to_owned(), json!([{ "$ref": reference }]));
        }
        let no_value = json!({ "type": "null" });
        if let Some(Value::Array(forms)) = property.get_mut("anyOf")
            && !forms.contains(&no_value)
        {
            forms.push(no_value);
        }
        match property.get_mut("type") {
            Some(Value::Array(types)) if !types.contains(&json!("null")) => types.push(json!("null")),
            Some(kind @ Value::String(_)) => *kind = json!([kind, "null"]),
            _ => {}
        }
        if let Some(Value::Array(values)) = property.get_mut("enum") {
            values.push(Value::Null);
        }
    }
}

#[cfg(test)]
mod tests {
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
    fn only_what_must_be_said_needs_a_value() {
        let schema = schema();
        let of = |section: &str, key: &str| schema["$defs"][section]["properties"][key].clone();
        assert_eq!(of("Agent", "name")["type"], json!(["string", "null"]));
        assert_eq!(of("Agent", "weight")["type"], json!(["integer", "null"]));
        assert_eq!(of("Agent", "repositories")["type"], "array");
        let max_size = of("Cache", "max_size")["anyOf"].clone();
        assert_eq!(max_size.as_array().unwrap().last().unwrap(), &json!({ "type": "null" }), "{max_size}");
        let budget = schema["properties"]["budget"].clone();
        assert_eq!(budget["anyOf"], json!([{ "$ref": "#/$defs/Budget" }, { "type": "null" }]), "{budget}");
        assert!(budget["description"].is_string(), "{budget}");
        assert_eq!(schema["properties"]["policy"]["$ref"], "#/$defs/Policy");
    }

    #[test]
    fn tells_what_must_be_said() {
        let schema = schema();
        assert_eq!(schema["required"], serde_json::json!(["policy", "agents"]));
        assert_eq!(schema["$defs"]["Agent"]["required"], serde_json::json!(["name", "repositories"]));
        assert_eq!(schema["$defs"]["Approval"]["required"], serde_json::json!(["mode"]));
    }
}
