//! One simulated agent: its key, its counts, and how it makes a request and judges the answer.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::characters::Character;
use super::client::{Call, Client, Reply};
use crate::demo::tally::{Outcome, Tally};

/// Incidents kept for the screen.
const INCIDENTS_MAX: usize = 5;

/// One that sleeps works for so long, then sleeps for so long, and so on.
const WORKS: Duration = Duration::from_secs(16);
const SLEEPS: Duration = Duration::from_secs(10);

/// Something a viewer may want to see: a refusal, or a failure.
#[derive(Debug, Clone)]
pub(crate) struct Incident {
    pub(crate) at: Instant,
    pub(crate) agent: String,
    /// What was tried, as in "merges pull request 76".
    pub(crate) what: String,
    /// The refusal's code, or what failed.
    pub(crate) why: String,
}

/// The last incidents of the whole fleet.
#[derive(Debug, Default)]
pub(crate) struct Incidents {
    list: Mutex<VecDeque<Incident>>,
}

impl Incidents {
    fn push(&self, incident: Incident) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() == INCIDENTS_MAX {
            list.pop_front();
        }
        list.push_back(incident);
    }

    pub(crate) fn last(&self) -> Vec<Incident> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// What an agent remembers between its deeds.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The page to read next: its number, and its address as the last one linked to it.
    pub(super) next_page: Option<(u64, String)>,
    /// Validator of what is polled.
    pub(super) etag: Option<String>,
}

/// A simulated agent.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) name: String,
    pub(crate) character: Character,
    client: Client,
    incidents: Arc<Incidents>,
    /// When it was hired.
    since: Instant,
    deeds: AtomicU64,
    tally: Mutex<Tally>,
    memory: Mutex<Memory>,
}

impl Agent {
    pub(super) fn new(
        name: String,
        character: Character,
        client: Client,
        incidents: Arc<Incidents>,
    ) -> Agent {
        let (tally, memory) = (Mutex::new(Tally::new()), Mutex::default());
        let (since, deeds) = (Instant::now(), AtomicU64::new(0));
        Agent { name, character, client, incidents, since, deeds, tally, memory }
    }

    /// How long it still sleeps, if it does.
    pub(crate) fn rest(&self, now: Instant) -> Option<Duration> {
        if self.character.sleeps() { rest(now.saturating_duration_since(self.since)) } else { None }
    }

    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An arrival that found too much of its own still under way.
    pub(super) fn skip(&self) {
        self.tally().failed += 1;
        self.report("begins something new", "too much of its own is still under way");
    }

    fn report(&self, what: &str, why: &str) {
        let (agent, what, why) = (self.name.clone(), what.to_owned(), why.to_owned());
        self.incidents.push(Incident { at: Instant::now(), agent, what, why });
    }
}

/// How long a sleeper still sleeps, so long after the start.
fn rest(elapsed: Duration) -> Option<Duration> {
    let day = (WORKS + SLEEPS).as_millis();
    let of_today = Duration::from_millis(u64::try_from(elapsed.as_millis() % day).unwrap_or_default());
    (of_today >= WORKS).then(|| WORKS + SLEEPS - of_today)
}

/// One deed under way: requests, one after the other.
#[derive(Debug)]
pub(super) struct Deed {
    pub(super) agent: Arc<Agent>,
    /// Counts the agent's deeds.
    pub(super) turn: u64,
}

impl Deed {
    pub(super) fn new(agent: Arc<Agent>) -> Deed {
        let turn = agent.deeds.fetch_add(1, Ordering::Relaxed);
        Deed { agent, turn }
    }

    /// Says what follows, for the table.
    pub(super) fn says(&self, doing: impl Into<String>) {
        self.agent.tally().doing = doing.into();
    }

    /// Sends a request that is to be served, again if it is told to come later; nothing if it was not.
    pub(super) async fn call(&mut self, call: Call) -> Option<Reply> {
        loop {
            let (outcome, reply) = self.exchange(call.clone()).await;
            match &outcome {
                Outcome::Served(_) => return reply,
                Outcome::Later(wait) => tokio::time::sleep(*wait).await,
                Outcome::Refused(why) | Outcome::Failed(why) => {
                    let doing = self.agent.tally().doing.clone();
                    self.agent.report(&doing, why);
                    return None;
                }
            }
        }
    }

    /// Sends a request that must be refused.
    pub(super) async fn try_forbidden(&mut self, what: &str, call: Call) {
        self.says(what);
        match self.exchange(call).await.0 {
            Outcome::Served(_) => {
                self.agent.tally().let_through += 1;
                self.agent.report(what, "WAS LET THROUGH");
            }
            Outcome::Later(_) => self.agent.report(what, "told to come later"),
            Outcome::Refused(why) | Outcome::Failed(why) => self.agent.report(what, &why),
        }
    }

    async fn exchange(&mut self, call: Call) -> (Outcome, Option<Reply>) {
        // In the middle of a deed, too.
        if let Some(rest) = self.agent.rest(Instant::now()) {
            tokio::time::sleep(rest).await;
        }
        let result = self.agent.client.send(call).await;
        let outcome = match &result {
            Ok(reply) => judge(reply),
            Err(error) => Outcome::Failed(error.to_string()),
        };
        let mut tally = self.agent.tally();
        tally.record(&outcome);
        if let Ok(reply) = &result {
            tally.tokens_seen += u64::from(reply.shows_github_token());
            if let (Outcome::Served(_), Some(held)) = (&outcome, reply.number("x-tollgate-wait-ms")) {
                tally.record_held(Duration::from_millis(held));
            }
        }
        drop(tally);
        (outcome, result.ok())
    }
}

/// tollgate's refusals carry their code; its failures do, too, but are no refusals.
fn judge(reply: &Reply) -> Outcome {
    let status = reply.status;
    match reply.text("x-tollgate-error") {
        Some("budget_exhausted" | "upstream_limited") if reply.number("retry-after").is_some() => {
            Outcome::Later(Duration::from_secs(reply.number("retry-after").unwrap_or_default()))
        }
        Some(code) if status.is_client_error() => Outcome::Refused(code.to_owned()),
        Some(code) => Outcome::Failed(code.to_owned()),
        None if status.is_success() || status == StatusCode::NOT_MODIFIED => Outcome::Served(status),
        None => {
            let message = reply.json()["message"].as_str().unwrap_or_default().to_owned();
            Outcome::Failed(format!("GitHub answered {} {message}", status.as_u16()))
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn reply(status: u16, code: Option<&'static str>) -> Reply {
        let mut headers = HeaderMap::new();
        if let Some(code) = code {
            headers.insert("x-tollgate-error", HeaderValue::from_static(code));
        }
        let body = Bytes::from_static(br#"{"message": "Not Found"}"#);
        Reply { status: StatusCode::from_u16(status).unwrap(), headers, body }
    }

    #[test]
    fn tells_refusals_from_answers_and_failures() {
        for status in [201, 304] {
            let served = Outcome::Served(StatusCode::from_u16(status).unwrap());
            assert_eq!(judge(&reply(status, None)), served);
        }
        assert_eq!(
            judge(&reply(403, Some("approval_required"))),
            Outcome::Refused("approval_required".to_owned())
        );
        assert_eq!(
            judge(&reply(502, Some("upstream_unreachable"))),
            Outcome::Failed("upstream_unreachable".to_owned())
        );
        assert_eq!(judge(&reply(404, None)), Outcome::Failed("GitHub answered 404 Not Found".to_owned()));
    }

    #[test]
    fn only_a_refusal_that_names_a_time_is_for_later() {
        let mut refusal = reply(403, Some("budget_exhausted"));
        assert_eq!(judge(&refusal), Outcome::Refused("budget_exhausted".to_owned()));
        refusal.headers.insert("retry-after", HeaderValue::from_static("7"));
        assert_eq!(judge(&refusal), Outcome::Later(Duration::from_secs(7)));
        refusal.headers.insert("x-tollgate-error", HeaderValue::from_static("upstream_limited"));
        assert_eq!(judge(&refusal), Outcome::Later(Duration::from_secs(7)));
    }

    #[test]
    fn a_sleeper_wakes_and_sleeps_again() {
        let second = Duration::from_secs(1);
        let day = WORKS + SLEEPS;
        assert_eq!((rest(Duration::ZERO), rest(WORKS - second)), (None, None));
        assert_eq!((rest(WORKS), rest(day - second)), (Some(SLEEPS), Some(second)));
        assert_eq!((rest(day), rest(day + WORKS)), (None, Some(SLEEPS)));
    }
}
