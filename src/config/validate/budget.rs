//! Sharing the quota, and trying again: bounds of numbers and what must fit together.

use http::StatusCode;

use super::{Check, raw, redis};
use crate::config::{Budget, Cache, Retry, Secondary};

/// Longest a request or a failed call is held: whoever asked has long given up by then.
const HELD_MAX: raw::Period = raw::Period::from_secs(600);

pub(super) fn budget(check: &mut Check<'_>, raw: &raw::Budget) -> Option<Budget> {
    check.rule("budget.headroom", raw.headroom.0 <= 90, || "must be 0% to 90%".to_owned());
    check.rule("budget.max_wait", raw.max_wait <= raw.max_wait_limit, || {
        format!("{} is more than `max_wait_limit`, {}", raw.max_wait, raw.max_wait_limit)
    });
    at_most(check, "budget.max_wait_limit", raw.max_wait_limit, HELD_MAX);
    check.rule("budget.over_budget_status", matches!(raw.over_budget_status, 403 | 429), || {
        "must be 403 or 429".to_owned()
    });
    let redis = redis::redis(check, raw);
    let over_budget_status = match raw.over_budget_status {
        429 => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::FORBIDDEN,
    };
    secondary(check, &raw.secondary);
    Some(Budget {
        store: raw.store,
        redis: redis?,
        on_store_loss: raw.on_store_loss,
        headroom_thousandths: i64::from(raw.headroom.0) * 10,
        max_wait: raw.max_wait.0,
        max_wait_limit: raw.max_wait_limit.0,
        over_budget_status,
        is_observing: raw.mode == raw::Mode::Observe,
        secondary: raw.secondary,
    })
}

fn at_most(check: &mut Check<'_>, path: &str, value: raw::Period, most: raw::Period) {
    check.rule(path, value <= most, || format!("{value} is too long: at most {most}"));
}

/// Each is at least 1. More than GitHub publishes brings its refusals on, unless the server is another
/// that allows more; so that is a warning.
fn secondary(check: &mut Check<'_>, limits: &Secondary) {
    let rules = [
        ("concurrent", limits.concurrent, Some(100)),
        ("rest_points_per_minute", limits.rest_points_per_minute, Some(900)),
        ("rest_points_per_minute_total", limits.rest_points_per_minute_total, None),
        ("graphql_points_per_minute", limits.graphql_points_per_minute, Some(2000)),
        ("content_per_minute", limits.content_per_minute, Some(80)),
        ("content_per_hour", limits.content_per_hour, Some(500)),
    ];
    for (key, value, published) in rules {
        let path = format!("budget.secondary.{key}");
        check.rule(&path, value > 0, || "must be more than 0".to_owned());
        if let Some(published) = published
            && value > published
        {
            let message = format!(
                "{value} is more than github.com allows, {published}: it will refuse calls. Only an \
                 Enterprise server of your own may allow more"
            );
            check.warning(&path, message);
        }
    }
}

pub(super) fn retry(check: &mut Check<'_>, raw: &raw::Retry) -> Retry {
    check.rule("retry.max_attempts", (1..=10).contains(&raw.max_attempts), || "must be 1 to 10".to_owned());
    check.rule("retry.base_delay", raw.base_delay <= raw.max_delay, || {
        format!("{} is more than `max_delay`, {}", raw.base_delay, raw.max_delay)
    });
    at_most(check, "retry.max_delay", raw.max_delay, HELD_MAX);
    Retry { max_attempts: raw.max_attempts, base_delay: raw.base_delay.0, max_delay: raw.max_delay.0 }
}

/// What is older than this was forgotten long before.
const KEPT_MAX: raw::Period = raw::Period::from_secs(7 * 24 * 3_600);

pub(super) fn cache(check: &mut Check<'_>, raw: &raw::Cache) -> Cache {
    at_most(check, "cache.fresh_for", raw.fresh_for, KEPT_MAX);
    at_most(check, "cache.stale_if_error", raw.stale_if_error, KEPT_MAX);
    Cache { max_bytes: raw.max_size.0, fresh_for: raw.fresh_for.0, stale_if_error: raw.stale_if_error.0 }
}
