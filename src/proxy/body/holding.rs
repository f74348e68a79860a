//! What a body holds on its way to a reader, and what becomes of it when the reader stops reading.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use slab::Slab;

use super::ResponseBody;
use crate::github::client::BoxError;

/// Between two looks at all bodies.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A reader that takes nothing for so many looks holds nothing any more.
const READER_PATIENCE: u64 = 5;

/// All bodies on their way to readers; cheap to clone. One task looks after them while there are any.
#[derive(Clone, Default)]
pub(crate) struct Readers(Arc<Looks>);

#[derive(Default)]
struct Looks {
    /// How many there were.
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
    /// A body that keeps `value` until it has ended, or is given up, or its reader stops reading: GitHub's
    /// part is done by then, and nobody may hold the others' slots by not reading.
    pub(crate) fn holding<H: Send + 'static>(&self, inner: ResponseBody, value: H) -> ResponseBody {
        let held = Arc::new(Holds { value: Mutex::new(Some(value)), read_at: AtomicU64::new(self.now()) });
        let place = self.look_after(Arc::clone(&held) as Arc<dyn Held>);
        Holding { inner, held, readers: self.clone(), place }.boxed_unsync()
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

    /// In looks, so that no clock is read for each piece of a body.
    fn now(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Bodies> {
        self.0.lock()
    }
}

impl Looks {
    fn lock(&self) -> MutexGuard<'_, Bodies> {
        self.bodies.lock().expect("nothing panics while it holds this lock")
    }

    /// Looks at all bodies; false when there are none, and nobody looks any more.
    fn look(&self) -> bool {
        let now = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let forsaken: Vec<Arc<dyn Held>> = {
            let mut bodies = self.lock();
            if bodies.held.is_empty() {
                bodies.is_looked_after = false;
                return false;
            }
            let held = bodies.held.iter().map(|(_, held)| held);
            held.filter(|held| held.is_forsaken(now)).cloned().collect()
        };
        forsaken.iter().for_each(|held| held.let_go());
        true
    }
}

/// Who looks after the bodies.
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
    /// Ended by a panic or with its runtime: the next body has another one.
    fn drop(&mut self) {
        if let Some(looks) = self.looks.upgrade().filter(|_| !self.has_ended) {
            looks.lock().is_looked_after = false;
        }
    }
}

trait Held: Send + Sync {
    fn let_go(&self);

    fn is_forsaken(&self, now: u64) -> bool;
}

struct Holds<H> {
    value: Mutex<Option<H>>,
    /// When the reader took something last, in looks; [`WAITS`] while it waits for more.
    read_at: AtomicU64,
}

/// The next byte is GitHub's to send.
const WAITS: u64 = u64::MAX;

impl<H: Send> Held for Holds<H> {
    fn let_go(&self) {
        let value = self.value.lock().expect("nothing panics while it holds this lock").take();
        drop(value);
    }

    fn is_forsaken(&self, now: u64) -> bool {
        let read_at = self.read_at.load(Ordering::Relaxed);
        read_at != WAITS && now > read_at + READER_PATIENCE
    }
}

struct Holding<H> {
    inner: ResponseBody,
    held: Arc<Holds<H>>,
    readers: Readers,
    place: usize,
}

impl<H: Send> Body for Holding<H> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        let read_at = if polled.is_pending() { WAITS } else { this.readers.now() };
        this.held.read_at.store(read_at, Ordering::Relaxed);
        let frame = std::task::ready!(polled);
        if !matches!(frame, Some(Ok(_))) || this.inner.is_end_stream() {
            this.held.let_go();
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

impl<H> Drop for Holding<H> {
    fn drop(&mut self) {
        let held = self.readers.lock().held.try_remove(self.place);
        // What goes with it may take its time.
        drop(held);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use futures_util::{StreamExt, stream};
    use http_body_util::StreamBody;

    use super::*;

    /// What is held while the body comes; false once it is let go.
    struct Guard(Arc<AtomicBool>);

    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.store(false, Ordering::SeqCst);
        }
    }

    fn holding(
        readers: &Readers,
        chunks: impl futures_util::Stream<Item = &'static str> + Send + 'static,
    ) -> (ResponseBody, Arc<AtomicBool>) {
        let is_held = Arc::new(AtomicBool::new(true));
        let body = StreamBody::new(chunks.map(|chunk| Ok(Frame::data(Bytes::from(chunk)))));
        (readers.holding(BodyExt::boxed_unsync(body), Guard(Arc::clone(&is_held))), is_held)
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_reading_holds_nothing_for_long() {
        let (mut body, is_held) = holding(&Readers::default(), stream::iter(["a", "b"]));
        assert!(body.frame().await.is_some());
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(is_held.load(Ordering::SeqCst));
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(!is_held.load(Ordering::SeqCst));
        assert!(body.frame().await.is_some(), "the rest is there all the same");
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_begins_to_read_holds_nothing_for_long() {
        let (_body, is_held) = holding(&Readers::default(), stream::iter(["a", "b"]));
        tokio::time::sleep(Duration::from_secs(7)).await;
        assert!(!is_held.load(Ordering::SeqCst));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_is_held_to_its_end() {
        let slow = stream::iter(["a", "b"]).then(|chunk| async move {
            tokio::time::sleep(Duration::from_secs(60)).await;
            chunk
        });
        let (mut body, is_held) = holding(&Readers::default(), slow);
        for _ in 0..2 {
            assert!(body.frame().await.is_some());
            assert!(is_held.load(Ordering::SeqCst));
        }
        assert!(body.frame().await.is_none());
        assert!(!is_held.load(Ordering::SeqCst));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_quiet_time_bodies_are_looked_after_again() {
        let readers = Readers::default();
        for _ in 0..2 {
            let (body, is_held) = holding(&readers, stream::iter(["a", "b"]));
            tokio::time::sleep(Duration::from_secs(7)).await;
            assert!(!is_held.load(Ordering::SeqCst));
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
