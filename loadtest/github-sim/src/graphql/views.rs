//! The world in the shape of GitHub's GraphQL schema, as far as it is answered.

use serde_json::{Value, json};

use crate::clock::iso;
use crate::render::issues::issue_node_id;
use crate::render::{View, html_url, repository_node_id};
use crate::world::{Issue, Repository};

/// A user, organization or bot.
pub(crate) fn actor(view: &View<'_>, login: &str) -> Value {
    let user = view.user(login);
    json!({
        "__typename": user["type"],
        "login": user["login"],
        "id": user["node_id"],
        "databaseId": user["id"],
        "name": user["login"],
        "url": user["html_url"],
        "avatarUrl": user["avatar_url"],
    })
}

/// A repository with all its issues and pull requests.
pub(crate) fn repository(view: &View<'_>, repository: &Repository) -> Value {
    let git = &repository.git;
    let reference = |name: &str, sha: &str| {
        json!({
            "__typename": "Ref",
            "name": name,
            "prefix": "refs/heads/",
            "target": {"__typename": "Commit", "oid": sha, "id": format!("C_kwDO{}{sha}", repository.id)},
        })
    };
    let default = git.branch(&repository.default_branch);
    let all = |is_wanted: fn(&Issue) -> bool| -> Value {
        let issues = repository.issues.values().filter(|found| is_wanted(found));
        issues.map(|found| issue(view, repository, found)).collect()
    };
    let branches = git.names("heads");
    let labels = repository.labels.keys().map(|name| json!({"__typename": "Label", "name": name}));
    let mut object = summary(view, repository);
    object["defaultBranchRef"] =
        default.map_or(Value::Null, |sha| reference(&repository.default_branch, sha));
    object["refs"] = branches.iter().map(|(name, sha)| reference(name, sha)).collect();
    object["issues"] = all(|found| found.pull.is_none());
    object["pullRequests"] = all(|found| found.pull.is_some());
    object["labels"] = labels.collect();
    object
}

/// A repository without what it contains.
fn summary(view: &View<'_>, repository: &Repository) -> Value {
    json!({
        "__typename": "Repository",
        "id": repository_node_id(repository),
        "databaseId": repository.id,
        "name": repository.name,
        "nameWithOwner": repository.full_name(),
        "description": repository.description,
        "isPrivate": repository.private,
        "isArchived": repository.archived,
        "isFork": false,
        "visibility": if repository.private { "PRIVATE" } else { "PUBLIC" },
        "viewerPermission": "WRITE",
        "url": html_url(repository),
        "owner": actor(view, &repository.owner),
    })
}

/// An issue or pull request.
fn issue(view: &View<'_>, repository: &Repository, issue: &Issue) -> Value {
    let is_merged = issue.pull.as_ref().is_some_and(|pull| pull.merged_at.is_some());
    let state = match (issue.is_open, is_merged) {
        (true, _) => "OPEN",
        (false, true) => "MERGED",
        (false, false) => "CLOSED",
    };
    let page = if issue.pull.is_some() { "pull" } else { "issues" };
    let labels = issue.labels.iter().map(|name| json!({"__typename": "Label", "name": name}));
    let comments = issue.comments.iter().map(|comment| {
        json!({
            "__typename": "IssueComment",
            "databaseId": comment.id,
            "body": comment.body,
            "author": actor(view, &comment.user),
        })
    });
    let mut object = json!({
        "__typename": if issue.pull.is_some() { "PullRequest" } else { "Issue" },
        "id": issue_node_id(repository, issue),
        "number": issue.number,
        "title": issue.title,
        "body": issue.body,
        "state": state,
        "closed": !issue.is_open,
        "url": format!("{}/{page}/{}", html_url(repository), issue.number),
        "createdAt": iso(issue.created_at),
        "updatedAt": iso(issue.updated_at),
        "author": actor(view, &issue.user),
        "labels": labels.collect::<Value>(),
        "comments": comments.collect::<Value>(),
        "repository": summary(view, repository),
    });
    if let Some(pull) = &issue.pull {
        object["isDraft"] = json!(pull.draft);
        object["merged"] = json!(is_merged);
        object["headRefName"] = json!(pull.head_ref);
        object["headRefOid"] = json!(pull.head_sha);
        object["baseRefName"] = json!(pull.base_ref);
        object["mergeable"] = json!("MERGEABLE");
    }
    object
}

/// The thing with this node id, if the repository is it or has it.
pub(crate) fn node(view: &View<'_>, found: &Repository, id: &str) -> Option<Value> {
    if repository_node_id(found) == id {
        return Some(repository(view, found));
    }
    let mut issues = found.issues.values();
    let wanted = issues.find(|candidate| issue_node_id(found, candidate) == id)?;
    Some(issue(view, found, wanted))
}
