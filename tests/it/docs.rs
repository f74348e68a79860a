//! The picture in the documentation matches the code.

use std::path::Path;

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
