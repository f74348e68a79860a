//! Asks all Apps at once, so that one that fails neither hides nor delays what the others answer.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use moka::sync::Cache;
use tokio::time::{Instant, timeout_at};

use crate::github::apps::{App, AppError};

/// How long a failure answers for others.
const FAILED_FOR: Duration = Duration::from_secs(2);

/// Questions whose last failure is remembered.
const FAILURES_MAX: u64 = 1_000;

/// The last failure of each App, by its serial: repeated calls with bad credentials would lock out good ones. An answer
/// that can't be read fails only the question, by what it is about.
#[derive(Debug)]
pub(super) struct Failures(Cache<(u64, Option<String>), Arc<AppError>>);

impl Failures {
    pub(super) fn new() -> Failures {
        Failures(Cache::builder().max_capacity(FAILURES_MAX).time_to_live(FAILED_FOR).build())
    }

    /// Puts a question as the App, unless the App or this very question just failed.
    pub(super) async fn ask<T>(
        &self,
        app: &App,
        about: &str,
        question: impl Future<Output = Result<T, AppError>>,
    ) -> Result<T, Arc<AppError>> {
        let failed = |about: Option<&str>| self.0.get(&(app.serial, about.map(str::to_owned)));
        match failed(None).or_else(|| failed(Some(about))) {
            Some(error) => Err(error),
            None => question.await.map_err(|error| match error {
                AppError::Garbled(..) => self.keep(app, Some(about), error),
                _ => self.note(app, error),
            }),
        }
    }

    /// The answers to a question for each App, in order. Once one is `to_the_point`, the others have `patience` left.
    pub(super) async fn ask_all<T>(
        &self,
        apps: &[Arc<App>],
        questions: impl Iterator<Item = impl Future<Output = Result<T, Arc<AppError>>>>,
        to_the_point: impl Fn(&T) -> bool,
        patience: Duration,
    ) -> Vec<Result<T, Arc<AppError>>> {
        let numbered = questions.enumerate().map(|(place, question)| async move { (place, question.await) });
        let mut asking: FuturesUnordered<_> = numbered.collect();
        let mut answers: Vec<_> = apps.iter().map(|_| None).collect();
        let mut until = None;
        loop {
            let next = match until {
                None => asking.next().await,
                Some(until) => timeout_at(until, asking.next()).await.unwrap_or_default(),
            };
            let Some((place, answer)) = next else { break };
            if answer.as_ref().is_ok_and(&to_the_point) {
                until.get_or_insert_with(|| Instant::now() + patience);
            }
            answers[place] = Some(answer);
        }
        let late = |app: &Arc<App>| Err(self.note(app, AppError::Timeout(patience)));
        answers.into_iter().zip(apps).map(|(answer, app)| answer.unwrap_or_else(|| late(app))).collect()
    }

    #[cfg(test)]
    pub(super) fn forget(&self) {
        self.0.invalidate_all();
    }

    pub(super) fn note(&self, app: &App, error: AppError) -> Arc<AppError> {
        self.keep(app, None, error)
    }

    pub(super) fn keep(&self, app: &App, about: Option<&str>, error: AppError) -> Arc<AppError> {
        tracing::warn!(app = app.name, %error, "it is not known where this App is installed");
        let error = Arc::new(error);
        self.0.insert((app.serial, about.map(str::to_owned)), Arc::clone(&error));
        error
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use http::Uri;

    use super::super::tests::app;
    use super::*;
    use crate::config::PrivateKey;

    const PATIENCE: Duration = Duration::from_secs(2);

    fn apps(names: &[&str]) -> Vec<Arc<App>> {
        let nowhere = Uri::from_static("http://127.0.0.1:9");
        let app = |name: &&str| app(name, nowhere.clone(), PrivateKey::File("unread".into()));
        names.iter().map(app).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_holds_up_nobody_for_longer_than_patience() {
        let apps = apps(&["hanging", "empty", "serving"]);
        let failures = Failures::new();
        let question = async |app: &App| match app.name.as_str() {
            "hanging" => pending().await,
            name => Ok(name == "serving"),
        };
        let begun = Instant::now();
        for waits in [PATIENCE, Duration::ZERO] {
            let questions = apps.iter().map(|app| failures.ask(app, "acme", question(app)));
            let answers = failures.ask_all(&apps, questions, |serves| *serves, PATIENCE).await;
            let known: Vec<_> = answers.iter().map(|answer| answer.as_ref().ok().copied()).collect();
            assert_eq!(known, [None, Some(false), Some(true)]);
            assert!(begun.elapsed() < PATIENCE + Duration::from_millis(10), "then it is known to: {waits:?}");
        }
    }
}
