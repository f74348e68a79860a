//! GitHub's webhook: receives what GitHub reports about changes, on a listener of its own.
//!
//! A delivery is checked, put into a bounded queue and answered; GitHub waits at most ten seconds and does not
//! redeliver by itself. What it means is worked out afterwards. A lost delivery delays a change by at most
//! [`crate::cache::changes::TOLD_FOR`].

mod event;

mod inbox;

mod receive;

pub(crate) mod subscription;

mod work;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::cache::feed::Feed;
use crate::config;
use crate::metrics::Metrics;
use crate::places::{Place, Places};
use inbox::{DELIVERIES_MAX, Delivery, Inbox};
use receive::Gate;

/// Fewer than `DELIVERIES_MAX`, so that idle connections can't use up the inbox.
const CONNECTIONS_MAX: usize = 512;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// After this, a connection is closed once its current delivery is done; otherwise a sender that reads no answers
/// could hold it forever.
const CONNECTION_MAX: Duration = Duration::from_secs(60);
/// Longer than a delivery takes.
const LAST_DELIVERY_MAX: Duration = Duration::from_secs(15);

/// The webhook's listener.
#[derive(Debug)]
pub struct Webhook {
    tcp: TcpListener,
    gate: Arc<Gate>,
    deliveries: mpsc::Receiver<Delivery>,
    feed: Arc<Feed>,
    metrics: Arc<Metrics>,
}

impl Webhook {
    /// # Errors
    /// When the address can't be bound.
    pub async fn bind(
        config: &config::Webhook,
        feed: Arc<Feed>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Webhook> {
        let tcp = TcpListener::bind(config.listen).await?;
        let (sender, deliveries) = mpsc::channel(DELIVERIES_MAX);
        let inbox = Inbox::new(sender, &metrics);
        let gate = Arc::new(Gate::new(&config.secret, inbox, Arc::clone(&feed), Arc::clone(&metrics)));
        Ok(Webhook { tcp, gate, deliveries, feed, metrics })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Serves until stopped; then finishes what was received.
    pub async fn serve(self, stop: CancellationToken) {
        let Webhook { tcp, gate, deliveries, feed, metrics } = self;
        let worker = work::work(deliveries, Arc::clone(&feed), metrics);
        let worker = AbortOnDropHandle::new(tokio::spawn(worker));
        let _shed = AbortOnDropHandle::new(tokio::spawn(work::mark_what_was_shed(Arc::clone(&gate), feed)));
        let connections = TaskTracker::new();
        let places = Places::new(CONNECTIONS_MAX);
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = tcp.accept() => accepted,
            };
            match accepted {
                Ok((socket, _)) => match places.take() {
                    Some(place) => {
                        connections.spawn(serve_connection(socket, place, Arc::clone(&gate), stop.clone()));
                    }
                    // It may have been a delivery.
                    None => gate.shed.notify_one(),
                },
                Err(error) => {
                    tracing::warn!(%error, "no connection accepted for the webhook");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop(tcp);
        connections.close();
        connections.wait().await;
        gate.close();
        let _ = worker.await;
    }
}

async fn serve_connection(socket: TcpStream, place: Place, gate: Arc<Gate>, stop: CancellationToken) {
    let service = service_fn(|request| async {
        place.is_busy();
        let answer = gate.receive(request).await;
        place.falls_quiet();
        Ok::<_, Infallible>(answer)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_header_size(HEAD_BYTES_MAX);
    let connection = http.serve_connection(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = place.given_up() => return,
        () = stop.cancelled() => {}
        () = tokio::time::sleep(CONNECTION_MAX) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(LAST_DELIVERY_MAX, connection).await;
}
