//! The latest snapshot in every form in which it is shown; taken at most once a second, however many people look.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::events::Form;
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
    pub(super) events: EventBytes,
}

/// The snapshot as an event, made when somebody first listens for it and shared by all who do: with thousands of agents
/// it takes megabytes, and a listener that reads slowly keeps it for as long.
#[derive(Debug, Default)]
pub(super) struct EventBytes {
    json: OnceLock<Bytes>,
    page: OnceLock<Bytes>,
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
        Shown { status, json, fragment, events: EventBytes::default() }
    }

    pub(super) fn event(&self, form: Form) -> Bytes {
        let (made, carried) = match form {
            Form::Json => (&self.events.json, &self.json),
            Form::Page => (&self.events.page, &self.fragment),
        };
        made.get_or_init(|| event(carried)).clone()
    }
}

/// One event; each line break in the payload starts another `data` line.
fn event(carried: &[u8]) -> Bytes {
    let mut event = BytesMut::with_capacity(carried.len() + 64);
    event.put_slice(b"event: status\n");
    let breaks = memchr::memchr2_iter(b'\n', b'\r', carried).chain([carried.len()]);
    let mut begin = 0;
    for end in breaks {
        event.put_slice(b"data: ");
        event.put_slice(&carried[begin..end]);
        event.put_u8(b'\n');
        begin = end + 1;
    }
    event.put_u8(b'\n');
    event.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_break_in_the_data_does_not_end_it() {
        let shown = page::tests::shown("a\r\n\nevent: x");
        let text = String::from_utf8(shown.event(Form::Page).to_vec()).unwrap();
        assert_eq!(text, "event: status\ndata: a\ndata: \ndata: \ndata: event: x\n\n");
    }

    /// Each listener had a copy: 120 of them that did not read took 384 MiB with 5,000 agents.
    #[test]
    fn all_listeners_share_an_event() {
        let shown = page::tests::shown("a");
        for form in [Form::Json, Form::Page] {
            assert_eq!(shown.event(form).as_ptr(), shown.event(form).as_ptr(), "{form:?}");
        }
        assert_ne!(shown.event(Form::Json), shown.event(Form::Page));
    }
}
