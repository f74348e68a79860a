//! Deliveries in memory: limited in number and bytes, from the first byte received until they are processed.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::metrics::Metrics;

/// Most deliveries being received or waiting.
pub(super) const DELIVERIES_MAX: usize = 1_024;
/// Most bytes of all their bodies together.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Longest body, in bytes. GitHub sends none of more than 25 MB.
pub(super) const BODY_BYTES_MAX: usize = 25 * 1024 * 1024;
/// The part of that which bodies may take for what exceeds [`SHORT_BYTES`], so that a few long ones, signed or not,
/// can't keep out the usual ones.
const LONG_BYTES_MAX: usize = BYTES_MAX / 2;
const SHORT_BYTES: usize = 256 * 1024;
/// A body reserves memory in pieces of this many bytes.
const PIECE_BYTES: usize = 4 * 1024;

/// There is no room at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// A delivery whose signature was checked.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) id: String,
    pub(super) event: String,
    /// Whether the body is a form with the JSON in `payload`.
    pub(super) is_form: bool,
    /// Whether the webhook delivers for the whole account.
    pub(super) is_of_account: bool,
    pub(super) body: Body,
}

/// Admits deliveries within the limits.
#[derive(Debug)]
pub(super) struct Inbox {
    places: Arc<Semaphore>,
    pieces: Arc<Semaphore>,
    long_pieces: Arc<Semaphore>,
    /// `None` once closed.
    sender: Mutex<Option<mpsc::Sender<Delivery>>>,
    gauge: IntGauge,
}

impl Inbox {
    pub(super) fn new(sender: mpsc::Sender<Delivery>, metrics: &Metrics) -> Inbox {
        Inbox {
            places: Arc::new(Semaphore::new(DELIVERIES_MAX)),
            pieces: Arc::new(Semaphore::new(BYTES_MAX / PIECE_BYTES)),
            long_pieces: Arc::new(Semaphore::new(LONG_BYTES_MAX / PIECE_BYTES)),
            sender: Mutex::new(Some(sender)),
            gauge: metrics.webhook_queue.with_label_values::<&str>(&[]),
        }
    }

    /// Reserves a place for a body that is about to arrive.
    pub(super) fn enter(&self) -> Result<Body, Full> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Full)?;
        let memory = Memory::new(&self.pieces)?;
        let long_memory = Memory::new(&self.long_pieces)?;
        self.gauge.inc();
        let counted = Counted { gauge: self.gauge.clone(), _place: place };
        Ok(Body { bytes: Vec::new(), memory, long_memory, _counted: counted })
    }

    /// Queues a delivery. The place it holds guarantees room in the queue.
    pub(super) fn put(&self, delivery: Delivery) -> Result<(), Full> {
        let sender = self.sender.lock();
        sender.as_ref().ok_or(Full)?.try_send(delivery).map_err(|_| Full)
    }

    /// Accepts no more deliveries.
    pub(super) fn close(&self) {
        *self.sender.lock() = None;
    }
}

/// A place that is counted in the metrics.
#[derive(Debug)]
struct Counted {
    gauge: IntGauge,
    _place: OwnedSemaphorePermit,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// A body and the memory reserved for it.
#[derive(Debug)]
pub(super) struct Body {
    bytes: Vec<u8>,
    memory: Memory,
    long_memory: Memory,
    _counted: Counted,
}

/// Pieces reserved of all there are.
#[derive(Debug)]
struct Memory {
    pieces: Arc<Semaphore>,
    reserved: OwnedSemaphorePermit,
}

impl Memory {
    fn new(pieces: &Arc<Semaphore>) -> Result<Memory, Full> {
        let reserved = Arc::clone(pieces).try_acquire_many_owned(0).map_err(|_| Full)?;
        Ok(Memory { pieces: Arc::clone(pieces), reserved })
    }

    /// Reserves enough for so many bytes in all.
    fn grow(&mut self, bytes: usize) -> Result<(), Full> {
        let more = bytes.div_ceil(PIECE_BYTES).saturating_sub(self.reserved.num_permits());
        let more = u32::try_from(more).map_err(|_| Full)?;
        self.reserved.merge(Arc::clone(&self.pieces).try_acquire_many_owned(more).map_err(|_| Full)?);
        Ok(())
    }
}

impl Body {
    /// Appends a part; `expected` is the body's whole length, or the longest allowed.
    pub(super) fn push(&mut self, part: &[u8], expected: usize) -> Result<(), Full> {
        let length = self.bytes.len() + part.len();
        if length > self.bytes.capacity() {
            // Memory is reserved as the body arrives, not as its length is declared.
            let wanted = length.max((2 * length).min(expected)).next_multiple_of(PIECE_BYTES);
            self.long_memory.grow(wanted.saturating_sub(SHORT_BYTES))?;
            self.memory.grow(wanted)?;
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(part);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbox() -> (Inbox, mpsc::Receiver<Delivery>, Metrics) {
        let metrics = Metrics::new();
        let (sender, receiver) = mpsc::channel(DELIVERIES_MAX);
        (Inbox::new(sender, &metrics), receiver, metrics)
    }

    fn delivery(body: Body) -> Delivery {
        Delivery { id: "1".to_owned(), event: "push".to_owned(), is_form: false, is_of_account: true, body }
    }

    #[test]
    fn is_full_by_number() {
        let (inbox, mut receiver, metrics) = inbox();
        for _ in 0..DELIVERIES_MAX {
            inbox.put(delivery(inbox.enter().unwrap())).unwrap();
        }
        assert!(inbox.enter().is_err());
        assert!(metrics.render().contains("tollgate_webhook_queue 1024"));
        drop(receiver.try_recv().unwrap());
        inbox.put(delivery(inbox.enter().unwrap())).unwrap();
        inbox.close();
        assert_eq!(receiver.len(), DELIVERIES_MAX);
        drop(receiver);
        assert!(metrics.render().contains("tollgate_webhook_queue 0"));
        assert_eq!(inbox.put(delivery(inbox.enter().unwrap())), Err(Full));
    }

    #[test]
    fn is_full_by_bytes_that_came_not_by_those_announced() {
        let (inbox, _receiver, _metrics) = inbox();
        let announced: Vec<Body> = (0..10)
            .map(|_| {
                let mut body = inbox.enter().unwrap();
                body.push(b"x", BODY_BYTES_MAX).unwrap();
                body
            })
            .collect();
        let part = vec![0; 1024 * 1024];
        let mut bodies = Vec::new();
        let mut held = 0;
        'full: loop {
            let mut body = inbox.enter().unwrap();
            for _ in 0..25 {
                if body.push(&part, BODY_BYTES_MAX).is_err() {
                    break 'full;
                }
                held += part.len();
                assert!(body.bytes.capacity() <= BODY_BYTES_MAX, "{}", body.bytes.capacity());
            }
            bodies.push(body);
        }
        assert!((24 << 20..=LONG_BYTES_MAX + 10 * SHORT_BYTES).contains(&held), "{held}");
        // The usual ones find room.
        let mut usual = inbox.enter().unwrap();
        usual.push(&part[..SHORT_BYTES], SHORT_BYTES).unwrap();
        drop(bodies);
        let mut body = inbox.enter().unwrap();
        body.push(&part, part.len()).unwrap();
        assert_eq!((body.len(), body.bytes.capacity()), (part.len(), part.len()));
        drop(announced);
    }
}
