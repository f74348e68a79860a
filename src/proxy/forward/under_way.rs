//! A call that is made to its end, whoever still waits for it.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

use super::Attempt;

/// A call that was begun. When its caller hangs up it goes on as a task of its own: GitHub works on and
/// charges it, so it has to be charged here, too.
pub(super) struct UnderWay {
    /// None when it has ended.
    call: Option<BoxFuture<'static, Attempt>>,
    is_graphql: bool,
}

impl UnderWay {
    pub(super) fn new(is_graphql: bool, call: impl Future<Output = Attempt> + Send + 'static) -> UnderWay {
        UnderWay { call: Some(Box::pin(call)), is_graphql }
    }
}

impl Future for UnderWay {
    type Output = Attempt;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Attempt> {
        // Taken out, for one that panicked can't go on.
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
            runtime.spawn(async move { call.await.settle_unclaimed(is_graphql).await });
        }
    }
}
