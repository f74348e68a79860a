//! One connection, from its first byte to its last: plain or TLS, HTTP/1.1 or HTTP/2.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::activity::{Activity, Running, RunningBody};
use super::refuse;
use super::strict::{Patience, Strict};
use super::unread::watched;
use crate::proxy::Peer;
use crate::proxy::body::{Allowance, RequestBody};
use crate::proxy::in_force::InForce;

/// More fields than `framing` lets through, so that hyper never refuses by itself.
const HYPER_HEADERS_MAX: usize = 128;
/// A writer is paused when this much is buffered for a slow reader.
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// After `stop`, requests on open connections are still served for this long.
const LAST_CALL: Duration = Duration::from_secs(1);

/// HTTP/2: concurrent requests on a connection, and what they may buffer. The protocol bounds
/// frames to 16 KiB; a peer that opens and resets streams without end is cut off.
const STREAMS_MAX: u32 = 100;
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 512 * 1024;
/// Above the bound of classification, so that the refusal has our shape.
const HEADER_LIST_BYTES_MAX: u32 = 64 * 1024;
const RESETS_PENDING_MAX: usize = 20;
const PING_EVERY: Duration = Duration::from_secs(30);

/// What every connection needs.
#[derive(Clone)]
pub(super) struct Serving {
    pub(super) in_force: Arc<InForce>,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) stop: CancellationToken,
    /// Cancelled some time after `stop`: from then on nothing is waited for.
    pub(super) cut: CancellationToken,
    pub(super) patience: Patience,
}

/// What the streams of an HTTP/2 connection share.
#[derive(Clone)]
struct Http2 {
    /// Cancelled when a response stands still that its peer does not read.
    unread: CancellationToken,
    allowance: Arc<Allowance>,
}

impl Serving {
    pub(super) async fn connection(self, socket: TcpStream, address: SocketAddr) {
        let Ok(local) = socket.local_addr() else { return };
        let _ = socket.set_nodelay(true);
        let peer = Peer { address: address.ip().to_canonical(), local, is_tls: self.tls.is_some() };
        let Some(tls) = self.tls.clone() else {
            return Box::pin(self.http1(socket, peer)).await;
        };
        let handshake = tokio::select! {
            handshake = tokio::time::timeout(self.patience.head, tls.accept(socket)) => handshake,
            // No request can have come yet.
            () = self.last_call() => return,
        };
        let Ok(Ok(stream)) = handshake else {
            tracing::debug!("a TLS handshake failed");
            return;
        };
        match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Box::pin(self.http2(stream, peer)).await,
            _ => Box::pin(self.http1(stream, peer)).await,
        }
    }

    async fn http1<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, io: T, peer: Peer) {
        let activity = Activity::new();
        let io = TokioIo::new(Strict::new(io, self.patience, activity.clone(), refuse));
        let service = service_fn(|request| self.answer(request, peer.clone(), activity.begin(), None));
        let mut http = http1::Builder::new();
        // `Strict` has the timers and the limits. Hyper's are wider, so that its bare answers never show.
        http.timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_headers(HYPER_HEADERS_MAX)
            .max_buf_size(SEND_BUFFER_BYTES_MAX);
        let mut connection = std::pin::pin!(http.serve_connection(io, service));
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = self.last_call() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = self.cut.cancelled() => Ok(()),
                }
            }
        };
        note(ended);
    }

    async fn http2<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, io: T, peer: Peer) {
        let activity = Activity::new();
        let unread = CancellationToken::new();
        let shared = Http2 { unread: unread.clone(), allowance: Allowance::new() };
        let service =
            service_fn(|request| self.answer(request, peer.clone(), activity.begin(), Some(shared.clone())));
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(HEADER_LIST_BYTES_MAX)
            .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
            .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(self.patience.head);
        let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(io), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.last_call() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = self.cut.cancelled() => Ok(()),
                }
            }
            () = given_up(&activity, self.patience.idle, &unread) => {
                connection.as_mut().graceful_shutdown();
                // A request may be on its way. A peer that never finishes a stream is not waited for.
                let last_chance = async {
                    if unread.is_cancelled() {
                        // Its other streams may take their time.
                        tokio::time::sleep(self.patience.idle).await;
                    } else {
                        tokio::time::sleep(self.patience.head).await;
                        given_up(&activity, self.patience.head, &unread).await;
                    }
                };
                tokio::select! {
                    ended = connection => ended,
                    () = last_chance => Ok(()),
                }
            }
        };
        note(ended);
    }

    fn answer(
        &self,
        request: Request<Incoming>,
        peer: Peer,
        running: Running,
        http2: Option<Http2>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<RunningBody>, Infallible>> + Send>> {
        let (proxy, stop) = (self.in_force.proxy(), self.stop.clone());
        // Boxed; otherwise hyper would keep room for a request's whole state on every idle connection.
        Box::pin(async move {
            let allowance = http2.as_ref().map(|http2| Arc::clone(&http2.allowance));
            let request = request.map(|body| RequestBody::new(body, allowance));
            let mut response = proxy.handle(request, &peer).await;
            // Lets other ready tasks run first. Their answers are then written together, and a
            // reader is woken once for several.
            tokio::task::yield_now().await;
            match &http2 {
                Some(http2) => response = response.map(|body| watched(body, &proxy.readers, &http2.unread)),
                None if stop.is_cancelled() => {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                None => {}
            }
            Ok(response.map(|body| RunningBody::new(body, running)))
        })
    }

    /// Returns `LAST_CALL` after the stop: an idle connection is not closed at once, since a
    /// request may be on its way.
    async fn last_call(&self) {
        self.stop.cancelled().await;
        tokio::select! {
            () = tokio::time::sleep(LAST_CALL) => {}
            () = self.cut.cancelled() => {}
        }
    }
}

/// Ends when nothing has run for this long, or a response stands still that its peer does not read.
async fn given_up(activity: &Activity, patience: Duration, unread: &CancellationToken) {
    tokio::select! {
        () = activity.quiet_for(patience) => {}
        () = unread.cancelled() => {}
    }
}

fn note(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
