//! Whether a caller may use a route on a repository.
//!
//! GitHub answers 404 for what a token cannot see, 403 with `x-accepted-github-permissions` for what
//! it can see but not do, and 301 or 307 for a repository that has moved. Source: docs.github.com,
//! "Troubleshooting the REST API".

use crate::auth::{Caller, UNDECODABLE, bad_credentials};
use crate::context::Cx;
use crate::exchange::{Reply, Request};
use crate::routes::Need;
use crate::server::{Links, Shared, State};
use crate::tokens::{Grant, covers};
use crate::world::{Repository, World, app_of_installation};

/// GitHub's 403 for an App that lacks a permission.
pub(crate) const NOT_ACCESSIBLE: &str = "Resource not accessible by integration";

/// Checks what the route requires and settles which repository it concerns.
pub(crate) fn check(cx: &mut Cx<'_>) -> Result<(), Reply> {
    let need = cx.route.need;
    match (need, &cx.caller) {
        (Need::Public, _) | (Need::App, Caller::App(_)) => Ok(()),
        (Need::Token | Need::Installation, Caller::Installation { .. })
        | (Need::Token | Need::User, Caller::Personal) => Ok(()),
        (Need::App, Caller::Anonymous | Caller::Installation { .. } | Caller::Personal) => {
            Err(Reply::error(401, UNDECODABLE))
        }
        (_, Caller::Anonymous) => Err(Reply::error(401, "Requires authentication")),
        (_, Caller::App(_)) => Err(bad_credentials()),
        (Need::User, Caller::Installation { .. }) => Err(Reply::error(403, NOT_ACCESSIBLE)),
        (Need::Installation, Caller::Personal) => Err(Reply::error(
            403,
            "You must authenticate with an installation access token in order to list \
             repositories for an installation.",
        )),
        (Need::Repo(wanted), _) => check_repository(cx, wanted),
    }
}

/// How much of a repository a caller sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// The caller's own.
    Own,
    /// It is public.
    Public,
    /// Treated as if it did not exist.
    Hidden,
}

/// What a caller sees of a repository.
pub(crate) fn sight(world: &World, caller: &Caller, repository: &Repository) -> Sight {
    let is_own = match caller {
        Caller::Installation { grant, .. } => grant_covers(world, grant, repository),
        Caller::Personal => {
            world.owner(&repository.owner).is_some_and(|owner| owner.installation_id.is_some())
        }
        Caller::Anonymous | Caller::App(_) => false,
    };
    match (is_own, repository.private) {
        (true, _) => Sight::Own,
        (false, false) => Sight::Public,
        (false, true) => Sight::Hidden,
    }
}

fn grant_covers(world: &World, grant: &Grant, repository: &Repository) -> bool {
    let owner = world.owner(&repository.owner);
    owner.is_some_and(|owner| owner.installation_id == Some(app_of_installation(grant.installation_id).1))
        && grant.repositories.as_ref().is_none_or(|ids| ids.contains(&repository.id))
}

fn check_repository(cx: &mut Cx<'_>, wanted: &'static str) -> Result<(), Reply> {
    let full_name = format!("{}/{}", cx.param("owner"), cx.param("repo"));
    let world = &cx.state.world;
    let Some(repository) = world.find(&full_name) else {
        return Err(unknown_path(cx.shared, cx.state, cx.request, &cx.path, &cx.caller));
    };
    let sight = sight(world, &cx.caller, repository);
    let is_archived = repository.archived;
    cx.repository_id = repository.id;
    if sight == Sight::Hidden {
        return Err(Reply::not_found());
    }
    let is_write = !matches!(cx.request.method.as_str(), "GET" | "HEAD");
    if sight == Sight::Public && !is_write {
        return Ok(());
    }
    if sight == Sight::Public || !cx.permits(wanted) {
        return Err(forbidden(&cx.caller, wanted));
    }
    if is_archived && is_write && cx.route.template != "/repos/{owner}/{repo}" {
        return Err(Reply::error(403, "Repository was archived so is read-only."));
    }
    Ok(())
}

/// GitHub's 403 with the permissions that would be sufficient.
pub(crate) fn forbidden(caller: &Caller, wanted: &str) -> Reply {
    let message = match caller {
        Caller::Personal => "Resource not accessible by personal access token",
        Caller::Anonymous | Caller::App(_) | Caller::Installation { .. } => NOT_ACCESSIBLE,
    };
    Reply::error(403, message).header("x-accepted-github-permissions", wanted)
}

/// Whether permissions satisfy an expression in the form of `x-accepted-github-permissions`: commas mean "and",
/// semicolons separate alternatives.
pub(crate) fn grant_permits(grant: &Grant, wanted: &str) -> bool {
    wanted.split(';').any(|alternative| {
        alternative.split(',').all(|part| {
            let (name, level) = part.trim().split_once('=').unwrap_or((part.trim(), "read"));
            grant.permissions.get(name).is_some_and(|held| covers(held, level))
        })
    })
}

/// The answer to a path that no route has; a moved repository redirects there too.
pub(crate) fn unknown_path(
    shared: &Shared,
    state: &State,
    request: &Request,
    path: &str,
    caller: &Caller,
) -> Reply {
    let rest = path.strip_prefix("/repos/").unwrap_or_default();
    let mut parts = rest.splitn(3, '/');
    let full_name = [parts.next(), parts.next()].map(Option::unwrap_or_default).join("/");
    let tail = parts.next().map(|tail| format!("/{tail}")).unwrap_or_default();
    let former = state.world.find_former(&full_name);
    let moved = former.filter(|former| sight(&state.world, caller, former) != Sight::Hidden);
    moved.map_or_else(Reply::not_found, |moved| redirect(&shared.links, request, moved, &tail))
}

/// The new location of a repository: 301 for GET and HEAD, 307 for the rest.
pub(crate) fn redirect(links: &Links, request: &Request, moved: &Repository, rest: &str) -> Reply {
    let query = request.raw_query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    let url = format!("{}/repositories/{}{rest}{query}", links.api, moved.id);
    let status = if matches!(request.method.as_str(), "GET" | "HEAD") { 301 } else { 307 };
    let body = serde_json::json!({
        "message": "Moved Permanently",
        "url": url,
        "documentation_url": "https://docs.github.com/rest/guides/best-practices-for-using-the-rest-api#follow-redirects",
    });
    Reply::json(status, body).header("location", &url)
}

/// The repositories that a listing shows to a caller, by id.
pub(crate) fn own_repositories(cx: &Cx<'_>) -> Vec<u64> {
    let world = &cx.state.world;
    let all = world.repositories.values();
    all.filter(|repository| sight(world, &cx.caller, repository) == Sight::Own)
        .map(|repository| repository.id)
        .collect()
}
