//! Stage 1, listen: takes connections, gives requests to [`Proxy::handle`], and drains on shutdown.
//!
//! Every connection is bounded: how many there are, in all and from one address, how long a head may
//! take, how long one may idle. What may not be HTTP in every reader's eyes never reaches hyper; see
//! [`framing`] and [`strict`].

mod framing;
mod strict;

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Proxy;
use super::context::{Peer, new_request_id};
use super::respond::refusal_on_the_wire;
use crate::error::ProxyError;
pub use strict::Patience;
use strict::Strict;

/// More than `framing` lets through, so that hyper never refuses by itself.
const HYPER_HEADERS_MAX: usize = 128;
/// After the stop, requests on open connections are still served for this long.
const LAST_CALL: Duration = Duration::from_secs(1);

/// How many and how long.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub connections: usize,
    pub connections_per_address: usize,
    pub patience: Patience,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            connections: 16_384,
            // Whole fleets stand behind one address of a NAT, so this only keeps one from taking all.
            connections_per_address: 8_192,
            patience: Patience { head: Duration::from_secs(10), idle: Duration::from_secs(120) },
        }
    }
}

/// Serves a listener until told to stop, then lets what runs finish within the drain time.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    bounds: Bounds,
    places: Arc<Semaphore>,
    addresses: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Listener {
    /// # Errors
    /// When the address can't be bound.
    pub async fn bind(address: SocketAddr, bounds: Bounds) -> io::Result<Listener> {
        let tcp = TcpListener::bind(address).await?;
        let places = Arc::new(Semaphore::new(bounds.connections));
        Ok(Listener { tcp, bounds, places, addresses: Arc::default() })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Accepts until `stop`; returns when every connection has ended or `drain` has passed.
    pub async fn serve(self, proxy: Arc<Proxy>, stop: CancellationToken, drain: Duration) {
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.tcp.accept() => accepted,
                () = stop.cancelled() => break,
            };
            match accepted {
                Ok((socket, address)) => {
                    let place = self.take_place(address.ip());
                    let (proxy, stop) = (Arc::clone(&proxy), stop.clone());
                    let patience = self.bounds.patience;
                    connections.spawn(async move {
                        match place {
                            Some(place) => {
                                serve_connection(socket, address, proxy, patience, stop, place).await
                            }
                            None => turn_away(socket).await,
                        }
                    });
                }
                Err(error) => {
                    // Out of descriptors, most likely: wait for some to be given back.
                    tracing::warn!(%error, "no connection accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop(self.tcp);
        connections.close();
        if tokio::time::timeout(drain, connections.wait()).await.is_err() {
            tracing::warn!(left = connections.len(), "drain time is over; connections are cut");
        }
    }

    fn take_place(&self, address: IpAddr) -> Option<Place> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let mut addresses = self.addresses.lock().expect("nothing panics while it holds this lock");
        let count = addresses.entry(address).or_default();
        if *count >= self.bounds.connections_per_address {
            return None;
        }
        *count += 1;
        Some(Place { _permit: permit, address, addresses: Arc::clone(&self.addresses) })
    }
}

/// A connection's place among those allowed; given back when dropped.
#[derive(Debug)]
struct Place {
    _permit: OwnedSemaphorePermit,
    address: IpAddr,
    addresses: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut addresses = self.addresses.lock().expect("nothing panics while it holds this lock");
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

async fn serve_connection(
    socket: TcpStream,
    address: SocketAddr,
    proxy: Arc<Proxy>,
    patience: Patience,
    stop: CancellationToken,
    _place: Place,
) {
    let Ok(local) = socket.local_addr() else { return };
    let _ = socket.set_nodelay(true);
    let peer = Peer { address: address.ip().to_canonical(), local, is_tls: false };
    let io = Strict::new(socket, patience, refuse);
    let service = service_fn(|request| {
        let (proxy, peer, stop) = (Arc::clone(&proxy), peer.clone(), stop.clone());
        async move {
            let mut response = proxy.handle(request, &peer).await;
            if stop.is_cancelled() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut http = http1::Builder::new();
    // `Strict` has the timers and the limits; hyper's are wider, so that its bare answers never show.
    http.timer(TokioTimer::new()).header_read_timeout(None).max_headers(HYPER_HEADERS_MAX).half_close(false);
    let connection = http.serve_connection(TokioIo::new(io), service);
    let mut connection = std::pin::pin!(connection);
    // An idle connection is closed a moment after the stop, not at once: a request may be on its way.
    let last_call = async {
        stop.cancelled().await;
        tokio::time::sleep(LAST_CALL).await;
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = last_call => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// The refusal for what could not be read as a request.
fn refuse(error: &ProxyError) -> Vec<u8> {
    let request_id = new_request_id();
    tracing::debug!(request_id, code = error.code(), "a connection was refused");
    refusal_on_the_wire(error, &request_id)
}

/// Says that there is no place, and closes.
async fn turn_away(mut socket: TcpStream) {
    let words =
        refuse(&ProxyError::Overloaded("There are too many connections; nothing was sent to GitHub."));
    let _ = tokio::time::timeout(Duration::from_secs(1), async {
        let _ = socket.write_all(&words).await;
        let _ = socket.shutdown().await;
        // What the caller sends meanwhile is read, or the kernel would throw the answer away.
        let mut scratch = [0; 1024];
        while socket.read(&mut scratch).await.is_ok_and(|read| read > 0) {}
    })
    .await;
}
