//! Files: the contents API and the README.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::access;
use crate::context::{Cx, required, text};
use crate::exchange::{Answer, Reply};
use crate::world::git::{Commit, TreeEntry};

/// The permissions for writing below `.github/workflows/`.
const WORKFLOWS: &str = "contents=write,workflows=write";

/// Refuses to touch a workflow file without `workflows: write`.
pub(crate) fn check_workflow(cx: &Cx<'_>, path: &str) -> Result<(), Reply> {
    if path.starts_with(".github/workflows/") && !cx.permits(WORKFLOWS) {
        return Err(access::forbidden(&cx.caller, WORKFLOWS));
    }
    Ok(())
}

/// The commit that `ref` names, or the default branch's tip, and the name used for it.
fn reference<'a>(cx: &'a Cx<'_>) -> Result<(String, &'a Commit), Reply> {
    let repository = cx.repository();
    let name = cx.request.query("ref").unwrap_or(&repository.default_branch);
    let commit = repository
        .git
        .resolve(name)
        .ok_or_else(|| Reply::error(404, &format!("No commit found for the ref {name}")))?;
    Ok((name.to_owned(), commit))
}

pub(crate) fn read(cx: &mut Cx<'_>) -> Answer {
    let (name, commit) = reference(cx)?;
    let path = cx.param("path").trim_matches('/').to_owned();
    show(cx, &name, commit, &path)
}

pub(crate) fn readme(cx: &mut Cx<'_>) -> Answer {
    let (name, commit) = reference(cx)?;
    show(cx, &name, commit, "README.md")
}

fn show(cx: &Cx<'_>, reference: &str, commit: &Commit, path: &str) -> Answer {
    let repository = cx.repository();
    let git = &repository.git;
    let found = git.entry_at(&commit.tree, path);
    let folder = match found {
        _ if path.is_empty() => &commit.tree,
        Some(entry) if entry.is_tree() => &entry.id,
        Some(entry) => return Ok(file(cx, reference, commit, path, entry)),
        None => return Err(Reply::not_found()),
    };
    let view = cx.view();
    let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
    let entries = git.tree(folder).unwrap_or_default().iter().map(|entry| {
        let path = format!("{prefix}{}", entry.name);
        view.content(repository, &path, reference, entry, false)
    });
    Ok(Reply::ok(entries.collect()))
}

fn file(cx: &Cx<'_>, reference: &str, commit: &Commit, path: &str, entry: &TreeEntry) -> Reply {
    let repository = cx.repository();
    let reply = if cx.request.wants("raw") {
        let bytes = repository.git.blob(&entry.id).cloned().unwrap_or_default();
        Reply::raw("application/vnd.github.raw+json; charset=utf-8", bytes)
    } else {
        Reply::ok(cx.view().content(repository, path, reference, entry, true))
    };
    reply.modified_at(commit.committer.at)
}

/// `PUT …/contents/{path}`: creates a file, or replaces the one whose blob is `sha`.
pub(crate) fn write(cx: &mut Cx<'_>) -> Answer {
    let body = cx.request.json()?;
    let content = required(&body, "content")?.replace(['\n', '\r'], "");
    let content = STANDARD.decode(content).map_err(|_| Reply::error(422, "content is not valid Base64"))?;
    let is_new = store(cx, &body, Some(Bytes::from(content)))?;
    let path = cx.param("path").to_owned();
    let branch = branch(cx, &body);
    let repository = cx.repository();
    let git = &repository.git;
    let tip = git.resolve(&branch).ok_or_else(Reply::not_found)?;
    let entry = git.entry_at(&tip.tree, &path).ok_or_else(Reply::not_found)?;
    let view = cx.view();
    let answer = json!({
        "content": view.content(repository, &path, &branch, entry, false),
        "commit": view.git_commit(repository, tip),
    });
    Ok(Reply::json(if is_new { 201 } else { 200 }, answer))
}

/// `DELETE …/contents/{path}`.
pub(crate) fn remove(cx: &mut Cx<'_>) -> Answer {
    let mut body = cx.request.json()?;
    for name in ["message", "sha", "branch"] {
        if let Some(value) = cx.request.query(name) {
            body.entry(name).or_insert_with(|| json!(value));
        }
    }
    store(cx, &body, None)?;
    let branch = branch(cx, &body);
    let repository = cx.repository();
    let tip = repository.git.resolve(&branch).ok_or_else(Reply::not_found)?;
    let commit = cx.view().git_commit(repository, tip);
    Ok(Reply::ok(json!({"content": null, "commit": commit})))
}

/// The branch that a body names, in short or as `refs/heads/…`; without one, the default branch.
fn branch(cx: &Cx<'_>, body: &Map<String, Value>) -> String {
    let name = text(body, "branch").unwrap_or_else(|| cx.repository().default_branch.clone());
    name.strip_prefix("refs/heads/").map(str::to_owned).unwrap_or(name)
}

/// Commits the file; returns whether it is new.
fn store(cx: &mut Cx<'_>, body: &Map<String, Value>, content: Option<Bytes>) -> Result<bool, Reply> {
    let message = required(body, "message")?;
    let path = cx.param("path").to_owned();
    check_workflow(cx, &path)?;
    let branch = branch(cx, body);
    let author = cx.author();
    let repository = cx.repository_mut();
    let git = &repository.git;
    let tip = git
        .branch(&branch)
        .and_then(|id| git.commit(id))
        .ok_or_else(|| Reply::error(404, &format!("Branch {branch} not found")))?;
    let present = git.entry_at(&tip.tree, &path).map(|entry| entry.id.clone());
    match (&present, text(body, "sha")) {
        (Some(present), Some(sent)) if *present != sent => {
            return Err(Reply::error(409, &format!("{path} does not match {sent}")));
        }
        (Some(_), None) => {
            return Err(Reply::error(422, "Invalid request.\n\n\"sha\" wasn't supplied."));
        }
        (None, _) if content.is_none() => return Err(Reply::not_found()),
        _ => {}
    }
    repository.commit_file(&branch, &path, content, &message, &author).ok_or_else(Reply::not_found)?;
    Ok(present.is_none())
}
