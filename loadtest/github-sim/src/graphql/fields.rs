//! Members that take an argument or need extra work, and the root fields of queries.

use serde_json::{Value, json};

use crate::access::{Sight, sight};
use crate::context::Cx;
use crate::graphql::page::Arguments;
use crate::graphql::views::{self, link};
use crate::handlers::pulls::changes;
use crate::handlers::search::find_issues;
use crate::render::issues::issue_node_id;
use crate::render::{View, commit_node_id, ref_node_id, repository_node_id};
use crate::world::{BOT_LOGIN, Issue, OwnerKind, PERSONAL_LOGIN, Pull, Repository};

/// The account that `user`, `organization` or `repositoryOwner` asks for.
pub(crate) fn account(cx: &Cx<'_>, field: &str, login: &str) -> Option<Value> {
    let known = cx.state.world.owner(login).map(|owner| (owner.login.as_str(), owner.kind));
    let others = [PERSONAL_LOGIN, BOT_LOGIN].map(|login| (login, OwnerKind::User));
    let other = others.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(login));
    let (login, kind) = known.or(other)?;
    let is_wanted = match field {
        "user" => kind == OwnerKind::User,
        "organization" => kind == OwnerKind::Organization,
        _ => true,
    };
    is_wanted.then(|| views::actor(&cx.view(), login))
}

/// `search`: issues and pull requests as the search API finds them; nothing of other types.
pub(crate) fn search(cx: &Cx<'_>, query: &str, kind: &str) -> Value {
    if kind != "ISSUE" {
        return json!([]);
    }
    let mut found = find_issues(cx, query);
    found.sort_by_key(|(_, issue)| std::cmp::Reverse(issue.created_at));
    found.into_iter().map(|(repository, issue)| link(&issue_node_id(repository, issue))).collect()
}

/// A member that has to be computed; `None` when the view has it. The error is the message of a NOT_FOUND.
pub(crate) fn made(
    cx: &Cx<'_>,
    object: &Value,
    name: &str,
    arguments: &Arguments<'_>,
) -> Option<Result<Value, String>> {
    if name == "repositories" && object["avatarUrl"].is_string() {
        return Some(Ok(repositories(cx, object["login"].as_str()?)));
    }
    let repository = cx.state.world.repositories.get(&object["__repository"].as_u64()?)?;
    let value = match object["__typename"].as_str()? {
        "Repository" => return of_repository(&cx.view(), repository, name, arguments),
        "PullRequest" => {
            let (issue, pull) = repository.pull(object["number"].as_u64()?)?;
            of_pull(&cx.view(), repository, issue, pull, name)?
        }
        "Commit" => of_commit(repository, object["oid"].as_str()?, name)?,
        "Ref" if name == "associatedPullRequests" => {
            let is_from = |pull: &Pull| object["name"] == pull.head_ref;
            pulls(repository, is_from)
        }
        _ => return None,
    };
    Some(Ok(value))
}

/// The repositories of an account that the caller sees; the caller's own account has all of its own.
fn repositories(cx: &Cx<'_>, login: &str) -> Value {
    let world = &cx.state.world;
    let is_wanted = |repository: &&Repository| match sight(world, &cx.caller, repository) {
        Sight::Own => login == cx.actor() || repository.owner == login,
        Sight::Public => repository.owner == login,
        Sight::Hidden => false,
    };
    let found = world.repositories.values().filter(is_wanted);
    found.map(|repository| link(&repository_node_id(repository))).collect()
}

fn pulls(repository: &Repository, is_wanted: impl Fn(&Pull) -> bool) -> Value {
    let found = repository.pulls().filter(|(_, pull)| is_wanted(pull));
    found.map(|(issue, _)| link(&issue_node_id(repository, issue))).collect()
}

fn of_repository(
    view: &View<'_>,
    repository: &Repository,
    name: &str,
    arguments: &Arguments<'_>,
) -> Option<Result<Value, String>> {
    let git = &repository.git;
    let value = match name {
        "issue" | "pullRequest" | "issueOrPullRequest" => {
            let number = arguments.number("number").unwrap_or(0);
            let is_wanted = |issue: &&Issue| match name {
                "issue" => issue.pull.is_none(),
                "pullRequest" => issue.pull.is_some(),
                _ => true,
            };
            let found = repository.issues.get(&number).filter(is_wanted);
            let kind = match name {
                "issue" => "an Issue",
                "pullRequest" => "a PullRequest",
                _ => "an issue or pull request",
            };
            let message = || format!("Could not resolve to {kind} with the number of {number}.");
            return Some(found.map(|issue| link(&issue_node_id(repository, issue))).ok_or_else(message));
        }
        "label" => {
            let wanted = arguments.text("name").unwrap_or_default();
            let is_known = repository.labels.contains_key(&wanted);
            if is_known { link(view.label(repository, &wanted)["node_id"].as_str()?) } else { Value::Null }
        }
        "ref" => {
            let wanted = arguments.text("qualifiedName").unwrap_or_default();
            let mut names = ["", "refs/", "refs/heads/"].iter().map(|prefix| format!("{prefix}{wanted}"));
            let found = names.find(|name| git.refs.contains_key(name));
            found.map_or(Value::Null, |name| link(&ref_node_id(repository, &name)))
        }
        "object" => object(repository, arguments),
        "latestRelease" => {
            let latest = views::latest_release(repository);
            latest.map_or(Value::Null, |release| views::release(view, repository, release))
        }
        "release" => {
            let tag = arguments.text("tagName");
            let found = repository.releases.values().find(|release| Some(&release.tag) == tag.as_ref());
            found.map_or(Value::Null, |release| views::release(view, repository, release))
        }
        _ => return None,
    };
    Some(Ok(value))
}

/// The Git object of an `oid` or `expression`: a commit, or with `rev:path` a file.
fn object(repository: &Repository, arguments: &Arguments<'_>) -> Value {
    let wanted = arguments.text("oid").or_else(|| arguments.text("expression")).unwrap_or_default();
    let (revision, path) = wanted.split_once(':').map_or((wanted.as_str(), None), |(a, b)| (a, Some(b)));
    let revision = if revision == "HEAD" { &repository.default_branch } else { revision };
    let git = &repository.git;
    let Some(commit) = git.resolve(revision) else { return Value::Null };
    let Some(path) = path else { return link(&commit_node_id(repository, &commit.id)) };
    let Some(entry) = git.entry_at(&commit.tree, path) else { return Value::Null };
    let bytes = git.blob(&entry.id);
    json!({
        "__typename": if entry.is_tree() { "Tree" } else { "Blob" },
        "oid": entry.id,
        "byteSize": bytes.map(|bytes| bytes.len()),
        "isBinary": false,
        "text": bytes.map(|bytes| String::from_utf8_lossy(bytes)),
    })
}

fn of_pull(
    view: &View<'_>,
    repository: &Repository,
    issue: &Issue,
    pull: &Pull,
    name: &str,
) -> Option<Value> {
    let git = &repository.git;
    match name {
        "commits" => {
            let base = git.branch(&pull.base_ref).unwrap_or_default();
            let mut log = git.log_between(base, &pull.head_sha);
            // If merged, all of its commits are in the base; its head is still listed.
            if log.is_empty() {
                log.extend(git.commit(&pull.head_sha));
            }
            log.reverse();
            let shown = log.iter().map(|commit| {
                json!({
                    "__typename": "PullRequestCommit",
                    "commit": link(&commit_node_id(repository, &commit.id)),
                    "pullRequest": link(&issue_node_id(repository, issue)),
                })
            });
            Some(shown.collect())
        }
        "statusCheckRollup" => Some(views::rollup(repository, &pull.head_sha)),
        "changedFiles" => Some(json!(changes(repository, pull).len())),
        "files" | "additions" | "deletions" => {
            let changes = changes(repository, pull);
            let files = changes.iter().map(|change| view.file(repository, &pull.head_sha, change));
            if name != "files" {
                return Some(json!(files.filter_map(|file| file[name].as_u64()).sum::<u64>()));
            }
            let shown = files.map(|file| {
                json!({
                    "__typename": "PullRequestChangedFile",
                    "path": file["filename"],
                    "additions": file["additions"],
                    "deletions": file["deletions"],
                    "changeType": match file["status"].as_str() {
                        Some("added") => "ADDED",
                        Some("removed") => "DELETED",
                        _ => "MODIFIED",
                    },
                })
            });
            Some(shown.collect())
        }
        _ => None,
    }
}

fn of_commit(repository: &Repository, sha: &str, name: &str) -> Option<Value> {
    match name {
        "statusCheckRollup" => Some(views::rollup(repository, sha)),
        "history" => {
            let log = repository.git.log(sha);
            Some(log.iter().map(|commit| link(&commit_node_id(repository, &commit.id))).collect())
        }
        "associatedPullRequests" => Some(pulls(repository, |pull| {
            pull.head_sha == sha || pull.merge_commit_sha.as_deref() == Some(sha)
        })),
        _ => None,
    }
}
