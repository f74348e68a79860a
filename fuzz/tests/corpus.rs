//! The seeds: each is taken by its target without a finding.

use std::path::Path;
use std::{fs, io};

fn run(target: &str, check: fn(&[u8])) -> io::Result<()> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut count = 0;
    for seed in fs::read_dir(seeds)? {
        let path = seed?.path();
        // Shown when a check fails.
        eprintln!("{}", path.display());
        check(&fs::read(path)?);
        count += 1;
    }
    assert!(count > 3, "only {count} seeds");
    Ok(())
}

#[test]
fn target() -> io::Result<()> {
    run("target", tollgate_fuzz::target::check)
}

#[test]
fn json() -> io::Result<()> {
    run("json", tollgate_fuzz::json::check)
}

#[test]
fn approval() -> io::Result<()> {
    run("approval", tollgate_fuzz::approval::check)
}

#[test]
fn config() -> io::Result<()> {
    run("config", tollgate_fuzz::config::check)
}

#[test]
fn classify() -> io::Result<()> {
    run("classify", tollgate_fuzz::classify::check)
}
