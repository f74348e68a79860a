//! Pull requests: listed, read, opened and changed.

use serde_json::{Value, json};

use crate::context::{Cx, flag, required, text};
use crate::exchange::{Answer, Reply};
use crate::handlers::issues::{apply, matches_state};
use crate::render::gits::diff_text;
use crate::world::git::Change;
use crate::world::pulls::PullRefusal;
use crate::world::{Issue, Pull, Repository};

/// The pull request of the `number` parameter, or 404.
pub(crate) fn find<'a>(cx: &'a Cx<'_>) -> Result<(&'a Issue, &'a Pull), Reply> {
    let issue = cx.issue()?;
    Ok((issue, issue.pull.as_ref().ok_or_else(Reply::not_found)?))
}

/// The same, to change it.
pub(crate) fn find_mut<'a>(cx: &'a mut Cx<'_>) -> Result<&'a mut Pull, Reply> {
    cx.issue_mut()?.pull.as_mut().ok_or_else(Reply::not_found)
}

pub(crate) fn list(cx: &mut Cx<'_>) -> Answer {
    let state = cx.request.query("state").unwrap_or("open");
    let (head, base) = (cx.request.query("head"), cx.request.query("base"));
    let repository = cx.repository();
    let label = |name: &str| format!("{}:{name}", repository.owner);
    let mut found: Vec<(&Issue, &Pull)> = repository
        .pulls()
        .filter(|(issue, pull)| {
            matches_state(issue, state)
                && head.is_none_or(|head| head == label(&pull.head_ref) || head == pull.head_ref)
                && base.is_none_or(|base| base == pull.base_ref)
        })
        .collect();
    if cx.request.query("direction") != Some("asc") {
        found.reverse();
    }
    Ok(cx.page(&found, |view, (issue, pull)| view.pull(repository, issue, pull)))
}

/// `GET …/commits/{ref}/pulls`.
pub(crate) fn of_commit(cx: &mut Cx<'_>) -> Answer {
    let repository = cx.repository();
    let commit = repository.git.resolve(cx.param("ref")).ok_or_else(Reply::not_found)?;
    let found: Vec<(&Issue, &Pull)> =
        repository.pulls().filter(|(_, pull)| pull.head_sha == commit.id).collect();
    Ok(cx.page(&found, |view, (issue, pull)| view.pull(repository, issue, pull)))
}

fn shown(cx: &Cx<'_>) -> Result<(Value, i64), Reply> {
    let (issue, pull) = find(cx)?;
    Ok((cx.view().full_pull(cx.repository(), issue, pull), issue.updated_at))
}

pub(crate) fn read(cx: &mut Cx<'_>) -> Answer {
    if cx.request.wants("diff") || cx.request.wants("patch") {
        let repository = cx.repository();
        let diff = diff_text(&repository.git, &changes(repository, find(cx)?.1));
        return Ok(Reply::raw("application/vnd.github.diff; charset=utf-8", diff));
    }
    let (body, updated_at) = shown(cx)?;
    Ok(Reply::ok(body).modified_at(updated_at))
}

pub(crate) fn create(cx: &mut Cx<'_>) -> Answer {
    let body = cx.request.json()?;
    let (head, base) = (required(&body, "head")?, required(&body, "base")?);
    let (user, now) = (cx.actor(), cx.now);
    let title = text(&body, "title").ok_or_else(|| invalid("title", "invalid", "title"))?;
    let repository = cx.repository_mut();
    let is_draft = flag(&body, "draft");
    if is_draft && repository.forbids_drafts {
        return Err(no_drafts());
    }
    let owner = repository.owner.clone();
    let head = head.strip_prefix(&format!("{owner}:")).unwrap_or(&head);
    let opened = repository.open_pull(head, &base, &title, user, now);
    let number = opened.map_err(|refusal| match refusal {
        PullRefusal::NoHead => invalid("head", "invalid", "head"),
        PullRefusal::NoBase => invalid("base", "invalid", "base"),
        PullRefusal::NoCommits => invalid("head", "custom", &format!("No commits between {base} and {head}")),
        PullRefusal::Known => {
            invalid("head", "custom", &format!("A pull request already exists for {owner}:{head}."))
        }
    })?;
    cx.params.insert("number".to_owned(), number.to_string());
    cx.issue_mut()?.body = text(&body, "body");
    find_mut(cx)?.draft = is_draft;
    Ok(Reply::created(shown(cx)?.0))
}

fn invalid(field: &str, code: &str, message: &str) -> Reply {
    Reply::invalid("PullRequest", field, code, message)
}

/// What private repositories on some plans answer to a draft.
fn no_drafts() -> Reply {
    let docs = "https://docs.github.com/rest/pulls/pulls#create-a-pull-request";
    let message = "Draft pull requests are not supported in this repository.";
    Reply::json(422, json!({"message": message, "documentation_url": docs}))
}

pub(crate) fn change(cx: &mut Cx<'_>) -> Answer {
    let mut body = cx.request.json()?;
    let (issue, pull) = find(cx)?;
    let (number, now) = (issue.number, cx.now);
    if let Some(base) = text(&body, "base").filter(|base| *base != pull.base_ref) {
        if cx.repository().stack_of(number).is_some() {
            let message = "Cannot change the base branch because the pull request is part of a stack.";
            return Err(invalid("base", "invalid", message));
        }
        if cx.repository().git.branch(&base).is_none() {
            return Err(invalid("base", "invalid", "base"));
        }
        find_mut(cx)?.base_ref = base;
    }
    // Labels and assignees are changed through the issue.
    body.retain(|name, _| ["title", "body", "state"].contains(&name.as_str()));
    apply(cx.issue_mut()?, &body, now);
    Ok(Reply::ok(shown(cx)?.0))
}

/// The changes of a pull request since it diverged from its base.
pub(crate) fn changes(repository: &Repository, pull: &Pull) -> Vec<Change> {
    let git = &repository.git;
    let base = git.branch(&pull.base_ref).unwrap_or_default();
    let ancestor = git.merge_base(base, &pull.head_sha).map(|commit| commit.tree.as_str());
    git.commit(&pull.head_sha).map(|head| git.changes(ancestor, &head.tree)).unwrap_or_default()
}

pub(crate) fn files(cx: &mut Cx<'_>) -> Answer {
    let repository = cx.repository();
    let (_, pull) = find(cx)?;
    let changes = changes(repository, pull);
    Ok(cx.page(&changes, |view, change| view.file(repository, &pull.head_sha, change)))
}

pub(crate) fn commits(cx: &mut Cx<'_>) -> Answer {
    let repository = cx.repository();
    let (_, pull) = find(cx)?;
    let base = repository.git.branch(&pull.base_ref).unwrap_or_default();
    let mut log = repository.git.log_between(base, &pull.head_sha);
    log.reverse();
    Ok(cx.page(&log, |view, commit| view.commit(repository, commit)))
}
