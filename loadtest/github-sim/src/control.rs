//! The control port: the books to read, faults to switch on, and changes to the world.
//!
//! | request | does |
//! |---|---|
//! | `GET /ready` | the addresses and the App's ids |
//! | `GET /books`, `GET /requests?since=N` | what happened |
//! | `POST /faults`, `DELETE /faults` | one [`Fault`] on, all off |
//! | `POST /reset` | forgets books, requests, faults and limits |
//! | `POST /clock` | `{"advance_seconds": N}` |
//! | `POST /tokens/revoke` | `{"token": "…"}` or `{"installation_id": N}` |
//! | `POST /world/push` | `{"repository", "branch", "path", "content"}` |
//! | `POST /world/issue` | `{"repository", "number", "title"}` |
//! | `POST /world/rename`, `/world/transfer` | `{"repository", "name"}`, `{"repository", "owner"}` |
//! | `POST /world/pull` | `{"repository", "head", "base", "title"}`; answers with its `number` |
//! | `POST /world/stack` | `{"repository", "numbers": […]}`, bottom first |
//! | `POST /world/auto_merge` | `{"repository", "number", "on"}` |
//! | `POST /world/protect` | `{"repository", "branch", "on"}` |
//! | `POST /world/rule` | `{"repository", "branch", "type"}`, as `pull_request` |
//! | `POST /world/default_branch` | `{"repository", "branch"}` |
//! | `POST /world/drafts` | `{"repository", "forbidden"}` |
//!
//! `on` and `forbidden` are true when they are absent.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::exchange::parse_query;
use crate::faults::{Fault, Faults};
use crate::server::{Shared, SimBody, full};
use crate::world::World;

/// Where the listeners are, whatever the links in answers say.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    pub(crate) api: String,
    pub(crate) uploads: String,
    pub(crate) storage: String,
}

/// Answers one request of the control port.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    incoming: hyper::Request<Incoming>,
) -> io::Result<Response<SimBody>> {
    let (head, body) = incoming.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let query = head.uri.query().map(parse_query).unwrap_or_default();
    let done = act(&shared, head.method.as_str(), head.uri.path(), &query, &body);
    let (status, answer) = match done {
        Ok(answer) => (200, answer),
        Err((status, message)) => (status, json!({"message": message})),
    };
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(full(answer.to_string()))
        .map_err(io::Error::other)
}

fn act(
    shared: &Arc<Shared>,
    method: &str,
    path: &str,
    query: &[(String, String)],
    body: &Value,
) -> Result<Value, (u16, String)> {
    let faults = Faults { shared: Arc::clone(shared) };
    match (method, path) {
        ("GET", "/ready") => Ok(json!({
            "api_url": shared.addresses.api,
            "uploads_url": shared.addresses.uploads,
            "storage_url": shared.addresses.storage,
            "app_id": shared.config.app_id,
            "client_id": shared.config.client_id,
        })),
        ("GET", "/books") => Ok(json!(shared.state().books)),
        ("GET", "/requests") => {
            let since = query.iter().find(|(name, _)| name == "since");
            let since = since.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
            Ok(json!(shared.state().ring.since(since)))
        }
        ("POST", "/faults") => {
            let fault: Fault =
                serde_json::from_value(body.clone()).map_err(|error| (400, error.to_string()))?;
            Ok(json!({"id": faults.add(fault)}))
        }
        ("DELETE", "/faults") => {
            faults.clear();
            Ok(json!({}))
        }
        ("POST", "/reset") => {
            shared.reset();
            Ok(json!({}))
        }
        ("POST", "/clock") => {
            let seconds = body["advance_seconds"].as_u64();
            let seconds = seconds.ok_or((400, "advance_seconds is missing".to_owned()))?;
            shared.clock.advance(Duration::from_secs(seconds));
            Ok(json!({"now": shared.clock.now_epoch_seconds()}))
        }
        ("POST", "/tokens/revoke") => revoke(shared, body),
        ("POST", _) if path.starts_with("/world/") => change_world(shared, path, body),
        _ => Err((404, format!("there is no {method} {path} here"))),
    }
}

fn revoke(shared: &Shared, body: &Value) -> Result<Value, (u16, String)> {
    let tokens = &mut shared.state().tokens;
    if let Some(id) = body["installation_id"].as_u64() {
        tokens.revoke_installation(id);
        return Ok(json!({}));
    }
    match tokens.revoke(body["token"].as_str().unwrap_or_default()) {
        true => Ok(json!({})),
        false => Err((404, "that token was never minted here".to_owned())),
    }
}

fn change_world(shared: &Shared, path: &str, body: &Value) -> Result<Value, (u16, String)> {
    let what = path.trim_start_matches("/world/");
    let done = shared.edit(|world| match what {
        "issue" | "pull" | "stack" | "auto_merge" => change_issue(world, what, body),
        _ => change_repository(world, what, body),
    });
    done.ok_or_else(|| (404, "nothing of that name".to_owned()))
}

/// Changes an issue or pull request; `None` when it does not exist.
fn change_issue(world: &mut World, what: &str, body: &Value) -> Option<Value> {
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    let repository = text("repository");
    let number = body["number"].as_u64().unwrap_or(0);
    match what {
        "issue" => world.edit_issue(repository, number, text("title")).then(|| json!({})),
        "pull" => world
            .open_pull(repository, text("head"), text("base"), text("title"))
            .map(|number| json!({"number": number})),
        "stack" => {
            let numbers = body["numbers"].as_array()?;
            let numbers: Option<Vec<u64>> = numbers.iter().map(Value::as_u64).collect();
            world.stack(repository, &numbers?).then(|| json!({}))
        }
        "auto_merge" => world.set_auto_merge(repository, number, is_on(body, "on")).then(|| json!({})),
        _ => None,
    }
}

/// Changes a repository or one of its branches; `None` when it does not exist.
fn change_repository(world: &mut World, what: &str, body: &Value) -> Option<Value> {
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    let (repository, branch) = (text("repository"), text("branch"));
    let is_done = match what {
        "push" => {
            let sha = world.push_commit(repository, branch, text("path"), text("content"))?;
            return Some(json!({"sha": sha}));
        }
        "rename" => world.rename(repository, text("name")),
        "transfer" => world.transfer(repository, text("owner")),
        "protect" => world.set_protected(repository, branch, is_on(body, "on")),
        "rule" => world.add_rule(repository, branch, body["type"].as_str()?),
        "default_branch" => world.set_default_branch(repository, branch),
        "drafts" => world.forbid_drafts(repository, is_on(body, "forbidden")),
        _ => false,
    };
    is_done.then(|| json!({}))
}

/// A switch in a body; on if it is absent.
fn is_on(body: &Value, name: &str) -> bool {
    body[name].as_bool().unwrap_or(true)
}
