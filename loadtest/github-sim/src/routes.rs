//! The routes: method, template, who may use it, and the handler.
//!
//! A repository's need is written as in GitHub's `x-accepted-github-permissions`: commas mean "and", semicolons
//! separate alternatives. A path that is not in the table gets 404, as on GitHub.

use std::collections::HashMap;
use std::sync::OnceLock;

use matchit::Router;

use crate::context::Cx;
use crate::exchange::Answer;
use crate::graphql;
use crate::handlers::{
    apps, branches, checks, commits, contents, gits, issues, merges, meta, misc, pulls, releases,
    repositories, reviews, search, stacks,
};
use crate::server::Listener;

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Everyone, even without a credential.
    Public,
    /// The App, with its JWT.
    App,
    /// An installation token.
    Installation,
    /// An installation or personal token.
    Token,
    /// A personal token.
    User,
    /// A token that sees the repository and has one of these permissions.
    Repo(&'static str),
}

/// Carries out a request that passed all checks.
pub(crate) type Handler = fn(&mut Cx<'_>) -> Answer;

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) method: &'static str,
    pub(crate) template: &'static str,
    pub(crate) need: Need,
    pub(crate) handler: Handler,
}

impl Route {
    /// The name in the books.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.template)
    }
}

/// The resource that a path is charged to.
pub(crate) fn resource(path: &str) -> &'static str {
    match path {
        "/graphql" => "graphql",
        "/search/code" => "code_search",
        _ if path.starts_with("/search/") => "search",
        _ => "core",
    }
}

/// The route of a request and its parameters, still encoded.
pub(crate) fn find(
    listener: Listener,
    method: &str,
    path: &str,
) -> Option<(&'static Route, Vec<(String, String)>)> {
    let routers = match listener {
        Listener::Uploads => uploads(),
        Listener::Api | Listener::Storage => api(),
    };
    let found = routers.get(method)?.at(path).ok()?;
    let params = found.params.iter();
    Some((*found.value, params.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
}

type Routers = HashMap<&'static str, Router<&'static Route>>;

fn api() -> &'static Routers {
    static ROUTERS: OnceLock<Routers> = OnceLock::new();
    ROUTERS.get_or_init(|| build(&[ACCOUNTS, REPOSITORIES, CODE, ISSUES, PULLS]))
}

fn uploads() -> &'static Routers {
    static ROUTERS: OnceLock<Routers> = OnceLock::new();
    ROUTERS.get_or_init(|| build(&[UPLOADS]))
}

fn build(tables: &[&'static [Route]]) -> Routers {
    let mut routers = Routers::new();
    for route in tables.iter().copied().flatten() {
        let router = routers.entry(route.method).or_default();
        router.insert(route.template, route).expect("the templates of the table do not clash");
    }
    routers
}

const fn get(template: &'static str, need: Need, handler: Handler) -> Route {
    Route { method: "GET", template, need, handler }
}

const fn post(template: &'static str, need: Need, handler: Handler) -> Route {
    Route { method: "POST", template, need, handler }
}

const fn put(template: &'static str, need: Need, handler: Handler) -> Route {
    Route { method: "PUT", template, need, handler }
}

const fn patch(template: &'static str, need: Need, handler: Handler) -> Route {
    Route { method: "PATCH", template, need, handler }
}

const fn delete(template: &'static str, need: Need, handler: Handler) -> Route {
    Route { method: "DELETE", template, need, handler }
}

const METADATA: Need = Need::Repo("metadata=read");
const CONTENTS: Need = Need::Repo("contents=read");
const CONTENTS_WRITE: Need = Need::Repo("contents=write");
const ISSUES_READ: Need = Need::Repo("issues=read; pull_requests=read");
const ISSUES_WRITE: Need = Need::Repo("issues=write; pull_requests=write");
const PULLS_READ: Need = Need::Repo("pull_requests=read");
const PULLS_WRITE: Need = Need::Repo("pull_requests=write");

static ACCOUNTS: &[Route] = &[
    get("/", Need::Public, meta::root),
    get("/meta", Need::Public, meta::meta),
    get("/zen", Need::Public, meta::zen),
    get("/versions", Need::Public, meta::versions),
    get("/octocat", Need::Public, meta::zen),
    get("/emojis", Need::Public, meta::emojis),
    get("/rate_limit", Need::Public, meta::rate_limit),
    post("/graphql", Need::Token, graphql::handle),
    get("/app", Need::App, apps::app),
    get("/app/installations", Need::App, apps::installations),
    get("/app/installations/{installation_id}", Need::App, apps::installation),
    post("/app/installations/{installation_id}/access_tokens", Need::App, apps::mint),
    get("/orgs/{org}/installation", Need::App, apps::owner_installation),
    get("/users/{org}/installation", Need::App, apps::owner_installation),
    get("/repos/{owner}/{repo}/installation", Need::App, apps::repository_installation),
    delete("/installation/token", Need::Installation, apps::revoke),
    get("/installation/repositories", Need::Installation, apps::repositories),
    get("/users/{org}", Need::Token, apps::user),
    get("/orgs/{org}", Need::Token, apps::organization),
    get("/orgs/{org}/repos", Need::Token, apps::owner_repositories),
    get("/users/{org}/repos", Need::Token, apps::owner_repositories),
    get("/user", Need::User, apps::own_user),
    get("/user/repos", Need::User, apps::own_repositories),
    get("/search/issues", Need::Token, search::issues),
    get("/search/repositories", Need::Token, search::repositories),
    get("/search/code", Need::Token, search::code),
    get("/search/commits", Need::Token, search::commits),
];

static REPOSITORIES: &[Route] = &[
    get("/repos/{owner}/{repo}", METADATA, repositories::read),
    patch("/repos/{owner}/{repo}", Need::Repo("administration=write"), repositories::change),
    get("/repos/{owner}/{repo}/collaborators", METADATA, misc::collaborators),
    get("/repos/{owner}/{repo}/languages", METADATA, misc::languages),
    get("/repos/{owner}/{repo}/environments", Need::Repo("actions=read"), misc::environments),
    get("/repos/{owner}/{repo}/deployments", Need::Repo("deployments=read"), misc::deployments),
    post("/repos/{owner}/{repo}/deployments", Need::Repo("deployments=write"), misc::deploy),
    post("/repos/{owner}/{repo}/dispatches", CONTENTS_WRITE, misc::dispatch),
    post(
        "/repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches",
        Need::Repo("actions=write"),
        misc::dispatch_workflow,
    ),
    get("/repos/{owner}/{repo}/releases", CONTENTS, releases::list),
    post("/repos/{owner}/{repo}/releases", CONTENTS_WRITE, releases::create),
    get("/repos/{owner}/{repo}/releases/latest", CONTENTS, releases::latest),
    get("/repos/{owner}/{repo}/releases/tags/{tag}", CONTENTS, releases::by_tag),
    get("/repos/{owner}/{repo}/releases/assets/{asset_id}", CONTENTS, releases::asset),
    get("/repos/{owner}/{repo}/releases/{release_id}", CONTENTS, releases::read),
    get("/repos/{owner}/{repo}/releases/{release_id}/assets", CONTENTS, releases::assets),
    get("/repos/{owner}/{repo}/tarball/{*ref}", CONTENTS, releases::archive),
    get("/repos/{owner}/{repo}/zipball/{*ref}", CONTENTS, releases::archive),
    get("/repos/{owner}/{repo}/tarball", CONTENTS, releases::archive),
    get("/repos/{owner}/{repo}/zipball", CONTENTS, releases::archive),
];

static CODE: &[Route] = &[
    get("/repos/{owner}/{repo}/contents", CONTENTS, contents::read),
    get("/repos/{owner}/{repo}/contents/", CONTENTS, contents::read),
    get("/repos/{owner}/{repo}/contents/{*path}", CONTENTS, contents::read),
    put("/repos/{owner}/{repo}/contents/{*path}", CONTENTS_WRITE, contents::write),
    delete("/repos/{owner}/{repo}/contents/{*path}", CONTENTS_WRITE, contents::remove),
    get("/repos/{owner}/{repo}/readme", CONTENTS, contents::readme),
    get("/repos/{owner}/{repo}/git/refs", CONTENTS, gits::refs),
    get("/repos/{owner}/{repo}/git/ref/{*ref}", CONTENTS, gits::read_ref),
    get("/repos/{owner}/{repo}/git/refs/{*ref}", CONTENTS, gits::read_ref),
    get("/repos/{owner}/{repo}/git/matching-refs/{*ref}", CONTENTS, gits::matching_refs),
    post("/repos/{owner}/{repo}/git/refs", CONTENTS_WRITE, gits::create_ref),
    patch("/repos/{owner}/{repo}/git/refs/{*ref}", CONTENTS_WRITE, gits::change_ref),
    delete("/repos/{owner}/{repo}/git/refs/{*ref}", CONTENTS_WRITE, gits::remove_ref),
    get("/repos/{owner}/{repo}/git/trees/{tree}", CONTENTS, gits::read_tree),
    post("/repos/{owner}/{repo}/git/trees", CONTENTS_WRITE, gits::create_tree),
    get("/repos/{owner}/{repo}/git/commits/{sha}", CONTENTS, gits::read_commit),
    post("/repos/{owner}/{repo}/git/commits", CONTENTS_WRITE, gits::create_commit),
    get("/repos/{owner}/{repo}/git/blobs/{sha}", CONTENTS, gits::read_blob),
    post("/repos/{owner}/{repo}/git/blobs", CONTENTS_WRITE, gits::create_blob),
    get("/repos/{owner}/{repo}/commits", CONTENTS, commits::list),
    get("/repos/{owner}/{repo}/commits/{ref}", CONTENTS, commits::read),
    get("/repos/{owner}/{repo}/compare/{*basehead}", CONTENTS, commits::compare),
    get("/repos/{owner}/{repo}/branches", CONTENTS, branches::list),
    get("/repos/{owner}/{repo}/branches/{branch}", CONTENTS, branches::read),
    get(
        "/repos/{owner}/{repo}/branches/{branch}/protection",
        Need::Repo("administration=read"),
        branches::protection,
    ),
    get("/repos/{owner}/{repo}/rules/branches/{branch}", METADATA, branches::rules),
    get("/repos/{owner}/{repo}/tags", METADATA, branches::tags),
    post("/repos/{owner}/{repo}/merges", CONTENTS_WRITE, branches::merge),
    post("/repos/{owner}/{repo}/merge-upstream", CONTENTS_WRITE, branches::merge_upstream),
    get("/repos/{owner}/{repo}/commits/{ref}/status", Need::Repo("statuses=read"), checks::combined),
    get("/repos/{owner}/{repo}/commits/{ref}/statuses", Need::Repo("statuses=read"), checks::statuses),
    post("/repos/{owner}/{repo}/statuses/{sha}", Need::Repo("statuses=write"), checks::create_status),
    get("/repos/{owner}/{repo}/commits/{ref}/check-runs", Need::Repo("checks=read"), checks::runs),
    patch("/repos/{owner}/{repo}/check-runs/{check_run_id}", Need::Repo("checks=write"), checks::update_run),
    post("/repos/{owner}/{repo}/check-runs", Need::Repo("checks=write"), checks::create_run),
    get("/repos/{owner}/{repo}/commits/{ref}/pulls", PULLS_READ, pulls::of_commit),
];

static ISSUES: &[Route] = &[
    get("/repos/{owner}/{repo}/issues", ISSUES_READ, issues::list),
    post("/repos/{owner}/{repo}/issues", Need::Repo("issues=write"), issues::create),
    get("/repos/{owner}/{repo}/issues/comments/{comment_id}", ISSUES_READ, issues::read_comment),
    patch("/repos/{owner}/{repo}/issues/comments/{comment_id}", ISSUES_WRITE, issues::change_comment),
    delete("/repos/{owner}/{repo}/issues/comments/{comment_id}", ISSUES_WRITE, issues::remove_comment),
    get("/repos/{owner}/{repo}/issues/{number}", ISSUES_READ, issues::read),
    patch("/repos/{owner}/{repo}/issues/{number}", ISSUES_WRITE, issues::change),
    get("/repos/{owner}/{repo}/issues/{number}/comments", ISSUES_READ, issues::comments),
    post("/repos/{owner}/{repo}/issues/{number}/comments", ISSUES_WRITE, issues::comment),
    get("/repos/{owner}/{repo}/issues/{number}/labels", ISSUES_READ, issues::labels),
    post("/repos/{owner}/{repo}/issues/{number}/labels", ISSUES_WRITE, issues::add_labels),
    put("/repos/{owner}/{repo}/issues/{number}/labels", ISSUES_WRITE, issues::set_labels),
    delete("/repos/{owner}/{repo}/issues/{number}/labels/{name}", ISSUES_WRITE, issues::remove_label),
    get("/repos/{owner}/{repo}/labels", ISSUES_READ, issues::all_labels),
    post("/repos/{owner}/{repo}/labels", ISSUES_WRITE, issues::create_label),
    get("/repos/{owner}/{repo}/labels/{name}", ISSUES_READ, issues::read_label),
];

static PULLS: &[Route] = &[
    get("/repos/{owner}/{repo}/pulls", PULLS_READ, pulls::list),
    post("/repos/{owner}/{repo}/pulls", PULLS_WRITE, pulls::create),
    get("/repos/{owner}/{repo}/pulls/{number}", PULLS_READ, pulls::read),
    patch("/repos/{owner}/{repo}/pulls/{number}", PULLS_WRITE, pulls::change),
    get("/repos/{owner}/{repo}/pulls/{number}/files", PULLS_READ, pulls::files),
    get("/repos/{owner}/{repo}/pulls/{number}/commits", PULLS_READ, pulls::commits),
    get("/repos/{owner}/{repo}/pulls/{number}/merge", CONTENTS, merges::is_merged),
    put("/repos/{owner}/{repo}/pulls/{number}/merge", CONTENTS_WRITE, merges::merge),
    put("/repos/{owner}/{repo}/pulls/{number}/merge-async", CONTENTS_WRITE, merges::merge_async),
    get("/repos/{owner}/{repo}/pulls/{number}/merge-async/{uuid}", CONTENTS, merges::merge_async_result),
    put("/repos/{owner}/{repo}/pulls/{number}/update-branch", PULLS_WRITE, merges::update_branch),
    get("/repos/{owner}/{repo}/pulls/{number}/reviews", PULLS_READ, reviews::list),
    post("/repos/{owner}/{repo}/pulls/{number}/reviews", PULLS_WRITE, reviews::create),
    get("/repos/{owner}/{repo}/pulls/{number}/reviews/{review_id}", PULLS_READ, reviews::read),
    post("/repos/{owner}/{repo}/pulls/{number}/reviews/{review_id}/events", PULLS_WRITE, reviews::submit),
    put("/repos/{owner}/{repo}/pulls/{number}/reviews/{review_id}/dismissals", PULLS_WRITE, reviews::dismiss),
    get("/repos/{owner}/{repo}/pulls/{number}/comments", PULLS_READ, reviews::comments),
    post("/repos/{owner}/{repo}/pulls/{number}/comments", PULLS_WRITE, reviews::comment),
    get("/repos/{owner}/{repo}/pulls/{number}/requested_reviewers", PULLS_READ, reviews::requested),
    post("/repos/{owner}/{repo}/pulls/{number}/requested_reviewers", PULLS_WRITE, reviews::request),
    get("/repos/{owner}/{repo}/stacks", PULLS_READ, stacks::list),
    post("/repos/{owner}/{repo}/stacks", PULLS_WRITE, stacks::create),
    get("/repos/{owner}/{repo}/stacks/{stack_number}", PULLS_READ, stacks::read),
];

static UPLOADS: &[Route] =
    &[post("/repos/{owner}/{repo}/releases/{release_id}/assets", CONTENTS_WRITE, releases::upload)];
