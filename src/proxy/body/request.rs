//! The body of a request, and what becomes of the part that nobody reads.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// Of what nobody reads, up to this many bytes of each connection are still taken and discarded, for at most this long.
/// Many callers read a refusal only after they have sent their whole body, and take a connection that is cut before
/// that for lost.
pub(crate) const DISCARDED_BYTES_MAX: usize = 64 * 1024 * 1024;
pub(crate) const DISCARDED_WITHIN: Duration = Duration::from_secs(10);

/// How much the streams of an HTTP/2 connection may still send that is discarded. It is full again
/// after `DISCARDED_WITHIN`, since such a connection serves for long.
#[derive(Debug)]
pub(crate) struct Allowance(Mutex<(usize, Instant)>);

impl Allowance {
    pub(crate) fn new() -> Arc<Allowance> {
        Arc::new(Allowance(Mutex::new((DISCARDED_BYTES_MAX, Instant::now()))))
    }

    /// Takes so many bytes; false if not so many are left.
    fn take(&self, bytes: usize) -> bool {
        let (left, since) = &mut *self.0.lock();
        if since.elapsed() >= DISCARDED_WITHIN {
            (*left, *since) = (DISCARDED_BYTES_MAX, Instant::now());
        }
        *left = left.saturating_sub(bytes);
        *left > 0
    }
}

/// A body as it arrives. Over HTTP/2, the rest of one that is dropped is read and discarded: a stream
/// that nobody reads has no window, and its caller could neither finish nor see the answer. Over
/// HTTP/1.1 the connection does that.
#[derive(Debug)]
pub(crate) struct RequestBody {
    /// None once it is dropped.
    inner: Option<Incoming>,
    /// None over HTTP/1.1.
    allowance: Option<Arc<Allowance>>,
}

impl RequestBody {
    pub(crate) fn new(inner: Incoming, allowance: Option<Arc<Allowance>>) -> RequestBody {
        RequestBody { inner: Some(inner), allowance }
    }

    fn inner(&self) -> &Incoming {
        self.inner.as_ref().expect("it is there until it is dropped")
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let inner = self.inner.as_mut().expect("it is there until it is dropped");
        Pin::new(inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner().size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(rest) = self.inner.take()
            && let Some(allowance) = self.allowance.take()
            && !rest.is_end_stream()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(tokio::time::timeout(DISCARDED_WITHIN, discard(rest, allowance)));
        }
    }
}

async fn discard(mut body: Incoming, allowance: Arc<Allowance>) {
    while let Some(Ok(frame)) = body.frame().await {
        if !allowance.take(frame.data_ref().map_or(0, Bytes::len)) {
            return;
        }
    }
}
