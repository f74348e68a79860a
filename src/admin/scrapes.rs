//! The metrics as text, rendered aside and one at a time.
//!
//! With thousands of agents that takes a tenth of a second or two, and where one core serves everything, all agents'
//! requests would wait for it. Scrapes that come meanwhile wait for the next rendering and share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::Mutex;

use crate::metrics::Metrics;

#[derive(Debug)]
pub(super) struct Scrapes {
    metrics: Arc<Metrics>,
    /// How many there were so far; a scrape's number is the count with itself.
    asked: AtomicU64,
    /// Held while one is rendered.
    latest: Arc<Mutex<Latest>>,
}

/// The last text, kept until the last scrape has it that may.
#[derive(Debug, Default)]
struct Latest {
    /// The number of the last scrape that had been asked for when rendering began: those after it might miss in the
    /// text what happened before they asked.
    serves: u64,
    text: Option<Bytes>,
}

impl Scrapes {
    pub(super) fn new(metrics: Arc<Metrics>) -> Scrapes {
        Scrapes { metrics, asked: AtomicU64::new(0), latest: Arc::default() }
    }

    /// The metrics as they are now; `None` if rendering failed.
    pub(super) async fn text(&self) -> Option<Bytes> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let mut latest = Arc::clone(&self.latest).lock_owned().await;
        if number == latest.serves
            && let Some(text) = latest.text.take()
        {
            return Some(text);
        }
        if number < latest.serves
            && let Some(text) = &latest.text
        {
            return Some(text.clone());
        }
        let (metrics, serves) = (Arc::clone(&self.metrics), self.asked.load(Ordering::Relaxed));
        // The lock goes along: if the scraper hangs up, rendering goes on, and the next one waits for its end.
        let rendered = tokio::task::spawn_blocking(move || {
            let text = Bytes::from(metrics.render());
            *latest = Latest { serves, text: (serves > number).then(|| text.clone()) };
            text
        });
        rendered.await.inspect_err(|error| tracing::error!(%error, "metrics could not be rendered")).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::thread;

    use futures_util::FutureExt;
    use futures_util::future::join_all;

    use super::*;

    /// Each was rendered where agents are served, one after the other: all of them waited meanwhile.
    #[tokio::test]
    async fn scrapes_are_rendered_aside_and_those_that_wait_share_one() {
        let (metrics, rendered) = (Arc::new(Metrics::new()), Arc::new(AtomicU64::new(0)));
        let (serving, counted) = (thread::current().id(), Arc::clone(&rendered));
        let (go_on, gate) = std::sync::mpsc::channel();
        let gate = parking_lot::Mutex::new(gate);
        metrics.before_render(move || {
            assert_ne!(thread::current().id(), serving, "agents are served here");
            gate.lock().recv().unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let scrapes = Scrapes::new(Arc::clone(&metrics));
        let mut asked = pin!(join_all((0..100).map(|_| scrapes.text())));
        assert!(asked.as_mut().now_or_never().is_none());
        (0..100).for_each(|_| go_on.send(()).unwrap());
        let texts = asked.await;
        assert!(texts.into_iter().all(|text| text.is_some_and(|text| !text.is_empty())));
        assert_eq!(rendered.load(Ordering::Relaxed), 2, "the first, and one for those that came meanwhile");
        assert!(scrapes.latest.lock().await.text.is_none(), "nobody waits for it any more");
    }

    #[tokio::test]
    async fn a_scrape_shows_what_happened_before_it_was_asked_for() {
        let metrics = Arc::new(Metrics::new());
        let scrapes = Scrapes::new(Arc::clone(&metrics));
        for retries in 1..=3 {
            metrics.retries.with_label_values(&["status"]).inc();
            let text = scrapes.text().await.unwrap();
            let expected = format!("tollgate_retries_total{{reason=\"status\"}} {retries}\n");
            assert!(str::from_utf8(&text).unwrap().contains(&expected));
        }
    }

    /// Otherwise each scraper that hangs up and comes again would add a rendering to those under way.
    #[tokio::test]
    async fn who_hangs_up_starts_no_second_rendering() {
        let (metrics, rendered) = (Arc::new(Metrics::new()), Arc::new(AtomicU64::new(0)));
        let (go_on, gate) = std::sync::mpsc::channel();
        let (gate, counted) = (parking_lot::Mutex::new(gate), Arc::clone(&rendered));
        metrics.before_render(move || {
            gate.lock().recv().unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let scrapes = Scrapes::new(metrics);
        for _ in 0..10 {
            assert!(scrapes.text().now_or_never().is_none());
        }
        (0..11).for_each(|_| go_on.send(()).unwrap());
        assert!(scrapes.text().await.is_some());
        assert_eq!(rendered.load(Ordering::Relaxed), 2);
    }
}
