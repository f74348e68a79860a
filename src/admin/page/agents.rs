//! Agents, and the form that switches one off or on.

use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::card;
use crate::admin::words::{count, millis};
use crate::status::AgentStatus;

/// Shown at once; the rest is a click away, so that a page with a thousand agents stays light.
const SHOWN: usize = 25;

pub(super) fn section(agents: &[AgentStatus]) -> Markup {
    let (first, rest) = agents.split_at(agents.len().min(SHOWN));
    let content = html! {
        (table(first, "Agents that wait or spend most"))
        @if !rest.is_empty() {
            details data-key="more-agents" {
                summary { (count(rest.len() as u64)) " more agents" }
                (table(rest, "All other agents"))
            }
        }
    };
    card(
        "agents",
        "Agents",
        "share of the pool it called last, among those seen within a minute; points spent; calls held",
        &content,
    )
}

fn table(agents: &[AgentStatus], caption: &str) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table.agents {
                caption.hidden { (caption) }
                thead { tr {
                    th scope="col" { "Agent" }
                    th.number scope="col" { "Weight" }
                    th scope="col" { "Share" }
                    th.number scope="col" { "This window" }
                    th.number scope="col" { "In all" }
                    th.number scope="col" { "Waiting" }
                    th.number scope="col" { "Longest wait" }
                    th.number scope="col" { "Mean wait" }
                    th scope="col" { span.hidden { "Switch" } }
                } }
                tbody { @for agent in agents { (row(agent)) } }
            }
        }
    }
}

fn row(agent: &AgentStatus) -> Markup {
    html! {
        tr.off[agent.is_disabled] data-key=(agent.name) {
            th scope="row" {
                span.who { (agent.name) }
                @if agent.is_disabled { " " span.tag.bad { "disabled" } }
                @else if agent.ceiling == Some(0) { " " span.tag.bad { "closed" } }
                (bounds(agent))
            }
            td.number data-label="Weight" { (agent.weight) }
            td data-label="Share" { (share(agent)) }
            td.number data-label="This window" { (count(agent.spent_in_windows)) }
            td.number data-label="In all" { (count(agent.spent)) }
            td.number.warn[agent.waiting > 0] data-label="Waiting" { (count(agent.waiting as u64)) }
            td.number data-label="Longest wait" { (millis(agent.longest_wait_ms)) }
            td.number data-label="Mean wait" { (millis(agent.mean_wait_ms)) }
            td.act { (link(agent)) }
        }
    }
}

fn bounds(agent: &AgentStatus) -> Markup {
    html! {
        @if agent.guarantee.is_some() || agent.ceiling.is_some_and(|ceiling| ceiling > 0) {
            small {
                @if let Some(points) = agent.guarantee { "at least " (count(points)) "/h " }
                @if let Some(points) = agent.ceiling.filter(|ceiling| *ceiling > 0) { "at most " (count(points)) "/h" }
            }
        }
    }
}

fn share(agent: &AgentStatus) -> Markup {
    let Some(ratio) = agent.share_ratio else { return html! { span.faint { "idle" } } };
    #[allow(clippy::cast_possible_truncation, reason = "a ratio of at most 1")]
    let thousandths = (ratio.clamp(0.0, 1.0) * 1000.0).round() as i64;
    let text = format!("{}.{} %", thousandths / 10, thousandths % 10);
    html! {
        span.share title=[agent.share_of.as_deref()] {
            svg.bar.small aria-hidden="true" viewBox="0 0 1000 10" preserveAspectRatio="none" {
                rect.used width=(thousandths) height="10" {}
            }
            (text)
        }
    }
}

fn link(agent: &AgentStatus) -> Markup {
    if agent.is_disabled_in_file {
        return html! { span.faint title="The configuration file disables it" { "in the file" } };
    }
    let word = if agent.is_disabled { "Enable" } else { "Disable" };
    html! {
        a.button.small href=(format!("/?agent={}#switch", escaped(&agent.name))) aria-label=(format!("{word} {}", agent.name)) { (word) }
    }
}

/// The form asks for the admin token each time; the page never stores it.
pub(super) fn switch_form(agent: &AgentStatus, has_admin_token: bool) -> Markup {
    let (word, verb, effect) = match agent.is_disabled {
        true => ("Enable", "enable", "Its key is taken again at once, on all replicas within a second."),
        false => (
            "Disable",
            "disable",
            "Everything it asks is refused at once, what it has waiting included; on all replicas within a second.",
        ),
    };
    html! {
        section.card.switch #switch aria-labelledby="switch-title" {
            h2 #switch-title { (word) " " span.who { (agent.name) } "?" }
            p { (effect) }
            @if has_admin_token {
                form method="post" action=(format!("/api/agents/{}/{verb}", escaped(&agent.name))) {
                    label for="token" { "Admin token" }
                    input #token name="token" type="password" required autocomplete="off" autofocus;
                    div.buttons {
                        button.danger[!agent.is_disabled] type="submit" { (word) " " (agent.name) }
                        a.button href="/" { "Cancel" }
                    }
                    p #result role="status" {}
                }
            } @else {
                p { "No admin token is configured, so nothing can be changed here: set " code { "server.admin_token_env" }
                    " or " code { "server.admin_token_file" } "." }
                p { a.button href="/" { "Back" } }
            }
        }
    }
}

fn escaped(name: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(name, NON_ALPHANUMERIC)
}
