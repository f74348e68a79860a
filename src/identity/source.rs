//! Where an issuer's keys come from, and how they stay fresh.
//!
//! Only one task per issuer reads its key set, repeatedly. The last set read stays in force while nothing newer
//! can be read, so an unreachable issuer locks nobody out. A token that names an unknown key may trigger an early
//! read (keys are rotated), but tokens can be made up: at most one such read is triggered every ten seconds, and
//! all who ask meanwhile share it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{ACCEPT, HeaderValue, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use rand::RngExt;
use tokio::sync::watch;
use tokio::time::Instant;

use super::keys::{KeySet, SET_BYTES_MAX};
use crate::config::IssuerKeys;
use crate::error::with_causes;
use crate::github::apps::OWN_USER_AGENT;
use crate::github::client::{CaError, HttpClient};
use crate::metrics::Metrics;
use crate::secret;

/// How often a URL is fetched. A withdrawn key is rejected within this time.
const FETCH_EVERY: Duration = Duration::from_secs(60);
/// How often a file is read. As with certificates it is polled: a watch on the file would not see a mounted
/// volume being swapped.
const READ_EVERY: Duration = Duration::from_secs(2);
/// Shortest time between two reads that unknown keys trigger.
const CALLED_EVERY: Duration = Duration::from_secs(10);
/// Longest fetch.
const FETCH_WITHIN: Duration = Duration::from_secs(5);
/// The pause after a failed fetch; doubled after each further failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest time that a request waits for a read; by then a fetch has ended.
const WAIT_WITHIN: Duration = Duration::from_secs(6);

/// Kubernetes's API server answers 406 unless the first type is accepted.
const KEY_SETS: HeaderValue =
    HeaderValue::from_static("application/jwk-set+json, application/json;q=0.9, */*;q=0.5");

type Fetch = Box<dyn Fn() -> BoxFuture<'static, Result<Bytes, String>> + Send + Sync>;

/// One issuer's keys.
pub(super) struct Source {
    issuer: String,
    fetch: Fetch,
    every: Duration,
    current: ArcSwapOption<KeySet>,
    progress: watch::Sender<Progress>,
    metrics: Arc<Metrics>,
}

/// Reads are numbered.
#[derive(Debug, Default, Clone, Copy)]
struct Progress {
    /// The last read that was requested, is under way or has ended.
    wanted: u64,
    ended: u64,
    /// When a request last triggered a read.
    called: Option<Instant>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("issuer", &self.issuer)
            .field("keys", &self.current)
            .finish_non_exhaustive()
    }
}

impl Source {
    pub(super) fn try_new(issuer: &str, keys: IssuerKeys, metrics: Arc<Metrics>) -> Result<Source, CaError> {
        Ok(match keys {
            IssuerKeys::File(path) => Source::new(issuer, READ_EVERY, read(path), metrics),
            IssuerKeys::Url { url, ca_pem } => {
                let client = HttpClient::with("identities.ca_file", ca_pem.as_deref(), FETCH_WITHIN)?;
                Source::new(issuer, FETCH_EVERY, fetch(client, url), metrics)
            }
        })
    }

    pub(super) fn new(issuer: &str, every: Duration, fetch: Fetch, metrics: Arc<Metrics>) -> Source {
        Source {
            issuer: issuer.to_owned(),
            fetch,
            every,
            current: ArcSwapOption::empty(),
            progress: watch::Sender::default(),
            metrics,
        }
    }

    /// The last keys read; `None` before the first successful read.
    pub(super) fn keys(&self) -> Option<Arc<KeySet>> {
        self.current.load_full()
    }

    /// Has the keys read again and waits for that, unless an unknown key triggered a read just now. Returns
    /// whether a read has ended, successfully or not.
    pub(super) async fn look_again(&self) -> bool {
        let mut reading = None;
        self.progress.send_if_modified(|progress| {
            if progress.wanted > progress.ended {
                reading = Some(progress.wanted);
                return false;
            }
            let now = Instant::now();
            let is_due = progress.called.is_none_or(|called| now >= called + CALLED_EVERY);
            if is_due {
                progress.called = Some(now);
                progress.wanted = progress.ended + 1;
                reading = Some(progress.wanted);
            }
            is_due
        });
        let Some(reading) = reading else { return false };
        let mut progress = self.progress.subscribe();
        let ended = progress.wait_for(|progress| progress.ended >= reading);
        tokio::time::timeout(WAIT_WITHIN, ended).await.is_ok()
    }

    /// Reads the keys at once, then periodically and when triggered; never ends.
    pub(super) async fn tend(&self) {
        let mut calls = self.progress.subscribe();
        let mut seen = Bytes::new();
        let mut failures = 0_u32;
        loop {
            self.progress.send_modify(|progress| progress.wanted = progress.ended + 1);
            let read = (self.fetch)().await;
            failures = match read.and_then(|bytes| self.take_up(bytes, &mut seen)) {
                Ok(()) => self.succeeded(failures),
                Err(why) => self.failed(failures, &why),
            };
            self.progress.send_modify(|progress| progress.ended = progress.wanted);
            let pause = if failures == 0 { self.every } else { self.pause_after(failures) };
            let called = calls.wait_for(|progress| progress.wanted > progress.ended);
            // This source owns the sender, so only a trigger or the timeout ends this wait.
            let _ = tokio::time::timeout(pause, called).await;
        }
    }

    /// Installs a key set that was read. An unchanged set stays, and with it the tokens that it has verified.
    fn take_up(&self, bytes: Bytes, seen: &mut Bytes) -> Result<(), String> {
        if self.current.load().is_some() && bytes == *seen {
            return Ok(());
        }
        let keys = KeySet::parse(&bytes).map_err(|why| format!("what was read {why}"))?;
        match keys.len() {
            0 => tracing::warn!(
                issuer = self.issuer,
                "an identity issuer has no key: none of its tokens is taken"
            ),
            count => tracing::info!(issuer = self.issuer, count, "an identity issuer's keys were read"),
        }
        self.current.store(Some(Arc::new(keys)));
        *seen = bytes;
        Ok(())
    }

    fn succeeded(&self, failures: u32) -> u32 {
        self.metrics.identity_key_reads.with_label_values(&[self.issuer.as_str(), "ok"]).inc();
        if failures > 0 {
            tracing::info!(issuer = self.issuer, "an identity issuer's keys can be read again");
        }
        0
    }

    fn failed(&self, failures: u32, why: &str) -> u32 {
        self.metrics.identity_key_reads.with_label_values(&[self.issuer.as_str(), "failed"]).inc();
        match (failures, self.current.load().is_some()) {
            (0, true) => tracing::warn!(
                issuer = self.issuer,
                why,
                "an identity issuer's keys can't be read: those read last stay in force"
            ),
            (0, false) => tracing::error!(
                issuer = self.issuer,
                why,
                "an identity issuer's keys can't be read: none of its tokens is taken until they are"
            ),
            _ => {}
        }
        failures.saturating_add(1)
    }

    /// Doubles up to the normal period; random, so that replicas that lost an issuer together don't all retry together.
    fn pause_after(&self, failures: u32) -> Duration {
        let doubled = FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(10));
        doubled.min(self.every).mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

fn read(path: PathBuf) -> Fetch {
    Box::new(move || {
        let path = path.clone();
        async move {
            let read = tokio::task::spawn_blocking(move || secret::read_bytes(&path)).await;
            read.unwrap_or_else(|error| Err(error.to_string())).map(Bytes::from)
        }
        .boxed()
    })
}

fn fetch(client: HttpClient, url: Uri) -> Fetch {
    Box::new(move || {
        let (client, url) = (client.clone(), url.clone());
        async move {
            let get = tokio::time::timeout(FETCH_WITHIN, get(&client, url)).await;
            get.unwrap_or_else(|_| Err(format!("no answer within {} s", FETCH_WITHIN.as_secs())))
        }
        .boxed()
    })
}

/// Redirects are not followed: only the configuration says whose keys are trusted.
async fn get(client: &HttpClient, url: Uri) -> Result<Bytes, String> {
    let mut request = Request::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *request.uri_mut() = url;
    request.headers_mut().insert(ACCEPT, KEY_SETS);
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(OWN_USER_AGENT));
    let answer = client.send(request).await.map_err(|error| with_causes(&error))?;
    if answer.status() != StatusCode::OK {
        return Err(format!("the answer was {}", answer.status()));
    }
    let body = Limited::new(answer.into_body(), SET_BYTES_MAX).collect().await;
    Ok(body.map_err(|error| with_causes(&*error))?.to_bytes())
}

#[cfg(test)]
mod tests;
