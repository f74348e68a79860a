//! Commit statuses and check runs.

use serde_json::{Value, json};

use crate::clock::iso;
use crate::context::{Cx, required, text};
use crate::exchange::{Answer, Reply};

/// The full id of the commit of the `ref` parameter.
fn commit_id(cx: &Cx<'_>) -> Result<String, Reply> {
    let commit = cx.repository().git.resolve(cx.param("ref"));
    Ok(commit.ok_or_else(Reply::not_found)?.id.clone())
}

fn of_commit<'a>(list: &'a [Value], key: &str, sha: &str) -> Vec<&'a Value> {
    list.iter().rev().filter(|value| value[key] == sha).collect()
}

pub(crate) fn statuses(cx: &mut Cx<'_>) -> Answer {
    let sha = commit_id(cx)?;
    let found = of_commit(&cx.repository().statuses, "sha", &sha);
    Ok(cx.page(&found, |_, status| (*status).clone()))
}

/// `GET …/commits/{ref}/status`: the newest status of each context, and their combined state.
pub(crate) fn combined(cx: &mut Cx<'_>) -> Answer {
    let sha = commit_id(cx)?;
    let repository = cx.repository();
    let mut newest: Vec<Value> = Vec::new();
    for status in of_commit(&repository.statuses, "sha", &sha) {
        if !newest.iter().any(|known| known["context"] == status["context"]) {
            newest.push(status.clone());
        }
    }
    let has = |state: &str| newest.iter().any(|status| status["state"] == state);
    let state = if has("failure") || has("error") {
        "failure"
    } else if newest.is_empty() || has("pending") {
        "pending"
    } else {
        "success"
    };
    let view = cx.view();
    let base = view.repository_url(repository);
    Ok(Reply::ok(json!({
        "state": state,
        "statuses": newest,
        "sha": sha,
        "total_count": newest.len(),
        "repository": view.repository(repository),
        "commit_url": format!("{base}/commits/{sha}"),
        "url": format!("{base}/commits/{sha}/status"),
    })))
}

pub(crate) fn create_status(cx: &mut Cx<'_>) -> Answer {
    let body = cx.request.json()?;
    let state = required(&body, "state")?;
    if !["error", "failure", "pending", "success"].contains(&state.as_str()) {
        return Err(Reply::invalid("Status", "state", "invalid", "state is not a known state"));
    }
    let sha = cx.param("sha").to_owned();
    if cx.repository().git.commit(&sha).is_none() {
        return Err(Reply::error(422, &format!("No commit found for SHA: {sha}")));
    }
    let id = cx.repository_mut().next_id();
    let view = cx.view();
    let status = json!({
        "id": id,
        "node_id": format!("SC_kwDO{id}"),
        "url": format!("{}/statuses/{sha}", view.repository_url(cx.repository())),
        "avatar_url": null,
        "state": state,
        "description": text(&body, "description"),
        "target_url": text(&body, "target_url"),
        "context": text(&body, "context").unwrap_or_else(|| "default".to_owned()),
        "created_at": iso(cx.now),
        "updated_at": iso(cx.now),
        "creator": view.user(cx.actor()),
        "sha": sha,
    });
    cx.repository_mut().statuses.push(status.clone());
    Ok(Reply::created(status))
}

pub(crate) fn runs(cx: &mut Cx<'_>) -> Answer {
    let sha = commit_id(cx)?;
    let found = of_commit(&cx.repository().check_runs, "head_sha", &sha);
    Ok(cx.counted_page("check_runs", &found, |_, run| (*run).clone()))
}

pub(crate) fn create_run(cx: &mut Cx<'_>) -> Answer {
    let body = cx.request.json()?;
    let (name, sha) = (required(&body, "name")?, required(&body, "head_sha")?);
    if cx.repository().git.commit(&sha).is_none() {
        return Err(Reply::error(422, &format!("No commit found for SHA: {sha}")));
    }
    let conclusion = text(&body, "conclusion");
    let status = text(&body, "status");
    let status =
        status.unwrap_or_else(|| if conclusion.is_some() { "completed" } else { "queued" }.to_owned());
    let id = cx.repository_mut().next_id();
    let view = cx.view();
    let base = view.repository_url(cx.repository());
    let run = json!({
        "id": id,
        "node_id": format!("CR_kwDO{id}"),
        "name": name,
        "head_sha": sha,
        "status": status,
        "completed_at": conclusion.as_ref().map(|_| iso(cx.now)),
        "conclusion": conclusion,
        "started_at": iso(cx.now),
        "external_id": text(&body, "external_id"),
        "details_url": text(&body, "details_url"),
        "url": format!("{base}/check-runs/{id}"),
        "html_url": format!("https://github.com/checks/{id}"),
        "output": body.get("output").cloned().unwrap_or_else(no_output),
        "check_suite": {"id": id},
        "app": view.app(cx.app(), &cx.shared.config),
        "pull_requests": [],
    });
    cx.repository_mut().check_runs.push(run.clone());
    Ok(Reply::created(run))
}

/// `PATCH …/check-runs/{check_run_id}`: only for the App that created it.
pub(crate) fn update_run(cx: &mut Cx<'_>) -> Answer {
    let body = cx.request.json()?;
    let id = cx.number("check_run_id")?;
    let app_id = cx.shared.config.app_id_of(cx.app());
    let now = iso(cx.now);
    let runs = &mut cx.repository_mut().check_runs;
    let run = runs.iter_mut().find(|run| run["id"] == id).ok_or_else(Reply::not_found)?;
    if run["app"]["id"] != app_id {
        let message = format!(
            "Invalid app_id `{app_id}` - check run can only be modified by the GitHub App that created it."
        );
        return Err(Reply::error(403, &message));
    }
    for key in ["name", "status", "conclusion", "external_id", "details_url", "output"] {
        if let Some(value) = body.get(key) {
            run[key] = value.clone();
        }
    }
    if body.contains_key("conclusion") {
        (run["status"], run["completed_at"]) = (json!("completed"), json!(now));
    }
    Ok(Reply::ok(run.clone()))
}

fn no_output() -> Value {
    json!({"title": null, "summary": null, "text": null, "annotations_count": 0})
}
