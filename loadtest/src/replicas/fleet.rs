//! Greedy agents: each call goes to a replica at random, and who is told to come back does so.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::journal::TARGET;
use super::verdict::Verdict;
use super::world::{HttpClient, World, http_client};

/// Calls each agent keeps open.
const OPEN: usize = 6;
/// What an agent asks to be held for at most, seconds.
const PATIENCE_S: u64 = 60;
/// Longer than any answer may take.
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// Before another replica is tried.
const AFTER_LOSS: Duration = Duration::from_millis(50);
const INCIDENTS_KEPT: usize = 10;

/// How agents behave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    pub(super) agents: usize,
    pub(super) open: usize,
    /// Between two calls, on average; each is half to one and a half of it.
    pub(super) pause: Duration,
}

impl Manner {
    pub(super) fn greedy(agents: usize) -> Manner {
        Manner { agents, open: OPEN, pause: Duration::ZERO }
    }
}

/// What all agents know and note.
#[derive(Debug)]
pub(super) struct Notes {
    addresses: Vec<SocketAddr>,
    /// Replicas that were killed on purpose: what they leave unanswered is no wonder.
    are_down: Vec<AtomicBool>,
    pub(super) served: AtomicU64,
    /// Calls a killed replica took with it.
    lost: AtomicU64,
    refused: Mutex<BTreeMap<String, u64>>,
    unexpected: AtomicU64,
    incidents: Mutex<Vec<String>>,
    latencies: Mutex<Vec<Duration>>,
}

impl Notes {
    pub(super) fn set_down(&self, replica: usize, is_down: bool) {
        self.are_down[replica].store(is_down, Ordering::SeqCst);
    }

    fn is_down(&self, replica: usize) -> bool {
        self.are_down[replica].load(Ordering::SeqCst)
    }

    fn unexpected(&self, incident: String) {
        self.unexpected.fetch_add(1, Ordering::Relaxed);
        let mut incidents = lock(&self.incidents);
        if incidents.len() < INCIDENTS_KEPT {
            incidents.push(incident);
        }
    }

    /// A line for the progress.
    pub(super) fn line(&self) -> String {
        let refused: u64 = lock(&self.refused).values().sum();
        let (served, odd) = (self.served.load(Ordering::Relaxed), self.unexpected.load(Ordering::Relaxed));
        format!("served {served}, told to come back {refused}, unexpected {odd}")
    }

    /// Half and 99 of 100 calls that were served took at most so long.
    pub(super) fn latencies_ms(&self) -> (f64, f64) {
        let mut all = lock(&self.latencies).clone();
        all.sort_unstable();
        let at =
            |part: usize| all.get(all.len() * part / 100).map_or(0.0, |time| time.as_secs_f64() * 1000.0);
        (at(50), at(99))
    }

    pub(super) fn judge(&self, verdict: &mut Verdict) {
        let unexpected = self.unexpected.load(Ordering::Relaxed);
        #[allow(clippy::cast_precision_loss, reason = "counts of calls")]
        verdict.at_most("unexpected answers", unexpected as f64, 0.0);
        for (code, count) in lock(&self.refused).iter() {
            verdict.note(format!("agents were told to come back: {code} {count} times"));
        }
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > 0 {
            verdict.note(format!("{lost} calls were lost with a killed replica, and asked again"));
        }
        for incident in lock(&self.incidents).iter() {
            verdict.note(format!("unexpected: {incident}"));
        }
    }
}

/// Agents at work. Dropped, they are gone.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) notes: Arc<Notes>,
    _tasks: JoinSet<()>,
}

impl Fleet {
    pub(super) fn start(world: &World, manner: Manner, seed: u64) -> Fleet {
        let notes = Arc::new(Notes {
            addresses: world.replicas.iter().map(|replica| replica.address).collect(),
            are_down: world.replicas.iter().map(|_| AtomicBool::new(false)).collect(),
            served: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            refused: Mutex::default(),
            unexpected: AtomicU64::new(0),
            incidents: Mutex::default(),
            latencies: Mutex::default(),
        });
        let client = http_client();
        let mut tasks = JoinSet::new();
        for (place, key) in world.keys.iter().take(manner.agents).enumerate() {
            for hand in 0..manner.open {
                let number = (place * manner.open + hand) as u64;
                let agent = Hand {
                    place,
                    bearer: format!("Bearer {}", key.expose()),
                    client: client.clone(),
                    dice: StdRng::seed_from_u64(seed.wrapping_mul(10_007).wrapping_add(number)),
                    notes: Arc::clone(&notes),
                };
                tasks.spawn(agent.toil(manner.pause));
            }
        }
        Fleet { notes, _tasks: tasks }
    }
}

/// One open call of an agent, again and again.
struct Hand {
    place: usize,
    bearer: String,
    client: HttpClient,
    dice: StdRng,
    notes: Arc<Notes>,
}

impl Hand {
    async fn toil(mut self, pause: Duration) {
        loop {
            if !pause.is_zero() {
                sleep(pause.mul_f64(self.dice.random_range(0.5..1.5))).await;
            }
            let replica = self.choose();
            let began = Instant::now();
            match timeout(SILENCE_MAX, self.ask(replica)).await {
                Ok(Ok(response)) => self.hear(&response, began).await,
                Ok(Err(error)) => self.miss(replica, &error).await,
                Err(_) => {
                    self.notes.unexpected(format!("replica {replica} was silent for {SILENCE_MAX:?}"));
                }
            }
        }
    }

    fn choose(&mut self) -> usize {
        let up: Vec<usize> =
            (0..self.notes.addresses.len()).filter(|place| !self.notes.is_down(*place)).collect();
        up.get(self.dice.random_range(0..up.len().max(1))).copied().unwrap_or(0)
    }

    async fn ask(&self, replica: usize) -> anyhow::Result<Response<()>> {
        let url = format!("http://{}{TARGET}{}", self.notes.addresses[replica], self.place);
        let request = Request::get(url)
            .header("authorization", &self.bearer)
            .header("prefer", format!("wait={PATIENCE_S}"))
            .body(Empty::<Bytes>::new())?;
        let response: Response<Incoming> = self.client.request(request).await?;
        let (head, body) = response.into_parts();
        body.collect().await?;
        Ok(Response::from_parts(head, ()))
    }

    async fn hear(&self, response: &Response<()>, began: Instant) {
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let wait = header("retry-after").and_then(|seconds| seconds.parse::<u64>().ok());
        match (response.status().as_u16(), header("x-tollgate-error"), wait) {
            (200, None, _) => {
                self.notes.served.fetch_add(1, Ordering::Relaxed);
                lock(&self.notes.latencies).push(began.elapsed());
            }
            (403, Some(code @ ("budget_exhausted" | "upstream_limited")), Some(seconds))
            | (503, Some(code @ "overloaded"), Some(seconds)) => {
                *lock(&self.notes.refused).entry(code.to_owned()).or_default() += 1;
                sleep(Duration::from_secs(seconds)).await;
            }
            (status, code, wait) => {
                let who = self.place;
                self.notes.unexpected(format!("agent {who}: {status} {code:?}, retry-after {wait:?}"));
                sleep(AFTER_LOSS).await;
            }
        }
    }

    async fn miss(&self, replica: usize, error: &anyhow::Error) {
        if self.notes.is_down(replica) {
            self.notes.lost.fetch_add(1, Ordering::Relaxed);
        } else {
            self.notes.unexpected(format!("agent {}, replica {replica}: {error:#}", self.place));
        }
        sleep(AFTER_LOSS).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this lock")
}
