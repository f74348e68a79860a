//! The hosts behind GitHub's 302 answers: archives and release assets at signed URLs.
//!
//! They must never see GitHub's `Authorization`; one that arrives here is a leak.

use bytes::Bytes;
use http::Response;

use crate::auth::leak;
use crate::exchange::Request;
use crate::server::{Shared, SimBody, full};

/// `GET /assets/{id}` returns a release asset, `GET /archive/…` some bytes; anything else is 404.
pub(crate) fn answer(shared: &Shared, seq: u64, request: &Request) -> Response<SimBody> {
    let mut guard = shared.state();
    let state = &mut *guard;
    if let Some(value) = request.headers.get("authorization") {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        leak(state, seq, "authorization", "storage", &value);
    }
    let body = if request.path.starts_with("/archive/") {
        Some(Bytes::from(format!("archive {}\n", request.path)))
    } else {
        let id: Option<u64> = request.path.strip_prefix("/assets/").and_then(|text| text.parse().ok());
        let releases = state.world.repositories.values().flat_map(|repository| repository.releases.values());
        let asset = releases.flat_map(|release| &release.assets).find(|asset| Some(asset.id) == id);
        asset.map(|asset| asset.bytes.clone().unwrap_or_default())
    };
    let status = if body.is_some() { 200 } else { 404 };
    if let Some(recorded) = state.ring.find_mut(seq) {
        recorded.status = Some(status);
        recorded.route = Some("GET storage".to_owned());
    }
    state.books.answered += 1;
    *state.books.by_status.entry(status).or_default() += 1;
    let mut response = Response::new(full(body.unwrap_or_default()));
    *response.status_mut() = http::StatusCode::from_u16(status).expect("200 and 404 are statuses");
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/octet-stream"));
    response
}
