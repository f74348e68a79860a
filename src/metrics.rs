//! Every Prometheus family that tollgate exports, created and registered once.
//!
//! Labels come from closed sets: configured agents and installations, GitHub's resources, path templates.
//! Never a raw path, a repository or a user.

mod forget;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use prometheus::core::Collector;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::budget::{Reason, Snapshot, Waits};

/// Histogram buckets in seconds, from a cache hit (under a millisecond) to GitHub's time limit or a long wait.
const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];
/// Buckets in seconds for tollgate's own work: tens of microseconds on a good day.
const OVERHEAD: [f64; 10] = [0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.05, 0.5];

/// Buckets in seconds for a call to the store: under a millisecond on a good day, two attempts on a bad one.
const STORE: [f64; 12] =
    [0.000_05, 0.000_1, 0.000_2, 0.000_3, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.25];

/// Buckets for a query's actual cost divided by its estimated cost: 1 when both agree.
const RATIO: [f64; 8] = [0.1, 0.5, 0.9, 1.0, 1.1, 2.0, 5.0, 10.0];

/// Brings gauges up to date before a scrape.
type Collect = Box<dyn Fn() + Send + Sync>;

/// All metric families. Counts unless a field says otherwise; durations are in seconds.
pub struct Metrics {
    registry: Registry,
    before_render: Mutex<Vec<Collect>>,
    /// `{agent,resource,outcome}`; outcome is served, refused, denied, invalid, failed or gone.
    pub requests: IntCounterVec,
    /// `{route,method,status}`: requests by path template.
    pub http_requests: IntCounterVec,
    /// `{outcome}`: from the request's head to the response's.
    pub request_duration: HistogramVec,
    /// No labels: an answered request's time in tollgate, less its upload, the budget's queue and waiting for GitHub.
    pub overhead: Histogram,
    /// `{installation,resource,status}`: calls to GitHub.
    pub upstream_requests: IntCounterVec,
    /// `{installation}`: responses that broke off after their head.
    pub upstream_broken: IntCounterVec,
    /// `{method}`: from sending a call to the first byte of the response.
    pub upstream_duration: HistogramVec,
    /// `{reason}`: how long the budget held calls before they were sent; `none` if it did not hold them.
    pub wait: HistogramVec,
    /// `{agent}`: calls the budget holds now.
    pub waiting: IntGaugeVec,
    /// `{agent,installation,resource}`: points charged.
    pub agent_spent: IntCounterVec,
    /// `{agent,installation,resource}`: the agent's weight divided by the weights of all agents seen in the
    /// last minute.
    pub agent_share: GaugeVec,
    /// `{installation}`: for queries that ask for their cost, GitHub's cost divided by the price computed
    /// before sending.
    pub graphql_price_ratio: HistogramVec,
    /// `{installation}`: calls to GitHub in flight.
    pub inflight: IntGaugeVec,
    /// `{installation,resource}`: the window's limit in points, from GitHub's headers.
    pub pool_limit: IntGaugeVec,
    /// `{installation,resource}`: points left in the window, by GitHub's count.
    pub pool_remaining: IntGaugeVec,
    /// `{installation,resource}`: points used in the window, by GitHub's count.
    pub pool_used: IntGaugeVec,
    /// `{installation,resource}`: end of the window, epoch seconds.
    pub pool_reset: IntGaugeVec,
    /// `{installation,resource}`: points per second that are given out.
    pub pool_rate: GaugeVec,
    /// `{installation,resource}`: GitHub's count of used points less ours.
    pub ledger_drift: IntGaugeVec,
    /// `{installation}`: seconds until GitHub may be called again.
    pub cooldown: IntGaugeVec,
    /// `{installation,reason}`: responses whose rate-limit headers could not be used.
    pub figures_ignored: IntCounterVec,
    /// `{agent,reason}`: calls that would have been held or refused, in observe mode.
    pub observed: IntCounterVec,
    /// `{installation,kind}`: responses in which GitHub refused for a rate limit; should stay 0.
    pub limit_hits: IntCounterVec,
    /// `{reason}`: calls sent again; reason is status or connection.
    pub retries: IntCounterVec,
    /// `{agent,code}`: requests refused by policy.
    pub denied: IntCounterVec,
    /// `{result}`: accepted, missing, refused, spent, forgotten or unsure.
    pub approvals: IntCounterVec,
    /// `{issuer,result}`: accepted, or why it was rejected; the issuer is `none` when it is not configured.
    pub identity_tokens: IntCounterVec,
    /// `{issuer,result}`: ok or failed.
    pub identity_key_reads: IntCounterVec,
    /// No labels: audit log lines that could not be written.
    pub audit_lost: IntCounterVec,
    /// No labels; see [`crate::telemetry::lines_lost`].
    pub log_lost: IntCounterVec,
    /// `{installation,result}`: installation tokens minted; ok, failed or `unknown_repository`.
    pub token_refresh: IntCounterVec,
    /// `{installation,access}`: when the newest token expires, epoch seconds.
    pub token_expiry: IntGaugeVec,
    /// No labels: start of the listener certificate's validity, epoch seconds.
    pub certificate_start: IntGaugeVec,
    /// No labels: end of the listener certificate's validity, epoch seconds.
    pub certificate_expiry: IntGaugeVec,
    /// `{result}`: ok or failed.
    pub config_reloads: IntCounterVec,
    /// No labels: problems of a changed configuration that was not applied; 0 when the last one was.
    pub config_problems: IntGaugeVec,
    /// `{result}`: hit, miss and the others of `x-tollgate-cache`.
    pub cache_requests: IntCounterVec,
    /// `{by,result}`: the validator GitHub was asked with (`plain`: none); result is changed or unchanged.
    pub cache_validators: IntCounterVec,
    /// No labels: bytes of everything kept.
    pub cache_bytes: IntGaugeVec,
    /// `{by}`: reads that cost no quota; fresh, revalidated or coalesced.
    pub quota_saved: IntCounterVec,
    /// `{op}`: operations on a shared store, from when each was requested to the reply.
    pub store_duration: HistogramVec,
    /// `{kind}`: failed attempts; timeout, connection or server.
    pub store_errors: IntCounterVec,
    /// No labels: 1 if the shared store is reachable, else 0; no sample with the embedded store.
    pub store_up: IntGaugeVec,
    /// `{result}`: messages between replicas; sent, failed, heard, missed or garbled.
    pub feed_messages: IntCounterVec,
    /// `{event,result}`: result is accepted, duplicate, forged, garbled, too_large, shed or failed.
    pub webhook_deliveries: IntCounterVec,
    /// No labels: deliveries being received or waiting.
    pub webhook_queue: IntGaugeVec,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Registers families under the `tollgate_` prefix.
struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn counter(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let family = IntCounterVec::new(Opts::new(format!("tollgate_{name}"), help), labels)
            .expect("names and labels are literals");
        self.register(family.clone());
        family
    }

    fn gauge(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let family = IntGaugeVec::new(Opts::new(format!("tollgate_{name}"), help), labels)
            .expect("names and labels are literals");
        self.register(family.clone());
        family
    }

    fn ratio(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        let family = GaugeVec::new(Opts::new(format!("tollgate_{name}"), help), labels)
            .expect("names and labels are literals");
        self.register(family.clone());
        family
    }

    fn histogram(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        self.histogram_of(&SECONDS, name, help, labels)
    }

    fn histogram_of(&self, buckets: &[f64], name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        let options = HistogramOpts::new(format!("tollgate_{name}"), help).buckets(buckets.to_vec());
        let family = HistogramVec::new(options, labels).expect("names and labels are literals");
        self.register(family.clone());
        family
    }

    fn register<C: Collector + 'static>(&self, family: C) {
        self.0.register(Box::new(family)).expect("each family is registered once");
    }
}

impl Metrics {
    #[allow(clippy::too_many_lines, reason = "a list with one entry for each family")]
    pub fn new() -> Metrics {
        let registry = Registry::new();
        let make = Maker(&registry);
        let overhead = Histogram::with_opts(
            HistogramOpts::new("tollgate_overhead_seconds", "Time in tollgate less upstream and waiting.")
                .buckets(OVERHEAD.to_vec()),
        )
        .expect("the name is a literal");
        make.register(overhead.clone());
        make.register(prometheus::process_collector::ProcessCollector::for_self());
        let build = make.gauge("build_info", "The running version; always 1.", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let pool = ["installation", "resource"];
        let metrics = Metrics {
            requests: make.counter(
                "requests_total",
                "Requests of agents by what became of them.",
                &["agent", "resource", "outcome"],
            ),
            http_requests: make.counter(
                "http_requests_total",
                "Requests by path template and status.",
                &["route", "method", "status"],
            ),
            request_duration: make.histogram(
                "request_duration_seconds",
                "From the request's head to the answer's.",
                &["outcome"],
            ),
            overhead,
            upstream_requests: make.counter(
                "upstream_requests_total",
                "Calls to GitHub.",
                &["installation", "resource", "status"],
            ),
            upstream_broken: make.counter(
                "upstream_broken_total",
                "Answers of GitHub's that broke off after their head.",
                &["installation"],
            ),
            upstream_duration: make.histogram(
                "upstream_duration_seconds",
                "From sending a call to the first byte of the answer.",
                &["method"],
            ),
            wait: make.histogram("wait_seconds", "Time calls were held by the budget.", &["reason"]),
            waiting: make.gauge("waiting", "Calls the budget holds now.", &["agent"]),
            agent_spent: make.counter(
                "agent_spent_total",
                "Points charged to an agent.",
                &["agent", "installation", "resource"],
            ),
            agent_share: make.ratio(
                "agent_share_ratio",
                "An agent's weight among those of all seen in the last minute.",
                &["agent", "installation", "resource"],
            ),
            graphql_price_ratio: make.histogram_of(
                &RATIO,
                "graphql_price_ratio",
                "What GraphQL queries cost over the price computed before they were sent.",
                &["installation"],
            ),
            inflight: make.gauge("inflight", "Calls to GitHub in flight.", &["installation"]),
            pool_limit: make.gauge("pool_limit", "GitHub's limit for the window.", &pool),
            pool_remaining: make.gauge("pool_remaining", "GitHub's count of what is left.", &pool),
            pool_used: make.gauge("pool_used", "GitHub's count of what is used.", &pool),
            pool_reset: make.gauge("pool_reset_timestamp_seconds", "When GitHub's window ends.", &pool),
            pool_rate: make.ratio("pool_rate", "Points a second that are given out.", &pool),
            ledger_drift: make.gauge("ledger_drift", "GitHub's count of what is used, less ours.", &pool),
            cooldown: make.gauge(
                "cooldown_seconds",
                "Until GitHub may be called again after a refusal.",
                &["installation"],
            ),
            figures_ignored: make.counter(
                "figures_ignored_total",
                "Answers whose headers about limits were missing or made no sense.",
                &["installation", "reason"],
            ),
            observed: make.counter(
                "observed_total",
                "Calls let through in observe mode that would have been held or refused.",
                &["agent", "reason"],
            ),
            limit_hits: make.counter(
                "limit_hits_total",
                "Answers in which GitHub refused for a rate limit.",
                &["installation", "kind"],
            ),
            retries: make.counter("retries_total", "Attempts made again.", &["reason"]),
            denied: make.counter("denied_total", "Requests refused by policy.", &["agent", "code"]),
            approvals: make.counter(
                "approvals_total",
                "Approvals looked for by gated operations.",
                &["result"],
            ),
            identity_tokens: make.counter(
                "identity_tokens_total",
                "Signed identities by what became of them.",
                &["issuer", "result"],
            ),
            identity_key_reads: make.counter(
                "identity_key_reads_total",
                "Times an identity issuer's keys were read.",
                &["issuer", "result"],
            ),
            audit_lost: make.counter(
                "audit_lost_total",
                "Lines of the audit log that could not be written.",
                &[],
            ),
            log_lost: make.counter(
                "log_lost_total",
                "Lines of the log that were lost: nobody read it, or it could not be written.",
                &[],
            ),
            token_refresh: make.counter(
                "token_refresh_total",
                "Installation tokens minted.",
                &["installation", "result"],
            ),
            token_expiry: make.gauge(
                "token_expiry_timestamp_seconds",
                "When the newest token ends.",
                &["installation", "access"],
            ),
            certificate_start: make.gauge(
                "certificate_start_timestamp_seconds",
                "When the listener's certificate begins.",
                &[],
            ),
            certificate_expiry: make.gauge(
                "certificate_expiry_timestamp_seconds",
                "When the listener's certificate ends.",
                &[],
            ),
            config_reloads: make.counter(
                "config_reloads_total",
                "Times the configuration was read again.",
                &["result"],
            ),
            config_problems: make.gauge(
                "config_problems",
                "Problems of a changed configuration that was not taken; 0 when the last one was.",
                &[],
            ),
            cache_requests: make.counter(
                "cache_requests_total",
                "Requests by what the cache did.",
                &["result"],
            ),
            cache_validators: make.counter(
                "cache_validators_total",
                "Times GitHub was asked whether something kept is still so.",
                &["by", "result"],
            ),
            cache_bytes: make.gauge("cache_bytes", "Bytes of all that is kept.", &[]),
            quota_saved: make.counter(
                "quota_saved_total",
                "Points of GitHub's primary limit that reads did not cost.",
                &["by"],
            ),
            store_duration: make.histogram_of(
                &STORE,
                "store_duration_seconds",
                "Steps at the shared store, from when each was wanted to the reply.",
                &["op"],
            ),
            store_errors: make.counter(
                "store_errors_total",
                "Attempts at calls to the shared store that failed.",
                &["kind"],
            ),
            store_up: make.gauge("store_up", "Whether the shared store is connected and answers.", &[]),
            feed_messages: make.counter(
                "feed_messages_total",
                "Messages by which replicas tell each other what changed.",
                &["result"],
            ),
            webhook_deliveries: make.counter(
                "webhook_deliveries_total",
                "Deliveries of GitHub's webhook by what became of them.",
                &["event", "result"],
            ),
            webhook_queue: make.gauge(
                "webhook_queue",
                "Deliveries that are being received or wait for their turn.",
                &[],
            ),
            registry,
            before_render: Mutex::default(),
        };
        metrics.begin_at_zero();
        metrics
    }

    /// Of rare events, each kind is there from the start: Prometheus does not see a series' first step as an increase.
    fn begin_at_zero(&self) {
        let kinds = [
            (&self.approvals, &["accepted", "missing", "refused", "spent", "forgotten", "unsure"][..]),
            (&self.retries, &["status", "connection", "rate_limit", "token_refused", "token_replication"]),
            (&self.config_reloads, &["ok", "failed"]),
        ];
        for (family, kinds) in kinds {
            kinds.iter().for_each(|kind| drop(family.with_label_values(&[kind])));
        }
    }

    /// Registers a callback that runs before each exposition, to bring gauges up to date.
    pub fn before_render(&self, collect: impl Fn() + Send + Sync + 'static) {
        self.collectors().push(Box::new(collect));
    }

    fn collectors(&self) -> MutexGuard<'_, Vec<Collect>> {
        self.before_render.lock()
    }

    /// Records how long a call was held before it was let through.
    pub fn observe_wait(&self, reason: Option<Reason>, waited: Duration) {
        let reason = reason.map_or("none", Reason::as_str);
        self.wait.with_label_values(&[reason]).observe(waited.as_secs_f64());
    }

    pub fn set_waiting(&self, waiting: &BTreeMap<Arc<str>, Waits>) {
        self.waiting.reset();
        for (agent, waits) in waiting {
            self.waiting.with_label_values(&[&**agent]).set(i64::try_from(waits.count).unwrap_or(i64::MAX));
        }
    }

    /// Records the pools of one installation as last seen.
    pub fn set_pools(&self, installation: &str, pools: &[Snapshot], now_ms: i64) {
        let mut cool = 0;
        for pool in pools {
            let labels = [installation, &*pool.resource];
            let set = |family: &IntGaugeVec, value: i64| family.with_label_values(&labels).set(value);
            set(&self.pool_limit, pool.limit);
            set(&self.pool_used, pool.used);
            set(&self.pool_remaining, (pool.limit - pool.used).max(0));
            set(&self.pool_reset, pool.reset.div_euclid(1000));
            set(&self.ledger_drift, pool.used - pool.own);
            #[allow(clippy::cast_precision_loss, reason = "a rate for people to look at")]
            self.pool_rate.with_label_values(&labels).set(pool.rate as f64 / 1e6);
            cool = cool.max(pool.cool);
        }
        let seconds = (cool - now_ms).max(0).div_euclid(1000);
        self.cooldown.with_label_values(&[installation]).set(seconds);
    }

    /// A counter family's sums by the named label, over all its other labels; sums of 0 are left out.
    pub fn sums(family: &IntCounterVec, label: &str) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for family in family.collect() {
            for metric in family.get_metric() {
                let value = metric.get_label().iter().find(|pair| pair.name() == label);
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "integers below 2^53, kept by the crate as floating-point numbers"
                )]
                let count = metric.get_counter().get_value() as u64;
                if let Some(value) = value.filter(|_| count > 0) {
                    *sums.entry(value.value().to_owned()).or_default() += count;
                }
            }
        }
        sums
    }

    /// The exposition in Prometheus' text format.
    pub fn render(&self) -> String {
        // Held to the end: another exposition would set series anew that this one is about to gather.
        let collectors = self.collectors();
        collectors.iter().for_each(|collect| collect());
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics could not be written");
        }
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_events_begin_at_0() {
        let text = Metrics::new().render();
        for line in [
            "tollgate_approvals_total{result=\"refused\"} 0",
            "tollgate_retries_total{reason=\"rate_limit\"} 0",
            "tollgate_config_reloads_total{result=\"failed\"} 0",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
        }
    }
}
