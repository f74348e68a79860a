//! Steps of one installation that are asked while others are under way go to Redis together.
//!
//! A script costs Redis and tollgate more than a step: both sides wake up, and the ledger is read, decoded
//! and written. So a step goes at once if it can, and those that come before a reply go with the next
//! script; none waits for others to come. The busier it is, the less a step costs.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};

use redis::Value;
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::store::StoreAway;
use super::request::Part;

/// Batches of an installation under way at the same time: Redis has the next one when it is done with one.
const AT_ONCE: usize = 2;
/// Steps in a batch; so many keep Redis for some milliseconds.
const BATCH_MAX: usize = 64;

/// A step to be asked for.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) part: Part,
    /// When it was wanted.
    pub(super) since: Instant,
}

/// Who takes steps at a store.
pub(super) trait Ask: Send + Sync + 'static {
    /// The replies to all steps, in their order.
    ///
    /// # Errors
    /// When the store did not answer.
    fn ask(
        &self,
        installation: &str,
        steps: Vec<Step>,
    ) -> impl Future<Output = Result<Vec<Value>, StoreAway>> + Send;
}

/// The steps that wait, by installation.
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
    reply: Answer,
}

/// Tells who asked for a step what came of it.
type Answer = oneshot::Sender<Result<Value, StoreAway>>;

impl<A: Ask> Batches<A> {
    pub(super) fn new(store: A) -> Arc<Batches<A>> {
        Arc::new(Batches { store, queues: Mutex::default() })
    }

    pub(super) fn store(&self) -> &A {
        &self.store
    }

    /// One step, in the next batch.
    ///
    /// # Errors
    /// When the store did not answer to it, or to one that was asked before it.
    pub(super) async fn ask(
        self: &Arc<Self>,
        installation: &Arc<str>,
        step: Step,
    ) -> Result<Value, StoreAway> {
        let (reply, told) = oneshot::channel();
        if self.push(installation, Waiting { step, reply }) {
            let (batches, installation) = (Arc::clone(self), Arc::clone(installation));
            tokio::spawn(async move { batches.ask_all(&installation).await });
        }
        told.await.unwrap_or(Err(StoreAway))
    }

    /// Tells whether another batch may be under way.
    fn push(&self, installation: &Arc<str>, waiting: Waiting) -> bool {
        let mut queues = self.queues();
        let queue = queues.entry(Arc::clone(installation)).or_default();
        queue.waiting.push_back(waiting);
        let may_start = queue.under_way < AT_ONCE;
        queue.under_way += usize::from(may_start);
        may_start
    }

    /// One batch after the other, until nobody waits.
    async fn ask_all(&self, installation: &Arc<str>) {
        while let Some((steps, told)) = self.next_batch(installation) {
            // Who hung up meanwhile hears nothing.
            match self.store.ask(installation, steps).await {
                Ok(replies) => {
                    told.into_iter().zip(replies).for_each(|(told, reply)| drop(told.send(Ok(reply))))
                }
                Err(StoreAway) => {
                    // The others would wait as long as these did, for a store that is away.
                    let others = self.take_waiting(installation).into_iter().map(|waiting| waiting.reply);
                    told.into_iter().chain(others).for_each(|told| drop(told.send(Err(StoreAway))));
                }
            }
        }
    }

    /// The steps somebody waits for, as many as go together; none, and one batch less is under way.
    fn next_batch(&self, installation: &Arc<str>) -> Option<(Vec<Step>, Vec<Answer>)> {
        let mut queues = self.queues();
        let queue = queues.get_mut(installation)?;
        queue.waiting.retain(|waiting| !waiting.reply.is_closed());
        let count = queue.waiting.len().min(BATCH_MAX);
        if count > 0 {
            return Some(queue.waiting.drain(..count).map(|waiting| (waiting.step, waiting.reply)).unzip());
        }
        queue.under_way -= 1;
        if queue.under_way == 0 {
            queues.remove(installation);
        }
        None
    }

    fn take_waiting(&self, installation: &Arc<str>) -> VecDeque<Waiting> {
        self.queues()
            .get_mut(installation)
            .map(|queue| std::mem::take(&mut queue.waiting))
            .unwrap_or_default()
    }

    fn queues(&self) -> MutexGuard<'_, FxHashMap<Arc<str>, Queue>> {
        self.queues.lock().expect("nothing panics while it holds this lock")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Duration;

    use futures_util::future::{FutureExt, join_all};
    use tokio::time::sleep;

    use super::super::super::command::{Call, Caps, Command, Stamp};
    use super::*;
    use crate::budget::Secondary;

    /// Takes a while, numbers the steps as they come, and is away for the batches named.
    #[derive(Debug, Default)]
    struct Slow {
        steps: AtomicI64,
        batches: Mutex<Vec<usize>>,
        away: Vec<usize>,
    }

    impl Ask for Slow {
        async fn ask(&self, _: &str, steps: Vec<Step>) -> Result<Vec<Value>, StoreAway> {
            let number = {
                let mut batches = self.batches.lock().unwrap();
                batches.push(steps.len());
                batches.len() - 1
            };
            let replies =
                steps.iter().map(|_| Value::Int(self.steps.fetch_add(1, Ordering::Relaxed))).collect();
            sleep(Duration::from_millis(10)).await;
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
        batches.store.batches.lock().unwrap().clone()
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
        // The first three were there when a batch began; then one more may be under way.
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
