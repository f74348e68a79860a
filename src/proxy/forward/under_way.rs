//! A call that is carried to its end, even if nobody waits for it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Attempt;

/// How long to wait for the tasks that were told to end.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

/// A call that has begun. If its caller hangs up, it goes on as a task of its own: GitHub works on
/// it and charges for it, so it has to be charged here, too.
pub(super) struct UnderWay {
    /// None once it has ended.
    call: Option<BoxFuture<'static, Attempt>>,
    is_graphql: bool,
    unclaimed: Arc<Unclaimed>,
}

/// Calls whose callers have hung up.
#[derive(Debug, Default)]
pub(crate) struct Unclaimed {
    tasks: TaskTracker,
    end: CancellationToken,
}

impl Unclaimed {
    /// Ends them all, because the process ends: GitHub's answers are waited for until `over`.
    pub(crate) async fn end(&self, over: impl Future) {
        self.tasks.close();
        tokio::select! {
            () = self.tasks.wait() => return,
            _ = over => self.end.cancel(),
        }
        let _ = tokio::time::timeout(ENDS_WITHIN, self.tasks.wait()).await;
    }
}

impl UnderWay {
    pub(super) fn new(
        is_graphql: bool,
        unclaimed: &Arc<Unclaimed>,
        call: impl Future<Output = Attempt> + Send + 'static,
    ) -> UnderWay {
        UnderWay { call: Some(Box::pin(call)), is_graphql, unclaimed: Arc::clone(unclaimed) }
    }
}

impl Future for UnderWay {
    type Output = Attempt;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Attempt> {
        // Taken out, since a call that panicked can't go on.
        let mut call = self.call.take().expect("nobody polls what has ended");
        let polled = call.as_mut().poll(cx);
        if polled.is_pending() {
            self.call = Some(call);
        }
        polled
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let is_graphql = self.is_graphql;
        if let Some(call) = self.call.take()
            && let Ok(runtime) = Handle::try_current()
        {
            let end = self.unclaimed.end.clone();
            let settled = async move { call.await.settle_unclaimed(is_graphql).await };
            self.unclaimed.tasks.spawn_on(end.run_until_cancelled_owned(settled), &runtime);
        }
    }
}
