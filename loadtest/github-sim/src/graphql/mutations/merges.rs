//! Mutations that merge, or let something be merged later.

use serde_json::json;

use crate::clock::iso;
use crate::context::text;
use crate::graphql::mutations::{Act, Done, Refusal};
use crate::graphql::views::{actor, link};
use crate::render::commit_node_id;
use crate::world::AutoMerge;
use crate::world::pulls::MergeRefusal;

/// `mergePullRequest`: in a stack only for the lowest unmerged one, as in REST.
pub(super) fn merge(act: &mut Act<'_, '_>) -> Done {
    land(act)?;
    Ok(json!({"pullRequest": act.issue_link()}))
}

/// `enqueuePullRequest`: merges at once, since there is no queue here.
pub(super) fn enqueue(act: &mut Act<'_, '_>) -> Done {
    land(act)?;
    let cx = &act.cx;
    let entry = json!({
        "__typename": "MergeQueueEntry",
        "id": format!("MQE_kwDO{}{}", cx.repository_id, act.number()),
        "position": 1,
        "state": "MERGEABLE",
        "jump": act.input.get("jump"),
        "enqueuedAt": iso(cx.now),
        "enqueuer": actor(&cx.view(), cx.actor()),
        "pullRequest": act.issue_link(),
    });
    Ok(json!({"mergeQueueEntry": entry}))
}

fn check_head(act: &Act<'_, '_>) -> Result<(), Refusal> {
    let head = act.cx.repository().pull(act.number()).map(|(_, pull)| &pull.head_sha);
    let expected = text(&act.input, "expectedHeadOid");
    if expected.is_some() && expected.as_ref() != head {
        let message = "Head branch was modified. Review and try the merge again.";
        return Err(Refusal::unprocessable(message));
    }
    Ok(())
}

/// Merges the pull request if it is open, ready, and at the expected head.
fn land(act: &mut Act<'_, '_>) -> Result<(), Refusal> {
    let number = act.number();
    let (issue, pull) = act.cx.repository().pull(number).ok_or_else(Refusal::gone)?;
    let refusal = match (pull.merged_at.is_some(), issue.is_open, pull.draft) {
        (true, _, _) => Some("Pull Request is already merged"),
        (_, false, _) => Some("Pull Request is closed"),
        (_, _, true) => Some("Pull Request is still a draft"),
        _ if !act.cx.repository().unmerged_below(number).is_empty() => Some(
            "This pull request is part of a stack and must be merged using the asynchronous merge REST API.",
        ),
        _ => None,
    };
    if let Some(message) = refusal {
        return Err(Refusal::unprocessable(message));
    }
    check_head(act)?;
    let title = text(&act.input, "commitHeadline").map(|headline| {
        let body = text(&act.input, "commitBody").filter(|body| !body.is_empty());
        body.map_or_else(|| headline.clone(), |body| format!("{headline}\n\n{body}"))
    });
    let author = act.cx.author();
    let merged = act.cx.repository_mut().land(number, title.as_deref(), &author);
    let sha = merged.map_err(|refusal| {
        Refusal::unprocessable(match refusal {
            MergeRefusal::Missing => "Base branch does not exist",
            MergeRefusal::Conflict => "Pull Request has merge conflicts",
        })
    })?;
    act.note_merge(Some(number), &sha);
    Ok(())
}

/// `enablePullRequestAutoMerge`: the next push to the head merges it.
pub(super) fn enable_auto_merge(act: &mut Act<'_, '_>) -> Done {
    check_head(act)?;
    let number = act.number();
    if act.cx.repository().stack_of(number).is_some() {
        return Err(Refusal::unprocessable("Pull request is part of a stack, which has no auto-merge"));
    }
    if !act.issue()?.is_open {
        return Err(Refusal::unprocessable("Pull request is closed"));
    }
    let method = text(&act.input, "mergeMethod").unwrap_or_else(|| "MERGE".to_owned());
    let auto_merge = AutoMerge { user: act.cx.actor().to_owned(), method, at: act.cx.now };
    act.pull()?.auto_merge = Some(auto_merge);
    Ok(json!({"pullRequest": act.issue_link()}))
}

pub(super) fn disable_auto_merge(act: &mut Act<'_, '_>) -> Done {
    if act.pull()?.auto_merge.take().is_none() {
        return Err(Refusal::unprocessable("Can't disable auto-merge for this pull request."));
    }
    Ok(json!({"pullRequest": act.issue_link()}))
}

/// `mergeBranch`: `head` is a branch or a commit.
pub(super) fn merge_branch(act: &mut Act<'_, '_>) -> Done {
    let (base, head) = (act.required("base")?, act.required("head")?);
    let base = base.strip_prefix("refs/heads/").unwrap_or(&base).to_owned();
    let commit = act.cx.repository().git.resolve(&head).map(|commit| commit.id.clone());
    let sha = commit.ok_or_else(|| Refusal::missing(format!("No such head '{head}'.")))?;
    let message = text(&act.input, "commitMessage").unwrap_or_else(|| format!("Merge {head} into {base}"));
    let author = act.cx.author();
    let merged = act.cx.repository_mut().merge_branch(&base, &sha, &message, &author);
    let merged = merged.map_err(|refusal| match refusal {
        MergeRefusal::Missing => Refusal::missing(format!("No such base '{base}'.")),
        MergeRefusal::Conflict => Refusal::unprocessable("Failed to merge: \"Merge conflict\""),
    })?;
    let id = merged.ok_or_else(|| Refusal::unprocessable("Failed to merge: \"Already merged\""))?;
    act.note_merge(None, &id);
    Ok(json!({"mergeCommit": link(&commit_node_id(act.cx.repository(), &id))}))
}

/// `updatePullRequestBranch`: merges the base into the head.
pub(super) fn update_branch(act: &mut Act<'_, '_>) -> Done {
    let (number, author) = (act.number(), act.cx.author());
    let repository = act.cx.repository();
    let (_, pull) = repository.pull(number).ok_or_else(Refusal::gone)?;
    let (head, base) = (pull.head_ref.clone(), pull.base_ref.clone());
    if text(&act.input, "expectedHeadOid").is_some_and(|expected| expected != pull.head_sha) {
        return Err(Refusal::unprocessable("expected head sha didn't match current head ref."));
    }
    let sha = repository.git.branch(&base).map(str::to_owned);
    let sha = sha.ok_or_else(|| Refusal::unprocessable("Base branch does not exist"))?;
    let message = format!("Merge {base} into {head}");
    let merged = act.cx.repository_mut().merge_branch(&head, &sha, &message, &author);
    match merged {
        Ok(Some(_)) => Ok(json!({"pullRequest": act.issue_link()})),
        Ok(None) => Err(Refusal::unprocessable("There are no new commits on the base branch.")),
        Err(MergeRefusal::Conflict) => Err(Refusal::unprocessable("merge conflict between base and head")),
        Err(MergeRefusal::Missing) => Err(Refusal::unprocessable("Head branch does not exist")),
    }
}
