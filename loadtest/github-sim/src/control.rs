//! The control port: the books to read, faults to switch on, and hands that reach into the world.
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
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    let repository = text("repository");
    let world = &mut shared.state().world;
    let done = match path {
        "/world/push" => world
            .push_commit(repository, text("branch"), text("path"), text("content"))
            .map(|sha| json!({"sha": sha})),
        "/world/issue" => {
            let number = body["number"].as_u64().unwrap_or(0);
            world.edit_issue(repository, number, text("title")).then(|| json!({}))
        }
        "/world/rename" => world.rename(repository, text("name")).then(|| json!({})),
        "/world/transfer" => world.transfer(repository, text("owner")).then(|| json!({})),
        _ => None,
    };
    done.ok_or_else(|| (404, "nothing of that name".to_owned()))
}
