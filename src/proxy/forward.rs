//! Stage 8, the call: takes an [`UpstreamRequest`], gives GitHub's answer, or how the call failed.
//!
//! One request, sent once. A failure before any byte was sent is told from one after which GitHub
//! may have acted: only the first is safe to repeat. An approved call goes up only after [`mod@commit`].

mod commit;
mod under_way;

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http_body_util::BodyExt;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::Instant;

use super::Proxy;
use super::admit::Admitted;
use super::body::{BodyError, Bounded, Progress, body_failure};
use super::context::Context;
use super::guard::Permitted;
use super::inject::UpstreamRequest;
use super::settle::Answer;
use crate::audit::Record;
use crate::cache::changes::{Area, Change};
use crate::cache::feed::News;
use crate::config::Upstream;
use crate::error::{ProxyError, with_causes};
use crate::github::client::{AnswerBody, BoxError, SendError};
use crate::github::rate_limit;
use crate::github::tokens::{Access, Token};
use crate::metrics::Metrics;
use crate::policy::Class;
use crate::policy::routes::Scope;
pub(crate) use under_way::Unclaimed;
use under_way::UnderWay;

/// The outcome of one attempt.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// What the attempt holds until it is settled.
    pub(crate) admitted: Admitted,
    /// The credential it was made with.
    pub(crate) token: Arc<Token>,
    /// Time from the request to the answer's head.
    pub(crate) took: Duration,
    pub(crate) result: Result<Answer, CallFailed>,
}

/// An attempt without an answer.
#[derive(Debug)]
pub(crate) struct CallFailed {
    pub(crate) error: ProxyError,
    /// GitHub certainly saw nothing of it.
    pub(crate) unsent: bool,
    /// The connection to GitHub failed, and another attempt may fare better.
    pub(crate) transport: bool,
    /// For the log.
    pub(crate) cause: Option<String>,
}

impl Proxy {
    pub(super) async fn forward(
        &self,
        permitted: &Permitted,
        request: UpstreamRequest,
        mut admitted: Admitted,
        ctx: &mut Context,
    ) -> Result<Attempt, ProxyError> {
        let (request, token, progress) = request.into_parts();
        if let Some(sanction) = permitted.sanction() {
            Box::pin(self.commit(permitted, sanction, &token, ctx)).await?;
        }
        // If the call may no longer go up, its reservation is given back.
        self.check_still(permitted, ctx)?;
        let method = request.method().clone();
        let is_graphql = permitted.call().route.scope == Scope::Graphql;
        let (client, patience) = (self.client.clone(), Patience::of(&self.upstream));
        let trace = Trace {
            request_id: ctx.request_id.clone(),
            installation: Arc::clone(&permitted.installation().label),
            metrics: Arc::clone(&self.metrics),
        };
        // A look-up of the guard's comes before there is a record, and does not belong in it.
        let record = (!permitted.call().is_look_up()).then(|| ctx.record.clone()).flatten();
        // Calls open to everybody, such as rendering Markdown, change nothing, whatever their method.
        let may_change = permitted.is_write() && permitted.access() == Access::Write;
        let changed = may_change.then(|| (Arc::clone(&self.feed), change_of(permitted)));
        admitted.mark_sent();
        if let Some(record) = &record {
            // Until the answer comes; if it never does, this is the truth.
            record.note(|facts| {
                (facts.upstream_status, facts.github_request_id) = (None, None);
                facts.failure = Some("unknown");
            });
        }
        let attempt = UnderWay::new(is_graphql, &self.unclaimed, async move {
            // Lets other ready tasks run first. Their calls are then written together, and GitHub's
            // side is woken once for several. With one thread it happens anyway, since tasks woken there go last.
            if Handle::current().runtime_flavor() != RuntimeFlavor::CurrentThread {
                tokio::task::yield_now().await;
            }
            let started = Instant::now();
            let result = tokio::select! {
                answer = client.send(request) => match answer {
                    Ok(answer) => Ok(bounded(answer, patience.idle, trace)),
                    Err(error) => Err(failed(&error)),
                },
                silence = patience.ends(progress) => Err(CallFailed {
                    error: ProxyError::UpstreamTimeout(silence),
                    unsent: false,
                    transport: false,
                    cause: Some("no answer in time".to_owned()),
                }),
            };
            let took = started.elapsed();
            if let Some(record) = record {
                note(&record, &result);
            }
            // Before the caller knows of the write, so that its next read shows it.
            if let Some((feed, change)) = changed {
                // A replica that can't be told now is told later, and trusts nothing in its cache meanwhile.
                let _ = feed.publish(News::changed(change)).await;
            }
            Attempt { admitted, token, took, result }
        })
        .await;
        ctx.upstream += attempt.took;
        if let Err(CallFailed { cause: Some(cause), .. }) = &attempt.result {
            ctx.cause = Some(cause.clone());
        }
        let seconds = attempt.took.as_secs_f64();
        self.metrics.upstream_duration.with_label_values(&[method.as_str()]).observe(seconds);
        Ok(attempt)
    }
}

/// What a write changes: anything in its repository, as far as can be told from here. A plain write
/// can't change what guards the branches.
fn change_of(permitted: &Permitted) -> Change {
    // Mutations that name several nodes may reach into several repositories, and behind an id the name may have changed.
    let call = permitted.call();
    let nodes = call.graphql.iter().flat_map(|graphql| &graphql.mutations).map(|one| one.ids.len());
    let is_wide = nodes.sum::<usize>() > 1 || matches!(call.route.scope, Scope::RepositoryId(_));
    match permitted.repository().filter(|_| !is_wide) {
        Some(name) => {
            let guards = call.class > Class::Write;
            let areas = Area::ALL.into_iter().filter(|area| guards || *area != Area::Guard).collect();
            Change::Repository { name: name.to_string().to_ascii_lowercase(), areas }
        }
        None => Change::Everything,
    }
}

/// GitHub's answer belongs in the call's line, even if the caller is gone.
fn note(record: &Record, result: &Result<Answer, CallFailed>) {
    record.note(|facts| match result {
        Ok(answer) => {
            facts.failure = None;
            facts.upstream_status = Some(answer.status().as_u16());
            let id = answer.headers().get("x-github-request-id");
            facts.github_request_id = id.and_then(|id| id.to_str().ok()).map(str::to_owned);
        }
        Err(failed) => facts.failure = Some(failed.error.code()),
    });
}

impl Attempt {
    /// Settles after the caller has hung up, by what the answer's head says.
    async fn settle_unclaimed(mut self, is_graphql: bool) {
        match self.result {
            Ok(answer) => {
                let reading = rate_limit::read(answer.status(), answer.headers(), None, is_graphql);
                self.admitted.settle(&reading, self.took, true).await;
            }
            Err(failure) if failure.unsent => self.admitted.mark_unsent(),
            Err(_) => {}
        }
    }
}

/// How long GitHub may be silent.
#[derive(Debug, Clone, Copy)]
struct Patience {
    answer: Duration,
    idle: Duration,
}

impl Patience {
    fn of(upstream: &Upstream) -> Patience {
        Patience { answer: upstream.request_timeout, idle: upstream.idle_timeout }
    }

    /// Returns when GitHub has been silent for too long: `request_timeout` from the last byte of
    /// the request to the first of the answer, or `idle_timeout` between bytes on the way up. How
    /// slow the caller may be is up to the body's own bounds.
    async fn ends(self, progress: Option<Arc<Progress>>) -> Duration {
        let Some(progress) = progress else {
            tokio::time::sleep(self.answer).await;
            return self.answer;
        };
        loop {
            let (last, complete) = progress.last();
            let patience = if complete { self.answer } else { self.idle + Duration::from_secs(1) };
            if last.elapsed() >= patience {
                return patience;
            }
            // The end of the body begins another patience.
            let _ = tokio::time::timeout_at(last + patience, progress.completed()).await;
        }
    }
}

/// An answer in whose body GitHub may not pause for long.
fn bounded(answer: Response<AnswerBody>, idle: Duration, trace: Trace) -> Answer {
    let told = move |error: BodyError| -> BoxError {
        trace.broke_off(&error);
        Box::new(error)
    };
    answer.map(|inner| Bounded::new(inner, u64::MAX, idle).map_err(told).boxed_unsync())
}

/// Tells of an answer that breaks off, which its request's line, written at its head, can't.
struct Trace {
    request_id: String,
    installation: Arc<str>,
    metrics: Arc<Metrics>,
}

impl Trace {
    fn broke_off(&self, error: &BodyError) {
        let (request_id, installation) = (self.request_id.as_str(), &*self.installation);
        self.metrics.upstream_broken.with_label_values(&[installation]).inc();
        tracing::warn!(request_id, installation, cause = with_causes(error), "GitHub's answer broke off");
    }
}

fn failed(error: &SendError) -> CallFailed {
    if let Some(error) = body_failure(error) {
        return CallFailed { error, unsent: false, transport: false, cause: None };
    }
    let unsent = error.was_unsent();
    let why = match error {
        SendError::Address | SendError::Connect(_) => "no connection",
        SendError::Broke(_) => "the connection broke before an answer",
    };
    let (error, cause) = (ProxyError::UpstreamUnreachable(why), Some(with_causes(error)));
    CallFailed { error, unsent, transport: true, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The end used to be noticed only when the longer, idle patience was over.
    #[tokio::test(start_paused = true)]
    async fn patience_with_the_answer_begins_with_the_end_of_the_body() {
        let (answer, idle) = (Duration::from_secs(10), Duration::from_secs(30));
        let progress = Progress::new();
        let started = Instant::now();
        let ending = Patience { answer, idle }.ends(Some(Arc::clone(&progress)));
        let (silence, ()) = tokio::join!(ending, async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            progress.note(true);
        });
        // By tokio's own clock, which stands still between sleeps.
        assert_eq!((silence, started.elapsed().as_secs()), (answer, 15));
    }
}
