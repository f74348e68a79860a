//! News that is still to be sent, in order.

use std::collections::VecDeque;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};

use super::news::News;
use crate::cache::changes::Change;

/// Most news that wait; beyond that they are replaced by "everything changed".
const WAITING_MAX: usize = 4_096;
/// Most news in one message.
const BATCH_MAX: usize = 64;

/// News that waits to be sent; whoever put it in may wait for the receipt.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) news: News,
    receipt: Option<oneshot::Sender<()>>,
}

impl Waiting {
    /// Tells the receipt's holder that Redis has the news.
    pub(super) fn confirm(&mut self) {
        if let Some(receipt) = self.receipt.take() {
            let _ = receipt.send(());
        }
    }

    /// Releases the receipt's holder, since sending takes longer than anyone should wait.
    pub(super) fn let_go(&mut self) {
        self.receipt = None;
    }
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// The last attempt failed, so nobody waits for the next one.
    is_failing: bool,
}

impl Outbox {
    /// Queues news. The returned receipt resolves once Redis has the news, or fails when that takes long; `None`
    /// while Redis is known not to answer.
    pub(super) fn put(&self, news: News) -> Option<oneshot::Receiver<()>> {
        let mut state = self.state();
        if state.waiting.len() >= WAITING_MAX {
            // This drops ended installations too; they are noticed within minutes anyway.
            state.waiting.clear();
            state.waiting.push_back(Waiting { news: News::changed(Change::Everything), receipt: None });
        }
        let (receipt, told) = match state.is_failing {
            true => (None, None),
            false => {
                let (receipt, told) = oneshot::channel();
                (Some(receipt), Some(told))
            }
        };
        state.waiting.push_back(Waiting { news, receipt });
        drop(state);
        self.wake.notify_one();
        told
    }

    /// The news for the next message; empty when nothing waits.
    pub(super) fn take(&self) -> Vec<Waiting> {
        let mut state = self.state();
        let count = state.waiting.len().min(BATCH_MAX);
        state.waiting.drain(..count).collect()
    }

    pub(super) fn set_failing(&self, is_failing: bool) {
        let mut state = self.state();
        state.is_failing = is_failing;
        if is_failing {
            state.waiting.iter_mut().for_each(Waiting::let_go);
        }
    }

    /// Waits until news is put in or [`Outbox::wake`] is called.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(number: usize) -> News {
        News { delivery: Some(number.to_string()), ..News::default() }
    }

    #[test]
    fn what_is_too_much_is_told_as_everything() {
        let outbox = Outbox::default();
        let mut first = outbox.put(news(0)).unwrap();
        for number in 1..=WAITING_MAX {
            let _ = outbox.put(news(number));
        }
        assert!(first.try_recv().is_err(), "nobody is told that it was shared");
        let batch = outbox.take();
        assert_eq!(batch.len(), 2);
        assert_eq!(batch[0].news, News::changed(Change::Everything));
        assert_eq!(batch[1].news, news(WAITING_MAX));
        assert!(outbox.take().is_empty());
    }

    #[test]
    fn nobody_waits_while_it_fails() {
        let outbox = Outbox::default();
        let mut early = outbox.put(news(0)).unwrap();
        outbox.set_failing(true);
        assert_eq!(early.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert!(outbox.put(news(1)).is_none());
        outbox.set_failing(false);
        let mut late = outbox.put(news(2)).unwrap();
        let mut batch = outbox.take();
        assert_eq!(batch.len(), 3);
        batch.iter_mut().for_each(Waiting::confirm);
        assert_eq!(late.try_recv(), Ok(()));
    }
}
