//! tollgate's own answers: an agent's limits, in GitHub's shape (`GET /rate_limit`) and in detail
//! (`GET /tollgate/me`). Both cost nothing.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, request};
use serde_json::{Map, Value, json};

use crate::budget::{Snapshot, View};
use crate::config::Agent;
use crate::error::ProxyError;
use crate::github::installations::Installation;
use crate::policy::Class;
use crate::proxy::Proxy;
use crate::proxy::body::full;
use crate::proxy::context::Context;
use crate::proxy::guard::Permitted;
use crate::proxy::respond::{in_seconds, insert_limit, insert_upstream_limit};
use crate::proxy::settle::Answer;

/// GitHub's resources, and the limit an installation is assumed to have until GitHub states it:
/// those in the example in GitHub's docs of `GET /rate_limit`.
const RESOURCES: [(&str, i64); 6] = [
    ("core", 5_000),
    ("graphql", 5_000),
    ("search", 30),
    ("code_search", 10),
    ("dependency_snapshots", 100),
    ("code_scanning_upload", 1_000),
];

/// The most installations shown.
const INSTALLATIONS_MAX: usize = 10;

/// Marks an answer of tollgate's own, which says all there is to say about limits.
#[derive(Debug, Clone)]
pub(in crate::proxy) struct Own;

/// Whether this is `GET /tollgate/me`.
pub(in crate::proxy) fn is_about_me(head: &request::Parts) -> bool {
    let is_path = matches!(head.uri.path(), "/tollgate/me" | "/api/v3/tollgate/me");
    is_path && matches!(head.method, Method::GET | Method::HEAD)
}

impl Proxy {
    /// The answer to `GET /rate_limit`.
    pub(in crate::proxy) async fn rate_limit(&self, permitted: &Permitted) -> Answer {
        let mut resources = Map::new();
        let (mut core, mut upstream, mut asked_ms) = (View::default(), None, 0);
        for (resource, untold) in RESOURCES {
            let (view, pool) = self.look(permitted.agent(), permitted.installation(), resource).await;
            let now_ms = self.clock.now_ms();
            resources.insert(resource.to_owned(), figures(&view, untold, now_ms));
            if resource == "core" {
                core = View { remaining: remaining(&view, untold), ..view };
                asked_ms = now_ms;
                upstream = pool.filter(|pool| pool.is_known);
            }
        }
        let rate = resources.get("core").cloned().unwrap_or_default();
        let mut answer = answer(&json!({ "resources": resources, "rate": rate }));
        // As on any other answer, and on GitHub's to this request.
        insert_limit(answer.headers_mut(), &core, "core", asked_ms);
        if let Some(pool) = upstream {
            insert_upstream_limit(answer.headers_mut(), &pool);
        }
        answer
    }

    async fn look(
        &self,
        agent: &Agent,
        installation: &Installation,
        resource: &'static str,
    ) -> (View, Option<Snapshot>) {
        self.budget.look(&self.share(agent, installation, resource)).await
    }

    /// The answer to `GET /tollgate/me`.
    pub(in crate::proxy) async fn about_me(
        &self,
        agent: &Arc<Agent>,
        ctx: &Context,
    ) -> Result<Answer, ProxyError> {
        let waiting = self.budget.waiting().get(agent.name.as_str()).map_or(0, |waits| waits.count);
        let mut pools = Vec::new();
        for installation in
            self.installations_of(agent).await?.installations.into_iter().take(INSTALLATIONS_MAX)
        {
            for (resource, untold) in RESOURCES {
                let (view, pool) = self.look(agent, &installation, resource).await;
                if view.is_known {
                    pools.push(self.pool(&installation, resource, &view, untold, pool.as_ref()));
                }
            }
        }
        let spent = self.budget.spent_by_route(&agent.name);
        let spent: Vec<Value> =
            spent.iter().map(|(route, points)| json!({ "route": &**route, "points": points })).collect();
        let names =
            |classes: &[Class]| -> Vec<&'static str> { classes.iter().map(|it| it.as_str()).collect() };
        Ok(answer(&json!({
            "agent": agent.name,
            "subject": ctx.subject.as_deref(),
            "weight": agent.weight,
            "guarantee": agent.guarantee,
            "ceiling": agent.ceiling,
            "waiting": waiting,
            "pools": pools,
            "spent_by_route": spent,
            "hints": self.hints.told(&agent.name),
            "may": {
                "repositories": agent.repositories.patterns(),
                "allow": names(&agent.allow),
                "require_approval": names(&agent.require_approval),
                "draft_pull_requests": agent.draft_pull_requests.as_str(),
            },
            "approval": {
                "mode": self.rules.policy.approval_mode.as_str(),
                "header": self.rules.policy.approval_header.as_str(),
            },
            "holding": {
                "default_seconds": self.rules.max_wait.as_secs(),
                "most_seconds": self.rules.max_wait_limit.as_secs(),
            },
        })))
    }

    fn pool(
        &self,
        installation: &Installation,
        resource: &str,
        view: &View,
        untold: i64,
        pool: Option<&Snapshot>,
    ) -> Value {
        let mut figures = figures(view, untold, self.clock.now_ms());
        figures["installation"] = json!(&*installation.label);
        figures["resource"] = json!(resource);
        #[allow(clippy::cast_precision_loss, reason = "weights are small")]
        let share = view.weight as f64 / view.weights.max(1) as f64;
        figures["share_ratio"] = json!(share);
        if let Some(pool) = pool {
            figures["upstream"] = json!({
                "limit": pool.limit,
                "used": pool.used.max(pool.own),
                "in_flight": pool.in_flight,
            });
        }
        figures
    }
}

/// `limit`, `used`, `remaining` and `reset`, as GitHub has them; `reset` in epoch seconds.
fn figures(view: &View, untold: i64, now_ms: i64) -> Value {
    let remaining = remaining(view, untold);
    let reset = in_seconds(now_ms + view.reset_in_ms);
    json!({ "limit": view.used + remaining, "used": view.used, "remaining": remaining, "reset": reset })
}

/// The agent's remaining points. In a pool not called yet: its share of the least an installation has.
fn remaining(view: &View, untold: i64) -> i64 {
    if view.is_known { view.remaining } else { untold * view.weight / view.weights.max(1) }
}

fn answer(value: &Value) -> Answer {
    let mut answer = Answer::new(full(value.to_string()));
    answer.extensions_mut().insert(Own);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
