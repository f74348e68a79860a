//! Bodies passing through: bounded, timed, without trailers, and in constant memory.

mod holding;
mod request;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

use super::held::{self, Room};
use crate::error::ProxyError;
use crate::github::client::BoxError;
pub(crate) use holding::{Holdable, Readers};
pub(crate) use request::{Allowance, DISCARDED_BYTES_MAX, DISCARDED_WITHIN, RequestBody};

/// A body on its way to the caller.
pub(crate) type ResponseBody = UnsyncBoxBody<Bytes, BoxError>;

/// A body held whole in memory.
pub(crate) fn full(bytes: impl Into<Bytes>) -> ResponseBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Why a body ended before its time.
#[derive(Debug, Error)]
pub(crate) enum BodyError {
    #[error("the body is longer than {0} bytes")]
    TooLong(u64),
    #[error("the body stopped coming")]
    Stalled,
    #[error("the body was cut short")]
    Cut(#[source] hyper::Error),
}

impl From<&BodyError> for ProxyError {
    fn from(error: &BodyError) -> Self {
        match error {
            BodyError::TooLong(limit) => ProxyError::BodyTooLarge { limit: *limit },
            BodyError::Stalled => {
                ProxyError::BadRequest("The body of the request stopped coming.".to_owned())
            }
            BodyError::Cut(_) => ProxyError::BadRequest("The body of the request was cut short.".to_owned()),
        }
    }
}

/// How far a request's body has been sent, for whoever waits for the answer to it.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
    last_ms: AtomicU64,
    complete: AtomicBool,
    completed: Notify,
}

impl Progress {
    pub(crate) fn new() -> Arc<Progress> {
        let progress = Progress {
            started: Instant::now(),
            last_ms: AtomicU64::new(0),
            complete: AtomicBool::new(false),
            completed: Notify::new(),
        };
        Arc::new(progress)
    }

    /// When the body last moved, and whether all of it has been sent.
    pub(crate) fn last(&self) -> (Instant, bool) {
        let last = self.started + Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
        (last, self.complete.load(Ordering::Relaxed))
    }

    pub(crate) fn note(&self, complete: bool) {
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(ms, Ordering::Relaxed);
        if complete && !self.complete.swap(true, Ordering::Relaxed) {
            self.completed.notify_one();
        }
    }

    /// Waits until all of the body has been sent; for a single waiter.
    pub(crate) async fn completed(&self) {
        self.completed.notified().await;
    }
}

/// A received body with bounds on its bytes and its pauses. Trailers are dropped.
pub(crate) struct Bounded<B = RequestBody> {
    inner: B,
    left: u64,
    limit: u64,
    idle: Duration,
    /// Made when there is something to wait for the first time.
    timer: Option<Pin<Box<Sleep>>>,
    timer_armed: bool,
    progress: Option<Arc<Progress>>,
    ended: bool,
}

impl<B> fmt::Debug for Bounded<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bounded")
            .field("left", &self.left)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl<B: Body> Bounded<B> {
    pub(crate) fn new(inner: B, limit: u64, idle: Duration) -> Bounded<B> {
        Bounded {
            inner,
            left: limit,
            limit,
            idle,
            timer: None,
            timer_armed: false,
            progress: None,
            ended: false,
        }
    }

    /// Reports how far the body has come.
    pub(crate) fn reporting(mut self, progress: Arc<Progress>) -> Bounded<B> {
        if self.inner.is_end_stream() {
            progress.note(true);
        }
        self.progress = Some(progress);
        self
    }

    fn note(&self, complete: bool) {
        if let Some(progress) = &self.progress {
            progress.note(complete);
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.note(true);
    }
}

impl<B: Body<Data = Bytes, Error = hyper::Error> + Unpin> Body for Bounded<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        loop {
            match Pin::new(&mut this.inner).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.timer_armed = false;
                    // A frame that is not data holds trailers; they stop here.
                    let Ok(data) = frame.into_data() else { continue };
                    let length = data.len() as u64;
                    if length > this.left {
                        this.end();
                        return Poll::Ready(Some(Err(BodyError::TooLong(this.limit))));
                    }
                    this.left -= length;
                    this.note(this.inner.is_end_stream());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Poll::Ready(Some(Err(error))) => {
                    this.end();
                    return Poll::Ready(Some(Err(BodyError::Cut(error))));
                }
                Poll::Ready(None) => {
                    this.end();
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(this.idle)));
                    if !this.timer_armed {
                        timer.as_mut().reset(Instant::now() + this.idle);
                        this.timer_armed = true;
                    }
                    if timer.as_mut().poll_elapsed(cx) {
                        this.end();
                        return Poll::Ready(Some(Err(BodyError::Stalled)));
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Polls a `Sleep` as a yes-or-no question.
trait PollElapsed {
    fn poll_elapsed(self, cx: &mut Context<'_>) -> bool;
}

impl PollElapsed for Pin<&mut Sleep> {
    fn poll_elapsed(self, cx: &mut Context<'_>) -> bool {
        std::future::Future::poll(self, cx).is_ready()
    }
}

/// Reads a body whole, within its bounds and its room, taking no more memory than it announces.
pub(crate) async fn read_whole(mut body: Bounded, room: &mut Room) -> Result<Bytes, ProxyError> {
    let announced = body.size_hint().exact().unwrap_or_default().min(body.limit);
    let mut whole = Vec::new();
    whole.try_reserve_exact(usize::try_from(announced).unwrap_or_default()).map_err(|_| held::full())?;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ProxyError::from(&error))?;
        if let Ok(data) = frame.into_data() {
            room.grow_to((whole.len() + data.len()) as u64)?;
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.into())
}

/// Reads an answer whole; none if it breaks off, is longer than `limit` bytes or takes longer than `within`.
///
/// A caller waits for what the answer decides, and is told nothing meanwhile: it is not enough that
/// bytes trickle in.
pub(crate) async fn read_answer(mut body: ResponseBody, limit: usize, within: Duration) -> Option<Bytes> {
    let read = async {
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.ok()?.into_data() else { continue };
            if whole.len() + data.len() > limit {
                return None;
            }
            whole.extend_from_slice(&data);
        }
        Some(whole.freeze())
    };
    tokio::time::timeout(within, read).await.ok()?
}

/// The body's own failure, if that is why the client that sent it failed.
pub(crate) fn body_failure(error: &(dyn std::error::Error + 'static)) -> Option<ProxyError> {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(error) = current.downcast_ref::<BodyError>() {
            return Some(error.into());
        }
        cause = current.source();
    }
    None
}
