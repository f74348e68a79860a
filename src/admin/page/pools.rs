//! Pools as bars.

use maud::{Markup, html};

use super::card;
use crate::admin::words::{count, span};
use crate::status::PoolStatus;

/// Shown at once; the rest is a click away.
const SHOWN: usize = 12;

pub(super) fn section(pools: &[PoolStatus]) -> Markup {
    let (first, rest) = pools.split_at(pools.len().min(SHOWN));
    let content = html! {
        @if pools.is_empty() { p.none { "No call has been let through yet: pools are known after the first." } }
        @else {
            p.legend aria-hidden="true" {
                span.key.used { "used" } span.key.flight { "in flight" } span.key.ahead { "forecast at reset" }
            }
            ul.pools { @for pool in first { (row(pool)) } }
            @if !rest.is_empty() {
                details data-key="more-pools" {
                    summary { (count(rest.len() as u64)) " more pools, each with less of its limit used" }
                    ul.pools { @for pool in rest { (row(pool)) } }
                }
            }
        }
    };
    card("pools", "Pools", "GitHub's primary limits by installation, the fullest first", &content)
}

fn row(pool: &PoolStatus) -> Markup {
    let mood = match pool.fullness() {
        _ if pool.cooldown_seconds > 0 => "bad",
        950.. => "bad",
        800..950 => "warn",
        _ => "",
    };
    let used = percent(pool.used, pool.limit);
    html! {
        li.pool.(mood) data-key=(format!("{} {}", pool.installation, pool.resource)) {
            div.name { b { (pool.installation) } " " span.tag { (pool.resource) } }
            (bar(pool))
            div.figures {
                span { b { (count(pool.used)) } " of " (count(pool.limit)) " used (" (used) " %)" }
                @if pool.in_flight > 0 { span { (count(pool.in_flight)) " in flight" } }
                @if !pool.is_known { span { "limit assumed" } }
                @if pool.outside_per_hour > 0 { span { (count(pool.outside_per_hour)) "/h by others" } }
            }
            div.when {
                @if pool.cooldown_seconds > 0 { b.mood { "on hold for " (span(pool.cooldown_seconds)) } " · " }
                (forecast(pool))
                @if pool.reset_in_seconds > 0 { "resets in " (span(pool.reset_in_seconds)) }
                @else { "window over; the next begins with a call" }
            }
        }
    }
}

fn forecast(pool: &PoolStatus) -> Markup {
    let Some(forecast) = pool.forecast else { return html! {} };
    html! {
        @match forecast.full_in_seconds {
            Some(0) => b.mood { "spent" },
            Some(seconds) => b.mood { "spent in " (span(seconds)) " at this pace" },
            None => { "≈ " (count(forecast.used_at_reset)) " at reset" },
        }
        " · "
    }
}

fn bar(pool: &PoolStatus) -> Markup {
    let width = |points: i64| percent(points, pool.limit).to_string();
    let ahead = pool.forecast.map_or(0, |forecast| forecast.used_at_reset);
    let label = format!(
        "{} {}: {} of {} points used, {} in flight{}",
        pool.installation,
        pool.resource,
        pool.used,
        pool.limit,
        pool.in_flight,
        if ahead > 0 { format!(", forecast at reset {ahead}") } else { String::new() }
    );
    html! {
        svg.bar role="img" aria-label=(label) viewBox="0 0 100 10" preserveAspectRatio="none" {
            rect.ahead width=(width(ahead)) height="10" {}
            rect.flight width=(width(pool.used + pool.in_flight)) height="10" {}
            rect.used width=(width(pool.used)) height="10" {}
        }
    }
}

/// Whole percent, 0 to 100.
pub(super) fn percent(part: i64, whole: i64) -> i64 {
    (part.saturating_mul(100) / whole.max(1)).clamp(0, 100)
}
