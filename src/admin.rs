//! The admin listener: health, metrics, and the switch of each agent, on an address agents never reach.
//!
//! Reading is open to whoever reaches the address; what changes something needs the admin token.

mod access;

mod api;

mod refusal;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use api::Api;

use crate::metrics::Metrics;

/// Probes and a scraper or two need far fewer.
const CONNECTIONS_MAX: usize = 256;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves health, metrics and the admin API.
#[derive(Debug)]
pub struct Admin {
    tcp: TcpListener,
    metrics: Arc<Metrics>,
    api: Api,
    /// Cancelled when tollgate drains: from then on it is not ready.
    draining: CancellationToken,
}

impl Admin {
    /// # Errors
    /// When the address can't be bound.
    pub async fn bind(
        address: SocketAddr,
        metrics: Arc<Metrics>,
        api: Api,
        draining: CancellationToken,
    ) -> io::Result<Admin> {
        Ok(Admin { tcp: TcpListener::bind(address).await?, metrics, api, draining })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Serves until dropped; it stays up while agents' requests drain.
    pub async fn serve(self) {
        let admin = Arc::new(self);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let socket = match admin.tcp.accept().await {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!(%error, "no admin connection accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let admin = Arc::clone(&admin);
            tokio::spawn(async move {
                let service = service_fn(|request| async {
                    Ok::<_, Infallible>(match api::read(request.uri().path()) {
                        Some(order) => admin.api.answer(order, request).await,
                        None => admin.show(&request),
                    })
                });
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
                let _ = http.serve_connection(TokioIo::new(socket), service).await;
                drop(place);
            });
        }
    }

    fn show(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n");
        }
        match request.uri().path() {
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" if self.draining.is_cancelled() => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            "/readyz" => text(StatusCode::OK, "ok\n"),
            "/metrics" => {
                let mut response = text(StatusCode::OK, self.metrics.render());
                let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, format);
                response
            }
            _ => text(StatusCode::NOT_FOUND, "/livez, /readyz and /metrics are served here\n"),
        }
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
