//! A well-behaved HTTP client, the same before every contestant that is not a client itself.
//!
//! It does what GitHub's documentation asks: who is told to wait sends nothing until then, with jitter, and
//! backs off exponentially where no time is named. What it can't send at once waits its turn in it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rand::RngExt as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tollgate::clock::{Clock as _, SystemClock};

use super::outcome::{Outcome, PATIENCE_MS, START_BY_MS};
use super::plan::{Class, Plan, Request};

/// Requests an agent has open at once.
const OPEN: usize = 6;
/// Longer than any contestant holds a request.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Where no time is named: `BASE * 2^n`, at most so much; and for a secondary limit, at least.
const BASE: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
const SECONDARY: Duration = Duration::from_secs(60);
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// Where the agents send their requests, and what they show.
#[derive(Debug, Clone)]
pub(crate) struct Doors {
    /// Each request goes to the next.
    pub(crate) urls: Vec<String>,
    /// For each agent; none: the other side has one.
    pub(crate) credentials: Option<Vec<String>>,
}

/// What an agent remembers.
#[derive(Debug)]
struct Memory {
    open: Semaphore,
    /// Nothing is sent before.
    silent_until: Mutex<Instant>,
    etags: Mutex<HashMap<String, String>>,
    credential: Option<String>,
}

type Http = HttpClient<HttpConnector, Full<Bytes>>;

/// All agents, as tasks; it ends with the value.
#[derive(Debug)]
pub(crate) struct Crowd {
    _tasks: JoinSet<()>,
}

impl Crowd {
    /// Sends everything when it is due; outcomes are written as they come.
    pub(crate) fn start(
        plan: &Arc<Plan>,
        doors: &Doors,
        began: Instant,
        outcomes: &Arc<Mutex<Vec<Outcome>>>,
    ) -> Crowd {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http: Http = HttpClient::builder(TokioExecutor::new()).build(connector);
        let memories: Vec<Arc<Memory>> = (0..plan.agents.len())
            .map(|place| {
                let credential = doors.credentials.as_ref().map(|all| format!("Bearer {}", all[place]));
                let (open, etags) = (Semaphore::new(OPEN), Mutex::default());
                Arc::new(Memory { open, silent_until: Mutex::new(began), etags, credential })
            })
            .collect();
        let mut tasks = JoinSet::new();
        for id in 0..plan.requests.len() {
            let call = Call {
                plan: Arc::clone(plan),
                id,
                memory: Arc::clone(&memories[plan.requests[id].agent]),
                url: doors.urls[id % doors.urls.len()].clone(),
                http: http.clone(),
                began,
            };
            let outcomes = Arc::clone(outcomes);
            tasks.spawn(async move {
                let outcome = call.carry_out().await;
                lock(&outcomes).push(outcome);
            });
        }
        Crowd { _tasks: tasks }
    }
}

/// One request on its way to an answer.
struct Call {
    plan: Arc<Plan>,
    id: usize,
    memory: Arc<Memory>,
    url: String,
    http: Http,
    began: Instant,
}

/// What became of an attempt.
enum Reply {
    Served(u16),
    /// Another answer than a refusal for rate: asking again helps nothing.
    Failed(u16),
    /// Sent away, for so long if that was said.
    Away(Option<Duration>),
    Broken,
}

impl Call {
    fn request(&self) -> &Request {
        &self.plan.requests[self.id]
    }

    async fn carry_out(self) -> Outcome {
        let due = self.began + Duration::from_millis(self.request().due_ms);
        sleep_until(due).await;
        let deadline = due + Duration::from_millis(PATIENCE_MS);
        let start_by = match self.plan.class(self.request()) {
            Class::Human => deadline,
            _ => due + Duration::from_millis(START_BY_MS),
        };
        let Ok(Ok(_permit)) = timeout_at(start_by, self.memory.open.acquire()).await else {
            return self.outcome(false, 0, 0);
        };
        let mut attempts = 0;
        loop {
            let silent_until = *lock(&self.memory.silent_until);
            if silent_until > Instant::now() {
                let until = if attempts == 0 { start_by } else { deadline };
                sleep_until(silent_until.min(until)).await;
                if silent_until > until {
                    return self.outcome(false, attempts, 0);
                }
                continue;
            }
            attempts += 1;
            match self.attempt().await {
                Reply::Served(status) => return self.outcome(true, attempts, status),
                Reply::Failed(status) => return self.outcome(false, attempts, status),
                Reply::Away(wait) => self.keep_silent(wait, attempts),
                // It may have been done.
                Reply::Broken if self.request().method == "POST" => return self.outcome(false, attempts, 0),
                Reply::Broken => self.keep_silent(Some(AFTER_FAILURE), attempts),
            }
        }
    }

    fn outcome(&self, is_served: bool, attempts: u32, status: u16) -> Outcome {
        let done_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Outcome { id: self.id, done_ms, is_served, attempts, status }
    }

    fn keep_silent(&self, wait: Option<Duration>, attempts: u32) {
        let mut dice = rand::rng();
        let wait = match wait {
            // So that not all come back at the same moment.
            Some(wait) => {
                wait.mul_f64(dice.random_range(1.0..1.1)) + BASE.mul_f64(dice.random_range(0.0..1.0))
            }
            None => {
                let most = (BASE * 2_u32.saturating_pow(attempts.min(10))).min(BACKOFF_MAX);
                most.mul_f64(dice.random_range(0.0..1.0))
            }
        };
        let until = Instant::now() + wait;
        let mut silent_until = lock(&self.memory.silent_until);
        *silent_until = (*silent_until).max(until);
    }

    async fn attempt(&self) -> Reply {
        let request = self.request();
        let mut head = http::Request::builder()
            .method(request.method)
            .uri(format!("{}{}", self.url, request.target))
            .header("user-agent", "fleet")
            .header("accept", "application/vnd.github+json");
        if let Some(credential) = &self.memory.credential {
            head = head.header("authorization", credential);
        }
        if self.plan.class(request) == Class::Human {
            head = head.header("priority", "u=1");
        }
        let etag = lock(&self.memory.etags).get(&request.target).cloned();
        if let Some(etag) = etag.filter(|_| request.is_conditional) {
            head = head.header("if-none-match", etag);
        }
        if request.body.is_some() {
            head = head.header("content-type", "application/json");
        }
        let body = request.body.as_ref().map(ToString::to_string).unwrap_or_default();
        let Ok(sent) = head.body(Full::new(Bytes::from(body))) else { return Reply::Broken };
        let exchange = async {
            let response = self.http.request(sent).await.ok()?;
            let (head, body) = response.into_parts();
            Some((head, body.collect().await.ok()?.to_bytes()))
        };
        let Ok(Some((head, body))) = timeout(SILENCE_MAX, exchange).await else { return Reply::Broken };
        if let Some(etag) = head.headers.get("etag").and_then(|etag| etag.to_str().ok())
            && request.is_conditional
        {
            lock(&self.memory.etags).insert(request.target.clone(), etag.to_owned());
        }
        read(head.status, &head.headers, &body)
    }
}

/// What an answer means, by GitHub's documentation.
fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Reply {
    let code = status.as_u16();
    let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
    let says = |text: &[u8]| body.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text));
    let is_spent = number("x-ratelimit-remaining") == Some(0);
    if status.is_success() && !says(b"\"RATE_LIMITED\"") || status == StatusCode::NOT_MODIFIED {
        return Reply::Served(code);
    }
    let is_for_rate = match code {
        200 | 429 | 503 => true,
        403 => headers.contains_key("retry-after") || is_spent || says(b"secondary rate"),
        _ => false,
    };
    match number("retry-after") {
        _ if !is_for_rate && status.is_server_error() => Reply::Broken,
        _ if !is_for_rate => Reply::Failed(code),
        Some(seconds) => Reply::Away(Some(Duration::from_secs(seconds))),
        None if is_spent => {
            let now_ms = u64::try_from(SystemClock.now_ms()).unwrap_or(0);
            let reset_ms = number("x-ratelimit-reset").unwrap_or(0) * 1000;
            Reply::Away(Some(Duration::from_millis(reset_ms.saturating_sub(now_ms))))
        }
        None if says(b"secondary rate") => Reply::Away(Some(SECONDARY)),
        None => Reply::Away(None),
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this lock")
}
