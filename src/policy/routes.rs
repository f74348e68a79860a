//! Every REST operation that GitHub publishes, by method and path, with its id, class and condition.
//!
//! The table is `data/operations.tsv`, compiled in. A write that is not in it is refused; so is a read outside a
//! repository.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use http::Method;
use percent_encoding::percent_decode_str;
use thiserror::Error;

use super::Class;
use super::branch::Place;
use super::repositories::{RepositoryName, is_account};
use super::target::{Target, TargetError};

const TABLE: &str = include_str!("data/operations.tsv");

/// Paths whose last parameter may contain slashes, plain or as `%2F`.
const OPEN_ENDED: [&str; 9] = [
    "/contents/{path}",
    "/git/ref/{ref}",
    "/git/refs/{ref}",
    "/git/matching-refs/{ref}",
    "/readme/{dir}",
    "/tarball/{ref}",
    "/zipball/{ref}",
    "/repos/{owner}/{repo}/compare/{basehead}",
    "/dependency-graph/compare/{basehead}",
];

/// Parameters in which `%2F` is part of a name: refs, labels, paths, environments, packages.
const SLASH_IN_NAME: [&str; 9] =
    ["ref", "path", "dir", "basehead", "branch", "tag", "name", "environment_name", "package_name"];

/// Parameters that decide nothing, so that even `%2525` is allowed in them.
const FREE_TEXT: [&str; 3] = ["path", "dir", "name"];

/// Paths without a repository that are open to every agent: they reveal only public information.
const FOR_ALL: [&str; 16] = [
    "/",
    "/meta",
    "/rate_limit",
    "/zen",
    "/octocat",
    "/versions",
    "/emojis",
    "/user",
    "/users/{username}",
    "/apps/{app_slug}",
    "/licenses",
    "/licenses/{license}",
    "/gitignore/templates",
    "/gitignore/templates/{name}",
    "/markdown",
    "/markdown/raw",
];

/// When an operation has its class; as long as the condition is not met it is a [`Class::Write`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    Always,
    /// The review's `event` approves.
    Approves,
    /// The body names a new `base`.
    NamesBase,
    /// The branch that it names is the default branch, a protected one, a tag, or unknown.
    Branch {
        place: Place,
        /// Also met while a pull request from or into the branch is open.
        open_pulls: bool,
    },
    /// Always; it also opens a pull request.
    CreatesPull,
    /// Always; it also marks a draft ready for review.
    EndsDraft,
}

/// One published operation.
#[derive(Debug)]
pub struct Operation {
    /// GitHub's operation id, such as `pulls/merge`.
    pub id: &'static str,
    /// The published path, such as `/repos/{owner}/{repo}/pulls/{pull_number}/merge`.
    pub template: &'static str,
    pub class: Class,
    pub condition: Condition,
    /// The `x-ratelimit-resource` that GitHub is expected to charge.
    pub resource: &'static str,
    /// Served by GitHub's uploads host.
    pub uploads: bool,
}

/// A GET below a repository that the table does not list: new or undocumented, and harmless there.
static UNLISTED_READ: Operation = Operation {
    id: "unlisted",
    template: "/repos/{owner}/{repo}/unlisted",
    class: Class::Read,
    condition: Condition::Always,
    resource: "core",
    uploads: false,
};

/// GraphQL's only path; the document in the body tells what it does.
pub static GRAPHQL: Operation = Operation {
    id: "graphql",
    template: "/graphql",
    class: Class::Read,
    condition: Condition::Always,
    resource: "graphql",
    uploads: false,
};

/// Our own query for the name behind an id.
pub static LOOK_UP: Operation = Operation {
    id: "look-up",
    template: "look-up",
    class: Class::Read,
    condition: Condition::Always,
    resource: "core",
    uploads: false,
};

/// What a request reaches, before ids are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    Repository(RepositoryName),
    /// `/repositories/{id}/…`, as in GitHub's own page links.
    RepositoryId(u64),
    /// `/organizations/{id}/…`.
    OrganizationId(u64),
    /// Public information, open to every agent.
    Everyone,
    /// `/search/…`: the qualifiers say what is searched.
    Search,
    /// `GET /installation/repositories`: the answer is filtered.
    InstallationRepositories,
    /// A GraphQL document, confined by the token that it is sent with.
    Graphql,
    /// Spans repositories; holds the organization or user if the path names one.
    Fleet(Option<String>),
}

/// Why no operation was found.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RouteError {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("`{0}` is not the name of a repository")]
    Name(String),
    #[error("GitHub publishes no such operation")]
    Unknown,
}

/// The operation found for a request.
#[derive(Debug, Clone)]
pub struct Route {
    pub operation: &'static Operation,
    pub scope: Scope,
    /// The path's parameters by their published names, decoded.
    pub params: Vec<(&'static str, String)>,
}

impl Route {
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }
}

/// The operation table, by method.
struct Routes {
    by_method: HashMap<Method, matchit::Router<Listed>>,
}

/// An operation with its path's parameter names, in path order.
struct Listed {
    operation: &'static Operation,
    params: Vec<&'static str>,
}

static ROUTES: LazyLock<Routes> = LazyLock::new(|| Routes::parse(TABLE));

/// Finds the operation of a REST request.
///
/// # Errors
/// When the target is ambiguous for this route, or the operation is not listed and not a read below a repository.
pub fn find(method: &Method, target: &Target) -> Result<Route, RouteError> {
    ROUTES.find(method, target)
}

impl Routes {
    fn parse(table: &'static str) -> Routes {
        let mut by_method: HashMap<Method, matchit::Router<Listed>> = HashMap::new();
        for (method, operation) in rest_operations(table) {
            let path = match OPEN_ENDED.iter().any(|end| operation.template.ends_with(end)) {
                true => operation
                    .template
                    .replacen("{ref}", "{*ref}", 1)
                    .replacen("{path}", "{*path}", 1)
                    .replacen("{dir}", "{*dir}", 1)
                    .replacen("{basehead}", "{*basehead}", 1),
                false => operation.template.to_owned(),
            };
            let params = parameter_names(operation.template).collect();
            let listed = Listed { operation: Box::leak(Box::new(operation)), params };
            by_method.entry(method).or_default().insert(path, listed).expect("GitHub's paths do not overlap");
        }
        Routes { by_method }
    }

    fn find(&self, method: &Method, target: &Target) -> Result<Route, RouteError> {
        let (path, alias) = named_path(target);
        // HEAD is GET without the body.
        let method = if method == Method::HEAD { &Method::GET } else { method };
        if target.is_open() && method != Method::GET {
            return Err(TargetError::EmptySegment.into());
        }
        let matched = self.by_method.get(method).and_then(|router| router.at(&path).ok());
        let Some(matched) = matched else {
            return unlisted(method, target, alias);
        };
        let Listed { operation, params: names } = matched.value;
        let mut params: Vec<(&'static str, String)> = Vec::with_capacity(names.len());
        // The names in `matched` live only as long as the router's borrow; the table's own are static.
        for (name, (_, value)) in names.iter().zip(matched.params.iter()) {
            let text = if value.contains('%') {
                check_parameter(name, value)?;
                percent_decode_str(value).decode_utf8_lossy().into_owned()
            } else {
                value.to_owned()
            };
            params.push((*name, text));
        }
        let scope = scope_of(operation, &params, alias)?;
        Ok(Route { operation, scope, params })
    }
}

static MUTATIONS: LazyLock<HashMap<&'static str, Operation>> = LazyLock::new(|| {
    operations_of(TABLE, "graphql").map(|(_, operation)| (operation.id, operation)).collect()
});

/// The mutation of this name; `None` when the table does not list it.
pub fn mutation(name: &str) -> Option<&'static Operation> {
    MUTATIONS.get(name)
}

/// The table's rows for REST operations.
fn rest_operations(table: &'static str) -> impl Iterator<Item = (Method, Operation)> {
    operations_of(table, "rest")
}

fn operations_of(table: &'static str, wanted: &'static str) -> impl Iterator<Item = (Method, Operation)> {
    table.lines().skip(1).filter_map(move |line| {
        let mut columns = line.split('\t');
        let mut next = || columns.next().expect("operations.tsv has nine columns");
        let (kind, method, template, id) = (next(), next(), next(), next());
        let (class, condition, resource, server) = (next(), next(), next(), next());
        (kind == wanted).then(|| {
            let operation = Operation {
                id,
                template,
                class: class_named(class),
                condition: condition_named(condition),
                resource,
                uploads: server == "uploads",
            };
            (method.parse().expect("operations.tsv holds HTTP methods"), operation)
        })
    })
}

fn class_named(name: &str) -> Class {
    match name {
        "read" => Class::Read,
        "write" => Class::Write,
        "ref-write" => Class::RefWrite,
        "merge" => Class::Merge,
        "review" => Class::Review,
        "protection" => Class::Protection,
        "token" => Class::Token,
        // A class that is not known here is closed to agents.
        _ => Class::Admin,
    }
}

/// A spelling that is not known here is no condition, so the class always applies.
fn condition_named(name: &'static str) -> Condition {
    match name {
        "approves" => return Condition::Approves,
        "names-base" => return Condition::NamesBase,
        "creates-pull" => return Condition::CreatesPull,
        "ends-draft" => return Condition::EndsDraft,
        _ => {}
    }
    let mut parts = name.splitn(3, ':');
    let open_pulls = match parts.next() {
        Some("branch") => false,
        Some("branch-or-open-pull") => true,
        _ => return Condition::Always,
    };
    let place = match (parts.next(), parts.next()) {
        (Some("path"), Some(parameter)) => Place::Path(parameter),
        (Some("body"), Some("ref")) => Place::Ref("ref"),
        (Some("body"), Some(key)) => Place::Body(key),
        (Some("body-or-query"), Some(key)) => Place::BodyOrQuery(key),
        (Some("head"), _) => Place::Head,
        (Some("input"), Some(key)) => Place::Input(key),
        _ => return Condition::Always,
    };
    Condition::Branch { place, open_pulls }
}

fn parameter_names(template: &'static str) -> impl Iterator<Item = &'static str> {
    template.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

/// The numeric alias that a path starts with.
#[derive(Debug, Clone, Copy)]
enum Alias {
    None,
    Repository(u64),
    Organization(u64),
}

/// The path to look up, with `/repositories/{id}/…` and `/organizations/{id}/…` in the published form.
fn named_path(target: &Target) -> (Cow<'_, str>, Alias) {
    let segments = target.segments();
    let id = segments.get(1).and_then(|segment| decimal(segment.text()));
    let (head, alias) = match (segments.first().map(|segment| segment.text()), id) {
        (Some("repositories"), Some(id)) => ("/repos/-/-", Alias::Repository(id)),
        (Some("organizations"), Some(id)) => ("/orgs/-", Alias::Organization(id)),
        _ => return (Cow::Borrowed(target.path()), Alias::None),
    };
    let mut path = head.to_owned();
    for segment in &segments[2..] {
        path.push('/');
        path.push_str(segment.encoded());
    }
    (Cow::Owned(path), alias)
}

/// A plain decimal number; `+1`, `01` and the like are not ids.
pub fn decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !(text.len() > 1 && text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// Allows `%2F`, or a full-width slash, only where a name may hold it, and a double escape only in a parameter
/// that decides nothing.
fn check_parameter(name: &str, encoded: &str) -> Result<(), TargetError> {
    let holds_slash = ["%2F", "%EF%BC%8F", "%EF%BC%BC"].iter().any(|slash| encoded.contains(slash));
    if holds_slash && !SLASH_IN_NAME.contains(&name) {
        return Err(TargetError::EscapedSlash);
    }
    let doubled = encoded.split("%25").skip(1).any(|rest| {
        rest.len() >= 2 && rest.is_char_boundary(2) && rest[..2].bytes().all(|byte| byte.is_ascii_hexdigit())
    });
    if doubled && !FREE_TEXT.contains(&name) {
        return Err(TargetError::DoubleEscape);
    }
    Ok(())
}

/// Which repositories an operation reaches.
fn scope_of(
    operation: &Operation,
    params: &[(&'static str, String)],
    alias: Alias,
) -> Result<Scope, RouteError> {
    let param = |name: &str| params.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
    let template = operation.template;
    if template.starts_with("/repos/{owner}/{repo}") || template.starts_with("/agents/repos/{owner}/{repo}") {
        if let Alias::Repository(id) = alias {
            return Ok(Scope::RepositoryId(id));
        }
        return repository(param("owner").unwrap_or_default(), param("repo").unwrap_or_default());
    }
    if FOR_ALL.contains(&template) {
        return Ok(Scope::Everyone);
    }
    if template.starts_with("/search/") {
        return Ok(Scope::Search);
    }
    if template == "/installation/repositories" {
        return Ok(Scope::InstallationRepositories);
    }
    if let Alias::Organization(id) = alias {
        return Ok(Scope::OrganizationId(id));
    }
    let account = param("org").or_else(|| param("username")).filter(|account| is_account(account));
    Ok(Scope::Fleet(account.map(str::to_ascii_lowercase)))
}

fn repository(owner: &str, name: &str) -> Result<Scope, RouteError> {
    RepositoryName::new(owner, name)
        .map(Scope::Repository)
        .ok_or_else(|| RouteError::Name(format!("{owner}/{name}")))
}

/// An unlisted GET counts as a read if it lies under a repository; anything else is refused.
fn unlisted(method: &Method, target: &Target, alias: Alias) -> Result<Route, RouteError> {
    if *method != Method::GET {
        return Err(RouteError::Unknown);
    }
    let texts: Vec<&str> = target.segments().iter().map(|segment| segment.text()).collect();
    let (scope, rest) = match (texts.as_slice(), alias) {
        ([_, _, _, ..], Alias::Repository(id)) => (Scope::RepositoryId(id), 2),
        (["repos", owner, name, _, ..], _) => (repository(owner, name)?, 3),
        _ => return Err(RouteError::Unknown),
    };
    // Nothing that resembles a listed operation: GitHub may read `Compare` or `x.json` loosely.
    let is_plain = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    if !texts.get(rest).is_some_and(|first| is_plain(first)) {
        return Err(RouteError::Unknown);
    }
    for segment in &target.segments()[rest..] {
        if segment.has_escaped_slash() {
            return Err(TargetError::EscapedSlash.into());
        }
        if segment.has_double_escape() {
            return Err(TargetError::DoubleEscape.into());
        }
    }
    Ok(Route { operation: &UNLISTED_READ, scope, params: Vec::new() })
}

#[cfg(test)]
mod tests;
