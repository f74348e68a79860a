//! Refusals, routes, cache, approvals, hints and tokens.

use maud::{Markup, html};

use super::card;
use super::pools::percent;
use crate::admin::words::{bytes, count, span};
use crate::status::Status;

/// Routes shown; `/api/status` has more.
const ROUTES_MAX: usize = 10;
/// Names shown with a hint.
const NAMES_MAX: usize = 8;

pub(super) fn refusals(status: &Status) -> Markup {
    let content = html! {
        @if status.refusals.is_empty() { p.none { "Nothing was refused since this replica started." } }
        ol.log tabindex="0" aria-label="Latest refusals" {
            @for refusal in &status.refusals {
                li {
                    div {
                        b.who { (refusal.agent.as_deref().unwrap_or("nobody known")) } " "
                        span.tag { (refusal.code) }
                        @if refusal.count > 1 { " " span.faint { (count(refusal.count)) " times" } }
                        span.age { (span((status.now_epoch_ms - refusal.at_epoch_ms) / 1000)) " ago" }
                    }
                    @if !refusal.path.is_empty() { code { (refusal.method) " " (refusal.path) } }
                    p { (refusal.reason) }
                }
            }
        }
    };
    card("refusals", "Last refusals", "and why", &content)
}

pub(super) fn routes(status: &Status) -> Markup {
    let most = status.routes.first().map_or(1, |row| row.points);
    let part = |points: u64| i64::try_from(points.saturating_mul(100) / most.max(1)).unwrap_or(100);
    let content = html! {
        @if status.routes.is_empty() { p.none { "No points were spent since this replica started." } }
        ol.routes {
            @for row in status.routes.iter().take(ROUTES_MAX) {
                li data-key=(format!("{} {}", row.agent, row.route)) {
                    div { b.who { (row.agent) } " " code { (row.route) } }
                    span.points { (count(row.points)) }
                    svg.bar.small aria-hidden="true" viewBox="0 0 100 10" preserveAspectRatio="none" {
                        rect.used width=(part(row.points)) height="10" {}
                    }
                }
            }
        }
    };
    card("routes", "Who burns most", "points by route, since this replica started", &content)
}

pub(super) fn cache(status: &Status) -> Markup {
    let cache = &status.cache;
    let asked: u64 = cache.requests.iter().filter(|(result, _)| *result != "bypass").map(|(_, n)| n).sum();
    let saved: u64 = cache.saved.values().sum();
    let content = html! {
        @if cache.bytes_max == 0 { p.none { "The cache is off." } }
        @else {
            p.big { b { (count(saved)) } " points saved" @if asked > 0 { ", in " (count(asked)) " reads" } }
            dl.pairs {
                @for (result, number) in &cache.requests { dt { (result) } dd { (count(*number)) } }
                dt { "kept" }
                dd { (bytes(cache.bytes)) " of " (bytes(cache.bytes_max)) " ("
                    (percent(signed(cache.bytes), signed(cache.bytes_max))) " %)" }
            }
        }
    };
    card("cache", "Cache", "", &content)
}

pub(super) fn approvals(status: &Status) -> Markup {
    let meaning = |result: &str| match result {
        "accepted" => "taken, and used up",
        "missing" => "asked for",
        "refused" => "not taken",
        "spent" => "used before",
        "forgotten" => "older than the store",
        _ => "could not be looked up",
    };
    let content = html! {
        @if status.approvals.is_empty() { p.none { "No gated operation was tried." } }
        dl.pairs {
            @for (result, number) in &status.approvals {
                dt { (result) " " span.faint { (meaning(result)) } } dd { (count(*number)) }
            }
        }
    };
    card("approvals", "Approvals", "", &content)
}

pub(super) fn hints(status: &Status) -> Markup {
    let content = html! {
        @if status.hints.is_empty() { p.none { "No agent was told of a cheaper way in the last ten minutes." } }
        ul.hints {
            @for hint in &status.hints {
                li {
                    p { (hint.text) }
                    p.faint {
                        @for (place, agent) in hint.agents.iter().take(NAMES_MAX).enumerate() {
                            @if place > 0 { ", " } span.who { (agent) }
                        }
                        @if hint.agents.len() > NAMES_MAX { " and " (count((hint.agents.len() - NAMES_MAX) as u64)) " more" }
                    }
                }
            }
        }
    };
    card("hints", "Hints given", "in ten minutes", &content)
}

pub(super) fn tokens(status: &Status) -> Markup {
    let content = html! {
        @if status.tokens.is_empty() { p.none { "No installation token is in use." } }
        @else {
            div.scroll tabindex="0" role="region" aria-label="Installation tokens" {
                table {
                    thead { tr {
                        th scope="col" { "Installation" } th scope="col" { "Access" } th.number scope="col" { "Tokens" }
                        th.number scope="col" { "Oldest" } th.number scope="col" { "First ends in" } th scope="col" { "Renewal" }
                    } }
                    tbody { @for row in &status.tokens {
                        tr data-key=(format!("{} {}", row.installation, row.access)) {
                            th scope="row" { (row.installation) }
                            td data-label="Access" { (row.access) }
                            td.number data-label="Tokens" { (count(row.count)) }
                            td.number data-label="Oldest" { (span(row.oldest_age_seconds)) }
                            td.number data-label="First ends in" { (span(row.first_expiry_in_seconds)) }
                            td data-label="Renewal" {
                                @if row.is_failing { span.tag.bad { "failing" } } @else { "fine" }
                            }
                        }
                    } }
                }
            }
        }
    };
    card("tokens", "Installation tokens", "renewed five minutes before they end", &content)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
