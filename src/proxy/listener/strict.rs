//! A connection that hands hyper only what passed [`super::framing`].
//!
//! It reads ahead to the end of each head, checks it, and follows the body to where the next head
//! begins. A violation ends the connection: hyper sees end of file, and the refusal is written when
//! hyper closes, after whatever it still had to write. If the peer is still sending at the close,
//! the connection reads on for a moment; otherwise the kernel would discard the last answer.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::activity::Activity;
use super::framing::{BodyTracker, check_growth, check_head, head_end};
use crate::error::ProxyError;
use crate::paced::Paced;
use crate::proxy::body::{DISCARDED_BYTES_MAX, DISCARDED_WITHIN};

/// Bytes read from the socket at a time.
const READ_BYTES: usize = 16 * 1024;

/// How long a caller may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// Without a request at all.
    pub idle: Duration,
    /// Without taking a byte of what is ready to be written.
    pub write: Duration,
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

/// How far the end of the connection has come.
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
    inner: Paced<T>,
    buffer: BytesMut,
    /// Bytes at the start of the buffer that hyper may have.
    checked: usize,
    state: State,
    patience: Patience,
    /// Fires when patience may have run out; whether it has is worked out only then.
    timer: Pin<Box<Sleep>>,
    /// When the first byte of a still incomplete head came.
    head_began: Option<Instant>,
    activity: Activity,
    refusal: Refusal,
    violation: Option<ProxyError>,
    violation_is_in_body: bool,
    goodbye: Goodbye,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Strict<T> {
    pub(super) fn new(inner: T, patience: Patience, activity: Activity, refusal: Refusal) -> Strict<T> {
        Strict {
            inner: Paced::new(inner, patience.write),
            buffer: BytesMut::new(),
            checked: 0,
            state: State::Head { searched: 0 },
            patience,
            timer: Box::pin(tokio::time::sleep(patience.idle)),
            head_began: None,
            activity,
            refusal,
            violation: None,
            violation_is_in_body: false,
            goodbye: Goodbye::NotYet,
        }
    }

    /// Checks what has arrived; true if hyper may have some of it.
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
                    self.head_began = None;
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
    }

    /// Whether the caller took too long over a head, or idled too long. Bodies have timers of their own.
    fn is_out_of_patience(&mut self, cx: &mut Context<'_>) -> bool {
        let is_in_head = matches!(self.state, State::Head { .. }) && !self.buffer.is_empty();
        if is_in_head && self.head_began.is_none() {
            let now = Instant::now();
            self.head_began = Some(now);
            self.timer.as_mut().reset(now + self.patience.head);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let (now, ends) = (Instant::now(), self.patience_ends());
            if ends <= now {
                return true;
            }
            self.timer.as_mut().reset(ends);
        }
        false
    }

    /// When patience ends if nothing arrives. While something runs, the time is provisional: the
    /// timer asks again then.
    fn patience_ends(&self) -> Instant {
        let since = match self.activity.quiet_since() {
            Some(quiet_since) if matches!(self.state, State::Head { .. }) => quiet_since,
            _ => Instant::now(),
        };
        match self.head_began {
            Some(began) => began.max(since) + self.patience.head,
            None => since + self.patience.idle,
        }
    }

    fn refuse(&mut self, error: ProxyError) {
        self.violation_is_in_body = matches!(self.state, State::Body(_));
        self.violation = Some(error);
        self.state = State::Over;
    }

    /// Frees the buffer if it is empty, so that idle connections hold none.
    fn release(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }

    /// Reads more into the buffer; 0 at the end. Reads into the stack first: polls are more
    /// frequent than data, and the buffer should grow only by what has arrived.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut scratch = [MaybeUninit::uninit(); READ_BYTES];
        let mut scratch = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut scratch))?;
        self.buffer.extend_from_slice(scratch.filled());
        Poll::Ready(Ok(scratch.filled().len()))
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
                // Hyper would take this as end of file and drop the answers it still owes, so wait
                // until nothing runs. After a violation within a body that would take forever: the
                // request waits for that body.
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
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.goodbye {
                Goodbye::NotYet => {
                    // A violation within a body is answered by the request that was reading the body.
                    let violation = this.violation.take().filter(|_| !this.violation_is_in_body);
                    let last_words = violation.map(|error| (this.refusal)(&error)).unwrap_or_default();
                    this.goodbye = Goodbye::Writing(last_words, 0);
                }
                Goodbye::Writing(words, written) if *written < words.len() => {
                    *written += ready!(Pin::new(&mut this.inner).poll_write(cx, &words[*written..]))?;
                }
                Goodbye::Writing(words, _) => {
                    let unread = !words.is_empty()
                        || !this.buffer.is_empty()
                        || matches!(&this.state, State::Body(tracker) if !tracker.has_ended());
                    ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
                    this.timer.as_mut().reset(Instant::now() + DISCARDED_WITHIN);
                    this.goodbye =
                        if unread { Goodbye::Lingering { left: DISCARDED_BYTES_MAX } } else { Goodbye::Said };
                }
                Goodbye::Lingering { left } => {
                    if this.timer.as_mut().poll(cx).is_ready() {
                        this.goodbye = Goodbye::Said;
                        continue;
                    }
                    let mut scratch = [0; READ_BYTES];
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::time::sleep;

    use super::*;

    const PATIENCE: Patience = Patience {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(120),
        write: Duration::from_secs(30),
    };

    fn connection() -> (Strict<DuplexStream>, DuplexStream, Activity) {
        let (ours, peer) = tokio::io::duplex(1024);
        let activity = Activity::new();
        (Strict::new(ours, PATIENCE, activity.clone(), |_| Vec::new()), peer, activity)
    }

    /// Seconds from `began` until the connection is given up.
    async fn ends_at(mut connection: Strict<DuplexStream>, began: Instant) -> u64 {
        let mut rest = Vec::new();
        connection.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"");
        began.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn idleness_counts_from_the_last_answer() {
        let (mut connection, mut peer, activity) = connection();
        let began = Instant::now();
        sleep(Duration::from_secs(100)).await;
        peer.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut head = [0; 64];
        assert_eq!(connection.read(&mut head).await.unwrap(), 27);
        let running = activity.begin();
        tokio::spawn(async move {
            sleep(Duration::from_secs(150)).await;
            drop(running);
        });
        assert_eq!(ends_at(connection, began).await, 100 + 150 + 120);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_must_be_whole_in_time() {
        let (connection, mut peer, _) = connection();
        let began = Instant::now();
        tokio::spawn(async move {
            sleep(Duration::from_secs(50)).await;
            peer.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
            sleep(Duration::from_secs(9)).await;
            // Another byte buys no more patience.
            peer.write_all(b"H").await.unwrap();
            sleep(Duration::from_secs(1000)).await;
        });
        assert_eq!(ends_at(connection, began).await, 50 + 10);
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_head_has_its_time_when_nothing_runs_any_more() {
        let (connection, mut peer, activity) = connection();
        let began = Instant::now();
        let running = activity.begin();
        peer.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        tokio::spawn(async move {
            sleep(Duration::from_secs(35)).await;
            drop(running);
            sleep(Duration::from_secs(1000)).await;
            drop(peer);
        });
        assert_eq!(ends_at(connection, began).await, 35 + 10);
    }
}
