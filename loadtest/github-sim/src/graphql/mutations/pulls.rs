//! Mutations of pull requests, except merging and reviewing.

use serde_json::json;

use crate::context::{flag, text};
use crate::graphql::ids::Node;
use crate::graphql::mutations::{Act, Done, Refusal};
use crate::world::pulls::PullRefusal;

const NO_DRAFTS: &str = "Draft pull requests are not supported in this repository.";

fn shown(act: &Act<'_, '_>) -> Done {
    Ok(json!({"pullRequest": act.issue_link()}))
}

/// A branch as it may be written: in short, in full, or with the owner before it.
fn short(name: &str) -> &str {
    let name = name.split_once(':').map_or(name, |(_, name)| name);
    name.strip_prefix("refs/heads/").unwrap_or(name)
}

pub(super) fn create(act: &mut Act<'_, '_>) -> Done {
    let (head, base, title) =
        (act.required("headRefName")?, act.required("baseRefName")?, act.required("title")?);
    let (head, base) = (short(&head), short(&base));
    let (user, now, body) = (act.cx.actor(), act.cx.now, text(&act.input, "body"));
    let is_draft = flag(&act.input, "draft");
    let repository = act.cx.repository_mut();
    if is_draft && repository.forbids_drafts {
        return Err(Refusal::unprocessable(NO_DRAFTS));
    }
    let number = repository.open_pull(head, base, &title, user, now).map_err(|refusal| {
        Refusal::unprocessable(&match refusal {
            PullRefusal::NoHead => {
                format!(
                    "Head sha can't be blank, No commits between {base} and {head}, Head ref must be a branch"
                )
            }
            PullRefusal::NoBase => "Base sha can't be blank, Base ref must be a branch".to_owned(),
            PullRefusal::NoCommits => format!("No commits between {base} and {head}"),
            PullRefusal::Known => format!("A pull request already exists for {}:{head}.", repository.owner),
        })
    })?;
    act.subject = Node::Issue(act.cx.repository_id, number);
    act.issue()?.body = body;
    act.pull()?.draft = is_draft;
    shown(act)
}

/// `updatePullRequest`: title, body, base, state, labels and assignees.
pub(super) fn update(act: &mut Act<'_, '_>) -> Done {
    let number = act.number();
    let (labels, assignees) = (act.labels("labelIds")?, act.logins("assigneeIds")?);
    let state = text(&act.input, "state");
    let base = text(&act.input, "baseRefName").map(|base| short(&base).to_owned());
    if let Some(base) = base.filter(|base| act.pull().is_ok_and(|pull| pull.base_ref != *base)) {
        let repository = act.cx.repository();
        if repository.stack_of(number).is_some() {
            let message = "Cannot change the base branch because the pull request is part of a stack.";
            return Err(Refusal::unprocessable(message));
        }
        if repository.git.branch(&base).is_none() {
            return Err(Refusal::unprocessable("Base ref must be a branch"));
        }
        act.pull()?.base_ref = base;
    }
    let (title, body) = (text(&act.input, "title"), text(&act.input, "body"));
    let issue = act.issue()?;
    issue.title = title.unwrap_or_else(|| issue.title.clone());
    issue.body = body.or_else(|| issue.body.clone());
    issue.labels = labels.unwrap_or_else(|| issue.labels.clone());
    issue.assignees = assignees.unwrap_or_else(|| issue.assignees.clone());
    match (state.as_deref(), issue.is_open) {
        (Some("CLOSED"), true) => close(act),
        (Some("OPEN"), false) => reopen(act),
        _ => shown(act),
    }
}

pub(super) fn close(act: &mut Act<'_, '_>) -> Done {
    let now = act.cx.now;
    if act.pull()?.merged_at.is_some() {
        return Err(Refusal::unprocessable("Could not close the pull request."));
    }
    act.issue()?.close(now);
    shown(act)
}

pub(super) fn reopen(act: &mut Act<'_, '_>) -> Done {
    let now = act.cx.now;
    let pull = act.pull()?;
    let (is_merged, head) = (pull.merged_at.is_some(), pull.head_ref.clone());
    if is_merged || act.cx.repository().git.branch(&head).is_none() {
        return Err(Refusal::unprocessable("Could not open the pull request."));
    }
    act.issue()?.reopen(now);
    shown(act)
}

pub(super) fn mark_ready(act: &mut Act<'_, '_>) -> Done {
    act.pull()?.draft = false;
    shown(act)
}

pub(super) fn convert_to_draft(act: &mut Act<'_, '_>) -> Done {
    if act.cx.repository().forbids_drafts {
        return Err(Refusal::unprocessable(NO_DRAFTS));
    }
    act.pull()?.draft = true;
    shown(act)
}
