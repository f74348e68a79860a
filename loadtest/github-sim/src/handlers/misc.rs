//! Smaller parts of a repository: deployments, environments, dispatches, collaborators.

use serde_json::{Map, Value, json};

use crate::clock::iso;
use crate::context::{Cx, required, text};
use crate::exchange::{Answer, Reply};
use crate::world::PERSONAL_LOGIN;

pub(crate) fn collaborators(cx: &mut Cx<'_>) -> Answer {
    Ok(cx.page(&[PERSONAL_LOGIN], |view, login| {
        let mut user = view.user(login);
        user["permissions"] = json!({"pull": true, "push": true, "admin": true});
        user["role_name"] = json!("admin");
        user
    }))
}

pub(crate) fn languages(_: &mut Cx<'_>) -> Answer {
    Ok(Reply::ok(json!({"Rust": 1234})))
}

pub(crate) fn environments(cx: &mut Cx<'_>) -> Answer {
    let id = cx.repository().id;
    Ok(cx.counted_page("environments", &["production"], |_, name| {
        json!({"id": id * 10, "name": name, "protection_rules": [], "deployment_branch_policy": null})
    }))
}

pub(crate) fn deployments(cx: &mut Cx<'_>) -> Answer {
    let deployments: Vec<_> = cx.repository().deployments.iter().rev().collect();
    Ok(cx.page(&deployments, |_, deployment| (*deployment).clone()))
}

/// `POST …/deployments`.
pub(crate) fn deploy(cx: &mut Cx<'_>) -> Answer {
    let body = cx.request.json()?;
    let name = required(&body, "ref")?;
    Ok(Reply::created(add_deployment(cx, &name, &body)?))
}

/// Creates a deployment of the commit that a name stands for.
pub(crate) fn add_deployment(cx: &mut Cx<'_>, name: &str, body: &Map<String, Value>) -> Result<Value, Reply> {
    let commit = cx.repository().git.resolve(name);
    let sha = commit.ok_or_else(|| Reply::error(422, "No ref found for the deployment"))?.id.clone();
    let id = cx.repository_mut().next_id();
    let view = cx.view();
    let base = view.repository_url(cx.repository());
    let deployment = json!({
        "id": id,
        "node_id": format!("DE_kwDO{id}"),
        "url": format!("{base}/deployments/{id}"),
        "sha": sha,
        "ref": name,
        "task": text(body, "task").unwrap_or_else(|| "deploy".to_owned()),
        "payload": {},
        "environment": text(body, "environment").unwrap_or_else(|| "production".to_owned()),
        "description": text(body, "description"),
        "creator": view.user(cx.actor()),
        "created_at": iso(cx.now),
        "updated_at": iso(cx.now),
        "statuses_url": format!("{base}/deployments/{id}/statuses"),
        "repository_url": base,
    });
    cx.repository_mut().deployments.push(deployment.clone());
    Ok(deployment)
}

/// `POST …/dispatches`.
pub(crate) fn dispatch(cx: &mut Cx<'_>) -> Answer {
    required(&cx.request.json()?, "event_type")?;
    Ok(Reply::no_content())
}

/// `POST …/actions/workflows/{id}/dispatches`: 204, and 200 with the run since March 2026.
pub(crate) fn dispatch_workflow(cx: &mut Cx<'_>) -> Answer {
    required(&cx.request.json()?, "ref")?;
    if !cx.view().is_2026() {
        return Ok(Reply::no_content());
    }
    let id = cx.repository_mut().next_id();
    let base = cx.view().repository_url(cx.repository());
    let url = format!("{base}/actions/runs/{id}");
    Ok(Reply::ok(json!({"workflow_run_id": id, "run_url": url, "html_url": url})))
}
