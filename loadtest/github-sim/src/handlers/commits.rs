//! Commits: list, single, comparison; each also as a diff.

use serde_json::{Value, json};

use crate::context::Cx;
use crate::exchange::{Answer, Reply};
use crate::render::gits::{changes_of, diff_text};
use crate::render::html_url;
use crate::world::git::{Change, Commit, Git};

/// GitHub's media type of a diff.
const DIFF: &str = "application/vnd.github.diff; charset=utf-8";

pub(crate) fn list(cx: &mut Cx<'_>) -> Answer {
    let repository = cx.repository();
    let from = cx.request.query("sha").unwrap_or(&repository.default_branch);
    let tip = repository.git.resolve(from).ok_or_else(Reply::not_found)?;
    let mut log = repository.git.log(&tip.id);
    if let Some(path) = cx.request.query("path") {
        log.retain(|commit| touches(&repository.git, commit, path));
    }
    Ok(cx.page(&log, |view, commit| view.commit(repository, commit)))
}

fn touches(git: &Git, commit: &Commit, path: &str) -> bool {
    changes_of(git, commit).iter().any(|change| change.path.starts_with(path))
}

pub(crate) fn read(cx: &mut Cx<'_>) -> Answer {
    let repository = cx.repository();
    let name = cx.param("ref");
    let commit = repository
        .git
        .resolve(name)
        .ok_or_else(|| Reply::error(422, &format!("No commit found for SHA: {name}")))?;
    if cx.request.wants("sha") {
        return Ok(Reply::raw("application/vnd.github.sha; charset=utf-8", commit.id.clone()));
    }
    if cx.request.wants("diff") || cx.request.wants("patch") {
        let diff = diff_text(&repository.git, &changes_of(&repository.git, commit));
        return Ok(Reply::raw(DIFF, diff));
    }
    Ok(Reply::ok(cx.view().full_commit(repository, commit)).modified_at(commit.committer.at))
}

/// `GET …/compare/{base}...{head}`; either may have `owner:` before it.
pub(crate) fn compare(cx: &mut Cx<'_>) -> Answer {
    let repository = cx.repository();
    let git = &repository.git;
    let (base, head) = cx.param("basehead").split_once("...").ok_or_else(Reply::not_found)?;
    let own = format!("{}:", repository.owner);
    let resolve = |name: &str| git.resolve(name.strip_prefix(&own).unwrap_or(name));
    let base = resolve(base).ok_or_else(Reply::not_found)?;
    let head = resolve(head).ok_or_else(Reply::not_found)?;
    let ancestor = git.merge_base(&base.id, &head.id).ok_or_else(Reply::not_found)?;
    let changes = git.changes(Some(&ancestor.tree), &head.tree);
    if cx.request.wants("diff") {
        return Ok(Reply::raw(DIFF, diff_text(git, &changes)));
    }
    let ahead = git.log_between(&base.id, &head.id);
    let behind = git.log_between(&head.id, &base.id).len();
    let status = match (ahead.len(), behind) {
        (0, 0) => "identical",
        (_, 0) => "ahead",
        (0, _) => "behind",
        _ => "diverged",
    };
    let view = cx.view();
    let url = format!("{}/compare/{}", view.repository_url(repository), cx.param("basehead"));
    let html = format!("{}/compare/{}", html_url(repository), cx.param("basehead"));
    let files = changes.iter().map(|change: &Change| view.file(repository, &head.id, change));
    Ok(Reply::ok(json!({
        "url": url,
        "html_url": html,
        "permalink_url": html,
        "diff_url": format!("{html}.diff"),
        "patch_url": format!("{html}.patch"),
        "base_commit": view.commit(repository, base),
        "merge_base_commit": view.commit(repository, ancestor),
        "status": status,
        "ahead_by": ahead.len(),
        "behind_by": behind,
        "total_commits": ahead.len(),
        "commits": ahead.iter().rev().map(|commit| view.commit(repository, commit)).collect::<Value>(),
        "files": files.collect::<Value>(),
    })))
}
