//! Any text as a configuration: problems are told, within bounds, and no secret is told with them.
//!
//! Input: a file. Where a secret would stand that somebody typed into it, the input has `\x01`.

use std::ffi::OsString;
use std::path::Path;
use std::sync::LazyLock;

use tollgate::config::problem::Problems;
use tollgate::config::{Sources, load};

/// Keys of Apps and what belongs to them, as the stand-in for GitHub has them.
const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../loadtest/github-sim/keys");
/// What stands in every variable, and what is typed in: as long as GitHub's.
const IN_VARIABLE: &str = "ghp_inAVariable0123456789abcdefghijklmn";
const TYPED: &str = "ghp_typedIntoTheFile0123456789abcdefghij";
/// Variables of this name hold an App's key.
const KEY_VARIABLE: &str = "APP_KEY";

static KEY: LazyLock<String> = LazyLock::new(|| {
    crate::install_crypto();
    std::fs::read_to_string(format!("{DIRECTORY}/pkcs1.pem")).expect("the stand-in's keys are in the tree")
});

/// Most problems told, and the longest of them beside what the file itself holds.
const PROBLEMS_MAX: usize = 501;
const PROBLEM_BYTES_MAX: usize = 2_000;

/// # Panics
/// When problems hold a secret or are without bound.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // What reads for ever, or from whoever watches.
    if text.contains("/dev") || text.contains("/proc") || text.contains("/sys") {
        return;
    }
    let text = text.replace('\u{1}', TYPED);
    let key = KEY.as_str();
    let variable = |name: &str| match name {
        KEY_VARIABLE => Some(OsString::from(key.replace('\n', "\\n"))),
        name if name.starts_with("UNSET") => None,
        _ => Some(OsString::from(IN_VARIABLE)),
    };
    let sources = Sources { directory: Path::new(DIRECTORY), variable: &variable, is_running: false };
    match load::from_text(&text, &sources) {
        Ok((config, warnings)) => {
            assert!(!warnings.has_errors(), "{warnings}");
            check_problems(&text, &warnings);
            check_silent(&format!("{config:?}"));
        }
        Err(problems) => {
            assert!(problems.has_errors(), "{problems}");
            check_problems(&text, &problems);
        }
    }
}

fn check_problems(text: &str, problems: &Problems) {
    assert!(problems.iter().count() <= PROBLEMS_MAX);
    // YAML ends a line at a lone CR, too.
    let lines = u32::try_from(text.matches(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count() + 1);
    let lines = lines.unwrap_or(u32::MAX);
    for problem in problems.iter() {
        // At the start of a key or value: nobody can tell what else holds a secret.
        let tells = problem.path.contains(TYPED) || problem.message.contains(&format!("`{TYPED}"));
        assert!(!tells, "a secret typed into the file is told: {problem}");
        assert!(problem.message.len() <= PROBLEM_BYTES_MAX + text.len(), "{problem}");
        assert!(problem.line.is_none_or(|line| (1..=lines).contains(&line)), "{problem}");
    }
    check_silent(&problems.to_string());
}

fn check_silent(told: &str) {
    assert!(!told.contains(IN_VARIABLE), "a variable's value is told: {told}");
    let mut lines = KEY.lines().filter(|line| line.len() > 40);
    assert!(!lines.any(|line| told.contains(line)), "a key is told: {told}");
}
