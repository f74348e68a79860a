//! The body of a request, and what becomes of the part that nobody reads.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::runtime::Handle;

/// Of what nobody reads, up to this many bytes of each connection are still taken and discarded, for at most this long.
/// Many callers read a refusal only after they have sent their whole body, and take a connection that is cut before
/// that for lost.
pub(crate) const DISCARDED_BYTES_MAX: usize = 64 * 1024 * 1024;
pub(crate) const DISCARDED_WITHIN: Duration = Duration::from_secs(10);

/// How much an HTTP/2 connection may still send that is discarded.
pub(crate) type Allowance = Arc<AtomicUsize>;

pub(crate) fn allowance() -> Allowance {
    Arc::new(AtomicUsize::new(DISCARDED_BYTES_MAX))
}

/// A body as it arrives. Over HTTP/2, the rest of one that is dropped is read and discarded: a stream
/// that nobody reads has no window, and its caller could neither finish nor see the answer. Over
/// HTTP/1.1 the connection does that.
#[derive(Debug)]
pub(crate) struct RequestBody {
    /// None once it is dropped.
    inner: Option<Incoming>,
    /// None over HTTP/1.1.
    allowance: Option<Allowance>,
}

impl RequestBody {
    pub(crate) fn new(inner: Incoming, allowance: Option<Allowance>) -> RequestBody {
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

async fn discard(mut body: Incoming, allowance: Allowance) {
    while let Some(Ok(frame)) = body.frame().await {
        let read = frame.data_ref().map_or(0, Bytes::len);
        let taken = |left: usize| left.checked_sub(read);
        if allowance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_err() {
            return;
        }
    }
}
