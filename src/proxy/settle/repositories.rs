//! `GET /installation/repositories` lists what the installation has; an agent sees only its own part.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, ETAG};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::Answer;
use crate::config::Agent;
use crate::error::ProxyError;
use crate::policy::repositories::RepositoryName;
use crate::proxy::body::{full, read_answer};

/// The longest page read, in bytes; a hundred repositories take some 700 KiB.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Takes out every repository that is not the agent's.
///
/// `total_count` is lowered by what was taken out of this page only, so it may still count
/// repositories on other pages that the agent can't see.
pub(super) async fn filter(
    answer: Answer,
    method: &Method,
    agent: &Agent,
    within: Duration,
) -> Result<Answer, ProxyError> {
    let unreadable = || ProxyError::UpstreamUnreachable("its list of repositories can't be read");
    if agent.repositories.is_everything() || !answer.status().is_success() {
        return Ok(answer);
    }
    if *method == Method::HEAD {
        let (mut head, body) = answer.into_parts();
        for name in [CONTENT_LENGTH, ETAG] {
            head.headers.remove(name);
        }
        return Ok(Answer::from_parts(head, body));
    }
    // A part of a list could not be filtered.
    if answer.status() != StatusCode::OK {
        return Err(unreadable());
    }
    let (mut head, body) = answer.into_parts();
    let page = read_answer(body, PAGE_BYTES_MAX, within).await.ok_or_else(unreadable)?;
    let mut page: Value = serde_json::from_slice(&page).map_err(|_| unreadable())?;
    let listed = page.get_mut("repositories").and_then(Value::as_array_mut).ok_or_else(unreadable)?;
    let before = listed.len();
    listed.retain(|repository| {
        let name = repository.get("full_name").and_then(Value::as_str).and_then(RepositoryName::parse);
        name.is_some_and(|name| agent.repositories.contains(&name))
    });
    let taken = (before - listed.len()) as u64;
    if let Some(total) = page.get("total_count").and_then(Value::as_u64) {
        page["total_count"] = json!(total.saturating_sub(taken));
    }
    head.headers.remove(CONTENT_LENGTH);
    // The entity has changed, so GitHub's ETag must not be used for it.
    if taken > 0 {
        head.headers.remove(ETAG);
    }
    Ok(Answer::from_parts(head, full(Bytes::from(page.to_string()))))
}
