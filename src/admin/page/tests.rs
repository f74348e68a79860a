use bytes::Bytes;

use super::*;
use crate::admin::board::{EventBytes, Shown};
use crate::status::refusals::tests::refusal;
use crate::status::tests::snapshot;
use crate::status::{
    CacheStatus, ConfigStatus, HintStatus, PoolStatus, RefusalStatus, RouteStatus, StoreStatus, TokenStatus,
};

pub(in crate::admin) fn shown(fragment: &str) -> Shown {
    Shown {
        status: status("a"),
        json: Bytes::new(),
        fragment: fragment.to_owned().into(),
        events: EventBytes::default(),
    }
}

fn agent(name: &str) -> AgentStatus {
    AgentStatus {
        name: name.to_owned(),
        weight: 3,
        guarantee: Some(500),
        ceiling: None,
        is_disabled: false,
        is_disabled_in_file: false,
        share_ratio: Some(0.25),
        share_of: Some(name.to_owned()),
        spent_in_windows: 1_234,
        spent: 5_678,
        waiting: 2,
        longest_wait_ms: 1_500,
        mean_wait_ms: 20,
    }
}

/// A status with `text` wherever text can be.
pub(in crate::admin) fn status(text: &str) -> Status {
    let t = || text.to_owned();
    Status {
        version: t(),
        now_epoch_ms: 10_000,
        uptime_seconds: 61,
        is_draining: true,
        config: ConfigStatus {
            version: Some(t()),
            since_epoch_ms: 1,
            problems: vec![t()],
            needs_start: vec![t()],
        },
        observing: vec![t()],
        has_admin_token: true,
        store: StoreStatus { kind: t(), is_up: false, replicas: 3 },
        limit_hits: [(t(), 1)].into(),
        pools: vec![PoolStatus::new(text, &snapshot(2_500, 3, 2_700_000), 0)],
        agents: vec![agent(text)],
        routes: vec![RouteStatus { agent: t(), route: t(), points: 7 }],
        cache: CacheStatus { bytes: 1, bytes_max: 2, requests: [(t(), 1)].into(), saved: [(t(), 1)].into() },
        hints: vec![HintStatus { text: t(), agents: vec![t(); 20] }],
        refusals: vec![RefusalStatus {
            path: t(),
            reason: t(),
            method: t(),
            code: t(),
            ..refusal(text, text)
        }],
        approvals: [(t(), 1)].into(),
        tokens: vec![TokenStatus {
            installation: t(),
            access: t(),
            count: 1,
            oldest_age_seconds: 1,
            first_expiry_in_seconds: 1,
            is_failing: true,
        }],
    }
}

#[test]
fn hostile_text_stays_text() {
    let hostile = r#""'><script>alert(1)</script><img src=x onerror=alert(1)>&lt;"#;
    let status = status(hostile);
    let page = whole(&status, &live(&status).into_string(), status.agents.first());
    let body = page.split_once("<body>").unwrap().1;
    assert_eq!(body.matches("<script>").count(), 1, "our own");
    assert!(!body.contains("<img") && !body.contains("\"'>"), "{body}");
    assert!(body.contains("&lt;script&gt;") && body.contains("&amp;lt;"));
    assert!(body.contains("action=\"/api/agents/%22%27%3E%3Cscript%3E"));
    let notice = notice(hostile, hostile, false);
    assert!(!notice.split_once("<body>").unwrap().1.contains("<img"));
}

#[test]
fn the_policy_names_what_is_in_the_page_and_nothing_else() {
    let mut headers = HeaderMap::new();
    set_headers(&mut headers);
    let policy = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"));
    // A browser hashes the text between the tags, byte for byte.
    let status = status("a");
    let page = whole(&status, &live(&status).into_string(), status.agents.first());
    assert!(
        page.contains(&format!("<style>{STYLE}</style>"))
            && page.contains(&format!("<script>{SCRIPT}</script>"))
    );
    let twice = |tag: &str| tag.matches(" class=").count() > 1;
    assert!(!page.split('>').any(twice), "a browser takes the first class attribute alone");
    assert!(!page.contains(" style=\"") && !page.contains(" onclick"));
    for outside in ["src=\"http", "href=\"http", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn a_thousand_agents_and_fifty_installations_are_written_quickly() {
    let mut status = status("bot/acme");
    status.agents = (0..1_000).map(|number| agent(&format!("agent-{number:04}"))).collect();
    let pools = (0..50).flat_map(|number| ["core", "graphql", "search"].map(|resource| (number, resource)));
    status.pools = pools
        .map(|(number, resource)| PoolStatus {
            resource: resource.to_owned(),
            ..PoolStatus::new(&format!("bot/org-{number:02}"), &snapshot(number * 90, 3, 2_700_000), 0)
        })
        .collect();
    let started = tokio::time::Instant::now();
    let page = whole(&status, &live(&status).into_string(), None);
    eprintln!("1,000 agents, 150 pools: {} KiB in {:?}", page.len() / 1024, started.elapsed());
    assert!(page.contains("agent-0999") && page.contains("bot/org-49"));
}
