//! Stage 1, listen: takes connections, gives requests to the proxy in force, and drains on shutdown.
//!
//! Connections are bounded: how many there are, in all and from one address, how long a head may
//! take, how long one may idle. Whatever some parser might not read as HTTP never reaches hyper;
//! see [`framing`] and [`strict`].

mod activity;
mod connection;
mod framing;
mod strict;
mod unread;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::context::new_request_id;
use super::in_force::InForce;
use super::respond::refusal_on_the_wire;
use crate::error::ProxyError;
use connection::Serving;
pub(super) use framing::{FIELDS_MAX, HEAD_BYTES_MAX};
pub use strict::Patience;

/// Connections the kernel queues until they are accepted; a flood of resets fills a short queue.
const BACKLOG: u32 = 4096;
/// How many of them are still taken when it stops.
const LAST_ONES_MAX: usize = 1024;
/// How many connections over the bound are answered at once; any more are just closed.
const TURNED_AWAY_MAX: usize = 128;
/// File descriptors kept back from agents' connections.
const DESCRIPTORS_KEPT: usize = 512;

/// Waiting requests are refused this long before the drain ends, or a quarter of the drain if that is less.
const LAST_WORD: Duration = Duration::from_secs(1);
/// How long to wait for the tasks of cut connections to end.
const CUT_WITHIN: Duration = Duration::from_secs(1);

/// How many connections, and how long each may take.
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
            // Whole fleets stand behind the one address of a NAT; this only keeps one address from taking all.
            connections_per_address: 8_192,
            patience: Patience {
                head: Duration::from_secs(10),
                idle: Duration::from_secs(120),
                write: Duration::from_secs(30),
            },
        }
    }
}

impl Bounds {
    /// Leaves descriptors for calls to GitHub, probes and files, however many connections agents open.
    pub fn within(self, descriptors: usize) -> Bounds {
        let connections = self.connections.min(descriptors.saturating_sub(DESCRIPTORS_KEPT) / 2).max(1);
        let connections_per_address = self.connections_per_address.min(connections);
        Bounds { connections, connections_per_address, ..self }
    }
}

/// Serves until told to stop, then lets running requests finish within the drain time.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    door: Door,
}

/// Lets connections in, as many as there are places.
#[derive(Debug)]
struct Door {
    bounds: Bounds,
    places: Arc<Semaphore>,
    addresses: Arc<Mutex<HashMap<IpAddr, usize>>>,
    turned_away: Arc<Semaphore>,
    connections: TaskTracker,
}

impl Listener {
    /// # Errors
    /// When the address can't be bound.
    pub async fn bind(address: SocketAddr, bounds: Bounds) -> io::Result<Listener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let tcp = socket.listen(BACKLOG)?;
        let places = Arc::new(Semaphore::new(bounds.connections));
        let turned_away = Arc::new(Semaphore::new(TURNED_AWAY_MAX));
        let (addresses, connections) = (Arc::default(), TaskTracker::new());
        Ok(Listener { tcp, door: Door { bounds, places, addresses, turned_away, connections } })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Accepts until `stop`. Returns when every connection has ended, or when `drain` has passed or
    /// `cut` is cancelled and the remaining connections have been cut.
    pub async fn serve(
        self,
        in_force: Arc<InForce>,
        tls: Option<TlsAcceptor>,
        stop: CancellationToken,
        cut: CancellationToken,
        drain: Duration,
    ) {
        let Listener { tcp, door } = self;
        let serving = Serving {
            in_force: Arc::clone(&in_force),
            tls,
            stop: stop.clone(),
            cut: cut.clone(),
            patience: door.bounds.patience,
        };
        loop {
            let accepted = tokio::select! {
                accepted = tcp.accept() => accepted,
                () = stop.cancelled() => break,
            };
            match accepted {
                Ok((socket, address)) => {
                    door.let_in(socket, address, &serving);
                    // Lets the accepted connections run first: a flood waits in the kernel's queue,
                    // not in our tasks.
                    tokio::task::yield_now().await;
                }
                // This peer is gone already; go on to the next.
                Err(error) if is_of_the_peer(&error) => {}
                Err(error) => {
                    // Most likely out of descriptors: wait for some to be freed.
                    tracing::warn!(%error, "no connection accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        for (socket, address) in last_ones(tcp) {
            door.let_in(socket, address, &serving);
        }
        let connections = door.connections;
        connections.close();
        let last_word = LAST_WORD.min(drain / 4);
        let all_end = async |within| {
            tokio::select! {
                ended = tokio::time::timeout(within, connections.wait()) => ended.is_ok(),
                () = cut.cancelled() => false,
            }
        };
        if all_end(drain - last_word).await {
            return;
        }
        // Waiting requests get their refusal now; calls already sent to GitHub may still come back.
        in_force.proxy().close();
        if all_end(last_word).await {
            return;
        }
        tracing::warn!(left = connections.len(), "connections are cut, with what is under way on them");
        cut.cancel();
        // Gives each request that was cut the time to log its line.
        let _ = tokio::time::timeout(CUT_WITHIN, connections.wait()).await;
    }
}

impl Door {
    fn let_in(&self, socket: TcpStream, address: SocketAddr, serving: &Serving) {
        let place = self.take_place(address.ip());
        let (serving, turned_away) = (serving.clone(), Arc::clone(&self.turned_away));
        self.connections.spawn(async move {
            match place {
                Some(_place) => serving.connection(socket, address).await,
                None => turn_away(socket, &turned_away).await,
            }
        });
    }

    fn take_place(&self, address: IpAddr) -> Option<Place> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let mut addresses = self.addresses.lock();
        let count = addresses.entry(address).or_default();
        if *count >= self.bounds.connections_per_address {
            return None;
        }
        *count += 1;
        Some(Place { _permit: permit, address, addresses: Arc::clone(&self.addresses) })
    }
}

/// A connection's place among those allowed. Dropping it gives the place back.
#[derive(Debug)]
struct Place {
    _permit: OwnedSemaphorePermit,
    address: IpAddr,
    addresses: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut addresses = self.addresses.lock();
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

/// Closes the listener, and returns what the kernel has already accepted for it: it would cut these connections, and
/// requests may have been sent on them.
fn last_ones(tcp: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    // The runtime may not have heard of the latest ones, so the kernel itself is asked. That does not block.
    let Ok(tcp) = tcp.into_std() else { return Vec::new() };
    let mut last = Vec::new();
    for _ in 0..LAST_ONES_MAX {
        let accepted = tcp.accept().and_then(|(socket, address)| {
            socket.set_nonblocking(true)?;
            Ok((TcpStream::from_std(socket)?, address))
        });
        match accepted {
            Ok(accepted) => last.push(accepted),
            Err(error) if is_of_the_peer(&error) => {}
            Err(_) => break,
        }
    }
    last
}

/// Errors of `accept` that concern one connection only; see accept(2).
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// The refusal for bytes that could not be read as a request.
fn refuse(error: &ProxyError) -> Vec<u8> {
    let request_id = new_request_id();
    tracing::debug!(request_id, code = error.code(), "a connection was refused");
    refusal_on_the_wire(error, &request_id)
}

/// Says that there is no place, and closes. In a flood it only closes.
async fn turn_away(mut socket: TcpStream, at_once: &Semaphore) {
    let Ok(_place) = at_once.try_acquire() else { return };
    let words =
        refuse(&ProxyError::Overloaded("There are too many connections; nothing was sent to GitHub."));
    let _ = tokio::time::timeout(Duration::from_secs(1), async {
        let _ = socket.write_all(&words).await;
        let _ = socket.shutdown().await;
        // Reads what the caller sends meanwhile; otherwise the kernel would discard the answer.
        let mut scratch = [0; 1024];
        while socket.read(&mut scratch).await.is_ok_and(|read| read > 0) {}
    })
    .await;
}
