//! The stand-in for GitHub in a run: its limits with a short window, and its books as they grow.

use github_sim::{Fault, FaultKind, PrimaryLimits, SecondaryLimits, Sim, SimConfig};

use super::plan::{Measures, Plan};

/// What an answer takes: GitHub is far away, and calls are in flight meanwhile.
const ANSWERS_AFTER_MS: u64 = 120;
/// A refusal for a secondary limit names a minute, which would be an hour here.
const RETRY_AFTER_S: u64 = 5;
/// One that was cut off never has a status; it is given up after this.
const UNANSWERED_MS: i64 = 5_000;

/// What GitHub noted of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Since the start.
    pub(crate) at_ms: i64,
    pub(crate) resource: Option<String>,
    /// Points it was charged, and the end of the window they were taken from.
    pub(crate) points: u64,
    pub(crate) window_ends_at: i64,
    /// The limit it was refused for.
    pub(crate) refused_for: Option<String>,
}

/// One stand-in, fresh for each contestant.
#[derive(Debug)]
pub(crate) struct GitHub {
    pub(crate) sim: Sim,
    pub(crate) began_ms: i64,
    seen: u64,
    pub(crate) entries: Vec<Entry>,
}

impl GitHub {
    pub(crate) async fn start(measures: &Measures) -> anyhow::Result<GitHub> {
        let sim = Sim::start(configuration(measures)).await?;
        sim.faults().add(Fault::new(FaultKind::SlowFirstByte { ms: ANSWERS_AFTER_MS }).path("/"));
        let began_ms = sim.clock().now_epoch_ms();
        Ok(GitHub { sim, began_ms, seen: 0, entries: Vec::new() })
    }

    /// Now it begins; what came before was setting up.
    pub(crate) fn begin_at(&mut self, epoch_ms: i64) {
        self.began_ms = epoch_ms;
    }

    /// Reads on in the books. A call without a status ends it: that and what follows is read later.
    pub(crate) fn read(&mut self, is_over: bool) {
        let given_up_ms = self.sim.clock().now_epoch_ms() - UNANSWERED_MS;
        for record in self.sim.requests_since(self.seen) {
            if record.status.is_none() && !is_over && record.at_epoch_ms > given_up_ms {
                return;
            }
            self.seen = record.seq;
            // What the App itself asks for is charged to the App.
            let charge = record.charge.filter(|charge| charge.account.starts_with("installation:"));
            self.entries.push(Entry {
                at_ms: record.at_epoch_ms - self.began_ms,
                points: charge.as_ref().map_or(0, |charge| charge.points),
                window_ends_at: charge.as_ref().map_or(0, |charge| charge.window_ends_at),
                resource: charge.map(|charge| charge.resource),
                refused_for: record.refused_for,
            });
        }
    }

    /// Somebody else changes one of the things that are polled.
    pub(crate) fn change(&self, turn: u64) {
        let count = Plan::polled().count() as u64;
        if let Some(number) = Plan::polled().nth(usize::try_from(turn % count).unwrap_or(0)) {
            self.sim.edit(|world| world.edit_issue("acme/widgets", number, &format!("Turn {turn}")));
        }
    }
}

/// Strict in all that GitHub publishes. What holds by the hour holds for a window; what holds by the
/// minute holds as it is, but for an endpoint's points, and content creation has no limit of an hour.
fn configuration(measures: &Measures) -> SimConfig {
    let window_seconds = i64::try_from(measures.window_s).unwrap_or(i64::MAX);
    let by_the_minute = measures.by_the_minute();
    SimConfig {
        limits: PrimaryLimits {
            core: measures.limit,
            graphql: measures.graphql_limit(),
            window_seconds,
            ..PrimaryLimits::default()
        },
        secondary: SecondaryLimits {
            endpoint_points: Some(by_the_minute.endpoint),
            graphql_points: Some(by_the_minute.graphql),
            content_hour: None,
            retry_after_seconds: Some(RETRY_AFTER_S),
            ..SecondaryLimits::github()
        },
        ring: 200_000,
        ..SimConfig::default()
    }
}
