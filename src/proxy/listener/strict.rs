//! A connection that hands hyper only what passed [`super::framing`].
//!
//! It reads ahead to the end of each head, checks it, and follows the body to where the next head
//! begins. A violation ends the connection: hyper sees its end, and the refusal is written when
//! hyper closes, after whatever it still had to say. A connection closed while its peer is still
//! sending is read on for a moment, since the kernel would else throw the last answer away.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::activity::Activity;
use super::framing::{BodyTracker, check_growth, check_head, head_end};
use crate::error::ProxyError;

/// Read from the socket at a time.
const READ_BYTES: usize = 16 * 1024;
/// After the last answer, this much is still read and thrown away, for at most this long.
const LINGER_BYTES_MAX: usize = 1024 * 1024;
const LINGER: Duration = Duration::from_secs(1);

/// How long a caller may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// Without a request at all.
    pub idle: Duration,
    /// Without taking a byte of what is there for it.
    pub write: Duration,
}

/// What the timer runs for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timed {
    Nothing,
    Idle,
    Head,
}

/// What the connection waits for.
#[derive(Debug)]
enum State {
    /// A head; this much of the buffer has been searched for its end.
    Head {
        searched: usize,
    },
    Body(BodyTracker),
    /// Refused, or closed by the peer: nothing more is read.
    Over,
}

/// How far the goodbye has come.
#[derive(Debug)]
enum Goodbye {
    NotYet,
    Writing(Vec<u8>, usize),
    Lingering { left: usize },
    Said,
}

/// Renders a refusal for a connection that could not be read.
pub(super) type Refusal = fn(&ProxyError) -> Vec<u8>;

/// The checked connection.
#[derive(Debug)]
pub(super) struct Strict<T> {
    inner: T,
    buffer: BytesMut,
    /// Bytes at the buffer's start that hyper may have.
    checked: usize,
    state: State,
    patience: Patience,
    timer: Pin<Box<Sleep>>,
    timed: Timed,
    activity: Activity,
    /// Runs while a write can't go on.
    write_timer: Option<Pin<Box<Sleep>>>,
    refusal: Refusal,
    violation: Option<ProxyError>,
    violation_is_in_body: bool,
    goodbye: Goodbye,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Strict<T> {
    pub(super) fn new(inner: T, patience: Patience, activity: Activity, refusal: Refusal) -> Strict<T> {
        Strict {
            inner,
            buffer: BytesMut::new(),
            checked: 0,
            state: State::Head { searched: 0 },
            patience,
            timer: Box::pin(tokio::time::sleep(patience.idle)),
            timed: Timed::Idle,
            activity,
            write_timer: None,
            refusal,
            violation: None,
            violation_is_in_body: false,
            goodbye: Goodbye::NotYet,
        }
    }

    /// Checks what has arrived; true when hyper may have some of it.
    fn advance(&mut self) -> Result<bool, ProxyError> {
        if self.checked > 0 {
            return Ok(true);
        }
        loop {
            match &mut self.state {
                State::Head { searched } => {
                    let Some(end) = head_end(&self.buffer, *searched) else {
                        *searched = self.buffer.len();
                        check_growth(&self.buffer)?;
                        return Ok(false);
                    };
                    let framing = check_head(&self.buffer[..end])?;
                    self.state = State::Body(BodyTracker::new(framing));
                    self.checked = end;
                    return Ok(true);
                }
                State::Body(tracker) if tracker.has_ended() => self.expect_head(),
                State::Body(tracker) => {
                    self.checked = tracker.take(&self.buffer)?;
                    return Ok(self.checked > 0);
                }
                State::Over => return Ok(false),
            }
        }
    }

    fn expect_head(&mut self) {
        self.state = State::Head { searched: 0 };
        self.timed = Timed::Nothing;
    }

    /// Whether the caller took too long over a head. Bodies have a timer of their own.
    fn is_out_of_patience(&mut self, cx: &mut Context<'_>) -> bool {
        if !matches!(self.state, State::Head { .. }) || self.activity.poll_quiet(cx).is_pending() {
            self.timed = Timed::Nothing;
            return false;
        }
        let (timed, patience) = match self.buffer.is_empty() {
            true => (Timed::Idle, self.patience.idle),
            false => (Timed::Head, self.patience.head),
        };
        if self.timed != timed {
            self.timed = timed;
            self.timer.as_mut().reset(Instant::now() + patience);
        }
        self.timer.as_mut().poll(cx).is_ready()
    }

    fn refuse(&mut self, error: ProxyError) {
        self.violation_is_in_body = matches!(self.state, State::Body(_));
        self.violation = Some(error);
        self.state = State::Over;
    }

    /// A peer that takes nothing for too long is given up.
    fn paced<R>(&mut self, written: Poll<io::Result<R>>, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.write_timer = None;
            return written;
        }
        let patience = self.patience.write;
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// An idle connection holds no buffer.
    fn release(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }

    /// Reads more into the buffer; 0 at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.buffer.reserve(READ_BYTES);
        let before = self.buffer.len();
        tokio_util::io::poll_read_buf(Pin::new(&mut self.inner), cx, &mut self.buffer)
            .map_ok(|_| self.buffer.len() - before)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Strict<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match this.advance() {
                Ok(true) => {
                    let length = this.checked.min(into.remaining());
                    into.put_slice(&this.buffer[..length]);
                    this.buffer.advance(length);
                    this.checked -= length;
                    return Poll::Ready(Ok(()));
                }
                // To hyper this is the end, and it would drop what it is still answering.
                // One within its body ends it: it waits for that very body.
                Ok(false) if this.violation.is_some() && !this.violation_is_in_body => {
                    return this.activity.poll_quiet(cx).map(Ok);
                }
                Ok(false) if matches!(this.state, State::Over) => return Poll::Ready(Ok(())),
                Ok(false) => {}
                Err(error) => {
                    this.refuse(error);
                    continue;
                }
            }
            match this.poll_fill(cx) {
                Poll::Ready(Ok(0)) => {
                    this.state = State::Over;
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if this.is_out_of_patience(cx) => {
                    this.state = State::Over;
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => {
                    this.release();
                    return Poll::Pending;
                }
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Strict<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.paced(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.paced(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.paced(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.goodbye {
                Goodbye::NotYet => {
                    // A body that ends in a violation is answered by whoever was reading it.
                    let violation = this.violation.take().filter(|_| !this.violation_is_in_body);
                    let last_words = violation.map(|error| (this.refusal)(&error)).unwrap_or_default();
                    this.goodbye = Goodbye::Writing(last_words, 0);
                }
                Goodbye::Writing(words, written) if *written < words.len() => {
                    match Pin::new(&mut this.inner).poll_write(cx, &words[*written..]) {
                        Poll::Ready(length) => *written += length?,
                        Poll::Pending => return this.paced(Poll::Pending, cx),
                    }
                }
                Goodbye::Writing(words, _) => {
                    let unread = !words.is_empty()
                        || !this.buffer.is_empty()
                        || matches!(&this.state, State::Body(tracker) if !tracker.has_ended());
                    match Pin::new(&mut this.inner).poll_shutdown(cx) {
                        Poll::Ready(shut) => shut?,
                        Poll::Pending => return this.paced(Poll::Pending, cx),
                    }
                    this.timer.as_mut().reset(Instant::now() + LINGER);
                    this.goodbye =
                        if unread { Goodbye::Lingering { left: LINGER_BYTES_MAX } } else { Goodbye::Said };
                }
                Goodbye::Lingering { left } => {
                    if this.timer.as_mut().poll(cx).is_ready() {
                        this.goodbye = Goodbye::Said;
                        continue;
                    }
                    let mut scratch = [0; 4096];
                    let mut scratch = ReadBuf::new(&mut scratch);
                    ready!(Pin::new(&mut this.inner).poll_read(cx, &mut scratch))?;
                    let read = scratch.filled().len();
                    *left = left.saturating_sub(read);
                    if read == 0 || *left == 0 {
                        this.goodbye = Goodbye::Said;
                    }
                }
                Goodbye::Said => return Poll::Ready(Ok(())),
            }
        }
    }
}
