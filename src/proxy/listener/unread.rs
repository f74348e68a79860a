//! HTTP/2 responses that their peer does not read.
//!
//! On HTTP/1.1 a peer that takes nothing stops the connection, which has a timer for that. An HTTP/2 stream can stand
//! still while others move, and hyper has taken a frame of its body by then. So frames are short, and a stream that
//! stands still for too long ends its connection.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio_util::sync::CancellationToken;

use crate::proxy::body::{Holdable, Readers, ResponseBody};

/// Longest frame of a body, in bytes: HTTP/2's own default (RFC 9113 §6.5.2).
const FRAME_BYTES_MAX: usize = 16 * 1024;

/// A response's body, which cancels `unread` when its peer takes nothing for as long as [`Readers`] wait.
pub(super) fn watched(body: ResponseBody, readers: &Readers, unread: &CancellationToken) -> ResponseBody {
    let sliced = Sliced { inner: body, rest: Bytes::new() };
    readers.holding(sliced.boxed_unsync(), Stream(unread.clone()))
}

struct Stream(CancellationToken);

impl Holdable for Stream {
    /// The last piece may still wait for its window.
    const ENDS_WITH_BODY: bool = false;

    fn is_wanted(&self) -> bool {
        false
    }

    fn cut(self) {
        self.0.cancel();
    }
}

/// A body in short frames.
struct Sliced {
    inner: ResponseBody,
    rest: Bytes,
}

impl Body for Sliced {
    type Data = Bytes;
    type Error = <ResponseBody as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            match std::task::ready!(Pin::new(&mut this.inner).poll_frame(cx))
                .map(|frame| frame.map(Frame::into_data))
            {
                Some(Ok(Ok(data))) => this.rest = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(FRAME_BYTES_MAX));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.inner.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::proxy::body::full;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn frames_are_short_and_all_there() {
        let text: String = ('a'..='z').cycle().take(100_000).collect();
        let mut body = watched(full(text.clone()), &Readers::default(), &CancellationToken::new());
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!((1..=FRAME_BYTES_MAX).contains(&data.len()));
            read.extend_from_slice(&data);
            assert_eq!(body.size_hint().exact(), Some((text.len() - read.len()) as u64));
        }
        assert!(body.is_end_stream() && read == text.as_bytes());
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_the_last_piece_unread_loses_the_connection() {
        let (readers, unread) = (Readers::default(), CancellationToken::new());
        let mut body = watched(full("short"), &readers, &unread);
        assert!(body.frame().await.is_some());
        tokio::time::sleep(Duration::from_secs(110)).await;
        assert!(!unread.is_cancelled());
        tokio::time::sleep(Duration::from_secs(12)).await;
        assert!(unread.is_cancelled());
        let unread = CancellationToken::new();
        let mut read = watched(full("short"), &readers, &unread);
        assert!(read.frame().await.is_some());
        drop(read);
        tokio::time::sleep(Duration::from_secs(150)).await;
        assert!(!unread.is_cancelled());
    }
}
