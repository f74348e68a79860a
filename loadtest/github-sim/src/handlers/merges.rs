//! The ways to merge a pull request, alone or with those below it in its stack.

use serde_json::{Map, Value, json};

use crate::context::{Cx, text};
use crate::digest::sha256_hex;
use crate::exchange::{Answer, Reply};
use crate::handlers::branches::{merge_into, note_merge, refused};
use crate::handlers::pulls::find;
use crate::world::Repository;

/// `GET …/merge`: 204 when merged, 404 when not.
pub(crate) fn is_merged(cx: &mut Cx<'_>) -> Answer {
    let (_, pull) = find(cx)?;
    pull.merged_at.map(|_| Reply::no_content()).ok_or_else(Reply::not_found)
}

/// `PUT …/merge`: in a stack only for the lowest unmerged one.
pub(crate) fn merge(cx: &mut Cx<'_>) -> Answer {
    let body = cx.request.json()?;
    let (issue, pull) = find(cx)?;
    let number = issue.number;
    if !issue.is_open || pull.merged_at.is_some() || pull.draft {
        return Err(Reply::error(405, "Pull Request is not mergeable"));
    }
    if !cx.repository().unmerged_below(number).is_empty() {
        let message = "This pull request is part of a stack and must be merged using the asynchronous \
                       merge REST API. For more information, see \
                       https://docs.github.com/rest/pulls/pulls#merge-a-pull-request-asynchronously";
        return Err(Reply::error(405, message));
    }
    check_head(&body, &pull.head_sha)?;
    let sha = land(cx, &[number], &body)?;
    let message = "Pull Request successfully merged";
    Ok(Reply::ok(json!({"sha": sha, "merged": true, "message": message})))
}

/// If the body names a head, merges only that head.
fn check_head(body: &Map<String, Value>, head: &str) -> Result<(), Reply> {
    if text(body, "sha").is_some_and(|expected| expected != head) {
        let message = "Head branch was modified. Review and try the merge again.";
        return Err(Reply::error(409, message));
    }
    Ok(())
}

/// Merges pull requests one after another, all or none; returns the merge commit of the last one, which the body
/// is about.
fn land(cx: &mut Cx<'_>, numbers: &[u64], body: &Map<String, Value>) -> Result<String, Reply> {
    let (author, title) = (cx.author(), text(body, "commit_title"));
    let repository = cx.repository_mut();
    let before = (numbers.len() > 1).then(|| repository.clone());
    let mut landed = Vec::new();
    for number in numbers {
        let title = title.as_deref().filter(|_| numbers.last() == Some(number));
        match repository.land(*number, title, &author) {
            Ok(sha) => landed.push((*number, sha)),
            Err(refusal) => {
                if let Some(before) = before {
                    *repository = before;
                }
                let reply = refused(refusal);
                return Err(match reply.status {
                    409 => Reply::error(405, "Pull Request is not mergeable"),
                    _ => reply,
                });
            }
        }
    }
    for (number, sha) in &landed {
        note_merge(cx, Some(*number), sha);
    }
    landed.pop().map(|(_, sha)| sha).ok_or_else(Reply::not_found)
}

/// The id of a pull request's asynchronous merge, derived from its number.
fn uuid(repository: &Repository, number: u64) -> String {
    let hash = sha256_hex(format!("{}#{number}", repository.id).as_bytes());
    format!("{}-{}-4{}-8{}-{}", &hash[..8], &hash[8..12], &hash[13..16], &hash[17..20], &hash[20..32])
}

/// `PUT …/merge-async`: accepted and done at once, together with everything below it in its stack. The body's
/// `sha` does not cover the heads of those.
pub(crate) fn merge_async(cx: &mut Cx<'_>) -> Answer {
    let body = cx.request.json()?;
    let (issue, pull) = find(cx)?;
    if let Some(sha) = pull.merge_commit_sha.as_ref().filter(|_| pull.merged_at.is_some()) {
        return Ok(Reply::ok(merged("Pull request is already merged.", sha)));
    }
    let number = issue.number;
    let mut numbers = cx.repository().unmerged_below(number);
    numbers.push(number);
    check_readiness(cx.repository(), &numbers)?;
    let head = pull.head_sha.clone();
    check_head(&body, &head)?;
    land(cx, &numbers, &body)?;
    let details = json!({
        "message": "Merge request enqueued.",
        "uuid": uuid(cx.repository(), number),
        "merge_method": text(&body, "merge_method").unwrap_or_else(|| "merge".to_owned()),
        "merge_action": text(&body, "merge_action").unwrap_or_else(|| "default".to_owned()),
        "expected_head_sha": head,
    });
    Ok(Reply::json(202, json!({"status": "pending", "details": details})))
}

/// Refuses closed pull requests and drafts. One of them blocks all above it in its stack.
fn check_readiness(repository: &Repository, numbers: &[u64]) -> Result<(), Reply> {
    for number in numbers {
        let state = match repository.pull(*number) {
            Some((issue, _)) if !issue.is_open => "closed",
            Some((_, pull)) if pull.draft => "a draft",
            _ => continue,
        };
        let message = match numbers.last() == Some(number) {
            true => format!("Pull request is {state}."),
            false => format!("Pull request #{number} below it in the stack is {state}."),
        };
        return Err(Reply::json(400, json!({"status": "failed", "details": {"message": message}})));
    }
    Ok(())
}

fn merged(message: &str, sha: &str) -> Value {
    json!({"status": "merged", "details": {"message": message, "sha": sha}})
}

/// `GET …/merge-async/{uuid}`.
pub(crate) fn merge_async_result(cx: &mut Cx<'_>) -> Answer {
    let (issue, pull) = find(cx)?;
    let is_known = cx.param("uuid") == uuid(cx.repository(), issue.number) && pull.merged_at.is_some();
    let sha = pull.merge_commit_sha.as_ref().filter(|_| is_known).ok_or_else(Reply::not_found)?;
    Ok(Reply::ok(merged("Pull request was merged.", sha)))
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
