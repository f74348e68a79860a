//! The picture in the documentation matches the code, and the scripts do what they say.

use std::path::Path;
use std::process::Command;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn the_stages_of_the_architecture_page_are_those_of_the_driver() {
    let page = read("docs/architecture.md");
    let driver = read("src/proxy.rs");
    let stages: Vec<(&str, &str)> = page
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            let (_, name) = cells.next()?.split_once(' ')?;
            let file = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
            file.starts_with("src/proxy/").then_some((name, file))
        })
        .collect();
    assert_eq!(stages.len(), 10, "{stages:?}");
    let mut last_call = 0;
    for (name, file) in &stages {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(file).exists(), "{file}");
        let module = file.trim_start_matches("src/proxy/").trim_end_matches(".rs");
        assert!(driver.contains(&format!("mod {module};")), "{module}");
        if *name == "listen" || *name == "respond" {
            continue;
        }
        let call =
            driver.find(&format!("self.{module}(")).unwrap_or_else(|| panic!("{module} is not called"));
        assert!(call > last_call, "{module} is called before the stage above it");
        last_call = call;
    }
}

/// They ran whatever command had the name.
#[test]
fn the_scripts_run_what_they_have_and_nothing_else() {
    for script in ["scripts/test", "scripts/prove"] {
        let run = |argument: &str| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
            let output = Command::new(path).arg(argument).output().unwrap();
            let said = [output.stdout, output.stderr].concat();
            (output.status.code(), String::from_utf8(said).unwrap())
        };
        let (code, help) = run("--help");
        assert_eq!(code, Some(0), "{help}");
        let listed = help.rsplit(": ").next().unwrap();
        for unknown in ["true", "nosuch"] {
            let (code, said) = run(unknown);
            assert!(code == Some(2) && said.contains(unknown) && said.contains(listed), "{said}");
        }
        let text = read(script);
        for name in listed.split_whitespace() {
            assert!(text.contains(&format!("\n{name}() {{")), "{script} has no {name}");
        }
    }
}

#[test]
fn every_code_an_agent_can_see_is_explained() {
    let page = read("docs/errors.md");
    let codes = read("src/error.rs");
    let listed: Vec<&str> = codes.split(" => \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(listed.len() >= 14, "{listed:?}");
    for code in listed {
        assert!(page.contains(&format!("`{code}`")), "{code} is not in docs/errors.md");
    }
}
