//! The part of the format that says when an agent sends, and what.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;

use super::span::Span;

/// How long a client lets the proxy hold a request, unless said.
const PATIENCE: Span = Span::of_ms(60_000);
/// GET and queries count one secondary point, writes five (GitHub Docs, "Rate limits for the REST API").
const READ_POINTS: u64 = 1;
const WRITE_POINTS: u64 = 5;
/// Fair units of a secondary point: the ratio of 15,000 points an hour to 900 a minute.
const UNITS_OF_POINT: f64 = 0.25;

/// The longest that a client with a schedule of its own pauses.
const BACK_OFF_MAX: Duration = Duration::from_secs(60);

/// A stream of requests of one agent.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Raw")]
pub(super) struct Arrivals {
    pub(super) when: When,
    /// None before, and none sent first after `to`.
    pub(super) from: Span,
    pub(super) to: Option<Span>,
    /// What is sent, in turn; never empty.
    pub(super) pattern: Vec<Kind>,
    pub(super) patience: Span,
    pub(super) returns: Returns,
    pub(super) is_interactive: bool,
    /// The proxy knows what a query costs before it is sent.
    pub(super) is_price_known: bool,
    /// Every so many calls, one is charged to another resource.
    pub(super) elsewhere_every: Option<u64>,
    pub(super) route: Option<String>,
    pub(super) repository: Option<String>,
}

/// When requests come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// So many are open at any time.
    Greedy { outstanding: usize },
    /// `size` at once every `period`, first at `phase` after the start.
    Paced { size: usize, period: Span, phase: Span },
}

impl Arrivals {
    /// A greedy client's slots come back however often they are refused.
    pub(super) fn is_greedy(&self) -> bool {
        matches!(self.when, When::Greedy { .. })
    }

    pub(super) fn is_graphql(&self) -> bool {
        self.pattern.iter().any(|kind| matches!(kind, Kind::Query { .. }))
    }

    /// Whether something may be sent for the first time at `now`.
    pub(super) fn is_open_at(&self, now_ms: u64) -> bool {
        self.from.ms() <= now_ms && self.to.is_none_or(|to| now_ms < to.ms())
    }
}

/// When a client that was refused comes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Returns {
    /// At the time it was told.
    #[default]
    AsTold,
    /// So much later.
    LateS(Span),
    /// So much earlier.
    EarlyS(Span),
    /// Whatever it was told: after so much, after twice as much the next time, and so on.
    BackOffS(Span),
}

impl Returns {
    /// How long a client pauses that was refused for the so-manyth time, and told a time.
    pub(super) fn pause(self, told: Duration, refusals: u32) -> Duration {
        match self {
            Returns::AsTold => told,
            Returns::LateS(by) => told + by.duration(),
            Returns::EarlyS(by) => told.saturating_sub(by.duration()),
            Returns::BackOffS(first) => {
                let factor = 2_u32.saturating_pow(refusals.saturating_sub(1));
                first.duration().saturating_mul(factor).min(BACK_OFF_MAX)
            }
        }
    }
}

/// A sort of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum Kind {
    Get,
    /// A conditional GET that is answered 304.
    NotModified,
    Write,
    /// A write that creates content.
    Content,
    Query {
        cost: u32,
    },
}

impl Kind {
    pub(super) fn is_write(self) -> bool {
        matches!(self, Kind::Write | Kind::Content)
    }

    pub(super) fn creates_content(self) -> bool {
        self == Kind::Content
    }

    /// What it counts against the primary limit.
    pub(super) fn cost(self) -> u32 {
        match self {
            Kind::Get | Kind::Write | Kind::Content => 1,
            Kind::NotModified => 0,
            Kind::Query { cost } => cost,
        }
    }

    /// What it counts against the secondary limits.
    pub(super) fn points(self) -> u64 {
        if self.is_write() { WRITE_POINTS } else { READ_POINTS }
    }

    /// What is shared by weight.
    pub(super) fn fair_units(self) -> f64 {
        f64::from(self.cost()).max(UNITS_OF_POINT * self.points() as f64)
    }
}

impl TryFrom<String> for Kind {
    type Error = String;

    fn try_from(name: String) -> Result<Kind, String> {
        match name.as_str() {
            "get" => Ok(Kind::Get),
            "cond304" => Ok(Kind::NotModified),
            "write" => Ok(Kind::Write),
            "content" => Ok(Kind::Content),
            _ => name
                .strip_prefix("gql:")
                .and_then(|cost| cost.parse().ok())
                .filter(|cost| *cost > 0)
                .map(|cost| Kind::Query { cost })
                .ok_or_else(|| {
                    format!("`{name}` is no kind of request: get, cond304, write, content or gql:N")
                }),
        }
    }
}

/// What the file says; which keys belong together depends on `kind`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    kind: RawKind,
    outstanding: Option<usize>,
    interval_s: Option<Span>,
    size: Option<usize>,
    period_s: Option<Span>,
    phase_s: Option<Span>,
    from_s: Option<Span>,
    to_s: Option<Span>,
    pattern: Option<Vec<Kind>>,
    patience_s: Option<Span>,
    #[serde(default)]
    returns: Returns,
    #[serde(default)]
    interactive: bool,
    #[serde(default)]
    price_known: bool,
    charged_elsewhere_every: Option<u64>,
    route: Option<String>,
    repo: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawKind {
    Greedy,
    Periodic,
    Burst,
}

impl Raw {
    fn when(&self) -> anyhow::Result<When> {
        let strangers: &[(&str, bool)] = match self.kind {
            RawKind::Greedy => &[
                ("interval_s", self.interval_s.is_some()),
                ("size", self.size.is_some()),
                ("period_s", self.period_s.is_some()),
                ("phase_s", self.phase_s.is_some()),
            ],
            RawKind::Periodic => &[
                ("outstanding", self.outstanding.is_some()),
                ("size", self.size.is_some()),
                ("period_s", self.period_s.is_some()),
            ],
            RawKind::Burst => {
                &[("outstanding", self.outstanding.is_some()), ("interval_s", self.interval_s.is_some())]
            }
        };
        if let Some((stranger, _)) = strangers.iter().find(|(_, is_there)| *is_there) {
            bail!("arrivals: {stranger} does not go with this kind");
        }
        let phase = self.phase_s.unwrap_or_default();
        let (size, period) = match self.kind {
            RawKind::Greedy => {
                let outstanding = self.outstanding.context("arrivals: greedy needs outstanding")?;
                return Ok(When::Greedy { outstanding });
            }
            RawKind::Periodic => (1, self.interval_s.context("arrivals: periodic needs interval_s")?),
            RawKind::Burst => (
                self.size.context("arrivals: burst needs size")?,
                self.period_s.context("arrivals: burst needs period_s")?,
            ),
        };
        ensure!(period.ms() > 0, "arrivals: no time between two requests");
        Ok(When::Paced { size, period, phase })
    }
}

impl TryFrom<Raw> for Arrivals {
    type Error = anyhow::Error;

    fn try_from(raw: Raw) -> anyhow::Result<Arrivals> {
        let when = raw.when()?;
        let pattern = raw.pattern.unwrap_or_else(|| vec![Kind::Get]);
        ensure!(!pattern.is_empty(), "arrivals: the pattern is empty");
        ensure!(raw.charged_elsewhere_every != Some(0), "arrivals: charged_elsewhere_every is 0");
        Ok(Arrivals {
            when,
            from: raw.from_s.unwrap_or_default(),
            to: raw.to_s,
            pattern,
            patience: raw.patience_s.unwrap_or(PATIENCE),
            returns: raw.returns,
            is_interactive: raw.interactive,
            is_price_known: raw.price_known,
            elsewhere_every: raw.charged_elsewhere_every,
            route: raw.route,
            repository: raw.repo,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_their_costs() {
        for (name, cost, points, units) in [
            ("get", 1, 1, 1.0),
            ("cond304", 0, 1, 0.25),
            ("write", 1, 5, 1.25),
            ("content", 1, 5, 1.25),
            ("gql:12", 12, 1, 12.0),
        ] {
            let kind = Kind::try_from(name.to_owned()).unwrap();
            assert_eq!((kind.cost(), kind.points(), kind.fair_units()), (cost, points, units), "{name}");
        }
        for wrong in ["gql:", "gql:0", "gql:-1", "GET", ""] {
            assert!(Kind::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn clients_come_back_when_they_see_fit() {
        let span = |seconds| Span::try_from(seconds).unwrap();
        let told = Duration::from_secs(10);
        for (returns, refusals, seconds) in [
            (Returns::AsTold, 1, 10.0),
            (Returns::LateS(span(8.0)), 3, 18.0),
            (Returns::EarlyS(span(1.5)), 1, 8.5),
            (Returns::EarlyS(span(11.0)), 1, 0.0),
            (Returns::BackOffS(span(1.0)), 1, 1.0),
            (Returns::BackOffS(span(1.0)), 4, 8.0),
            (Returns::BackOffS(span(1.0)), 99, 60.0),
        ] {
            let pause = returns.pause(told, refusals);
            assert_eq!(pause, Duration::from_secs_f64(seconds), "{returns:?} {refusals}");
        }
    }
}
