//! Which requests run on a connection, so that its timers count only while none does.
//!
//! A request runs from its head to the last byte of its answer. While one does, a connection is
//! neither idle nor slow, whatever its peer sends meanwhile.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::proxy::body::ResponseBody;

/// The requests that run on one connection.
#[derive(Debug, Clone)]
pub(super) struct Activity(Arc<State>);

#[derive(Debug)]
struct State {
    started: Instant,
    running: AtomicUsize,
    last_end_ms: AtomicU64,
    waiting: AtomicWaker,
}

impl Activity {
    pub(super) fn new() -> Activity {
        Activity(Arc::new(State {
            started: Instant::now(),
            running: AtomicUsize::new(0),
            last_end_ms: AtomicU64::new(0),
            waiting: AtomicWaker::new(),
        }))
    }

    /// Begins a request, which runs until the returned value is dropped.
    pub(super) fn begin(&self) -> Running {
        self.0.running.fetch_add(1, Ordering::AcqRel);
        Running(self.clone())
    }

    pub(super) fn is_running(&self) -> bool {
        self.0.running.load(Ordering::Acquire) > 0
    }

    /// Ready when nothing runs.
    pub(super) fn poll_quiet(&self, cx: &Context<'_>) -> Poll<()> {
        self.0.waiting.register(cx.waker());
        if self.is_running() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Since when nothing has been running. None while something is.
    pub(super) fn quiet_since(&self) -> Option<Instant> {
        // In this order, because `Running` stores the time before it lowers the count.
        if self.is_running() {
            return None;
        }
        Some(self.0.started + Duration::from_millis(self.0.last_end_ms.load(Ordering::Acquire)))
    }

    /// Returns when nothing has run for `patience`.
    pub(super) async fn quiet_for(&self, patience: Duration) {
        loop {
            match self.quiet_since() {
                None => tokio::time::sleep(patience).await,
                Some(since) if since.elapsed() >= patience => return,
                Some(since) => tokio::time::sleep_until(since + patience).await,
            }
        }
    }
}

/// One running request.
#[derive(Debug)]
pub(super) struct Running(Activity);

impl Drop for Running {
    fn drop(&mut self) {
        let state = &self.0.0;
        let ms = u64::try_from(state.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        state.last_end_ms.store(ms, Ordering::Release);
        state.running.fetch_sub(1, Ordering::AcqRel);
        state.waiting.wake();
    }
}

/// The body of an answer. The request runs until the body ends or is dropped.
///
/// A failure is handed on one poll late. hyper drops what it has not written yet when a body fails, also the head. So
/// head and what has come are written first, as far as the socket takes them, and a caller whose answer is cut still
/// sees that its write was carried out.
#[derive(Debug)]
pub(super) struct RunningBody {
    inner: ResponseBody,
    failure: Option<<ResponseBody as Body>::Error>,
    running: Option<Running>,
}

impl RunningBody {
    pub(super) fn new(inner: ResponseBody, running: Running) -> RunningBody {
        RunningBody { inner, failure: None, running: Some(running) }
    }
}

impl Body for RunningBody {
    type Data = Bytes;
    type Error = <ResponseBody as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(failure) = self.failure.take() {
            self.running = None;
            return Poll::Ready(Some(Err(failure)));
        }
        match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
            Some(Err(failure)) => {
                self.failure = Some(failure);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => {
                self.running = None;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failure.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
