//! Mutations of issues, and of what pull requests have as issues.

use serde_json::{Value, json};

use crate::context::text;
use crate::graphql::ids::Node;
use crate::graphql::mutations::{Act, Done, Refusal};
use crate::graphql::views::{actor, link, reaction_groups};
use crate::world::{Comment, Issue, Reaction};

fn shown(act: &Act<'_, '_>) -> Done {
    Ok(json!({"issue": act.issue_link()}))
}

pub(super) fn create(act: &mut Act<'_, '_>) -> Done {
    let title = act.required("title")?;
    let (labels, assignees) = (act.labels("labelIds")?, act.logins("assigneeIds")?);
    let body = text(&act.input, "body");
    let (user, now) = (act.cx.actor(), act.cx.now);
    let repository = act.cx.repository_mut();
    let number = repository.next_number();
    let mut issue = Issue::new(number, &title, user, now);
    issue.body = body;
    issue.labels = labels.unwrap_or_default();
    issue.assignees = assignees.unwrap_or_default();
    repository.issues.insert(number, issue);
    act.subject = Node::Issue(act.cx.repository_id, number);
    shown(act)
}

/// `updateIssue`: title, body, state, labels and assignees.
pub(super) fn update(act: &mut Act<'_, '_>) -> Done {
    let (labels, assignees) = (act.labels("labelIds")?, act.logins("assigneeIds")?);
    let (title, body) = (text(&act.input, "title"), text(&act.input, "body"));
    let (state, now) = (text(&act.input, "state"), act.cx.now);
    let issue = act.issue()?;
    issue.title = title.unwrap_or_else(|| issue.title.clone());
    issue.body = body.or_else(|| issue.body.clone());
    issue.labels = labels.unwrap_or_else(|| issue.labels.clone());
    issue.assignees = assignees.unwrap_or_else(|| issue.assignees.clone());
    match (state.as_deref(), issue.is_open) {
        (Some("CLOSED"), true) => issue.close(now),
        (Some("OPEN"), false) => issue.reopen(now),
        _ => {}
    }
    shown(act)
}

pub(super) fn close(act: &mut Act<'_, '_>) -> Done {
    let now = act.cx.now;
    act.issue()?.close(now);
    shown(act)
}

pub(super) fn reopen(act: &mut Act<'_, '_>) -> Done {
    let now = act.cx.now;
    act.issue()?.reopen(now);
    shown(act)
}

/// `addComment`, to an issue or a pull request.
pub(super) fn add_comment(act: &mut Act<'_, '_>) -> Done {
    let (body, user, at) = (act.required("body")?, act.cx.actor().to_owned(), act.cx.now);
    let id = act.cx.repository_mut().next_id();
    act.issue()?.comments.push(Comment { id, user, body, at });
    let node = link(&format!("IC_kwDO{id}"));
    let edge = |kind: &str| json!({"__typename": kind, "cursor": "1", "node": node});
    Ok(json!({
        "commentEdge": edge("IssueCommentEdge"),
        "timelineEdge": edge("IssueTimelineItemEdge"),
        "subject": act.issue_link(),
    }))
}

fn comment_id(act: &Act<'_, '_>) -> u64 {
    match act.subject {
        Node::Comment(_, _, id) => id,
        _ => 0,
    }
}

pub(super) fn update_comment(act: &mut Act<'_, '_>) -> Done {
    let (body, id) = (act.required("body")?, comment_id(act));
    if let Some(comment) = act.issue()?.comments.iter_mut().find(|comment| comment.id == id) {
        comment.body = body;
    }
    Ok(json!({"issueComment": link(&format!("IC_kwDO{id}"))}))
}

pub(super) fn delete_comment(act: &mut Act<'_, '_>) -> Done {
    let id = comment_id(act);
    act.issue()?.comments.retain(|comment| comment.id != id);
    Ok(json!({}))
}

pub(super) fn add_labels(act: &mut Act<'_, '_>) -> Done {
    let labels = act.labels("labelIds")?;
    let labels = labels.ok_or_else(|| Refusal::absent("addLabelsToLabelable", "labelIds"))?;
    let issue = act.issue()?;
    for label in labels {
        if !issue.labels.contains(&label) {
            issue.labels.push(label);
        }
    }
    Ok(json!({"labelable": act.issue_link()}))
}

pub(super) fn remove_labels(act: &mut Act<'_, '_>) -> Done {
    let labels = act.labels("labelIds")?;
    let labels = labels.ok_or_else(|| Refusal::absent("removeLabelsFromLabelable", "labelIds"))?;
    act.issue()?.labels.retain(|label| !labels.contains(label));
    Ok(json!({"labelable": act.issue_link()}))
}

pub(super) fn add_assignees(act: &mut Act<'_, '_>) -> Done {
    let logins = act.logins("assigneeIds")?;
    let logins = logins.ok_or_else(|| Refusal::absent("addAssigneesToAssignable", "assigneeIds"))?;
    let issue = act.issue()?;
    for login in logins {
        if !issue.assignees.contains(&login) {
            issue.assignees.push(login);
        }
    }
    Ok(json!({"assignable": act.issue_link()}))
}

/// `addReaction`: once for each user and content.
pub(super) fn add_reaction(act: &mut Act<'_, '_>) -> Done {
    let (subject, content) = (act.required("subjectId")?, act.required("content")?);
    let user = act.cx.actor();
    let repository = act.cx.repository_mut();
    let is_it =
        |found: &&Reaction| found.subject == subject && found.user == user && found.content == content;
    let id = match repository.reactions.iter().find(is_it).map(|found| found.id) {
        Some(id) => id,
        None => {
            let id = repository.next_id();
            let (subject, content) = (subject.clone(), content.clone());
            repository.reactions.push(Reaction { id, subject, user: user.to_owned(), content });
            id
        }
    };
    let reaction: Value = json!({
        "__typename": "Reaction",
        "id": format!("REA_kwDO{id}"),
        "databaseId": id,
        "content": content,
        "user": actor(&act.cx.view(), user),
        "reactable": link(&subject),
    });
    let groups = reaction_groups(act.cx.repository(), &subject);
    Ok(json!({"reaction": reaction, "reactionGroups": groups, "subject": link(&subject)}))
}
