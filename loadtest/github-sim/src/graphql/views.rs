//! The world in the shape of GitHub's GraphQL schema, as far as it is supported.
//!
//! A view has the object's own members. Other objects appear in it as links, which are resolved when they are
//! selected; members that need work are computed in [`crate::graphql::fields`]. Names that start with two
//! underscores, except `__typename`, are internal.

mod code;
mod issues;
mod repositories;

use serde_json::{Value, json};

use crate::graphql::ids::Node;
use crate::render::View;

pub(crate) use code::rollup;
pub(crate) use issues::reaction_groups;
pub(crate) use repositories::{latest_release, release, repository};

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
        "resourcePath": format!("/{login}"),
        "avatarUrl": user["avatar_url"],
        "email": "",
        "isViewer": false,
        "viewerCanCreateRepositories": false,
        "organizations": [],
        "organization": null,
    })
}

/// Stands for the object with this node id.
pub(crate) fn link(id: &str) -> Value {
    json!({"__link": id})
}

/// The view of a link's target, null when it is gone; `None` when the value is not a link.
pub(crate) fn linked(view: &View<'_>, value: &Value) -> Option<Value> {
    let id = value["__link"].as_str()?;
    Some(Node::find(view, id).and_then(|found| node(view, &found)).unwrap_or_default())
}

/// The view of an object; does not check whether the caller may see it.
pub(crate) fn node(view: &View<'_>, node: &Node) -> Option<Value> {
    if let Node::Account(login) = node {
        return Some(actor(view, login));
    }
    let repository = view.world.repositories.get(&node.repository()?)?;
    match node {
        Node::Account(_) => None,
        Node::Repository(_) => Some(repositories::repository(view, repository)),
        Node::Issue(_, number) => Some(issues::issue(view, repository, repository.issues.get(number)?)),
        Node::Ref(_, name) => Some(code::reference(repository, name, repository.git.refs.get(name)?)),
        Node::Commit(_, sha) => Some(code::commit(repository, repository.git.commit(sha)?)),
        Node::Label(_, name) => Some(repositories::label(view, repository, name)),
        Node::Comment(_, number, id) => {
            let issue = repository.issues.get(number)?;
            let comment = issue.comments.iter().find(|comment| comment.id == *id)?;
            Some(issues::comment(view, repository, issue, comment))
        }
        Node::Review(_, number, id) => {
            let (issue, pull) = repository.pull(*number)?;
            let review = pull.reviews.iter().find(|review| review.id == *id)?;
            Some(issues::review(view, repository, issue, review))
        }
        Node::ReviewComment(_, number, id) => {
            let (issue, pull) = repository.pull(*number)?;
            let comment = pull.review_comments.iter().find(|comment| comment.id == *id)?;
            Some(issues::review_comment(view, repository, issue, comment))
        }
        Node::CheckRun(_, id) => {
            let run = repository.check_runs.iter().find(|run| run["id"] == *id)?;
            Some(code::check_run(repository, run))
        }
        Node::Release(_, id) => Some(repositories::release(view, repository, repository.releases.get(id)?)),
        Node::Deployment(_, id) => {
            let found = repository.deployments.iter().find(|found| found["id"] == *id)?;
            Some(code::deployment(repository, found))
        }
    }
}
