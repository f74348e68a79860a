//! Repositories, their labels and releases.

use serde_json::{Value, json};

use crate::clock::iso;
use crate::graphql::views::{actor, link};
use crate::render::issues::issue_node_id;
use crate::render::{View, html_url, ref_node_id, repository_node_id};
use crate::world::{Issue, PERSONAL_LOGIN, Release, Repository, SEED_EPOCH};

/// A repository.
pub(crate) fn repository(view: &View<'_>, repository: &Repository) -> Value {
    let mut object = summary(view, repository);
    settings(repository, &mut object);
    object["isInOrganization"] = json!(object["owner"]["__typename"] == "Organization");
    let reference = |name: &str| link(&ref_node_id(repository, name));
    let default = format!("refs/heads/{}", repository.default_branch);
    let all = |is_wanted: fn(&Issue) -> bool| -> Value {
        let issues = repository.issues.values().filter(|found| is_wanted(found));
        issues.map(|found| link(&issue_node_id(repository, found))).collect()
    };
    object["defaultBranchRef"] =
        repository.git.refs.get(&default).map_or(Value::Null, |_| reference(&default));
    object["refs"] = repository.git.refs.keys().map(|name| reference(name)).collect();
    object["issues"] = all(|found| found.pull.is_none());
    object["pullRequests"] = all(|found| found.pull.is_some());
    object["labels"] = repository.labels.keys().map(|name| label(view, repository, name)).collect();
    object["releases"] =
        repository.releases.values().rev().map(|found| release(view, repository, found)).collect();
    let users: Value = [actor(view, PERSONAL_LOGIN)].into_iter().collect();
    for name in ["assignableUsers", "mentionableUsers", "collaborators"] {
        object[name] = users.clone();
    }
    object["branchProtectionRules"] =
        repository.protected.iter().map(|branch| super::code::protection(repository, branch)).collect();
    for name in ["milestones", "projects", "projectsV2", "repositoryTopics", "issueTemplates", "languages"] {
        object[name] = json!([]);
    }
    object
}

/// The repository's description of itself.
fn summary(view: &View<'_>, repository: &Repository) -> Value {
    let full_name = repository.full_name();
    json!({
        "__typename": "Repository",
        "__repository": repository.id,
        "id": repository_node_id(repository),
        "databaseId": repository.id,
        "name": repository.name,
        "nameWithOwner": full_name,
        "owner": actor(view, &repository.owner),
        "description": repository.description,
        "isPrivate": repository.private,
        "isArchived": repository.archived,
        "visibility": if repository.private { "PRIVATE" } else { "PUBLIC" },
        "url": html_url(repository),
        "resourcePath": format!("/{full_name}"),
        "sshUrl": format!("git@github.com:{full_name}.git"),
        "mirrorUrl": null,
        "homepageUrl": null,
        "createdAt": iso(SEED_EPOCH),
        "updatedAt": iso(repository.updated_at),
        "pushedAt": iso(repository.updated_at),
        "parent": null,
        "templateRepository": null,
        "primaryLanguage": {"__typename": "Language", "name": "Rust"},
        "licenseInfo": null,
        "codeOfConduct": null,
        "stargazerCount": 0,
        "forkCount": 0,
        "diskUsage": 108,
        "watchers": [],
        "stargazers": [],
    })
}

/// The repository's settings, the same for everyone who sees it.
fn settings(repository: &Repository, object: &mut Value) {
    for name in ["isFork", "isTemplate", "isMirror", "isDisabled", "isLocked"] {
        object[name] = json!(false);
    }
    for name in ["isEmpty", "isSecurityPolicyEnabled", "isUserConfigurationRepository"] {
        object[name] = json!(false);
    }
    for name in ["mergeCommitAllowed", "squashMergeAllowed", "rebaseMergeAllowed", "autoMergeAllowed"] {
        object[name] = json!(true);
    }
    for name in ["hasIssuesEnabled", "hasProjectsEnabled", "hasWikiEnabled"] {
        object[name] = json!(true);
    }
    for name in ["deleteBranchOnMerge", "allowUpdateBranch", "hasDiscussionsEnabled", "viewerCanAdminister"] {
        object[name] = json!(false);
    }
    object["viewerPermission"] = json!(if repository.private { "WRITE" } else { "READ" });
    object["viewerDefaultMergeMethod"] = json!("MERGE");
    object["viewerDefaultCommitEmail"] = Value::Null;
    object["viewerHasStarred"] = json!(false);
    object["viewerSubscription"] = json!("UNSUBSCRIBED");
}

pub(crate) fn label(view: &View<'_>, repository: &Repository, name: &str) -> Value {
    let label = view.label(repository, name);
    json!({
        "__typename": "Label",
        "__repository": repository.id,
        "id": label["node_id"],
        "name": name,
        "color": label["color"],
        "description": label["description"],
        "isDefault": label["default"],
        "url": format!("{}/labels/{name}", html_url(repository)),
        "createdAt": iso(SEED_EPOCH),
        "updatedAt": iso(SEED_EPOCH),
        "repository": link(&repository_node_id(repository)),
    })
}

pub(crate) fn release(view: &View<'_>, repository: &Repository, release: &Release) -> Value {
    let latest = latest_release(repository).map(|found| found.id);
    json!({
        "__typename": "Release",
        "__repository": repository.id,
        "id": format!("RE_kwDO{}", release.id),
        "databaseId": release.id,
        "name": release.name,
        "tagName": release.tag,
        "description": release.body,
        "isDraft": release.draft,
        "isPrerelease": release.prerelease,
        "isLatest": latest == Some(release.id),
        "url": format!("{}/releases/tag/{}", html_url(repository), release.tag),
        "createdAt": iso(release.at),
        "publishedAt": if release.draft { Value::Null } else { json!(iso(release.at)) },
        "author": actor(view, crate::world::BOT_LOGIN),
        "repository": link(&repository_node_id(repository)),
    })
}

/// The newest release that is neither a draft nor a prerelease.
pub(crate) fn latest_release(repository: &Repository) -> Option<&Release> {
    let mut releases = repository.releases.values().rev();
    releases.find(|release| !release.draft && !release.prerelease)
}
