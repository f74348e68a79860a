//! Idle connections that wait for a request.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::connection::{Connection, Connector, Origin};
use super::{BoxError, SendError};

/// How long an unused connection is kept; below the minute after which GitHub closes it.
const IDLE: Duration = Duration::from_secs(45);
/// Unused connections kept, to all servers together.
const IDLE_MAX: usize = 128;

#[derive(Debug)]
pub(super) struct Pool {
    pub(super) connector: Connector,
    /// How long a connection may take, from the name's look-up to the end of the TLS handshake.
    connect_timeout: Duration,
    /// Ordered by last use; the most recently used is at the back.
    idle: Mutex<VecDeque<Idle>>,
    /// Tells waiting requests that a connection has come back.
    returned: Notify,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    pub(super) fn new(connector: Connector, connect_timeout: Duration) -> Pool {
        Pool { connector, connect_timeout, idle: Mutex::default(), returned: Notify::new() }
    }

    /// A connection that is ready for a request to this URI: an idle one, or else whichever comes first of a new
    /// one and one that another request returns.
    pub(super) async fn connection(self: &Arc<Self>, to: &Uri) -> Result<Connection, SendError> {
        let origin = Origin::of(to).ok_or(SendError::Address)?;
        match self.take(&origin) {
            Some(connection) => Ok(connection),
            None => self.open(origin).await.map_err(SendError::Connect),
        }
    }

    async fn open(self: &Arc<Self>, origin: Origin) -> Result<Connection, BoxError> {
        let (connector, within, to) = (self.connector.clone(), self.connect_timeout, origin.clone());
        let mut opening = Box::pin(async move {
            let opened = timeout(within, Connection::open(connector, to)).await;
            opened.unwrap_or_else(|_| Err(format!("no connection within {within:?}").into()))
        });
        loop {
            let mut returned = pin!(self.returned.notified());
            // From here on it hears of returned connections; one that came back earlier is taken now.
            returned.as_mut().enable();
            if let Some(connection) = self.take(&origin) {
                self.put_when_open(opening);
                return Ok(connection);
            }
            tokio::select! {
                biased;
                opened = &mut opening => return opened,
                () = returned => {}
            }
        }
    }

    /// Finishes opening a connection that its request no longer needs; the next request can use it.
    pub(super) fn put_when_open(
        self: &Arc<Self>,
        opening: impl Future<Output = Result<Connection, BoxError>> + Send + 'static,
    ) {
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            if let Ok(connection) = opening.await {
                pool.put(connection);
            }
        });
    }

    fn take(&self, origin: &Origin) -> Option<Connection> {
        let mut idle = self.idle.lock();
        loop {
            let at = idle.iter().rposition(|idle| idle.connection.leads_to(origin))?;
            let taken = idle.remove(at)?;
            if taken.since.elapsed() < IDLE && taken.connection.is_ready() {
                return Some(taken.connection);
            }
        }
    }

    /// Takes a connection that is new or whose answer is done. If the answer was not read to the end, the
    /// connection is only reusable if the rest arrives at once; otherwise hyper closes it.
    pub(super) fn put(self: &Arc<Self>, mut connection: Connection) {
        if connection.is_ready() {
            self.put_ready(connection);
        } else if let Ok(runtime) = Handle::try_current() {
            let pool = Arc::clone(self);
            runtime.spawn(async move {
                if connection.becomes_ready().await {
                    pool.put_ready(connection);
                }
            });
        }
    }

    fn put_ready(&self, connection: Connection) {
        let since = Instant::now();
        let mut idle = self.idle.lock();
        while idle.len() >= IDLE_MAX || idle.front().is_some_and(|oldest| since - oldest.since >= IDLE) {
            idle.pop_front();
        }
        idle.push_back(Idle { connection, since });
        drop(idle);
        self.returned.notify_waiters();
    }

    #[cfg(test)]
    pub(super) fn unused(&self) -> usize {
        self.idle.lock().len()
    }
}
