//! What a body holds on its way to a reader, and lets go of when the reader stops reading.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use parking_lot::{Mutex, MutexGuard};
use slab::Slab;
use thiserror::Error;

use super::ResponseBody;
use crate::github::client::BoxError;

/// How often all bodies are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A reader that takes nothing for this many looks is cut off if what its body holds is scarce. Buffers on the way take
/// some megabytes, so a slow reader seems to take nothing for a while.
const READER_PATIENCE: u64 = 15;
/// A reader that takes nothing for this many looks is cut off in any case. On HTTP/1.1 the connection's own timer is
/// shorter, which sees the bytes leave.
const READER_PATIENCE_MAX: u64 = 120;

/// What a body holds until it ends.
pub(crate) trait Holdable: Send + 'static {
    /// Whether the end of the body gives it back. If not, it is held until its reader has taken the last piece.
    const ENDS_WITH_BODY: bool;

    /// Whether somebody else waits for it.
    fn is_wanted(&self) -> bool;

    /// The body ends early, because its reader takes nothing.
    fn cut(self);
}

/// All bodies on their way to readers; cheap to clone. One task watches them while there are any.
#[derive(Clone, Default)]
pub(crate) struct Readers(Arc<Looks>);

#[derive(Default)]
struct Looks {
    /// How many looks there have been.
    count: AtomicU64,
    bodies: Mutex<Bodies>,
}

#[derive(Default)]
struct Bodies {
    held: Slab<Arc<dyn Held>>,
    is_looked_after: bool,
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").field("count", &self.lock().held.len()).finish_non_exhaustive()
    }
}

impl Readers {
    /// A body that keeps `value` until it ends or is dropped. While its reader reads nothing, GitHub's transfer goes
    /// on, and counts as a concurrent request there: so both are kept and given up together.
    pub(crate) fn holding<H: Holdable>(&self, inner: ResponseBody, value: H) -> ResponseBody {
        let rest = Rest { body: Some(inner), value: Some(value) };
        let held = Arc::new(Holds { rest: Mutex::new(rest), read_at: AtomicU64::new(self.now()) });
        let place = self.look_after(Arc::clone(&held) as Arc<dyn Held>);
        Holding { held, readers: self.clone(), place }.boxed_unsync()
    }

    fn look_after(&self, held: Arc<dyn Held>) -> usize {
        let (place, is_looked_after) = {
            let mut bodies = self.lock();
            (bodies.held.insert(held), std::mem::replace(&mut bodies.is_looked_after, true))
        };
        if !is_looked_after {
            tokio::spawn(Lookout { looks: Arc::downgrade(&self.0), has_ended: false }.keep());
        }
        place
    }

    /// The time, counted in looks, so that no clock is read for each piece of a body.
    fn now(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Bodies> {
        self.0.lock()
    }
}

impl Looks {
    fn lock(&self) -> MutexGuard<'_, Bodies> {
        self.bodies.lock()
    }

    /// Looks at all bodies; false if there are none, and then nobody looks any more.
    fn look(&self) -> bool {
        let now = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        // Looked at when the list is free again: a body that ends within another one's poll leaves it.
        let held: Vec<Arc<dyn Held>> = {
            let mut bodies = self.lock();
            if bodies.held.is_empty() {
                bodies.is_looked_after = false;
                return false;
            }
            bodies.held.iter().map(|(_, held)| Arc::clone(held)).collect()
        };
        held.iter().filter(|held| held.is_forsaken(now)).for_each(|held| held.cut());
        true
    }
}

/// The task that watches the bodies.
struct Lookout {
    looks: Weak<Looks>,
    has_ended: bool,
}

impl Lookout {
    async fn keep(mut self) {
        while !self.has_ended {
            tokio::time::sleep(LOOK_EVERY).await;
            self.has_ended = !self.looks.upgrade().is_some_and(|looks| looks.look());
        }
    }
}

impl Drop for Lookout {
    /// Ended by a panic or with its runtime: the next body starts another.
    fn drop(&mut self) {
        if let Some(looks) = self.looks.upgrade().filter(|_| !self.has_ended) {
            looks.lock().is_looked_after = false;
        }
    }
}

trait Held: Send + Sync {
    fn cut(&self);

    fn is_forsaken(&self, now: u64) -> bool;
}

/// What is left of a body, and what it holds; neither once it was cut.
struct Rest<H> {
    body: Option<ResponseBody>,
    value: Option<H>,
}

struct Holds<H> {
    rest: Mutex<Rest<H>>,
    /// When the reader last took something, counted in looks; [`WAITS`] while it waits for more.
    read_at: AtomicU64,
}

/// The reader waits: the next byte is GitHub's to send.
const WAITS: u64 = u64::MAX;

impl<H> Holds<H> {
    fn rest(&self) -> MutexGuard<'_, Rest<H>> {
        self.rest.lock()
    }
}

impl<H: Holdable> Held for Holds<H> {
    fn cut(&self) {
        let (body, value) = {
            let mut rest = self.rest();
            (rest.body.take(), rest.value.take())
        };
        drop(body);
        value.into_iter().for_each(Holdable::cut);
    }

    fn is_forsaken(&self, now: u64) -> bool {
        let read_at = self.read_at.load(Ordering::Relaxed);
        if read_at == WAITS || now <= read_at + READER_PATIENCE {
            return false;
        }
        let is_patience_over = now > read_at + READER_PATIENCE_MAX;
        self.rest().value.as_ref().is_some_and(|value| is_patience_over || value.is_wanted())
    }
}

/// Its reader took nothing for too long.
#[derive(Debug, Error)]
#[error("the reader of the answer took nothing for too long")]
struct Forsaken;

struct Holding<H> {
    held: Arc<Holds<H>>,
    readers: Readers,
    place: usize,
}

impl<H: Holdable> Body for Holding<H> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let mut rest = this.held.rest();
        let Some(body) = &mut rest.body else { return Poll::Ready(Some(Err(Forsaken.into()))) };
        let polled = Pin::new(&mut *body).poll_frame(cx);
        let read_at = if polled.is_pending() { WAITS } else { this.readers.now() };
        this.held.read_at.store(read_at, Ordering::Relaxed);
        let frame = std::task::ready!(polled);
        let has_ended = !matches!(frame, Some(Ok(_))) || body.is_end_stream();
        let value = if has_ended && H::ENDS_WITH_BODY { rest.value.take() } else { None };
        drop(rest);
        // What it does then may take its time.
        drop(value);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.held.rest().body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.held.rest().body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl<H> Drop for Holding<H> {
    fn drop(&mut self) {
        let held = self.readers.lock().held.try_remove(self.place);
        // Dropped outside the lock: what it holds may take its time.
        drop(held);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use futures_util::{StreamExt, stream};
    use http_body_util::StreamBody;

    use super::*;

    /// What is held while the body comes.
    #[derive(Clone, Default)]
    struct Slot(Arc<State>);

    #[derive(Default)]
    struct State {
        is_free: AtomicBool,
        is_wanted: AtomicBool,
    }

    impl Slot {
        fn is_held(&self) -> bool {
            !self.0.is_free.load(Ordering::SeqCst)
        }

        fn want(&self) {
            self.0.is_wanted.store(true, Ordering::SeqCst);
        }
    }

    struct Guard(Slot);

    impl Holdable for Guard {
        const ENDS_WITH_BODY: bool = true;

        fn is_wanted(&self) -> bool {
            self.0.0.is_wanted.load(Ordering::SeqCst)
        }

        fn cut(self) {}
    }

    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.0.is_free.store(true, Ordering::SeqCst);
        }
    }

    fn holding(
        readers: &Readers,
        chunks: impl futures_util::Stream<Item = &'static str> + Send + 'static,
    ) -> (ResponseBody, Slot) {
        let slot = Slot::default();
        let body = StreamBody::new(chunks.map(|chunk| Ok(Frame::data(Bytes::from(chunk)))));
        (readers.holding(BodyExt::boxed_unsync(body), Guard(slot.clone())), slot)
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stops_loses_its_slot_and_the_rest_to_whoever_waits() {
        let (mut body, slot) = holding(&Readers::default(), stream::iter(["a", "b"]));
        assert!(body.frame().await.is_some());
        slot.want();
        tokio::time::sleep(Duration::from_secs(14)).await;
        assert!(slot.is_held());
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(!slot.is_held());
        let cut = body.frame().await.unwrap().unwrap_err();
        assert!(cut.is::<Forsaken>(), "{cut}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_that_nobody_wants_is_held_for_longer() {
        let (mut body, slot) = holding(&Readers::default(), stream::iter(["a", "b"]));
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_secs(110)).await;
            assert!(slot.is_held() && body.frame().await.unwrap().is_ok());
        }
        let (_never_read, slot) = holding(&Readers::default(), stream::iter(["a", "b"]));
        tokio::time::sleep(Duration::from_secs(122)).await;
        assert!(!slot.is_held());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_is_held_to_its_end() {
        let slow = stream::iter(["a", "b"]).then(|chunk| async move {
            tokio::time::sleep(Duration::from_secs(60)).await;
            chunk
        });
        let (mut body, slot) = holding(&Readers::default(), slow);
        slot.want();
        for _ in 0..2 {
            assert!(body.frame().await.is_some());
            assert!(slot.is_held());
        }
        assert!(body.frame().await.is_none());
        assert!(!slot.is_held());
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_quiet_time_bodies_are_looked_after_again() {
        let readers = Readers::default();
        for _ in 0..2 {
            let (body, slot) = holding(&readers, stream::iter(["a", "b"]));
            slot.want();
            tokio::time::sleep(Duration::from_secs(17)).await;
            assert!(!slot.is_held());
            drop(body);
            assert!(readers.lock().held.is_empty());
            tokio::time::sleep(Duration::from_secs(7)).await;
            assert!(!readers.lock().is_looked_after);
        }
    }

    #[test]
    fn the_end_of_a_runtime_leaves_no_body_unwatched() {
        let readers = Readers::default();
        for _ in 0..2 {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let body = runtime.block_on(async { holding(&readers, stream::iter(["a", "b"])).0 });
            assert!(readers.lock().is_looked_after);
            drop(runtime);
            assert!(!readers.lock().is_looked_after);
            drop(body);
        }
    }
}
