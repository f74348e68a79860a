//! The books: what arrived, what it cost, and every rule that was broken.
//!
//! Tests judge a client by these and by nothing the client itself computed. Credentials are never
//! kept in the clear: an `Authorization` value appears as a SHA-256.

use std::collections::{BTreeMap, VecDeque};

use http::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::digest::sha256_hex;

/// Bodies up to this size are kept with their request.
pub(crate) const BODY_KEPT_BYTES: usize = 64 * 1024;

/// Counters since the start or the last reset.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Books {
    /// Requests whose head arrived, whatever became of them.
    pub arrived: u64,
    /// Requests that were answered with a status.
    pub answered: u64,
    /// Requests that at least one fault changed.
    pub faulted: u64,
    /// 304 answers.
    pub not_modified: u64,
    /// Answers by status.
    pub by_status: BTreeMap<u16, u64>,
    /// Answers by `METHOD template`; `unmatched` for the rest.
    pub by_route: BTreeMap<String, u64>,
    /// Answers by credential kind.
    pub by_credential: BTreeMap<String, u64>,
    /// Limits that a client ran into: `primary`, `concurrency`, `endpoint_points`,
    /// `graphql_points`, `content_minute`, `content_hour`.
    pub violations: BTreeMap<String, u64>,
    /// Credentials that should never have come here.
    pub leaked_credentials: Vec<Leak>,
    /// Everything that landed commits by a merge.
    pub merges: Vec<Merge>,
    /// GraphQL mutation fields in order of arrival, whether they were carried out or not.
    pub mutations: Vec<String>,
    /// Successful requests other than GET and HEAD, without minting and revoking.
    pub writes: u64,
    /// Successful requests that count as content creation for the secondary limits.
    pub content_creations: u64,
    /// Installation tokens minted over HTTP.
    pub minted: u64,
    /// Installation tokens revoked.
    pub revoked: u64,
    /// Primary charges ever made, by `account/resource`, as `installation:1001/core`.
    pub used: BTreeMap<String, u64>,
    /// Most requests that were in flight at once.
    pub in_flight_max: u64,
    /// Most secondary points in any 60 seconds, by account and endpoint.
    pub peak_points_per_minute: BTreeMap<String, u64>,
}

impl Books {
    /// All violations together; stays 0 for a client that keeps the rules.
    pub fn violations_total(&self) -> u64 {
        self.violations.values().sum()
    }

    pub(crate) fn violation(&mut self, kind: &str) {
        *self.violations.entry(kind.to_owned()).or_default() += 1;
    }
}

/// A credential that is not GitHub's, or not this simulator's, seen in a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Leak {
    /// The request's number.
    pub seq: u64,
    /// `authorization`, `header:NAME`, `path` or `body`.
    pub place: String,
    /// The credential's prefix (`tg_`, `ghp_`, `basic`), or `unknown`.
    pub kind: String,
    /// The first 12 hex digits of its SHA-256.
    pub sha256_prefix: String,
}

/// A merge that was done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Merge {
    /// `owner/name`.
    pub repository: String,
    /// The pull request, when it was merged as one.
    pub pull: Option<u64>,
    /// The commit that the base branch has now.
    pub sha: String,
    /// The route that did it, as `PUT /repos/…`, or the mutation, as `mutation mergePullRequest`; or
    /// `auto-merge` when a push set it off.
    pub by: String,
}

/// One request as it arrived, and what was answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecordedRequest {
    /// Counts from 1 and never restarts.
    pub seq: u64,
    /// When its head arrived, epoch milliseconds.
    pub at_epoch_ms: i64,
    /// `api`, `uploads` or `storage`.
    pub listener: String,
    /// The method as received.
    pub method: String,
    /// Path and query as received, byte for byte.
    pub target: String,
    /// Header names in lower case; several values joined by `, `; `authorization` is replaced by
    /// its scheme and the SHA-256 of the credential.
    pub headers: BTreeMap<String, String>,
    /// SHA-256 of the body in hex.
    pub body_sha256: String,
    /// Length of the body in bytes.
    pub body_bytes: u64,
    /// The body as text, when it is UTF-8 and at most 64 KiB.
    pub body: Option<String>,
    /// `app-jwt`, `installation:ID`, `pat`, `none` or `unknown`.
    pub credential: String,
    /// SHA-256 of the credential alone, the same for `Bearer` and `token`.
    pub authorization_sha256: Option<String>,
    /// `METHOD template` of the route that answered.
    pub route: Option<String>,
    /// The status; `None` while unanswered or when the connection was cut.
    pub status: Option<u16>,
    /// What it cost of a primary limit; `None` when it was free.
    #[serde(default)]
    pub charge: Option<Charge>,
    /// The limit that refused it, named as in [`Books::violations`].
    #[serde(default)]
    pub refused_for: Option<String>,
}

/// What one request took from a primary limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// Whose limit, as `installation:1001`.
    pub account: String,
    /// `core`, `graphql`, `search` or the like.
    pub resource: String,
    /// Requests, or points of GraphQL.
    pub points: u64,
    /// Epoch seconds at which the window it was charged to ends.
    pub window_ends_at: i64,
}

/// The last requests, in a bounded ring.
#[derive(Debug)]
pub(crate) struct Ring {
    kept: VecDeque<RecordedRequest>,
    room: usize,
    last_seq: u64,
}

impl Ring {
    pub(crate) fn new(room: usize) -> Self {
        Self { kept: VecDeque::new(), room, last_seq: 0 }
    }

    /// Records an arrival and returns its number.
    pub(crate) fn push(&mut self, mut request: RecordedRequest) -> u64 {
        self.last_seq += 1;
        request.seq = self.last_seq;
        if self.kept.len() >= self.room {
            self.kept.pop_front();
        }
        self.kept.push_back(request);
        self.last_seq
    }

    /// The request of that number, unless it was pushed out.
    pub(crate) fn find_mut(&mut self, seq: u64) -> Option<&mut RecordedRequest> {
        let first = self.kept.front()?.seq;
        let index = usize::try_from(seq.checked_sub(first)?).ok()?;
        self.kept.get_mut(index)
    }

    pub(crate) fn since(&self, seq: u64) -> Vec<RecordedRequest> {
        self.kept.iter().filter(|request| request.seq > seq).cloned().collect()
    }

    pub(crate) fn clear(&mut self) {
        self.kept.clear();
    }
}

/// A header map as it is recorded, with the credential of `authorization` hashed.
pub(crate) fn recorded_headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut recorded: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        let mut text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        if name == http::header::AUTHORIZATION {
            let (scheme, credential) = text.split_once(' ').unwrap_or(("", text.as_str()));
            text = format!("{scheme} sha256:{}", sha256_hex(credential.trim().as_bytes()));
        }
        recorded
            .entry(name.as_str().to_owned())
            .and_modify(|earlier| {
                earlier.push_str(", ");
                earlier.push_str(&text);
            })
            .or_insert(text);
    }
    recorded
}
