//! Pull requests and the ways to merge them.

use serde_json::{Map, Value, json};

use crate::context::{Cx, flag, required, text};
use crate::digest::sha256_hex;
use crate::exchange::{Answer, Reply};
use crate::handlers::branches::{merge_into, note_merge};
use crate::handlers::issues::{apply, matches_state};
use crate::render::gits::diff_text;
use crate::world::git::Change;
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

fn with_pulls(repository: &Repository) -> impl DoubleEndedIterator<Item = (&Issue, &Pull)> {
    repository.issues.values().filter_map(|issue| Some((issue, issue.pull.as_ref()?)))
}

pub(crate) fn list(cx: &mut Cx<'_>) -> Answer {
    let state = cx.request.query("state").unwrap_or("open");
    let (head, base) = (cx.request.query("head"), cx.request.query("base"));
    let repository = cx.repository();
    let label = |name: &str| format!("{}:{name}", repository.owner);
    let mut found: Vec<(&Issue, &Pull)> = with_pulls(repository)
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
        with_pulls(repository).filter(|(_, pull)| pull.head_sha == commit.id).collect();
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
    let repository = cx.repository_mut();
    let head = head.strip_prefix(&format!("{}:", repository.owner)).unwrap_or(&head).to_owned();
    let invalid = |field: &str| Reply::invalid("PullRequest", field, "invalid", field);
    let head_sha = repository.git.branch(&head).ok_or_else(|| invalid("head"))?.to_owned();
    let base_sha = repository.git.branch(&base).ok_or_else(|| invalid("base"))?;
    if repository.git.log_between(base_sha, &head_sha).is_empty() {
        let message = format!("No commits between {base} and {head}");
        return Err(Reply::invalid("PullRequest", "head", "custom", &message));
    }
    let is_known = with_pulls(repository)
        .any(|(issue, pull)| issue.is_open && pull.head_ref == head && pull.base_ref == base);
    if is_known {
        let message = format!("A pull request already exists for {}:{head}.", repository.owner);
        return Err(Reply::invalid("PullRequest", "head", "custom", &message));
    }
    let number = repository.next_number();
    let title = text(&body, "title").ok_or_else(|| invalid("title"))?;
    let mut issue = Issue::new(number, &title, user, now);
    issue.body = text(&body, "body");
    issue.pull = Some(Pull { draft: flag(&body, "draft"), ..Pull::new(&head, &base, &head_sha) });
    repository.issues.insert(number, issue);
    cx.params.insert("number".to_owned(), number.to_string());
    Ok(Reply::created(shown(cx)?.0))
}

pub(crate) fn change(cx: &mut Cx<'_>) -> Answer {
    let mut body = cx.request.json()?;
    find(cx)?;
    let now = cx.now;
    if let Some(base) = text(&body, "base") {
        if cx.repository().git.branch(&base).is_none() {
            return Err(Reply::invalid("PullRequest", "base", "invalid", "base"));
        }
        find_mut(cx)?.base_ref = base;
    }
    // Labels and assignees are changed through the issue.
    body.retain(|name, _| ["title", "body", "state"].contains(&name.as_str()));
    apply(cx.issue_mut()?, &body, now);
    Ok(Reply::ok(shown(cx)?.0))
}

/// What a pull request changes against the point where it left its base.
fn changes(repository: &Repository, pull: &Pull) -> Vec<Change> {
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

/// `GET …/merge`: 204 when merged, 404 when not.
pub(crate) fn is_merged(cx: &mut Cx<'_>) -> Answer {
    let (_, pull) = find(cx)?;
    pull.merged_at.map(|_| Reply::no_content()).ok_or_else(Reply::not_found)
}

/// `PUT …/merge`.
pub(crate) fn merge(cx: &mut Cx<'_>) -> Answer {
    let body = cx.request.json()?;
    let sha = land(cx, &body)?;
    let message = "Pull Request successfully merged";
    Ok(Reply::ok(json!({"sha": sha, "merged": true, "message": message})))
}

/// Merges the pull request, if its state and the body's `sha` allow it.
fn land(cx: &mut Cx<'_>, body: &Map<String, Value>) -> Result<String, Reply> {
    let (issue, pull) = find(cx)?;
    if !issue.is_open || pull.merged_at.is_some() || pull.draft {
        return Err(Reply::error(405, "Pull Request is not mergeable"));
    }
    let (number, head, base) = (issue.number, pull.head_sha.clone(), pull.base_ref.clone());
    let title = format!("Merge pull request #{number} from {}", pull.head_ref);
    if text(body, "sha").is_some_and(|expected| expected != head) {
        let message = "Head branch was modified. Review and try the merge again.";
        return Err(Reply::error(409, message));
    }
    let message = text(body, "commit_title").unwrap_or(title);
    let landed = merge_into(cx, &base, &head, &message).map_err(|reply| match reply.status {
        409 => Reply::error(405, "Pull Request is not mergeable"),
        _ => reply,
    })?;
    let sha = landed.unwrap_or(head);
    let now = cx.now;
    let issue = cx.issue_mut()?;
    issue.close(now);
    if let Some(pull) = &mut issue.pull {
        pull.merged_at = Some(now);
        pull.merge_commit_sha = Some(sha.clone());
    }
    note_merge(cx, Some(number), &sha);
    Ok(sha)
}

/// The id of a pull request's asynchronous merge, which follows from its number.
fn uuid(repository: &Repository, number: u64) -> String {
    let hash = sha256_hex(format!("{}#{number}", repository.id).as_bytes());
    format!("{}-{}-4{}-8{}-{}", &hash[..8], &hash[8..12], &hash[13..16], &hash[17..20], &hash[20..32])
}

/// `PUT …/merge-async`: accepted, and done at once.
pub(crate) fn merge_async(cx: &mut Cx<'_>) -> Answer {
    let body = cx.request.json()?;
    let (issue, pull) = find(cx)?;
    let uuid = uuid(cx.repository(), issue.number);
    let details = json!({"uuid": uuid, "expected_head_sha": pull.head_sha});
    if pull.merged_at.is_some() {
        return Ok(Reply::ok(json!({"status": "merged", "details": details})));
    }
    if !issue.is_open || pull.draft {
        return Err(Reply::error(400, "Pull Request is closed or a draft"));
    }
    land(cx, &body)?;
    Ok(Reply::json(202, json!({"status": "pending", "details": details})))
}

/// `GET …/merge-async/{uuid}`.
pub(crate) fn merge_async_result(cx: &mut Cx<'_>) -> Answer {
    let (issue, pull) = find(cx)?;
    let uuid = uuid(cx.repository(), issue.number);
    if cx.param("uuid") != uuid || pull.merged_at.is_none() {
        return Err(Reply::not_found());
    }
    let details = json!({"uuid": uuid, "sha": pull.merge_commit_sha});
    Ok(Reply::ok(json!({"status": "merged", "details": details})))
}

/// `PUT …/update-branch`: merges the base into the head.
pub(crate) fn update_branch(cx: &mut Cx<'_>) -> Answer {
    let body = cx.request.json()?;
    let (issue, pull) = find(cx)?;
    let (number, head, base) = (issue.number, pull.head_ref.clone(), pull.base_ref.clone());
    if text(&body, "expected_head_sha").is_some_and(|expected| expected != pull.head_sha) {
        return Err(Reply::error(422, "expected_head_sha does not match the head"));
    }
    let base_sha = cx.repository().git.branch(&base).ok_or_else(Reply::not_found)?.to_owned();
    merge_into(cx, &head, &base_sha, &format!("Merge {base} into {head}"))?;
    let url = format!("{}/pulls/{number}", cx.view().repository_url(cx.repository()));
    Ok(Reply::json(202, json!({"message": "Updating pull request branch.", "url": url})))
}
