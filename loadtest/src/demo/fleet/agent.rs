//! One simulated agent: its key, its counts, and how it makes a request and judges the answer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::characters::Character;
use super::client::{Call, Client, Reply};
use crate::demo::tally::{Outcome, Tally};

/// Incidents kept for the screen.
const INCIDENTS_MAX: usize = 5;

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
    /// The page to read next, as the last one linked to it.
    pub(super) next_page: Option<String>,
    pub(super) page: u64,
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
        Agent { name, character, client, incidents, tally, memory }
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

/// One deed under way: requests, one after the other.
///
/// Time runs from when the deed was due, not from when it got its turn: what an overloaded system
/// keeps waiting must show (open loop).
#[derive(Debug)]
pub(super) struct Deed {
    pub(super) agent: Arc<Agent>,
    /// Counts the agent's deeds.
    pub(super) turn: u64,
    since: Instant,
}

impl Deed {
    pub(super) fn new(agent: Arc<Agent>, turn: u64, due: Instant) -> Deed {
        Deed { agent, turn, since: due }
    }

    /// Says what follows, for the table.
    pub(super) fn says(&self, doing: impl Into<String>) {
        self.agent.tally().doing = doing.into();
    }

    /// Sends a request that is to be served; nothing if it was not.
    pub(super) async fn call(&mut self, call: Call) -> Option<Reply> {
        let (outcome, reply) = self.exchange(call).await;
        match &outcome {
            Outcome::Served => return reply,
            Outcome::Refused(why) | Outcome::Failed(why) => {
                let doing = self.agent.tally().doing.clone();
                self.agent.report(&doing, why);
            }
        }
        None
    }

    /// Sends a request that must be refused.
    pub(super) async fn try_forbidden(&mut self, what: &str, call: Call) {
        self.says(what);
        match self.exchange(call).await.0 {
            Outcome::Served => {
                self.agent.tally().let_through += 1;
                self.agent.report(what, "WAS LET THROUGH");
            }
            Outcome::Refused(why) | Outcome::Failed(why) => self.agent.report(what, &why),
        }
    }

    async fn exchange(&mut self, call: Call) -> (Outcome, Option<Reply>) {
        let result = self.agent.client.send(call).await;
        let outcome = match &result {
            Ok(reply) => judge(reply),
            Err(error) => Outcome::Failed(error.to_string()),
        };
        let now = Instant::now();
        let mut tally = self.agent.tally();
        tally.record(&outcome, now - self.since);
        tally.tokens_seen += u64::from(result.as_ref().is_ok_and(Reply::shows_github_token));
        drop(tally);
        self.since = now;
        (outcome, result.ok())
    }
}

/// tollgate's refusals carry their code; its failures do, too, but are no refusals.
fn judge(reply: &Reply) -> Outcome {
    let status = reply.status;
    match reply.text("x-tollgate-error") {
        Some(code) if status.is_client_error() => Outcome::Refused(code.to_owned()),
        Some(code) => Outcome::Failed(code.to_owned()),
        None if status.is_success() || status == http::StatusCode::NOT_MODIFIED => Outcome::Served,
        None => {
            let message = reply.json()["message"].as_str().unwrap_or_default().to_owned();
            Outcome::Failed(format!("GitHub answered {} {message}", status.as_u16()))
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, StatusCode};

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
        assert_eq!(judge(&reply(201, None)), Outcome::Served);
        assert_eq!(judge(&reply(304, None)), Outcome::Served);
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
}
