//! Keys of the file whose feature is still to come: taken, checked, and said to have no effect.
//!
//! The change that brings a feature deletes its line here.

use super::Check;

const NO_EFFECT: &str = "has no effect yet in this version";

/// Path, `[]` standing for any element, and what to say of it.
const COMING: &[(&str, &str)] = &[
    ("cache", NO_EFFECT),
    ("policy.approval.max_lifetime", NO_EFFECT),
    ("policy.approval.allow_auto_merge", NO_EFFECT),
    (
        "policy.approval.issuers",
        "has no effect yet in this version: no signed approval is taken, so every gated call is refused",
    ),
    ("policy.draft_pull_requests", NO_EFFECT),
    ("policy.commit_trailer", NO_EFFECT),
    ("policy.audit_log", NO_EFFECT),
    ("policy.mode", NO_EFFECT),
    ("agents[].draft_pull_requests", NO_EFFECT),
    ("identities", NO_EFFECT),
    ("webhook", NO_EFFECT),
];

pub(super) fn report(check: &mut Check<'_>) {
    for (pattern, message) in COMING {
        match said(check, pattern) {
            None => {}
            Some((first, 1)) => check.warning(&first, *message),
            Some((first, count)) => check.warning(&first, format!("{message} (said in {count} places)")),
        }
    }
}

/// The first path that a pattern stands for, and how many there are.
fn said(check: &Check<'_>, pattern: &str) -> Option<(String, usize)> {
    let mut paths: Vec<&str> = check.document.said().filter(|path| is_like(path, pattern)).collect();
    paths.sort_by_key(|path| check.document.line(path));
    paths.first().map(|first| ((*first).to_owned(), paths.len()))
}

/// Whether a path is the pattern's, whatever its indices.
fn is_like(path: &str, pattern: &str) -> bool {
    match pattern.split_once("[]") {
        None => path == pattern,
        Some((list, key)) => path
            .strip_prefix(list)
            .and_then(|rest| rest.strip_prefix('['))
            .and_then(|rest| rest.split_once(']'))
            .is_some_and(|(index, rest)| index.bytes().all(|b| b.is_ascii_digit()) && is_like(rest, key)),
    }
}
