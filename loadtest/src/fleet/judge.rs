//! What tollgate is held to. The others are there to compare with.

use super::contestant::Contestant;
use super::figures::Figures;
use super::plan::Measures;

/// The least part of each judged window of `core` that is to be used, where a window is long enough: what is left
/// at its end is worth about half a second, since in its last second tollgate spends what is left as if it had
/// to last for one.
const CORE_USED_MIN: f64 = 0.99;
const LEFT_AT_END_S: f64 = 0.6;
/// Several replicas leave more, for what one gives back late another can't spend any more.
const LEFT_BY_SEVERAL_S: f64 = 1.2;
/// Of GraphQL, less: a query that is dearer than what is left can't be sent, so up to four points stay, in a pool of a
/// sixth of the size.
const GRAPHQL_SLACK: f64 = 0.02;
/// The largest error of a class of readers.
const CLASS_ERROR_MAX: f64 = 0.05;

/// What does not hold, a sentence each.
pub(crate) fn failures(figures: &Figures, measures: &Measures) -> Vec<String> {
    let mut failures = Vec::new();
    if !figures.contestant.is_tollgate() {
        return failures;
    }
    let mut fails = |is_failed: bool, text: String| {
        if is_failed {
            failures.push(format!("{}: {text}", figures.title));
        }
    };
    fails(figures.refused() > 0, format!("GitHub refused {}: {:?}", figures.refused(), figures.refusals));
    let left_s = match figures.contestant {
        Contestant::TollgateRedis => LEFT_BY_SEVERAL_S,
        _ => LEFT_AT_END_S,
    };
    let left = left_s / measures.window_s as f64;
    let core_min = CORE_USED_MIN.min(1.0 - left);
    for (resource, least) in [("core", core_min), ("graphql", core_min - GRAPHQL_SLACK)] {
        let judged =
            || figures.windows.iter().filter(|window| window.is_judged && window.resource == resource);
        fails(judged().next().is_none(), format!("no whole window of {resource} after the first"));
        for window in judged() {
            let used = window.used as f64 / window.limit as f64;
            let number = window.number;
            fails(used < least, format!("{used:.4} of window {number} of {resource} used, not {least}"));
        }
    }
    let error = figures.fairness.class_error_max;
    fails(error > CLASS_ERROR_MAX, format!("a class of readers is {error:.3} off its part"));
    failures
}
