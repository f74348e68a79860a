//! What a run comes to. GitHub's side is by the stand-in's books, the agents' side by what they were told.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::contestant::{Contestant, Course};
use super::outcome::Outcome;
use super::plan::{Class, Measures, Plan, Request};

/// Longer than any run.
const MS_MAX: u64 = 100_000_000;

/// The figures of one contestant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) contestant: Contestant,
    pub(crate) title: String,
    pub(crate) windows: Vec<Window>,
    /// Parts of the quota that were used in the judged windows.
    pub(crate) core_used: f64,
    pub(crate) graphql_used: f64,
    /// By GitHub, over the whole run, by limit.
    pub(crate) refusals: BTreeMap<String, u64>,
    /// In the judged time.
    pub(crate) due: u64,
    pub(crate) served: u64,
    pub(crate) fairness: Fairness,
    pub(crate) waits: Waits,
    pub(crate) series: Series,
    pub(crate) notes: Vec<String>,
}

/// What was taken from one of GitHub's windows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Window {
    pub(crate) resource: String,
    /// From 1.
    pub(crate) number: usize,
    pub(crate) used: u64,
    pub(crate) limit: u64,
    /// Whole, and not the first.
    pub(crate) is_judged: bool,
}

/// How those that always wanted more were treated.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fairness {
    /// The largest `|got / fair - 1|` of an agent, and whose it is.
    pub(crate) error_max: f64,
    pub(crate) agent: String,
    /// The same of a whole class.
    pub(crate) class_error_max: f64,
    /// Parts of what all readers got, lightest class first.
    pub(crate) parts: Vec<f64>,
    pub(crate) fair_parts: Vec<f64>,
}

/// How long humans waited, seconds. Who was not answered counts with the time it waited in vain.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Waits {
    pub(crate) count: u64,
    pub(crate) unserved: u64,
    pub(crate) p50_s: f64,
    pub(crate) p99_s: f64,
    pub(crate) max_s: f64,
}

/// What is drawn, by the second since the start.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Series {
    /// Useful answers of light, middle and heavy readers.
    pub(crate) readers: Vec<[u64; 3]>,
    /// Points of `core` left at the end of the second.
    pub(crate) remaining: Vec<u64>,
    /// By the primary limit, and by others.
    pub(crate) refusals: Vec<[u64; 2]>,
    /// Of each human's request: when it was due, how long it waited, and whether it was answered.
    pub(crate) waits: Vec<(f64, f64, bool)>,
}

impl Figures {
    pub(crate) fn new(plan: &Plan, course: &Course, replicas: usize) -> Figures {
        let measures = &plan.measures;
        let windows = windows(measures, course);
        let mut refusals = BTreeMap::new();
        for kind in course.entries.iter().filter_map(|entry| entry.refused_for.as_ref()) {
            *refusals.entry(kind.clone()).or_default() += 1;
        }
        let told = told(plan, course);
        let is_judged = |at_ms: u64| judged_ms(measures).contains(&at_ms);
        let due = plan.requests.iter().filter(|request| is_judged(request.due_ms)).count() as u64;
        let served = told.iter().flatten().filter(|told| told.is_served && is_judged(told.done_ms)).count();
        Figures {
            contestant: course.contestant,
            title: course.contestant.title(replicas),
            core_used: used(&windows, "core"),
            graphql_used: used(&windows, "graphql"),
            windows,
            refusals,
            due,
            served: served as u64,
            fairness: Fairness::new(plan, &told),
            waits: Waits::new(plan, &told),
            series: Series::new(plan, course, &told),
            notes: course.notes.clone(),
        }
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refusals.values().sum()
    }
}

/// The time in which agents' answers are judged: all windows but the first.
fn judged_ms(measures: &Measures) -> std::ops::Range<u64> {
    measures.window_s * 1000..measures.windows * measures.window_s * 1000
}

/// Outcomes by the request's place.
fn told<'a>(plan: &Plan, course: &'a Course) -> Vec<Option<&'a Outcome>> {
    let mut told = vec![None; plan.requests.len()];
    for outcome in &course.outcomes {
        if let Some(place) = told.get_mut(outcome.id) {
            *place = Some(outcome);
        }
    }
    told
}

/// GitHub's windows as they were charged, by resource and in order.
fn windows(measures: &Measures, course: &Course) -> Vec<Window> {
    let mut used: BTreeMap<(&str, i64), u64> = BTreeMap::new();
    for entry in &course.entries {
        if let Some(resource) = &entry.resource {
            *used.entry((resource, entry.window_ends_at)).or_default() += entry.points;
        }
    }
    let mut windows: Vec<Window> = Vec::new();
    for ((resource, _), used) in used {
        let limit = match resource {
            "core" => measures.limit,
            "graphql" => measures.graphql_limit(),
            _ => continue,
        };
        let number = windows.iter().filter(|window| window.resource == resource).count() + 1;
        let is_judged = number > 1 && number as u64 <= measures.windows;
        windows.push(Window { resource: resource.to_owned(), number, used, limit, is_judged });
    }
    windows
}

fn used(windows: &[Window], resource: &str) -> f64 {
    let judged = windows.iter().filter(|window| window.is_judged && window.resource == resource);
    let (used, limit) =
        judged.fold((0, 0), |(used, limit), window| (used + window.used, limit + window.limit));
    if limit > 0 { used as f64 / limit as f64 } else { 0.0 }
}

impl Fairness {
    fn new(plan: &Plan, told: &[Option<&Outcome>]) -> Fairness {
        let mut got = vec![0_u64; plan.agents.len()];
        for (request, told) in plan.requests.iter().zip(told) {
            if told.is_some_and(|told| told.is_served && judged_ms(&plan.measures).contains(&told.done_ms)) {
                got[request.agent] += 1;
            }
        }
        let hungry: Vec<usize> =
            (0..plan.agents.len()).filter(|agent| plan.agents[*agent].class.is_hungry()).collect();
        let weight = |agent: &usize| plan.agents[*agent].class.weight();
        let all = hungry.iter().map(|agent| got[*agent]).sum::<u64>() as f64;
        let weights = hungry.iter().map(weight).sum::<u64>() as f64;
        let fair = |weight: u64| all * weight as f64 / weights;
        let error = |got: f64, fair: f64| if fair > 0.0 { (got / fair - 1.0).abs() } else { 1.0 };
        let worst = hungry
            .iter()
            .map(|agent| (error(got[*agent] as f64, fair(weight(agent))), *agent))
            .max_by(|one, other| one.0.total_cmp(&other.0));
        let of_class = |class: Class| {
            let those = hungry.iter().filter(|agent| plan.agents[**agent].class == class);
            those.fold((0, 0), |(sum, weights), agent| (sum + got[*agent], weights + weight(agent)))
        };
        let classes = Class::READERS.map(of_class);
        let errors = classes.iter().map(|(got, weight)| error(*got as f64, fair(*weight)));
        Fairness {
            error_max: worst.map_or(0.0, |(error, _)| error),
            agent: worst.map_or(String::new(), |(_, agent)| plan.agents[agent].name.clone()),
            class_error_max: errors.fold(0.0, f64::max),
            parts: classes.iter().map(|(got, _)| *got as f64 / all.max(1.0)).collect(),
            fair_parts: classes.iter().map(|(_, weight)| *weight as f64 / weights).collect(),
        }
    }
}

/// The requests of humans, how long each waited, and whether it was answered.
fn humans<'a>(
    plan: &'a Plan,
    told: &'a [Option<&'a Outcome>],
) -> impl Iterator<Item = (&'a Request, u64, bool)> {
    let end_ms = plan.measures.duration_ms();
    plan.requests.iter().zip(told).filter(|(request, _)| plan.class(request) == Class::Human).map(
        move |(request, told)| {
            let done_ms = told.map_or(end_ms, |told| told.done_ms);
            (request, done_ms.saturating_sub(request.due_ms), told.is_some_and(|told| told.is_served))
        },
    )
}

impl Waits {
    fn new(plan: &Plan, told: &[Option<&Outcome>]) -> Waits {
        let Ok(mut waits) = Histogram::<u64>::new_with_max(MS_MAX, 3) else { return Waits::default() };
        let mut unserved = 0;
        for (_, wait_ms, is_served) in humans(plan, told) {
            waits.saturating_record(wait_ms.max(1));
            unserved += u64::from(!is_served);
        }
        let at = |part: f64| waits.value_at_quantile(part) as f64 / 1000.0;
        let max_s = waits.max() as f64 / 1000.0;
        Waits { count: waits.len(), unserved, p50_s: at(0.5), p99_s: at(0.99), max_s }
    }
}

impl Series {
    fn new(plan: &Plan, course: &Course, told: &[Option<&Outcome>]) -> Series {
        let seconds = second(plan.measures.duration_ms());
        let mut series = Series {
            readers: vec![[0; 3]; seconds],
            remaining: Vec::with_capacity(seconds),
            refusals: vec![[0; 2]; seconds],
            waits: Vec::new(),
        };
        for (request, told) in plan.requests.iter().zip(told) {
            let class = Class::READERS.iter().position(|class| *class == plan.class(request));
            if let (Some(class), Some(told)) = (class, told.filter(|told| told.is_served))
                && let Some(bin) = series.readers.get_mut(second(told.done_ms))
            {
                bin[class] += 1;
            }
        }
        for entry in &course.entries {
            let Some(kind) = &entry.refused_for else { continue };
            if let Some(bin) = series.refusals.get_mut(second(u64::try_from(entry.at_ms).unwrap_or(0))) {
                bin[usize::from(kind != "primary")] += 1;
            }
        }
        series.remaining = remaining(plan.measures.limit, course, seconds);
        for (request, wait_ms, is_served) in humans(plan, told) {
            series.waits.push((request.due_ms as f64 / 1000.0, wait_ms as f64 / 1000.0, is_served));
        }
        series
    }
}

fn second(ms: u64) -> usize {
    usize::try_from(ms / 1000).unwrap_or(usize::MAX)
}

/// What is left of `core` at the end of each second: what the window it then charges to still has. A window
/// that has ended looks full until the next is opened.
fn remaining(limit: u64, course: &Course, seconds: usize) -> Vec<u64> {
    let charged = |entry: &&super::github::Entry| entry.resource.as_deref() == Some("core");
    let mut entries: Vec<_> = course.entries.iter().filter(charged).collect();
    entries.sort_by_key(|entry| entry.at_ms);
    let mut next = entries.iter().peekable();
    let (mut window, mut used) = (0, 0);
    (0..seconds)
        .map(|second| {
            while let Some(entry) = next.next_if(|entry| entry.at_ms < (second as i64 + 1) * 1000) {
                if entry.window_ends_at != window {
                    (window, used) = (entry.window_ends_at, 0);
                }
                used += entry.points;
            }
            limit.saturating_sub(used)
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests;
