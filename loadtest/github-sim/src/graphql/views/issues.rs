//! Issues and pull requests, with comments and reviews.

use serde_json::{Value, json};

use crate::clock::iso;
use crate::graphql::views::{actor, link};
use crate::render::issues::{issue_id, issue_node_id};
use crate::render::{View, commit_node_id, html_url, ref_node_id, repository_node_id};
use crate::world::pulls::merge_title;
use crate::world::{Comment, Issue, Pull, Repository, Review};

/// An issue or pull request.
pub(crate) fn issue(view: &View<'_>, repository: &Repository, issue: &Issue) -> Value {
    let id = issue_node_id(repository, issue);
    let page = if issue.pull.is_some() { "pull" } else { "issues" };
    let path = format!("{}/{page}/{}", repository.full_name(), issue.number);
    let body = issue.body.as_deref().unwrap_or_default();
    let comments = issue.comments.iter().map(|comment| link(&comment_node_id(comment)));
    let labels = issue.labels.iter().map(|name| super::repositories::label(view, repository, name));
    let mut object = json!({
        "__typename": if issue.pull.is_some() { "PullRequest" } else { "Issue" },
        "__repository": repository.id,
        "__labels": issue.labels,
        "id": id,
        "databaseId": issue_id(repository, issue),
        "number": issue.number,
        "title": issue.title,
        "body": body,
        "bodyText": body,
        "state": if issue.is_open { "OPEN" } else { "CLOSED" },
        "stateReason": if issue.is_open { Value::Null } else { json!("COMPLETED") },
        "closed": !issue.is_open,
        "locked": false,
        "isPinned": false,
        "url": format!("https://github.com/{path}"),
        "resourcePath": format!("/{path}"),
        "createdAt": iso(issue.created_at),
        "updatedAt": iso(issue.updated_at),
        "closedAt": issue.closed_at.map(iso),
        "author": actor(view, &issue.user),
        "authorAssociation": "MEMBER",
        "assignees": issue.assignees.iter().map(|login| actor(view, login)).collect::<Value>(),
        "labels": labels.collect::<Value>(),
        "comments": comments.collect::<Value>(),
        "milestone": null,
        "reactionGroups": reaction_groups(repository, &id),
        "repository": link(&repository_node_id(repository)),
    });
    for name in ["projectCards", "projectItems", "projectsV2", "participants", "linkedBranches"] {
        object[name] = json!([]);
    }
    if let Some(pull) = &issue.pull {
        add_pull(view, repository, issue, pull, &mut object);
    }
    object
}

/// Adds what pull requests have beyond issues.
fn add_pull(view: &View<'_>, repository: &Repository, issue: &Issue, pull: &Pull, object: &mut Value) {
    let home = link(&repository_node_id(repository));
    let git = &repository.git;
    let end = |name: &str| {
        let name = format!("refs/heads/{name}");
        git.refs.get(&name).map_or(Value::Null, |_| link(&ref_node_id(repository, &name)))
    };
    let is_open = issue.is_open && pull.merged_at.is_none();
    let merge_state = match (is_open, pull.draft) {
        (true, true) => "DRAFT",
        (true, false) => "CLEAN",
        (false, _) => "UNKNOWN",
    };
    let more = json!({
        "isDraft": pull.draft,
        "merged": pull.merged_at.is_some(),
        "mergedAt": pull.merged_at.map(iso),
        "mergedBy": pull.merged_at.map_or(Value::Null, |_| actor(view, &issue.user)),
        "mergeCommit": pull.merge_commit_sha.as_ref()
            .map_or(Value::Null, |sha| link(&commit_node_id(repository, sha))),
        "potentialMergeCommit": null,
        "mergeable": if is_open { "MERGEABLE" } else { "UNKNOWN" },
        "mergeStateStatus": merge_state,
        "headRefName": pull.head_ref,
        "headRefOid": pull.head_sha,
        "headRef": end(&pull.head_ref),
        "headRepository": home,
        "headRepositoryOwner": actor(view, &repository.owner),
        "baseRefName": pull.base_ref,
        "baseRefOid": git.branch(&pull.base_ref).unwrap_or_default(),
        "baseRef": end(&pull.base_ref),
        "baseRepository": home,
        "autoMergeRequest": auto_merge(view, issue, pull),
        "isInMergeQueue": false,
        "isMergeQueueEnabled": false,
        "mergeQueueEntry": null,
        "isCrossRepository": false,
        "maintainerCanModify": false,
        "permalink": object["url"],
        "viewerCanEnableAutoMerge": is_open,
        "stack": null,
    });
    if let (Value::Object(object), Value::Object(more)) = (&mut *object, more) {
        object.extend(more);
    }
    if pull.merged_at.is_some() {
        object["state"] = json!("MERGED");
    }
    add_reviews(view, pull, repository.protected.contains(&pull.base_ref), object);
}

fn add_reviews(view: &View<'_>, pull: &Pull, is_protected: bool, object: &mut Value) {
    let mut latest: Vec<&Review> = Vec::new();
    for review in pull.reviews.iter().rev().filter(|review| review.state != "PENDING") {
        if !latest.iter().any(|known| known.user == review.user) {
            latest.push(review);
        }
    }
    let has = |state: &str| latest.iter().any(|review| review.state == state);
    object["reviewDecision"] = match (has("CHANGES_REQUESTED"), has("APPROVED")) {
        (true, _) => json!("CHANGES_REQUESTED"),
        (false, true) => json!("APPROVED"),
        (false, false) => Value::Null,
    };
    if object["mergeStateStatus"] == "CLEAN" && has("CHANGES_REQUESTED") && is_protected {
        object["mergeStateStatus"] = json!("BLOCKED");
    }
    let links = |reviews: &[&Review]| -> Value {
        reviews.iter().map(|review| link(&review_node_id(review))).collect()
    };
    object["reviews"] = links(&pull.reviews.iter().collect::<Vec<_>>());
    object["latestReviews"] = links(&latest);
    latest.retain(|review| ["APPROVED", "CHANGES_REQUESTED"].contains(&review.state.as_str()));
    object["latestOpinionatedReviews"] = links(&latest);
    let requests = pull
        .requested_reviewers
        .iter()
        .map(|login| json!({"__typename": "ReviewRequest", "requestedReviewer": actor(view, login)}));
    object["reviewRequests"] = requests.collect();
    for name in ["closingIssuesReferences", "reviewThreads"] {
        object[name] = json!([]);
    }
}

fn auto_merge(view: &View<'_>, issue: &Issue, pull: &Pull) -> Value {
    let Some(auto_merge) = &pull.auto_merge else { return Value::Null };
    json!({
        "__typename": "AutoMergeRequest",
        "enabledBy": actor(view, &auto_merge.user),
        "enabledAt": iso(auto_merge.at),
        "mergeMethod": auto_merge.method,
        "commitHeadline": merge_title(issue, pull),
        "commitBody": issue.title,
        "authorEmail": null,
    })
}

fn comment_node_id(comment: &Comment) -> String {
    format!("IC_kwDO{}", comment.id)
}

fn review_node_id(review: &Review) -> String {
    format!("PRR_kwDO{}", review.id)
}

/// A comment of an issue or pull request.
pub(crate) fn comment(view: &View<'_>, repository: &Repository, issue: &Issue, comment: &Comment) -> Value {
    let home = link(&issue_node_id(repository, issue));
    let page = if issue.pull.is_some() { "pull" } else { "issues" };
    let id = comment_node_id(comment);
    json!({
        "__typename": "IssueComment",
        "__repository": repository.id,
        "id": id,
        "databaseId": comment.id,
        "body": comment.body,
        "bodyText": comment.body,
        "author": actor(view, &comment.user),
        "authorAssociation": "MEMBER",
        "createdAt": iso(comment.at),
        "updatedAt": iso(comment.at),
        "publishedAt": iso(comment.at),
        "includesCreatedEdit": false,
        "isMinimized": false,
        "minimizedReason": null,
        "viewerDidAuthor": false,
        "url": format!("{}/{page}/{}#issuecomment-{}", html_url(repository), issue.number, comment.id),
        "reactionGroups": reaction_groups(repository, &id),
        "issue": link(&issue_node_id(repository, issue)),
        "pullRequest": if issue.pull.is_some() { home } else { Value::Null },
        "repository": link(&repository_node_id(repository)),
    })
}

/// A comment on a pull request's diff.
pub(crate) fn review_comment(
    view: &View<'_>,
    repository: &Repository,
    issue: &Issue,
    comment: &Comment,
) -> Value {
    json!({
        "__typename": "PullRequestReviewComment",
        "__repository": repository.id,
        "id": format!("PRRC_kwDO{}", comment.id),
        "databaseId": comment.id,
        "body": comment.body,
        "author": actor(view, &comment.user),
        "path": "README.md",
        "createdAt": iso(comment.at),
        "updatedAt": iso(comment.at),
        "url": format!("{}/pull/{}#discussion_r{}", html_url(repository), issue.number, comment.id),
        "pullRequest": link(&issue_node_id(repository, issue)),
        "repository": link(&repository_node_id(repository)),
    })
}

pub(crate) fn review(view: &View<'_>, repository: &Repository, issue: &Issue, review: &Review) -> Value {
    let submitted_at = (review.state != "PENDING").then(|| iso(review.at));
    let id = review_node_id(review);
    json!({
        "__typename": "PullRequestReview",
        "__repository": repository.id,
        "id": id,
        "databaseId": review.id,
        "body": review.body,
        "bodyText": review.body,
        "state": review.state,
        "author": actor(view, &review.user),
        "authorAssociation": "MEMBER",
        "createdAt": iso(review.at),
        "updatedAt": iso(review.at),
        "submittedAt": submitted_at,
        "publishedAt": submitted_at,
        "includesCreatedEdit": false,
        "comments": [],
        "commit": link(&commit_node_id(repository, &review.commit_id)),
        "url": format!("{}/pull/{}#pullrequestreview-{}", html_url(repository), issue.number, review.id),
        "reactionGroups": reaction_groups(repository, &id),
        "pullRequest": link(&issue_node_id(repository, issue)),
        "repository": link(&repository_node_id(repository)),
    })
}

/// How often each reaction was given to a thing. All are there, as on GitHub.
pub(crate) fn reaction_groups(repository: &Repository, subject: &str) -> Value {
    let contents = ["THUMBS_UP", "THUMBS_DOWN", "LAUGH", "HOORAY", "CONFUSED", "HEART", "ROCKET", "EYES"];
    let groups = contents.iter().map(|content| {
        let is_it = |found: &&crate::world::Reaction| found.subject == subject && found.content == *content;
        let count = repository.reactions.iter().filter(is_it).count();
        json!({"__typename": "ReactionGroup", "content": content, "users": {"totalCount": count}})
    });
    groups.collect()
}
