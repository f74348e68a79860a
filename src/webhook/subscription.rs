//! Asks GitHub which events each App is subscribed to, so that events of quiet accounts are known too.
//!
//! Source: GitHub Docs, `GET /app`: `events` are those that the App has chosen; they are delivered for every
//! account on which it is installed.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use serde::Deserialize;
use tokio::time::Instant;

use crate::cache::changes::Changes;
use crate::clock::Clock;
use crate::github::apps::{App, AppError};
use crate::github::installations::{Installations, Kind};

const ASK_EVERY: Duration = Duration::from_secs(3_600);
/// Pause after a failure.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// How often to check whether the Apps were replaced.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long GitHub's answer is trusted, in milliseconds: a single failed call changes nothing.
const BELIEVED_MS: i64 = 2 * 3_600_000;
const WHAT: &str = "the question for the App's events";

#[derive(Deserialize)]
struct Subscribed {
    #[serde(default)]
    events: Vec<String>,
}

/// Asks at once and then every hour; never ends.
///
/// `latest` returns the installations of the configuration in force.
pub(crate) async fn tend(
    latest: impl Fn() -> Arc<Installations>,
    changes: Arc<Changes>,
    clock: Arc<dyn Clock>,
) {
    let mut was_failing = false;
    loop {
        let installations = latest();
        let mut is_failing = false;
        for app in installations.apps() {
            let Err(error) = ask(app, &installations, &changes, &*clock).await else { continue };
            is_failing = true;
            if !was_failing {
                tracing::warn!(app = app.name, %error,
                    "it is not known which events are delivered; only those that come are believed");
            }
        }
        was_failing = is_failing;
        let ask_at = Instant::now() + if is_failing { ASK_AGAIN } else { ASK_EVERY };
        while Instant::now() < ask_at {
            tokio::time::sleep(LOOK_EVERY).await;
            if !Arc::ptr_eq(&latest(), &installations) {
                // What one App's webhook delivers says nothing about another's.
                changes.forget_told();
                break;
            }
        }
    }
}

async fn ask(
    app: &Arc<App>,
    installations: &Installations,
    changes: &Changes,
    clock: &dyn Clock,
) -> Result<(), Arc<AppError>> {
    let (status, body) = app.call(Method::GET, "/app", None).await?;
    if status != StatusCode::OK {
        return Err(Arc::new(AppError::refused(status, WHAT, &body)));
    }
    let subscribed: Subscribed =
        serde_json::from_slice(&body).map_err(|error| AppError::Garbled(WHAT, error.to_string()))?;
    let until = clock.now_ms() + BELIEVED_MS;
    for installation in &installations.of_app(app).await?.serving {
        let Kind::App(installation) = &installation.kind else { continue };
        for event in &subscribed.events {
            changes.tells(&installation.account, event, until);
        }
    }
    Ok(())
}
