//! Server-sent events: a snapshot every two seconds, as JSON or as the live part of the page.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::board::Board;
use super::{AdminBody, text};

const EVERY: Duration = Duration::from_secs(2);
/// Each listener holds a connection; the admin listener has 256 in all.
const LISTENERS_MAX: usize = 128;

/// What an event carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Page,
}

/// Serves the event streams, up to `LISTENERS_MAX`.
#[derive(Debug)]
pub(super) struct Events {
    board: Arc<Board>,
    pub(super) places: Arc<Semaphore>,
    draining: CancellationToken,
}

struct Listening {
    board: Arc<Board>,
    draining: CancellationToken,
    ticks: Interval,
    form: Form,
    _place: OwnedSemaphorePermit,
}

impl Events {
    pub(super) fn new(board: Arc<Board>, draining: CancellationToken) -> Events {
        Events { board, places: Arc::new(Semaphore::new(LISTENERS_MAX)), draining }
    }

    /// Starts an event stream; it ends when tollgate drains.
    pub(super) fn listen(&self, form: Form) -> Response<AdminBody> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return text(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many listen already; /api/status has the same\n",
            );
        };
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (board, draining) = (Arc::clone(&self.board), self.draining.clone());
        let listening = Listening { board, draining, ticks, form, _place: place };
        let events = stream::unfold(listening, |mut listening| async {
            let event = listening.next().await?;
            Some((Ok::<_, Infallible>(Frame::data(event)), listening))
        });
        let mut response = Response::new(StreamBody::new(events).boxed_unsync());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

impl Listening {
    async fn next(&mut self) -> Option<Bytes> {
        tokio::select! {
            biased;
            () = self.draining.cancelled() => None,
            shown = async {
                self.ticks.tick().await;
                self.board.latest().await
            } => shown.map(|shown| shown.event(self.form)),
        }
    }
}
