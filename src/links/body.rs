//! A JSON body whose links change while it streams by.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::LinkMap;
use super::json::JsonRewriter;

/// Read at once: what is written of it waits for its reader, and the body of a cached answer comes in one piece.
const FEED_BYTES: usize = 64 * 1024;

pin_project! {
    /// `B` with the links in its JSON rewritten. Its length isn't known until its end. Trailers are
    /// dropped: GitHub sends none, and a signature in one would no longer be valid.
    #[derive(Debug)]
    pub struct RewrittenBody<B> {
        #[pin]
        inner: B,
        rewriter: JsonRewriter,
        // Came, and was not read yet.
        rest: Bytes,
        ready: VecDeque<Bytes>,
        // `inner` has ended or failed, and must not be polled again.
        is_done: bool,
    }
}

impl<B> RewrittenBody<B> {
    pub fn new(inner: B, map: LinkMap) -> RewrittenBody<B> {
        let rewriter = JsonRewriter::new(map);
        RewrittenBody { inner, rewriter, rest: Bytes::new(), ready: VecDeque::new(), is_done: false }
    }
}

impl<B: Body<Data = Bytes>> Body for RewrittenBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        loop {
            if let Some(data) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if !this.rest.is_empty() {
                let piece = this.rest.split_to(this.rest.len().min(FEED_BYTES));
                this.rewriter.feed(piece, this.ready);
                continue;
            }
            if *this.is_done {
                return Poll::Ready(None);
            }
            match ready!(this.inner.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => {
                    *this.rest = frame.into_data().unwrap_or_default();
                }
                Some(Err(error)) => {
                    *this.is_done = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    *this.is_done = true;
                    this.rewriter.finish(this.ready);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_inner_over = self.is_done || (self.inner.is_end_stream() && !self.rewriter.is_holding());
        is_inner_over && self.rest.is_empty() && self.ready.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}
