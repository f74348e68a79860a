//! The upstream of the bounds: streams, sinks, and answers a little JSON; keeps what it saw.
//!
//! The stand-in for GitHub judges what arrives and holds whole bodies; this one has no opinion and
//! holds nothing, so that sizes beyond memory can go through it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tollgate::clock::{Clock, SystemClock};

use super::content::{Content, Digested, Meter, sink};
use super::report::MIB;

/// Below this, `/{n}.bin` is a file of n MiB.
const CONTENTS: &str = "/repos/a/b/contents/";
/// GitHub's answer for a repository has about this much.
const JSON_BYTES: usize = 6 * 1024;
/// A quota that holds nobody, in a window that is over soon: it is not what is proved here.
const LIMIT: u64 = 1_000_000;
const WINDOW_SECONDS: u64 = 40;

/// What has passed.
#[derive(Debug, Default)]
struct Seen {
    uploads: Vec<Digested>,
    /// Also those under way.
    downloads: Vec<Arc<Mutex<Meter>>>,
}

/// A running upstream; ends when dropped.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    accepting: JoinHandle<()>,
}

impl Upstream {
    pub(crate) async fn start() -> anyhow::Result<Upstream> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&seen)));
        Ok(Upstream { address, seen, accepting })
    }

    /// The last upload that came to its end.
    pub(crate) fn uploaded(&self) -> Option<Digested> {
        self.seen.lock().expect("nothing panics while it holds this lock").uploads.last().cloned()
    }

    /// What has been taken of the last download.
    pub(crate) fn downloaded(&self) -> Option<Digested> {
        let seen = self.seen.lock().expect("nothing panics while it holds this lock");
        let last = seen.downloads.last()?;
        Some(last.lock().expect("nothing panics while it holds this lock").digested())
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Its connections end with it, since they are in its set.
async fn accept(listener: TcpListener, seen: Arc<Mutex<Seen>>) {
    let mut connections = JoinSet::new();
    loop {
        if let Ok((socket, _)) = listener.accept().await {
            connections.spawn(serve(socket, Arc::clone(&seen)));
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(socket: TcpStream, seen: Arc<Mutex<Seen>>) {
    let _ = socket.set_nodelay(true);
    let service = service_fn(|request| answer(request, Arc::clone(&seen)));
    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Mutex<Seen>>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let lock = || seen.lock().expect("nothing panics while it holds this lock");
    if head.method == Method::GET {
        if let Some(mib) = file_size(head.uri.path()) {
            let (content, sent) = Content::new(mib * MIB);
            lock().downloads.push(sent);
            let mut response = Response::new(content.boxed());
            let raw = HeaderValue::from_static("application/vnd.github.raw+json; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, raw);
            response.headers_mut().extend(limits());
            return Ok(response);
        }
        return Ok(json_answer(
            &json!({ "name": "b", "full_name": "a/b", "filler": "x".repeat(JSON_BYTES) }),
        ));
    }
    let uploaded = sink(body).await?;
    let bytes = uploaded.bytes;
    lock().uploads.push(uploaded);
    Ok(json_answer(&json!({ "id": 1, "size": bytes })))
}

fn json_answer(value: &serde_json::Value) -> Response<BoxBody<Bytes, Infallible>> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())).boxed());
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response.headers_mut().extend(limits());
    response
}

fn limits() -> HeaderMap {
    let figures = [
        ("x-ratelimit-limit", LIMIT),
        ("x-ratelimit-remaining", LIMIT - 1),
        ("x-ratelimit-used", 1),
        ("x-ratelimit-reset", SystemClock.now_seconds().unsigned_abs() + WINDOW_SECONDS),
    ];
    let mut headers = HeaderMap::new();
    for (name, value) in figures {
        headers.insert(name, HeaderValue::from(value));
    }
    headers.insert("x-ratelimit-resource", HeaderValue::from_static("core"));
    headers
}

/// `/repos/a/b/contents/{n}.bin` has n MiB.
fn file_size(path: &str) -> Option<u64> {
    path.strip_prefix(CONTENTS)?.strip_suffix(".bin")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_size_of_its_name() {
        assert_eq!(file_size("/repos/a/b/contents/1024.bin"), Some(1024));
        for other in ["/repos/a/b", "/repos/a/b/contents/x.bin", "/repos/a/b/contents/1.txt"] {
            assert_eq!(file_size(other), None);
        }
    }
}
