//! GitHub itself: the root, meta, versions, the rate limit.

use serde_json::{Map, Value, json};

use crate::context::Cx;
use crate::exchange::{Answer, Reply};
use crate::headers::VERSIONS;
use crate::limits::Window;

pub(crate) fn root(cx: &mut Cx<'_>) -> Answer {
    let api = &cx.links().api;
    Ok(Reply::ok(json!({
        "current_user_url": format!("{api}/user"),
        "emojis_url": format!("{api}/emojis"),
        "issue_search_url": format!("{api}/search/issues?q={{query}}{{&page,per_page,sort,order}}"),
        "organization_url": format!("{api}/orgs/{{org}}"),
        "rate_limit_url": format!("{api}/rate_limit"),
        "repository_url": format!("{api}/repos/{{owner}}/{{repo}}"),
        "user_url": format!("{api}/users/{{user}}"),
    })))
}

pub(crate) fn meta(_: &mut Cx<'_>) -> Answer {
    Ok(Reply::ok(json!({
        "verifiable_password_authentication": false,
        "hooks": ["192.30.252.0/22"],
        "web": ["192.30.252.0/22"],
        "api": ["192.30.252.0/22"],
        "git": ["192.30.252.0/22"],
    })))
}

pub(crate) fn zen(_: &mut Cx<'_>) -> Answer {
    Ok(Reply::raw("text/plain;charset=utf-8", "Responsive is better than fast."))
}

pub(crate) fn versions(_: &mut Cx<'_>) -> Answer {
    Ok(Reply::ok(json!(VERSIONS)))
}

pub(crate) fn emojis(_: &mut Cx<'_>) -> Answer {
    Ok(Reply::ok(json!({"+1": "https://github.githubassets.com/images/icons/emoji/unicode/1f44d.png?v8"})))
}

/// `GET /rate_limit`: the caller's windows. The version of March 2026 has no `rate`.
pub(crate) fn rate_limit(cx: &mut Cx<'_>) -> Answer {
    let account = cx.caller.account(&cx.shared.config);
    let show = |resource: &str| {
        let window: Window = cx.state.limits.window(&account, resource, cx.now);
        json!({
            "limit": window.limit,
            "used": window.used,
            "remaining": window.remaining(),
            "reset": window.reset_at,
        })
    };
    let names = ["core", "search", "code_search", "graphql", "integration_manifest"];
    let resources: Map<String, Value> = names.iter().map(|name| ((*name).to_owned(), show(name))).collect();
    let mut body = json!({"resources": resources});
    if !cx.view().is_2026() {
        body["rate"] = show("core");
    }
    Ok(Reply::ok(body))
}
