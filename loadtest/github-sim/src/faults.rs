//! Faults that tests switch on: what GitHub, or the network to it, does on a bad day.
//!
//! A fault names the requests that it concerns (method, part of the path, credential) and for how many of them or
//! how long it lasts. Several faults may hit one request; each contributes its own part of the [`Plan`] that the
//! server follows.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::server::Shared;

/// A fault and the requests it concerns. Without any condition it concerns every request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// What happens.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// Only this method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Only targets (path and query as received) that contain this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Only credentials that start with this, such as `installation:` or `pat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Lets this many requests through first.
    #[serde(default)]
    pub after: u64,
    /// Ends after this many requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Ends this many seconds after it was added, by the simulator's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<i64>,
}

impl Fault {
    /// A fault for every request until it is cleared.
    pub fn new(kind: FaultKind) -> Self {
        Self { kind, method: None, path: None, credential: None, after: 0, count: None, seconds: None }
    }

    /// Only requests with this method whose target contains `path`.
    #[must_use]
    pub fn on(mut self, method: &str, path: &str) -> Self {
        self.method = Some(method.to_owned());
        self.path = Some(path.to_owned());
        self
    }

    /// Only requests whose target contains `path`.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    /// Only requests whose credential kind starts with `prefix`.
    #[must_use]
    pub fn credential(mut self, prefix: &str) -> Self {
        self.credential = Some(prefix.to_owned());
        self
    }

    /// Lets the first `requests` through.
    #[must_use]
    pub fn after(mut self, requests: u64) -> Self {
        self.after = requests;
        self
    }

    /// Ends after `requests` requests.
    #[must_use]
    pub fn times(mut self, requests: u64) -> Self {
        self.count = Some(requests);
        self
    }

    /// Ends `seconds` after it is added.
    #[must_use]
    pub fn for_seconds(mut self, seconds: i64) -> Self {
        self.seconds = Some(seconds);
        self
    }
}

/// What a fault does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FaultKind {
    /// Answers this status, uncharged; with `takes_effect` the request is carried out all the same.
    Status {
        /// The status.
        status: u16,
        /// A JSON body, or a string for a body of that text as HTML; GitHub's own when absent.
        #[serde(default)]
        body: Option<Value>,
        /// Further headers.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// Whether the request is carried out first.
        #[serde(default)]
        takes_effect: bool,
    },
    /// Cuts the connection instead of answering.
    ResetBeforeAnswer {
        /// Whether the request is carried out first.
        #[serde(default)]
        takes_effect: bool,
    },
    /// Cuts the connection after half of the body.
    ResetMidBody,
    /// Announces the full length, sends half of it and closes.
    TruncatedBody,
    /// Waits before the head of the answer.
    SlowFirstByte {
        /// How long, in milliseconds.
        ms: u64,
    },
    /// Sends the body slowly.
    SlowBody {
        /// How fast, in bytes per second.
        bytes_per_second: u64,
    },
    /// Answers as if a rate limit were hit; the books count no violation for it.
    Limit {
        /// Which of GitHub's forms.
        form: LimitForm,
        /// Seconds for `Retry-After`; left out when absent.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// Shifts GitHub's clock: `Date`, resets, and expiry checks.
    ClockOffset {
        /// By how much; negative means behind. Not named `seconds`, which says how long a fault lasts.
        offset_seconds: i64,
    },
    /// Refuses tokens that were minted less than this long ago.
    ReplicationLag {
        /// Minimum age in milliseconds.
        ms: i64,
        /// 401 or 404.
        status: u16,
    },
    /// Charges another resource than the route's own.
    ChargeOther {
        /// Which one.
        resource: String,
    },
    /// Opens a window as if someone else had used it; happens when the fault is added, and never matches a request.
    WindowOpened {
        /// As `installation:1001`.
        account: String,
        /// As `core`.
        resource: String,
        /// Points used.
        used: u64,
        /// When it was opened.
        #[serde(default)]
        seconds_ago: i64,
    },
    /// Shows other figures in the rate limit headers than the true ones.
    RateHeaders {
        /// `x-ratelimit-limit`.
        #[serde(default)]
        limit: Option<u64>,
        /// `x-ratelimit-used`.
        #[serde(default)]
        used: Option<u64>,
        /// `x-ratelimit-remaining`.
        #[serde(default)]
        remaining: Option<u64>,
        /// `x-ratelimit-reset`.
        #[serde(default)]
        reset: Option<i64>,
    },
    /// Leaves headers out; a name ending in `*` stands for all names with that prefix.
    DropHeaders {
        /// Their names.
        names: Vec<String>,
    },
    /// Replaces or adds headers.
    SetHeaders {
        /// Names and values.
        headers: BTreeMap<String, String>,
    },
    /// Computes ETags by another rule, with this salt in the hash.
    EtagRule {
        /// Anything.
        salt: String,
    },
    /// Keeps showing what a read showed before, for this long after the change was first requested.
    StaleReads {
        /// How long, in milliseconds.
        ms: i64,
    },
    /// Refuses to mint installation tokens.
    MintFails {
        /// With this status.
        status: u16,
    },
}

/// The forms in which GitHub says that a limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitForm {
    /// 403, `remaining: 0`, "API rate limit exceeded".
    Primary403,
    /// The same as 429.
    Primary429,
    /// 403, "You have exceeded a secondary rate limit"; the primary figures stay as they are.
    Secondary403,
    /// The same as 429.
    Secondary429,
    /// 403, "temporarily blocked from content creation".
    ContentCreation403,
    /// 200, `errors[].type` `RATE_LIMITED`.
    GraphqlRateLimited,
    /// 200, `errors[].type` `RATE_LIMIT` with `code` `graphql_rate_limit`, `remaining` not 0.
    GraphqlRateLimit,
    /// 200, an error that mentions the secondary rate limit.
    GraphqlSecondary,
}

/// The combined faults of one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) kinds: Vec<FaultKind>,
}

impl Plan {
    /// The first fault that `pick` recognizes.
    pub(crate) fn find<T>(&self, pick: impl Fn(&FaultKind) -> Option<T>) -> Option<T> {
        self.kinds.iter().find_map(pick)
    }

    pub(crate) fn slow_first_byte_ms(&self) -> Option<u64> {
        self.find(|kind| if let FaultKind::SlowFirstByte { ms } = kind { Some(*ms) } else { None })
    }
}

/// The faults that are switched on.
#[derive(Debug, Default)]
pub(crate) struct FaultSet {
    active: Vec<Active>,
    last_id: u64,
    fired: BTreeMap<u64, u64>,
}

#[derive(Debug)]
struct Active {
    id: u64,
    fault: Fault,
    passed: u64,
    ends_at_ms: Option<i64>,
}

impl FaultSet {
    pub(crate) fn add(&mut self, fault: Fault, now_ms: i64) -> u64 {
        self.last_id += 1;
        let ends_at_ms = fault.seconds.map(|seconds| now_ms + seconds * 1000);
        self.active.push(Active { id: self.last_id, fault, passed: 0, ends_at_ms });
        self.last_id
    }

    pub(crate) fn clear(&mut self) {
        self.active.clear();
    }

    pub(crate) fn fired(&self, id: u64) -> u64 {
        self.fired.get(&id).copied().unwrap_or(0)
    }

    /// The current offset of GitHub's clock, in seconds.
    pub(crate) fn clock_offset_seconds(&self, now_ms: i64) -> i64 {
        let active = self.active.iter().filter(|active| active.ends_at_ms.is_none_or(|end| now_ms < end));
        let offsets = active.map(|active| match active.fault.kind {
            FaultKind::ClockOffset { offset_seconds } => offset_seconds,
            _ => 0,
        });
        offsets.sum()
    }

    /// Takes the faults that concern a request, and counts them as used.
    pub(crate) fn take(&mut self, method: &str, target: &str, credential: &str, now_ms: i64) -> Plan {
        self.active.retain(|active| active.ends_at_ms.is_none_or(|end| now_ms < end));
        let mut plan = Plan::default();
        for active in &mut self.active {
            if !active.concerns(method, target, credential) {
                continue;
            }
            active.passed += 1;
            if active.passed > active.fault.after {
                *self.fired.entry(active.id).or_default() += 1;
                plan.kinds.push(active.fault.kind.clone());
            }
        }
        self.active.retain(|active| {
            active.fault.count.is_none_or(|count| active.passed < active.fault.after + count)
        });
        plan
    }
}

impl Active {
    fn concerns(&self, method: &str, target: &str, credential: &str) -> bool {
        let fault = &self.fault;
        let by_mint = !matches!(fault.kind, FaultKind::MintFails { .. })
            || (method == "POST" && target.contains("/access_tokens"));
        !matches!(fault.kind, FaultKind::ClockOffset { .. })
            && by_mint
            && fault.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && fault.path.as_deref().is_none_or(|part| target.contains(part))
            && fault.credential.as_deref().is_none_or(|prefix| credential.starts_with(prefix))
    }
}

/// Switches faults on and off from Rust. Clones act on the same simulator.
#[derive(Clone, Debug)]
pub struct Faults {
    pub(crate) shared: Arc<Shared>,
}

impl Faults {
    /// Switches a fault on and returns its id.
    pub fn add(&self, fault: Fault) -> u64 {
        let now_ms = self.shared.clock.now_epoch_ms();
        let mut state = self.shared.state();
        if let FaultKind::WindowOpened { account, resource, used, seconds_ago } = &fault.kind {
            let now = now_ms.div_euclid(1000) + state.faults.clock_offset_seconds(now_ms);
            state.limits.open(account, resource, *used, *seconds_ago, now);
            return 0;
        }
        state.faults.add(fault, now_ms)
    }

    /// Switches all faults off.
    pub fn clear(&self) {
        self.shared.state().faults.clear();
    }

    /// How many requests a fault has changed.
    pub fn fired(&self, id: u64) -> u64 {
        self.shared.state().faults.fired(id)
    }
}
