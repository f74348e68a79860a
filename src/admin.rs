//! The admin listener: health, metrics, the status page and each agent's on/off switch, on an address that agents
//! never reach.
//!
//! Anyone who reaches the address may read; changes need the admin token.

mod access;

mod api;

mod board;

mod events;

mod page;

mod refusal;

mod scrapes;

pub(crate) mod words;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use access::AdminToken;
pub use api::Api;
pub use board::Board;
use events::{Events, Form};
use scrapes::Scrapes;

use crate::metrics::Metrics;
use crate::paced::Paced;
use crate::places::{Place, Places};

/// More than probes, a scraper or two and people viewing the page need.
const CONNECTIONS_MAX: usize = 256;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that takes nothing for this long is cut off; as where agents are served.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// A response body of this listener; boxed because the events are a stream and everything else is one piece.
pub(super) type AdminBody = UnsyncBoxBody<Bytes, Infallible>;

/// The bound address, taken before the parts that it will show exist.
#[derive(Debug)]
pub struct Door(TcpListener);

impl Door {
    /// # Errors
    /// When the address can't be bound.
    pub async fn bind(address: SocketAddr) -> io::Result<Door> {
        TcpListener::bind(address).await.map(Door)
    }
}

/// Serves health, metrics, the status page and the admin API.
#[derive(Debug)]
pub struct Admin {
    tcp: TcpListener,
    scrapes: Scrapes,
    api: Api,
    board: Arc<Board>,
    events: Events,
    /// Cancelled when tollgate drains; from then on `/readyz` fails.
    draining: CancellationToken,
}

impl Admin {
    pub fn new(
        door: Door,
        metrics: Arc<Metrics>,
        api: Api,
        board: Board,
        draining: CancellationToken,
    ) -> Admin {
        let board = Arc::new(board);
        let events = Events::new(Arc::clone(&board), draining.clone());
        Admin { tcp: door.0, scrapes: Scrapes::new(metrics), api, board, events, draining }
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Serves until dropped; stays up while agents' requests drain.
    pub async fn serve(self) {
        let admin = Arc::new(self);
        let places = Places::new(CONNECTIONS_MAX);
        loop {
            let socket = match admin.tcp.accept().await {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!(%error, "no admin connection accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            // All are being answered: whoever asks next finds a place.
            let Some(place) = places.take() else { continue };
            tokio::spawn(Arc::clone(&admin).serve_connection(socket, place));
        }
    }

    async fn serve_connection<T: AsyncRead + AsyncWrite + Unpin>(self: Arc<Admin>, socket: T, place: Place) {
        let service = service_fn(|request| async {
            place.is_busy();
            let answer = match api::read(request.uri().path()) {
                Some(order) => {
                    let answer = self.api.answer(order, request).await;
                    if !answer.status().is_client_error() {
                        self.board.forget().await;
                    }
                    answer.map(|body| body.boxed_unsync())
                }
                None => self.show(&request).await,
            };
            place.falls_quiet();
            Ok::<_, Infallible>(answer)
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        tokio::select! {
            _ = http.serve_connection(TokioIo::new(Paced::new(socket, WRITE_TIMEOUT)), service) => {}
            () = place.given_up() => {}
        }
    }

    async fn show(&self, request: &Request<Incoming>) -> Response<AdminBody> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n");
        }
        match request.uri().path() {
            "/" => self.page(request.uri().query()).await,
            "/api/status" => self.status().await,
            "/api/events" if request.method() == Method::HEAD => text(StatusCode::OK, ""),
            "/api/events" => self.events.listen(match request.uri().query() {
                Some("as=page") => Form::Page,
                _ => Form::Json,
            }),
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" if self.draining.is_cancelled() => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            "/readyz" => text(StatusCode::OK, "ok\n"),
            "/metrics" => self.metrics().await,
            _ => text(
                StatusCode::NOT_FOUND,
                "/, /api/status, /api/events, /metrics, /livez and /readyz are served here\n",
            ),
        }
    }

    async fn metrics(&self) -> Response<AdminBody> {
        let Some(metrics) = self.scrapes.text().await else {
            return text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "no metrics could be rendered; the log says why\n",
            );
        };
        let mut response = text(StatusCode::OK, metrics);
        let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, format);
        response
    }

    async fn page(&self, query: Option<&str>) -> Response<AdminBody> {
        let Some(shown) = self.board.latest().await else { return no_snapshot() };
        let name = query.and_then(|query| query.strip_prefix("agent="));
        let name = name.map(|name| percent_encoding::percent_decode_str(name).decode_utf8_lossy());
        // An unknown name is not echoed.
        let agent = name.and_then(|name| shown.status.agents.iter().find(|agent| agent.name == name));
        let live = String::from_utf8_lossy(&shown.fragment);
        let mut response = text(StatusCode::OK, page::whole(&shown.status, &live, agent));
        page::set_headers(response.headers_mut());
        response
    }

    async fn status(&self) -> Response<AdminBody> {
        let Some(shown) = self.board.latest().await else { return no_snapshot() };
        let mut response = text(StatusCode::OK, shown.json.clone());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

fn no_snapshot() -> Response<AdminBody> {
    text(StatusCode::INTERNAL_SERVER_ERROR, "no snapshot could be taken; the log says why\n")
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<AdminBody> {
    let mut response = Response::new(Full::new(text.into()).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use crate::agent::Agents;
    use crate::agent::disabled::DisabledAgents;
    use crate::agent::roster::Roster;

    use super::*;

    async fn admin() -> Arc<Admin> {
        let door = Door::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let roster = Roster::new(Arc::new(Agents::new(Vec::new())), DisabledAgents::in_process());
        let api = Api::new(Arc::new(roster), Arc::new(AdminToken::new(None)));
        let board = Board::new(|| page::tests::status("a"));
        Arc::new(Admin::new(door, Arc::default(), api, board, CancellationToken::new()))
    }

    /// It kept its snapshot, of megabytes with thousands of agents, and its place for as long as it stayed.
    #[tokio::test(start_paused = true)]
    async fn who_listens_and_reads_nothing_loses_the_connection() {
        let admin = admin().await;
        let (ours, mut peer) = tokio::io::duplex(256);
        let served = tokio::spawn(Arc::clone(&admin).serve_connection(ours, Places::new(1).take().unwrap()));
        peer.write_all(b"GET /api/events HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        peer.read_u8().await.unwrap();
        let began = Instant::now();
        tokio::time::timeout(Duration::from_secs(60), served).await.expect("it is cut off").unwrap();
        assert_eq!(began.elapsed().as_secs(), 30);
        assert_eq!(admin.events.places.available_permits(), 128);
    }
}
