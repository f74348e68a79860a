//! Stage 8, the call: takes an [`UpstreamRequest`], gives GitHub's answer or how the call failed.
//!
//! One request, sent once. What failed before a byte was sent is told from what may have been done:
//! only the first is safe to send again.

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::Proxy;
use super::admit::Admitted;
use super::body::{Progress, body_failure};
use super::context::Context;
use super::inject::UpstreamRequest;
use crate::error::ProxyError;
use crate::github::client::was_unsent;
use crate::github::tokens::Token;

/// What came of one attempt.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// The credential it was made with.
    pub(crate) token: Arc<Token>,
    /// To the answer's head.
    pub(crate) took: Duration,
    pub(crate) result: Result<Response<Incoming>, CallFailed>,
}

/// An attempt without an answer.
#[derive(Debug)]
pub(crate) struct CallFailed {
    pub(crate) error: ProxyError,
    /// GitHub certainly saw nothing of it.
    pub(crate) unsent: bool,
    /// The way to GitHub failed, and another attempt may find a better one.
    pub(crate) transport: bool,
}

impl Proxy {
    pub(super) async fn forward(
        &self,
        request: UpstreamRequest,
        admitted: &mut Admitted,
        ctx: &mut Context,
    ) -> Attempt {
        let (request, token, progress) = request.into_parts();
        let method = request.method().clone();
        admitted.mark_sent();
        let started = Instant::now();
        let result = tokio::select! {
            answer = self.client.send(request) => answer.map_err(|error| failed(&error)),
            silence = self.silence(progress) => Err(CallFailed {
                error: ProxyError::UpstreamTimeout(silence),
                unsent: false,
                transport: false,
            }),
        };
        let took = started.elapsed();
        ctx.upstream += took;
        self.metrics.upstream_duration.with_label_values(&[method.as_str()]).observe(took.as_secs_f64());
        Attempt { token, took, result }
    }

    /// Ends when GitHub has been silent for too long: `request_timeout` from the request's last byte
    /// to the answer's first, and `idle_timeout` between bytes on the way up. A slow caller is its
    /// body's own affair.
    async fn silence(&self, progress: Option<Arc<Progress>>) -> Duration {
        let answer_within = self.upstream.request_timeout;
        let Some(progress) = progress else {
            tokio::time::sleep(answer_within).await;
            return answer_within;
        };
        loop {
            let (last, complete) = progress.last();
            let patience =
                if complete { answer_within } else { self.upstream.idle_timeout + Duration::from_secs(1) };
            if last.elapsed() >= patience {
                return patience;
            }
            tokio::time::sleep_until(last + patience).await;
        }
    }
}

fn failed(error: &hyper_util::client::legacy::Error) -> CallFailed {
    if let Some(error) = body_failure(error) {
        return CallFailed { error, unsent: false, transport: false };
    }
    let unsent = was_unsent(error);
    tracing::debug!(%error, unsent, "the call to GitHub failed");
    let why = match error.is_connect() {
        true => "no connection",
        false => "the connection broke before an answer",
    };
    CallFailed { error: ProxyError::UpstreamUnreachable(why), unsent, transport: true }
}
