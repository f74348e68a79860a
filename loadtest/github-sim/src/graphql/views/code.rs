//! Refs, commits, and what is known of commits.

use serde_json::{Value, json};

use crate::clock::iso;
use crate::graphql::views::link;
use crate::render::{commit_node_id, html_url, ref_node_id, repository_node_id};
use crate::world::Repository;
use crate::world::git::{Commit, Person};

/// A ref by its full name.
pub(crate) fn reference(repository: &Repository, name: &str, sha: &str) -> Value {
    let prefixes = ["refs/heads/", "refs/tags/", "refs/"];
    let prefix = prefixes.into_iter().find(|prefix| name.starts_with(prefix)).unwrap_or_default();
    let short = &name[prefix.len()..];
    let is_protected = prefix == "refs/heads/" && repository.protected.contains(short);
    json!({
        "__typename": "Ref",
        "__repository": repository.id,
        "id": ref_node_id(repository, name),
        "name": short,
        "prefix": prefix,
        "target": link(&commit_node_id(repository, sha)),
        "branchProtectionRule": if is_protected { protection(repository, short) } else { Value::Null },
        "refUpdateRule": null,
        "repository": link(&repository_node_id(repository)),
    })
}

/// The classic protection of a branch.
pub(crate) fn protection(repository: &Repository, branch: &str) -> Value {
    let name = ref_node_id(repository, branch);
    json!({
        "__typename": "BranchProtectionRule",
        "id": name.replacen("REF_", "BPR_", 1),
        "pattern": branch,
        "isAdminEnforced": true,
        "allowsDeletions": false,
        "allowsForcePushes": false,
        "requiresApprovingReviews": false,
        "requiredApprovingReviewCount": null,
        "requiresStatusChecks": false,
        "requiresStrictStatusChecks": false,
        "requiredStatusCheckContexts": [],
        "repository": link(&repository_node_id(repository)),
    })
}

fn person(person: &Person) -> Value {
    json!({
        "__typename": "GitActor",
        "name": person.name,
        "email": person.email,
        "date": iso(person.at),
        "user": null,
    })
}

pub(crate) fn commit(repository: &Repository, commit: &Commit) -> Value {
    let (headline, body) = commit.message.split_once('\n').unwrap_or((&commit.message, ""));
    let url = format!("{}/commit/{}", html_url(repository), commit.id);
    json!({
        "__typename": "Commit",
        "__repository": repository.id,
        "id": commit_node_id(repository, &commit.id),
        "oid": commit.id,
        "abbreviatedOid": commit.id.get(..7),
        "message": commit.message,
        "messageHeadline": headline,
        "messageBody": body.trim_start_matches('\n'),
        "author": person(&commit.author),
        "authors": [person(&commit.author)],
        "committer": person(&commit.committer),
        "authoredDate": iso(commit.author.at),
        "committedDate": iso(commit.committer.at),
        "parents": commit.parents.iter()
            .map(|sha| link(&commit_node_id(repository, sha)))
            .collect::<Value>(),
        "tree": {"__typename": "Tree", "oid": commit.tree},
        "signature": null,
        "url": url,
        "commitUrl": url,
        "repository": link(&repository_node_id(repository)),
    })
}

/// The combined state of a commit's statuses and check runs; null when it has none.
pub(crate) fn rollup(repository: &Repository, sha: &str) -> Value {
    let mut contexts: Vec<Value> = Vec::new();
    for status in repository.statuses.iter().rev().filter(|status| status["sha"] == sha) {
        if !contexts.iter().any(|known| known["context"] == status["context"]) {
            contexts.push(status_context(status));
        }
    }
    let runs = repository.check_runs.iter().filter(|run| run["head_sha"] == sha);
    contexts.extend(runs.map(|run| check_run(repository, run)));
    if contexts.is_empty() {
        return Value::Null;
    }
    let has = |names: &[&str]| {
        contexts.iter().any(|context| {
            let state = context["state"].as_str().or(context["conclusion"].as_str());
            names.contains(&state.unwrap_or("PENDING"))
        })
    };
    let state = if has(&["FAILURE", "ERROR", "CANCELLED", "TIMED_OUT", "ACTION_REQUIRED"]) {
        "FAILURE"
    } else if has(&["PENDING"]) {
        "PENDING"
    } else {
        "SUCCESS"
    };
    json!({
        "__typename": "StatusCheckRollup",
        "id": commit_node_id(repository, sha).replacen("C_", "SCR_", 1),
        "state": state,
        "contexts": contexts,
        "commit": link(&commit_node_id(repository, sha)),
    })
}

fn upper(value: &Value) -> Value {
    value.as_str().map_or(Value::Null, |text| json!(text.to_uppercase()))
}

fn status_context(status: &Value) -> Value {
    json!({
        "__typename": "StatusContext",
        "id": status["node_id"],
        "context": status["context"],
        "state": upper(&status["state"]),
        "description": status["description"],
        "targetUrl": status["target_url"],
        "createdAt": status["created_at"],
        "isRequired": false,
    })
}

pub(crate) fn check_run(repository: &Repository, run: &Value) -> Value {
    json!({
        "__typename": "CheckRun",
        "id": run["node_id"],
        "databaseId": run["id"],
        "name": run["name"],
        "status": upper(&run["status"]),
        "conclusion": upper(&run["conclusion"]),
        "startedAt": run["started_at"],
        "completedAt": run["completed_at"],
        "detailsUrl": run["details_url"],
        "isRequired": false,
        "repository": link(&repository_node_id(repository)),
        "checkSuite": {"__typename": "CheckSuite", "workflowRun": null},
    })
}

pub(crate) fn deployment(repository: &Repository, deployment: &Value) -> Value {
    let sha = deployment["sha"].as_str().unwrap_or_default();
    json!({
        "__typename": "Deployment",
        "__repository": repository.id,
        "id": deployment["node_id"],
        "databaseId": deployment["id"],
        "commitOid": sha,
        "commit": link(&commit_node_id(repository, sha)),
        "environment": deployment["environment"],
        "description": deployment["description"],
        "task": deployment["task"],
        "payload": null,
        "state": "PENDING",
        "createdAt": deployment["created_at"],
        "updatedAt": deployment["updated_at"],
        "ref": reference_of(repository, deployment),
        "repository": link(&repository_node_id(repository)),
    })
}

fn reference_of(repository: &Repository, deployment: &Value) -> Value {
    let name = format!("refs/heads/{}", deployment["ref"].as_str().unwrap_or_default());
    repository.git.refs.get(&name).map_or(Value::Null, |_| link(&ref_node_id(repository, &name)))
}
