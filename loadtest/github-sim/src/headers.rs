//! The headers of an answer, its ETag, and conditional requests.
//!
//! The ETag is made as clients have observed it: SHA-256 in hex over the values of the `Accept`, `Authorization`
//! and `Cookie` headers as sent, each followed by `:`, and the body. So it is worthless with another token. Some
//! user agents get pretty-printed bodies, with other hashes.

use bytes::Bytes;
use serde_json::Value;

use crate::answer::SPENT;
use crate::clock::{http_date, parse_http_date};
use crate::digest::sha256_hex;
use crate::exchange::{Body, Reply, Request};
use crate::faults::FaultKind;
use crate::limits::Window;
use crate::server::Shared;

const DEFAULT_VERSION: &str = "2022-11-28";
/// The supported API versions, as `GET /versions` lists them.
pub(crate) const VERSIONS: [&str; 2] = ["2026-03-10", DEFAULT_VERSION];
const JSON: &str = "application/json; charset=utf-8";

/// What is known about an answer when its headers are written.
pub(crate) struct Stamp<'a> {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) etag: Option<String>,
    pub(crate) window: &'a Window,
    pub(crate) resource: &'a str,
}

/// The API version that a request asks for, or the 400.
pub(crate) fn api_version(request: &Request) -> Result<&'static str, Reply> {
    let Some(wanted) = request.header("x-github-api-version") else { return Ok(DEFAULT_VERSION) };
    VERSIONS.into_iter().find(|version| *version == wanted).ok_or_else(|| {
        Reply::error(
            400,
            &format!(
                "\"{wanted}\" is not a supported API version. See \
                 https://docs.github.com/rest/about-the-rest-api/api-versions for supported versions."
            ),
        )
    })
}

/// Status, body bytes and content type of a reply.
pub(crate) fn encode(request: &Request, reply: &Reply) -> (u16, Bytes, String) {
    match &reply.body {
        Body::Empty => (reply.status, Bytes::new(), String::new()),
        Body::Raw { content_type, bytes } => (reply.status, bytes.clone(), content_type.clone()),
        Body::Json(value) => (reply.status, Bytes::from(json_text(request, value)), JSON.to_owned()),
    }
}

fn json_text(request: &Request, value: &Value) -> Vec<u8> {
    let agent = request.header("user-agent").unwrap_or("");
    let is_pretty = ["curl", "Wget", "Safari", "Firefox"].iter().any(|name| agent.contains(name));
    let text = if is_pretty { serde_json::to_vec_pretty(value) } else { serde_json::to_vec(value) };
    text.expect("a JSON value can always be written")
}

/// The ETag of a successful read; `salt` applies another rule than the observed one.
pub(crate) fn etag(request: &Request, reply: &Reply, body: &[u8], salt: Option<&str>) -> Option<String> {
    let is_read = matches!(request.method.as_str(), "GET" | "HEAD");
    if !is_read || reply.status != 200 || request.path == "/rate_limit" {
        return None;
    }
    let mut hashed = Vec::with_capacity(body.len() + 700);
    hashed.extend_from_slice(salt.unwrap_or_default().as_bytes());
    for name in ["accept", "authorization", "cookie"] {
        if let Some(value) = request.headers.get(name) {
            hashed.extend_from_slice(value.as_bytes());
            hashed.push(b':');
        }
    }
    hashed.extend_from_slice(body);
    Some(format!("W/\"{}\"", sha256_hex(&hashed)))
}

/// Whether a conditional request gets a 304. `If-None-Match` takes precedence over `If-Modified-Since`.
pub(crate) fn is_unchanged(request: &Request, etag: &str, last_modified: Option<i64>) -> bool {
    let opaque = |text: &str| text.trim().trim_start_matches("W/").to_owned();
    if let Some(known) = request.header("if-none-match") {
        return known.trim() == "*" || known.split(',').any(|one| opaque(one) == opaque(etag));
    }
    let since = request.header("if-modified-since").and_then(parse_http_date);
    matches!((since, last_modified), (Some(since), Some(modified)) if modified <= since)
}

/// All headers of an answer except its length.
pub(crate) fn all(
    shared: &Shared,
    request: &Request,
    reply: &Reply,
    stamp: &Stamp<'_>,
    now: i64,
    seq: u64,
) -> Vec<(String, String)> {
    let mut list: Vec<(String, String)> = Vec::with_capacity(24);
    let mut add = |name: &str, value: String| list.push((name.to_owned(), value));
    add("date", http_date(now));
    add("server", "github.com".to_owned());
    if !stamp.content_type.is_empty() && stamp.status != 304 {
        add("content-type", stamp.content_type.clone());
    }
    if stamp.status == 200 || stamp.status == 304 {
        let is_anonymous = !request.headers.contains_key("authorization");
        let scope = if is_anonymous { "public" } else { "private" };
        add("cache-control", format!("{scope}, max-age=60, s-maxage=60"));
    }
    add("vary", "Accept, Authorization, Cookie, X-GitHub-OTP, Accept-Encoding, X-Requested-With".to_owned());
    if let Some(etag) = &stamp.etag {
        add("etag", etag.clone());
    }
    if let Some(modified) = reply.last_modified.filter(|_| stamp.etag.is_some()) {
        add("last-modified", http_date(modified));
    }
    add("x-github-media-type", media_type(request));
    let version = api_version(request).unwrap_or(DEFAULT_VERSION);
    add("x-github-api-version-selected", version.to_owned());
    add("x-ratelimit-limit", stamp.window.limit.to_string());
    let is_spent = reply.headers.iter().any(|(name, _)| name == SPENT);
    let (used, remaining) =
        if is_spent { (stamp.window.limit, 0) } else { (stamp.window.used, stamp.window.remaining()) };
    add("x-ratelimit-remaining", remaining.to_string());
    add("x-ratelimit-reset", stamp.window.reset_at.to_string());
    add("x-ratelimit-used", used.to_string());
    add("x-ratelimit-resource", stamp.resource.to_owned());
    add("x-github-request-id", format!("{:04X}:{seq:06X}:{now:X}", shared.config.app_id & 0xffff));
    add("x-content-type-options", "nosniff".to_owned());
    for (name, value) in reply.headers.iter().filter(|(name, _)| name != SPENT) {
        set(&mut list, name, value);
    }
    list
}

fn media_type(request: &Request) -> String {
    let accept = request.header("accept").unwrap_or("");
    let kind = accept.split(',').find_map(|part| {
        let media = part.split(';').next().unwrap_or("").trim();
        media.strip_prefix("application/vnd.github.").map(str::to_owned)
    });
    match kind {
        Some(kind) => {
            let (param, format) = kind.split_once('+').unwrap_or((kind.as_str(), ""));
            let param = param.strip_prefix("v3.").unwrap_or(param);
            let is_plain = matches!(param, "json" | "v3" | "");
            let param = if is_plain { String::new() } else { format!("; param={param}") };
            let format = if format.is_empty() && !is_plain { "" } else { "; format=json" };
            format!("github.v3{param}{format}")
        }
        None => "github.v3; format=json".to_owned(),
    }
}

/// Sets a header, replacing one of the same name.
pub(crate) fn set(list: &mut Vec<(String, String)>, name: &str, value: &str) {
    let name = name.to_ascii_lowercase();
    list.retain(|(present, _)| *present != name);
    list.push((name, value.to_owned()));
}

/// Lets a fault change the headers.
pub(crate) fn falsify(list: &mut Vec<(String, String)>, kind: &FaultKind) {
    match kind {
        FaultKind::RateHeaders { limit, used, remaining, reset } => {
            let figures = [
                ("limit", limit.map(|number| number.to_string())),
                ("used", used.map(|number| number.to_string())),
                ("remaining", remaining.map(|number| number.to_string())),
                ("reset", reset.map(|number| number.to_string())),
            ];
            for (name, figure) in figures {
                if let Some(figure) = figure {
                    set(list, &format!("x-ratelimit-{name}"), &figure);
                }
            }
        }
        FaultKind::DropHeaders { names } => {
            let is_named = |name: &str, pattern: &str| match pattern.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => name == pattern,
            };
            list.retain(|(name, _)| {
                !names.iter().any(|pattern| is_named(name, &pattern.to_ascii_lowercase()))
            });
        }
        FaultKind::SetHeaders { headers } => {
            for (name, value) in headers {
                set(list, name, value);
            }
        }
        _ => {}
    }
}
