//! Sends steps of one installation to Redis together if they are asked while others are under way.
//!
//! A script costs Redis and tollgate more than a step does: both sides wake up, and the ledger is
//! read, decoded and written. So a step goes together with all that are wanted at the same moment,
//! and those that come before a reply go with the next script. No step waits for others to come.
//! The busier it is, the less a step costs.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use redis::Value;
use rustc_hash::FxHashMap;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::store::StoreAway;
use super::request::Part;

/// Batches of an installation under way at a time: Redis has the next one when it is done with the first.
const AT_ONCE: usize = 2;
/// The most steps in a batch; that many keep Redis busy for some milliseconds.
const BATCH_MAX: usize = 64;
/// A step fails if it waits for its batch longer than two attempts take: the store is overloaded.
const WAIT_MAX: Duration = Duration::from_millis(200);

/// A step to ask the store for.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) part: Part,
    /// When it was wanted.
    pub(super) since: Instant,
}

/// What carries out steps at a store.
pub(super) trait Ask: Send + Sync + 'static {
    /// Returns the replies to all steps, in their order.
    ///
    /// # Errors
    /// If the store did not answer.
    fn ask(
        &self,
        installation: &str,
        steps: Vec<Step>,
    ) -> impl Future<Output = Result<Vec<Value>, StoreAway>> + Send;
}

/// The waiting steps, by installation.
#[derive(Debug)]
pub(super) struct Batches<A> {
    store: A,
    queues: Mutex<FxHashMap<Arc<str>, Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    under_way: usize,
}

#[derive(Debug)]
struct Waiting {
    step: Step,
    answer: Answer,
}

/// Hands the outcome of a step to whoever asked for it.
type Answer = oneshot::Sender<Result<Value, StoreAway>>;

impl<A: Ask> Batches<A> {
    pub(super) fn new(store: A) -> Arc<Batches<A>> {
        Arc::new(Batches { store, queues: Mutex::default() })
    }

    pub(super) fn store(&self) -> &A {
        &self.store
    }

    /// Asks for one step, in the next batch.
    ///
    /// # Errors
    /// If the store did not answer this step or one asked before it, or has so much to do that it
    /// did not get to this one.
    pub(super) async fn ask(
        self: &Arc<Self>,
        installation: &Arc<str>,
        step: Step,
    ) -> Result<Value, StoreAway> {
        // Without a runtime, as at the very end of the process, nothing reaches a store.
        let runtime = Handle::try_current().map_err(|_| StoreAway)?;
        let (answer, told) = oneshot::channel();
        if self.push(installation, Waiting { step, answer }) {
            let (batches, installation) = (Arc::clone(self), Arc::clone(installation));
            runtime.spawn(UnderWay { batches, installation, has_ended: false }.ask_all());
        }
        told.await.unwrap_or(Err(StoreAway))
    }

    /// Returns whether another batch may start.
    fn push(&self, installation: &Arc<str>, waiting: Waiting) -> bool {
        let mut queues = self.queues();
        let queue = queues.entry(Arc::clone(installation)).or_default();
        queue.waiting.push_back(waiting);
        let may_start = queue.under_way < AT_ONCE;
        queue.under_way += usize::from(may_start);
        may_start
    }

    fn queues(&self) -> MutexGuard<'_, FxHashMap<Arc<str>, Queue>> {
        self.queues.lock()
    }
}

/// Asks for one batch after another, until no step waits.
struct UnderWay<A: Ask> {
    batches: Arc<Batches<A>>,
    installation: Arc<str>,
    has_ended: bool,
}

impl<A: Ask> UnderWay<A> {
    async fn ask_all(mut self) {
        // Lets others that are ready to ask join the same batch.
        tokio::task::yield_now().await;
        while let Some((steps, answers)) = self.next_batch() {
            // A caller that hung up meanwhile hears nothing.
            match self.batches.store.ask(&self.installation, steps).await {
                Ok(replies) => {
                    answers.into_iter().zip(replies).for_each(|(answer, reply)| drop(answer.send(Ok(reply))));
                }
                Err(StoreAway) => {
                    // The others would wait as long as these did, for a store that is away.
                    let others = self.with_queue(|queue| std::mem::take(&mut queue.waiting));
                    let others = others.unwrap_or_default().into_iter().map(|waiting| waiting.answer);
                    answers.into_iter().chain(others).for_each(|answer| drop(answer.send(Err(StoreAway))));
                }
            }
        }
    }

    /// The steps that are still wanted, as many as go together. If there are none, this task has ended.
    fn next_batch(&mut self) -> Option<(Vec<Step>, Vec<Answer>)> {
        let mut queues = self.batches.queues();
        let queue = queues.get_mut(&self.installation)?;
        let is_wanted =
            |waiting: &Waiting| !waiting.answer.is_closed() && waiting.step.since.elapsed() <= WAIT_MAX;
        queue.waiting.retain(is_wanted);
        let count = queue.waiting.len().min(BATCH_MAX);
        if count > 0 {
            return Some(queue.waiting.drain(..count).map(|waiting| (waiting.step, waiting.answer)).unzip());
        }
        self.has_ended = true;
        queue.under_way -= 1;
        if queue.under_way == 0 {
            queues.remove(&self.installation);
        }
        None
    }

    fn with_queue<T>(&self, work: impl FnOnce(&mut Queue) -> T) -> Option<T> {
        self.batches.queues().get_mut(&self.installation).map(work)
    }
}

impl<A: Ask> Drop for UnderWay<A> {
    /// Ended by a panic or with its runtime: all waiting steps are told that the store is away.
    fn drop(&mut self) {
        if !self.has_ended {
            self.with_queue(|queue| {
                queue.under_way -= 1;
                queue.waiting.clear();
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use futures_util::future::{FutureExt, join_all};
    use tokio::time::sleep;

    use super::super::super::command::{Call, Caps, Command, Stamp};
    use super::*;
    use crate::budget::Secondary;

    /// Takes a while, numbers the steps as they come, and is away for the batches in `away`.
    #[derive(Debug, Default)]
    struct Slow {
        steps: AtomicI64,
        batches: Mutex<Vec<usize>>,
        away: Vec<usize>,
        panics: bool,
    }

    impl Ask for Slow {
        async fn ask(&self, _: &str, steps: Vec<Step>) -> Result<Vec<Value>, StoreAway> {
            let number = {
                let mut batches = self.batches.lock();
                batches.push(steps.len());
                batches.len() - 1
            };
            let replies =
                steps.iter().map(|_| Value::Int(self.steps.fetch_add(1, Ordering::Relaxed))).collect();
            sleep(Duration::from_millis(10)).await;
            assert!(!self.panics, "meant");
            if self.away.contains(&number) { Err(StoreAway) } else { Ok(replies) }
        }
    }

    fn step() -> Step {
        let caps = Caps::new(0, Secondary::default());
        let stamp = Stamp { replica: 1, last_reply: None, caps, ended: Vec::new() };
        let part = Part::new(&Call { stamp, command: Command::Renew(Vec::new()) });
        Step { name: "renew", part, since: Instant::now() }
    }

    fn sizes(batches: &Batches<Slow>) -> Vec<usize> {
        batches.store.batches.lock().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn steps_that_come_meanwhile_go_together_and_each_hears_its_own_reply() {
        let batches = Batches::new(Slow::default());
        let installation: Arc<str> = "bot/one".into();
        let first = join_all((0..3).map(|_| batches.ask(&installation, step())));
        let others = async {
            sleep(Duration::from_millis(1)).await;
            join_all((0..200).map(|_| batches.ask(&installation, step()))).await
        };
        let (first, others) = tokio::join!(first, others);
        let replies = first.into_iter().chain(others);
        assert_eq!(replies.collect::<Vec<_>>(), (0..203).map(|at| Ok(Value::Int(at))).collect::<Vec<_>>());
        // The first three were there when a batch began; after that, one more batch may be under way.
        assert_eq!(sizes(&batches), [3, 64, 64, 64, 8]);
        assert!(batches.queues().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn installations_do_not_wait_for_each_other() {
        let batches = Batches::new(Slow::default());
        let installations: Vec<Arc<str>> = (0..9).map(|number| format!("bot/{number}").into()).collect();
        let began = Instant::now();
        let asked = installations.iter().map(|installation| batches.ask(installation, step()));
        assert!(join_all(asked).await.iter().all(Result::is_ok));
        assert_eq!((sizes(&batches), began.elapsed()), (vec![1; 9], Duration::from_millis(10)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_behind_a_failure_fails_with_it_and_the_next_is_asked_again() {
        let batches = Batches::new(Slow { away: vec![0], ..Slow::default() });
        let installation: Arc<str> = "bot/one".into();
        let began = Instant::now();
        let replies = join_all((0..200).map(|_| batches.ask(&installation, step()))).await;
        assert_eq!(replies.iter().filter(|reply| reply.is_err()).count(), 136);
        let reply = batches.ask(&installation, step()).await;
        assert!(reply.is_ok() && batches.queues().is_empty());
        assert_eq!(began.elapsed(), Duration::from_millis(20));
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_wait_too_long_fails() {
        let batches = Batches::new(Slow::default());
        let installation: Arc<str> = "bot/one".into();
        let replies = join_all((0..4_000).map(|_| batches.ask(&installation, step()))).await;
        // Every 10 ms two batches begin, the first of them at once.
        let asked = 21 * AT_ONCE * BATCH_MAX;
        assert!(replies[..asked].iter().all(Result::is_ok));
        assert!(replies[asked..].iter().all(Result::is_err));
        assert!(batches.queues().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_leaves_nobody_waiting() {
        let batches = Batches::new(Slow { panics: true, ..Slow::default() });
        let installation: Arc<str> = "bot/one".into();
        for _ in 0..2 {
            let replies = join_all((0..200).map(|_| batches.ask(&installation, step()))).await;
            assert!(replies.iter().all(Result::is_err));
        }
    }

    #[test]
    fn without_a_runtime_the_store_is_away() {
        let batches = Batches::new(Slow::default());
        let asked = batches.ask(&"bot/one".into(), step()).now_or_never();
        assert!(matches!(asked, Some(Err(StoreAway))) && batches.queues().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_asked_for_who_hung_up() {
        let batches = Batches::new(Slow::default());
        let installation: Arc<str> = "bot/one".into();
        let mut gone: Vec<_> = (0..100).map(|_| Box::pin(batches.ask(&installation, step()))).collect();
        gone.iter_mut().for_each(|asked| assert!(asked.now_or_never().is_none()));
        drop(gone);
        assert!(batches.ask(&installation, step()).await.is_ok());
        assert_eq!(sizes(&batches), [1]);
        assert!(batches.queues().is_empty());
    }
}
