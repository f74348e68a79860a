//! The status page: rendered here, complete without JavaScript, and kept up to date with it.
//!
//! Nothing is loaded from elsewhere: style and script are in the page and named by hash in its
//! Content-Security-Policy, bars are SVG, and `maud` escapes whatever agents or GitHub wrote.

mod agents;

mod pools;

mod rest;

#[cfg(test)]
pub(in crate::admin) mod tests;

use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::words::{count, span};
use crate::status::{AgentStatus, Status};

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");
/// A bar, half full: the page's icon.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect width='16' \
                    height='16' rx='4' fill='%231f5fd0'/%3E%3Crect x='3' y='4' width='10' height='3' rx='1' \
                    fill='white'/%3E%3Crect x='3' y='9' width='5' height='3' rx='1' fill='white'/%3E%3C/svg%3E";

static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    HeaderValue::from_str(&policy).expect("it is of ASCII")
});

/// Sets the headers of every page.
pub(super) fn set_headers(headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Not `no-referrer`: with it browsers send `null` as a form's origin.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
}

/// The whole page, with the switch form for one agent if it was asked for.
pub(super) fn whole(status: &Status, live: &str, switch: Option<&AgentStatus>) -> String {
    document(&html! {
        @if let Some(agent) = switch {
            (agents::switch_form(agent, status.has_admin_token))
        }
        main #live tabindex="-1" { (PreEscaped(live)) }
    })
}

/// A page with one message and a link back.
pub(super) fn notice(title: &str, message: &str, is_done: bool) -> String {
    document(&html! {
        main {
            section.card.notice.bad[!is_done] role="status" {
                h2 { (title) }
                p { (message) }
                p { a.button href="/" { "Back to the status page" } }
            }
        }
    })
}

fn document(content: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "tollgate status" }
                link rel="icon" href=(ICON);
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#live" { "Skip to the figures" }
                header.top {
                    h1 { a href="/" { svg.mark viewBox="0 0 16 16" aria-hidden="true" {
                        rect width="16" height="16" rx="4" {}
                        rect.line x="3" y="4" width="10" height="3" rx="1" {}
                        rect.line x="3" y="9" width="5" height="3" rx="1" {}
                    } "tollgate" } }
                    p.live #connection role="status" { "Reload for newer figures." }
                }
                (content)
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// The part of the page that events update.
pub(super) fn live(status: &Status) -> Markup {
    html! {
        (summary(status))
        (pools::section(&status.pools))
        (agents::section(&status.agents))
        div.columns {
            (rest::refusals(status))
            (rest::routes(status))
        }
        div.columns.three {
            (rest::cache(status))
            (rest::approvals(status))
            (rest::hints(status))
        }
        (rest::tokens(status))
        footer.foot {
            span { "tollgate " (status.version) }
            span { "up " (span(status.uptime_seconds)) }
            @if let Some(version) = &status.config.version { span { "configuration " (version) } }
            span { a href="/api/status" { "/api/status" } " · " a href="/metrics" { "/metrics" } }
        }
    }
}

/// What an operator wants to know first: the summary.
fn summary(status: &Status) -> Markup {
    let hits: u64 = status.limit_hits.values().sum();
    let active = status.agents.iter().filter(|agent| agent.share_ratio.is_some()).count();
    let off = status.agents.iter().filter(|agent| agent.is_disabled).count();
    let waiting: usize = status.agents.iter().map(|agent| agent.waiting).sum();
    let saved: u64 = status.cache.saved.values().sum();
    let store = if status.store.kind == "redis" { "Redis" } else { "embedded" };
    html! {
        h2.hidden { "At a glance" }
        @if status.is_draining { p.banner { "This replica drains: it takes no new connection." } }
        @if !status.observing.is_empty() {
            p.banner { "Observe mode (" (status.observing.join(", ")) "): what would be held or refused is only recorded." }
        }
        @if let Some(first) = status.config.problems.first() {
            p.banner { "The configuration file as it is now is not in force: " (first)
                @if status.config.problems.len() > 1 { " (and " (status.config.problems.len() - 1) " more)" } }
        }
        @if !status.config.needs_start.is_empty() {
            p.banner { "Takes effect when tollgate is started again: " (status.config.needs_start.join(", ")) }
        }
        dl.tiles {
            (tile("GitHub's rate refusals", &count(hits), if hits == 0 { "none, as it must be" } else { "must be 0: see the log" },
                if hits == 0 { "good" } else { "bad" }))
            (tile("Agents active", &count(active as u64), &format!("of {}{}", count(status.agents.len() as u64),
                if off > 0 { format!(", {off} disabled") } else { String::new() }), ""))
            (tile("Calls waiting", &count(waiting as u64), "held by the budget now", if waiting > 0 { "warn" } else { "" }))
            (tile("Points saved", &count(saved), "by the cache", ""))
            (tile("Store", store, &format!("{}, {} replica{}", if status.store.is_up { "up" } else { "away" },
                status.store.replicas, if status.store.replicas == 1 { "" } else { "s" }),
                if status.store.is_up { "good" } else { "bad" }))
        }
    }
}

fn tile(name: &str, value: &str, note: &str, mood: &str) -> Markup {
    html! {
        div.tile.(mood) {
            dt { (name) }
            dd { b { (value) } small { (note) } }
        }
    }
}

/// A section with its heading.
fn card(id: &str, title: &str, note: &str, content: &Markup) -> Markup {
    html! {
        section.card aria-labelledby=(id) {
            header { h2 id=(id) { (title) } @if !note.is_empty() { p { (note) } } }
            (content)
        }
    }
}
