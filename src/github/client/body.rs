//! The body of an answer, which owns its connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::connection::Connection;
use super::pool::Pool;

/// A body being received from GitHub. Once it was read to the end, its connection goes back to the pool.
#[derive(Debug)]
pub struct AnswerBody {
    inner: Incoming,
    /// `None` once the connection has gone back.
    connection: Option<Connection>,
    pool: Arc<Pool>,
}

impl AnswerBody {
    pub(super) fn new(inner: Incoming, connection: Connection, pool: &Arc<Pool>) -> AnswerBody {
        let mut body = AnswerBody { inner, connection: Some(connection), pool: Arc::clone(pool) };
        if body.inner.is_end_stream() {
            body.end();
        }
        body
    }

    fn end(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.put(connection);
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let frame = std::task::ready!(Pin::new(&mut this.inner).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || this.inner.is_end_stream() {
            this.end();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.end();
    }
}
