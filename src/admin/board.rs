//! The latest snapshot in every form in which it is shown; taken at most once a second, however many people look.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::page;
use crate::status::Status;

/// How long a snapshot is reused; shorter than the time between two events.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// Takes a snapshot.
type Collect = Arc<dyn Fn() -> Status + Send + Sync>;

/// The snapshot that every viewer is shown.
pub struct Board {
    collect: Collect,
    latest: Mutex<Option<(Instant, Arc<Shown>)>>,
}

/// One snapshot.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) status: Status,
    pub(super) json: Bytes,
    /// The live part of the page.
    pub(super) fragment: Bytes,
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board").finish_non_exhaustive()
    }
}

impl Board {
    pub fn new(collect: impl Fn() -> Status + Send + Sync + 'static) -> Board {
        Board { collect: Arc::new(collect), latest: Mutex::default() }
    }

    /// The latest snapshot; `None` if taking it failed. Callers that arrive while one is being taken wait for it.
    pub(super) async fn latest(&self) -> Option<Arc<Shown>> {
        let mut latest = self.latest.lock().await;
        if let Some((_, shown)) = latest.as_ref().filter(|(at, _)| at.elapsed() < FRESH_FOR) {
            return Some(Arc::clone(shown));
        }
        let collect = Arc::clone(&self.collect);
        // With a thousand agents it takes milliseconds; a blocking thread keeps that from delaying agents' requests.
        let shown = tokio::task::spawn_blocking(move || Shown::new(collect())).await;
        let shown = Arc::new(shown.inspect_err(|error| tracing::error!(%error, "no snapshot")).ok()?);
        *latest = Some((Instant::now(), Arc::clone(&shown)));
        Some(shown)
    }

    /// Drops the snapshot after a change, so that everyone sees the change at once.
    pub(super) async fn forget(&self) {
        *self.latest.lock().await = None;
    }
}

impl Shown {
    fn new(status: Status) -> Shown {
        let json = serde_json::to_vec(&status).unwrap_or_default().into();
        let fragment = page::live(&status).into_string().into();
        Shown { status, json, fragment }
    }
}
