//! The App and its installations, tokens, and accounts.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::access;
use crate::auth::Caller;
use crate::clock::iso;
use crate::config::TokenForm;
use crate::context::{Cx, texts};
use crate::exchange::{Answer, Reply};
use crate::tokens::{Grant, covers, fresh_token};
use crate::world::{Owner, OwnerKind, PERSONAL_LOGIN};

/// Most repositories that one token can be narrowed to.
const LISTED_MAX: usize = 500;

pub(crate) fn app(cx: &mut Cx<'_>) -> Answer {
    Ok(Reply::ok(cx.view().app(cx.app(), &cx.shared.config)))
}

pub(crate) fn installations(cx: &mut Cx<'_>) -> Answer {
    let owners = cx.state.world.owners.iter();
    let installed: Vec<&Owner> = owners.filter(|owner| owner.installation_id.is_some()).collect();
    let app = cx.app();
    Ok(cx.page(&installed, |view, owner| view.installation(owner, app, &cx.shared.config)))
}

pub(crate) fn installation(cx: &mut Cx<'_>) -> Answer {
    let id = cx.number("installation_id")?;
    let owner = cx.state.world.installation(cx.app(), id).ok_or_else(Reply::not_found)?;
    Ok(Reply::ok(cx.view().installation(owner, cx.app(), &cx.shared.config)))
}

/// The installation on an organization or user.
pub(crate) fn owner_installation(cx: &mut Cx<'_>) -> Answer {
    let owner = cx.state.world.owner(cx.param("org"));
    let owner = owner.filter(|owner| owner.installation_id.is_some());
    let owner = owner.ok_or_else(Reply::not_found)?;
    Ok(Reply::ok(cx.view().installation(owner, cx.app(), &cx.shared.config)))
}

pub(crate) fn repository_installation(cx: &mut Cx<'_>) -> Answer {
    let full_name = format!("{}/{}", cx.param("owner"), cx.param("repo"));
    let world = &cx.state.world;
    let Some(repository) = world.find(&full_name) else {
        let moved = world.find_former(&full_name).ok_or_else(Reply::not_found)?;
        return Err(access::redirect(cx.links(), cx.request, moved, "/installation"));
    };
    let owner = world.owner(&repository.owner).filter(|owner| owner.installation_id.is_some());
    let owner = owner.filter(|_| cx.shared.config.is_selected(cx.app(), &full_name));
    let owner = owner.ok_or_else(Reply::not_found)?;
    Ok(Reply::ok(cx.view().installation(owner, cx.app(), &cx.shared.config)))
}

/// `POST /app/installations/{id}/access_tokens`: all of the installation's rights, or fewer.
pub(crate) fn mint(cx: &mut Cx<'_>) -> Answer {
    let installation_id = cx.number("installation_id")?;
    let body = cx.request.json()?;
    let owner = cx.state.world.installation(cx.app(), installation_id).ok_or_else(Reply::not_found)?;
    if owner.is_suspended {
        return Err(Reply::error(403, "This installation has been suspended"));
    }
    let repositories = narrowed_repositories(cx, owner, &body)?;
    let permissions = narrowed_permissions(cx, &body)?;
    let form = match cx.request.header("x-github-stateless-s2s-token") {
        Some("enabled") => TokenForm::Stateless,
        Some("disabled") => TokenForm::Short,
        _ => cx.shared.config.token_form,
    };
    let expires_at = cx.now + cx.shared.config.token_lifetime_seconds;
    let token = fresh_token(form, cx.shared.config.app_id_of(cx.app()), expires_at);
    let mut answer = json!({
        "token": token,
        "expires_at": iso(expires_at),
        "permissions": permissions,
        "repository_selection": if repositories.is_some() { "selected" } else { "all" },
    });
    if let Some(ids) = &repositories {
        let world = &cx.state.world;
        let found = ids.iter().filter_map(|id| world.repositories.get(id));
        answer["repositories"] = found.map(|found| cx.view().repository(found)).collect();
    }
    let grant = Grant {
        installation_id,
        repositories,
        permissions,
        minted_at_ms: cx.now_ms,
        expires_at,
        is_revoked: false,
    };
    cx.state.tokens.add(&token, grant);
    cx.state.books.minted += 1;
    Ok(Reply::json(201, answer))
}

fn narrowed_repositories(
    cx: &Cx<'_>,
    owner: &Owner,
    body: &Map<String, Value>,
) -> Result<Option<BTreeSet<u64>>, Reply> {
    let members = ["repositories", "repository_ids"].map(|name| body.get(name));
    if members.iter().all(Option::is_none) {
        let selection = cx.shared.config.selection(cx.app());
        let id = |name: &String| cx.state.world.find(name).map(|found| found.id);
        return Ok(selection.map(|names| names.iter().filter_map(id).collect()));
    }
    if members.iter().flatten().any(|list| !list.is_array()) {
        return Err(Reply::error(422, "Invalid request."));
    }
    let names = texts(body, "repositories");
    let ids = body.get("repository_ids").and_then(Value::as_array);
    let beyond = || {
        Reply::error(
            422,
            "There is at least one repository that does not exist or is not accessible to the \
             parent installation.",
        )
    };
    let world = &cx.state.world;
    let listed = names.as_ref().map_or(0, Vec::len) + ids.map_or(0, Vec::len);
    if listed > LISTED_MAX {
        return Err(Reply::error(422, "Too many repositories were listed; the most is 500."));
    }
    let mut wanted = BTreeSet::new();
    for name in names.iter().flatten() {
        let full_name = format!("{}/{name}", owner.login);
        let found = world.find(&full_name).filter(|_| cx.shared.config.is_selected(cx.app(), &full_name));
        wanted.insert(found.ok_or_else(beyond)?.id);
    }
    for id in ids.into_iter().flatten() {
        let found = id.as_u64().and_then(|id| world.repositories.get(&id));
        let found = found.filter(|found| found.owner.eq_ignore_ascii_case(&owner.login));
        let found = found.filter(|found| cx.shared.config.is_selected(cx.app(), &found.full_name()));
        wanted.insert(found.ok_or_else(beyond)?.id);
    }
    Ok(Some(wanted))
}

fn narrowed_permissions(cx: &Cx<'_>, body: &Map<String, Value>) -> Result<BTreeMap<String, String>, Reply> {
    let held = &cx.shared.config.permissions;
    // PyGithub sends an empty object to ask for everything.
    let wanted = body.get("permissions").and_then(Value::as_object).filter(|wanted| !wanted.is_empty());
    let Some(wanted) = wanted else {
        return Ok(held.clone());
    };
    let mut narrowed = BTreeMap::new();
    for (name, level) in wanted {
        let level = level.as_str().unwrap_or_default();
        if !held.get(name).is_some_and(|held| covers(held, level)) {
            return Err(Reply::error(422, "The permissions requested are not granted to this installation."));
        }
        narrowed.insert(name.clone(), level.to_owned());
    }
    // Every token can read metadata, requested or not.
    narrowed.entry("metadata".to_owned()).or_insert_with(|| "read".to_owned());
    Ok(narrowed)
}

/// `DELETE /installation/token`: the token revokes itself.
pub(crate) fn revoke(cx: &mut Cx<'_>) -> Answer {
    if let Caller::Installation { token, .. } = &cx.caller {
        cx.state.tokens.revoke(token);
        cx.state.books.revoked += 1;
    }
    Ok(Reply::no_content())
}

/// `GET /installation/repositories`.
pub(crate) fn repositories(cx: &mut Cx<'_>) -> Answer {
    let ids = access::own_repositories(cx);
    Ok(cx.counted_page("repositories", &ids, |view, id| view.repository(&view.world.repositories[id])))
}

/// `GET /user/repos` of a personal token.
pub(crate) fn own_repositories(cx: &mut Cx<'_>) -> Answer {
    let ids = access::own_repositories(cx);
    Ok(cx.page(&ids, |view, id| view.repository(&view.world.repositories[id])))
}

/// The repositories of an organization or user that the caller sees.
pub(crate) fn owner_repositories(cx: &mut Cx<'_>) -> Answer {
    let world = &cx.state.world;
    let owner = world.owner(cx.param("org")).ok_or_else(Reply::not_found)?;
    let seen = world
        .repositories_of(&owner.login)
        .filter(|repository| access::sight(world, &cx.caller, repository) != access::Sight::Hidden);
    let ids: Vec<u64> = seen.map(|repository| repository.id).collect();
    Ok(cx.page(&ids, |view, id| view.repository(&view.world.repositories[id])))
}

pub(crate) fn user(cx: &mut Cx<'_>) -> Answer {
    let login = cx.param("org");
    let known = cx.state.world.owner(login).map(|owner| owner.login.clone());
    let login = known
        .or_else(|| (login == PERSONAL_LOGIN).then(|| login.to_owned()))
        .or_else(|| login.ends_with("[bot]").then(|| login.to_owned()));
    Ok(Reply::ok(cx.view().full_user(&login.ok_or_else(Reply::not_found)?)))
}

pub(crate) fn own_user(cx: &mut Cx<'_>) -> Answer {
    Ok(Reply::ok(cx.view().full_user(PERSONAL_LOGIN)))
}

pub(crate) fn organization(cx: &mut Cx<'_>) -> Answer {
    let owner = cx.state.world.owner(cx.param("org"));
    let owner = owner.filter(|owner| owner.kind == OwnerKind::Organization);
    Ok(Reply::ok(cx.view().organization(owner.ok_or_else(Reply::not_found)?)))
}
