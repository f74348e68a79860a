//! The listeners and a request's way through HTTP: receive, answer, send.
//!
//! Three listeners play GitHub: the API, the uploads host and the storage hosts behind redirects. [`crate::answer`]
//! makes the answer; this module does the network part and the faults that happen on the network.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::Response;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jsonwebtoken::DecodingKey;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answer::{Outcome, answer};
use crate::books::{BODY_KEPT_BYTES, Books, RecordedRequest, Ring, recorded_headers};
use crate::clock::Clock;
use crate::config::SimConfig;
use crate::control::Addresses;
use crate::digest::hex;
use crate::exchange::{Request, parse_query};
use crate::faults::{FaultKind, FaultSet};
use crate::limits::Limits;
use crate::shown::Shown;
use crate::storage;
use crate::tokens::Tokens;
use crate::world::World;

/// How many bytes of an upload are kept; of the rest only length and hash are known.
const UPLOAD_KEPT_BYTES: usize = 1024 * 1024;
/// GitHub's limit for bodies is higher for some routes; no client here comes near it.
const BODY_MAX_BYTES: usize = 100 * 1024 * 1024;

pub(crate) type SimBody = UnsyncBoxBody<Bytes, io::Error>;

/// Which of GitHub's hosts a listener plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    Api,
    Uploads,
    Storage,
}

impl Listener {
    fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Uploads => "uploads",
            Self::Storage => "storage",
        }
    }
}

/// Base URLs in answers, without a trailing slash.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    pub(crate) api: String,
    pub(crate) uploads: String,
    pub(crate) storage: String,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: SimConfig,
    pub(crate) clock: Clock,
    pub(crate) links: Links,
    pub(crate) addresses: Addresses,
    /// Any of them may have signed an App's JWT.
    pub(crate) app_keys: Vec<DecodingKey>,
    pub(crate) in_flight: AtomicU64,
    state: Mutex<State>,
}

/// Everything that changes, under one lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) world: World,
    pub(crate) tokens: Tokens,
    pub(crate) limits: Limits,
    pub(crate) books: Books,
    pub(crate) ring: Ring,
    pub(crate) faults: FaultSet,
    pub(crate) shown: Shown,
}

impl Shared {
    pub(crate) fn new(
        config: SimConfig,
        links: Links,
        app_keys: Vec<DecodingKey>,
        addresses: Addresses,
    ) -> Self {
        let state = State {
            world: World::from_seed(&config.seed),
            tokens: Tokens::default(),
            limits: Limits::new(config.limits.clone(), config.secondary.clone()),
            books: Books::default(),
            ring: Ring::new(config.ring),
            faults: FaultSet::default(),
            shown: Shown::default(),
        };
        Self {
            clock: Clock::new(config.clock_start),
            config,
            links,
            addresses,
            app_keys,
            in_flight: AtomicU64::new(0),
            state: Mutex::new(state),
        }
    }

    /// The state. A panic in a handler does not make it unusable.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the world from outside; merges that this triggers are recorded in the books.
    pub(crate) fn edit<R>(&self, edit: impl FnOnce(&mut World) -> R) -> R {
        let mut guard = self.state();
        let state = &mut *guard;
        let done = edit(&mut state.world);
        for repository in state.world.repositories.values_mut() {
            state.books.merges.append(&mut repository.auto_merged);
        }
        done
    }

    /// Forgets books, requests, faults and limits; tokens and the world stay.
    pub(crate) fn reset(&self) {
        let mut state = self.state();
        state.books = Books::default();
        state.ring.clear();
        state.faults.clear();
        state.limits.clear();
    }
}

/// Accepts connections until `stop` is cancelled, which also ends the open ones.
pub(crate) fn listen<F, Fut>(listener: TcpListener, tasks: &TaskTracker, stop: CancellationToken, respond: F)
where
    F: Fn(hyper::Request<Incoming>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = io::Result<Response<SimBody>>> + Send + 'static,
{
    let connections = tasks.clone();
    tasks.spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let Ok((stream, _)) = accepted else { continue };
            // Answers are small; waiting to fill packets only adds latency to measurements.
            let _ = stream.set_nodelay(true);
            let (respond, stop) = (respond.clone(), stop.clone());
            connections.spawn(async move {
                let service = service_fn(respond);
                let connection = hyper::server::conn::http1::Builder::new()
                    .max_buf_size(1024 * 1024)
                    .serve_connection(TokioIo::new(stream), service);
                tokio::select! {
                    // Faults end connections with an error, and so do clients that disconnect.
                    _ = connection => {}
                    () = stop.cancelled() => {}
                }
            });
        }
    });
}

/// Answers one request of a listener that plays GitHub.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    listener: Listener,
    incoming: hyper::Request<Incoming>,
) -> io::Result<Response<SimBody>> {
    let flight = Flight::begin(&shared);
    let (head, body) = incoming.into_parts();
    let seq = record_arrival(&shared, listener, &head, flight.in_flight);
    let kept = if listener == Listener::Uploads { UPLOAD_KEPT_BYTES } else { BODY_MAX_BYTES };
    let body = Received::read(body, kept).await?;
    if let Some(recorded) = shared.state().ring.find_mut(seq) {
        recorded.body_bytes = body.length;
        recorded.body_sha256.clone_from(&body.sha256);
        if body.length <= BODY_KEPT_BYTES as u64 && body.length > 0 {
            recorded.body = String::from_utf8(body.beginning.to_vec()).ok();
        }
    }
    let raw_query = head.uri.query().map(str::to_owned);
    let request = Request {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: raw_query.as_deref().map(parse_query).unwrap_or_default(),
        raw_query,
        headers: head.headers,
        body: body.beginning,
        body_bytes: body.length,
        body_sha256: body.sha256,
    };
    if listener == Listener::Storage {
        return Ok(storage::answer(&shared, seq, &request));
    }
    let outcome = answer(&shared, listener, seq, flight.in_flight, &request);
    if let Some(ms) = outcome.plan.slow_first_byte_ms() {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    deliver(outcome, flight)
}

fn record_arrival(shared: &Shared, listener: Listener, head: &http::request::Parts, in_flight: u64) -> u64 {
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    let at_epoch_ms = shared.clock.now_epoch_ms();
    let recorded = RecordedRequest {
        seq: 0,
        at_epoch_ms,
        listener: listener.name().to_owned(),
        method: head.method.as_str().to_owned(),
        target: target.to_owned(),
        headers: recorded_headers(&head.headers),
        body_sha256: String::new(),
        body_bytes: 0,
        body: None,
        credential: "none".to_owned(),
        authorization_sha256: None,
        route: None,
        status: None,
        charge: None,
        refused_for: None,
    };
    let mut state = shared.state();
    state.books.arrived += 1;
    state.books.in_flight_max = state.books.in_flight_max.max(in_flight);
    state.ring.push(recorded)
}

/// A body that was read to the end.
struct Received {
    beginning: Bytes,
    length: u64,
    sha256: String,
}

impl Received {
    async fn read(mut body: Incoming, kept_bytes: usize) -> io::Result<Self> {
        let mut beginning = BytesMut::new();
        let mut hasher = Sha256::new();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(io::Error::other)?;
            let Ok(data) = frame.into_data() else { continue };
            hasher.update(&data);
            length += data.len() as u64;
            let room = kept_bytes.saturating_sub(beginning.len());
            beginning.extend_from_slice(&data[..data.len().min(room)]);
        }
        Ok(Self { beginning: beginning.freeze(), length, sha256: hex(&hasher.finalize()) })
    }
}

/// A request in flight, until its answer has been handed over.
struct Flight {
    shared: Arc<Shared>,
    in_flight: u64,
}

impl Flight {
    fn begin(shared: &Arc<Shared>) -> Self {
        let in_flight = shared.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        Self { shared: Arc::clone(shared), in_flight }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.shared.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

fn deliver(outcome: Outcome, flight: Flight) -> io::Result<Response<SimBody>> {
    let Outcome { status, headers, body, plan } = outcome;
    let has = |wanted: fn(&FaultKind) -> bool| plan.kinds.iter().any(wanted);
    if has(|kind| matches!(kind, FaultKind::ResetBeforeAnswer { .. })) {
        return Err(io::Error::other("a fault cuts the connection"));
    }
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    let is_cut = has(|kind| matches!(kind, FaultKind::ResetMidBody));
    let is_truncated = has(|kind| matches!(kind, FaultKind::TruncatedBody));
    let speed = plan.find(|kind| match kind {
        FaultKind::SlowBody { bytes_per_second } => Some((*bytes_per_second).max(1)),
        _ => None,
    });
    let body = if is_cut || is_truncated || speed.is_some() {
        response = response.header("content-length", body.len());
        hampered(&body, is_cut, is_truncated, speed, flight)
    } else {
        full(body)
    };
    response.body(body).map_err(io::Error::other)
}

/// A body that is sent at once.
pub(crate) fn full(bytes: impl Into<Bytes>) -> SimBody {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// A body that is sent slowly, or only in part. The request stays in flight until the body has ended.
fn hampered(body: &Bytes, is_cut: bool, is_truncated: bool, speed: Option<u64>, flight: Flight) -> SimBody {
    let sent = if is_cut || is_truncated { body.len() / 2 } else { body.len() };
    // Ten pieces a second, so that a slow body looks like a slow line.
    let piece = speed.map_or(sent.max(1), |speed| usize::try_from(speed / 10).unwrap_or(1).max(1));
    let pause = speed.map(|_| Duration::from_millis(100));
    let rest = body.slice(..sent);
    let pieces = stream::unfold((rest, is_cut, flight), move |(mut rest, is_cut, flight)| async move {
        if rest.is_empty() {
            let error = io::Error::other("a fault cuts the body");
            return is_cut.then(|| (Err(error), (rest, false, flight)));
        }
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        } else {
            // Lets the head and earlier bytes reach the client before a cut.
            tokio::task::yield_now().await;
        }
        let next = rest.split_to(piece.min(rest.len()));
        Some((Ok(Frame::data(next)), (rest, is_cut, flight)))
    });
    StreamBody::new(pieces).boxed_unsync()
}
