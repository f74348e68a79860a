//! Users, organizations, the App and its installations.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::auth::PERSONAL_ID;
use crate::clock::iso;
use crate::config::{INSTALLATION_STEP, SimConfig};
use crate::render::View;
use crate::world::{BOT_LOGIN, Owner, OwnerKind, SEED_EPOCH};

impl View<'_> {
    /// The short form of an account, as it stands in other objects.
    pub(crate) fn user(&self, login: &str) -> Value {
        let owner = self.world.owner(login);
        let (id, kind, prefix) = match owner {
            Some(owner) if owner.kind == OwnerKind::Organization => (owner.id, "Organization", "O_kgDO"),
            Some(owner) => (owner.id, "User", "U_kgDO"),
            None if login == BOT_LOGIN => (9100, "Bot", "BOT_kgDO"),
            None => (PERSONAL_ID, "User", "U_kgDO"),
        };
        let url = format!("{}/users/{}", self.links.api, login.replace('[', "%5B").replace(']', "%5D"));
        json!({
            "login": login,
            "id": id,
            "node_id": format!("{prefix}{id}"),
            "avatar_url": format!("https://avatars.githubusercontent.com/u/{id}?v=4"),
            "gravatar_id": "",
            "url": url,
            "html_url": format!("https://github.com/{login}"),
            "followers_url": format!("{url}/followers"),
            "following_url": format!("{url}/following{{/other_user}}"),
            "gists_url": format!("{url}/gists{{/gist_id}}"),
            "starred_url": format!("{url}/starred{{/owner}}{{/repo}}"),
            "subscriptions_url": format!("{url}/subscriptions"),
            "organizations_url": format!("{url}/orgs"),
            "repos_url": format!("{url}/repos"),
            "events_url": format!("{url}/events{{/privacy}}"),
            "received_events_url": format!("{url}/received_events"),
            "type": kind,
            "user_view_type": "public",
            "site_admin": false,
        })
    }

    /// The full form of an account.
    pub(crate) fn full_user(&self, login: &str) -> Value {
        let mut user = self.user(login);
        let repositories = self.world.repositories_of(login);
        user["name"] = json!(login);
        user["company"] = Value::Null;
        user["blog"] = json!("");
        user["location"] = Value::Null;
        user["email"] = Value::Null;
        user["bio"] = Value::Null;
        user["public_repos"] = json!(repositories.filter(|repository| !repository.private).count());
        user["public_gists"] = json!(0);
        user["followers"] = json!(0);
        user["following"] = json!(0);
        user["created_at"] = json!(iso(SEED_EPOCH));
        user["updated_at"] = json!(iso(SEED_EPOCH));
        user
    }

    pub(crate) fn organization(&self, owner: &Owner) -> Value {
        let url = format!("{}/orgs/{}", self.links.api, owner.login);
        json!({
            "login": owner.login,
            "id": owner.id,
            "node_id": format!("O_kgDO{}", owner.id),
            "url": url,
            "repos_url": format!("{url}/repos"),
            "events_url": format!("{url}/events"),
            "hooks_url": format!("{url}/hooks"),
            "issues_url": format!("{url}/issues"),
            "members_url": format!("{url}/members{{/member}}"),
            "public_members_url": format!("{url}/public_members{{/member}}"),
            "avatar_url": format!("https://avatars.githubusercontent.com/u/{}?v=4", owner.id),
            "description": null,
            "name": owner.login,
            "has_organization_projects": true,
            "has_repository_projects": true,
            "public_repos": 0,
            "public_gists": 0,
            "followers": 0,
            "following": 0,
            "html_url": format!("https://github.com/{}", owner.login),
            "type": "Organization",
            "created_at": iso(SEED_EPOCH),
            "updated_at": iso(SEED_EPOCH),
        })
    }

    pub(crate) fn installation(&self, owner: &Owner, app: usize, config: &SimConfig) -> Value {
        let id = owner.installation_id.unwrap_or(0) + INSTALLATION_STEP * app as u64;
        let is_organization = owner.kind == OwnerKind::Organization;
        let html_url = if is_organization {
            format!("https://github.com/organizations/{}/settings/installations/{id}", owner.login)
        } else {
            format!("https://github.com/settings/installations/{id}")
        };
        json!({
            "id": id,
            "client_id": config.client_id,
            "account": self.user(&owner.login),
            "repository_selection": if config.selection(app).is_some() { "selected" } else { "all" },
            "access_tokens_url":
                format!("{}/app/installations/{id}/access_tokens", self.links.api),
            "repositories_url": format!("{}/installation/repositories", self.links.api),
            "html_url": html_url,
            "app_id": config.app_id_of(app),
            "app_slug": "github-sim",
            "target_id": owner.id,
            "target_type": if is_organization { "Organization" } else { "User" },
            "permissions": config.permissions,
            "events": config.events,
            "created_at": iso(SEED_EPOCH),
            "updated_at": iso(SEED_EPOCH),
            "single_file_name": null,
            "has_multiple_single_files": false,
            "single_file_paths": [],
            "suspended_by": null,
            "suspended_at": owner.is_suspended.then(|| iso(SEED_EPOCH)),
        })
    }

    pub(crate) fn app(&self, app: usize, config: &SimConfig) -> Value {
        let id = config.app_id_of(app);
        let permissions: &BTreeMap<String, String> = &config.permissions;
        let installed = self.world.owners.iter().filter(|owner| owner.installation_id.is_some());
        json!({
            "id": id,
            "client_id": config.client_id,
            "slug": "github-sim",
            "node_id": format!("A_kwDO{id}"),
            "owner": self.user("acme"),
            "name": "github-sim",
            "description": "",
            "external_url": "https://example.com",
            "html_url": "https://github.com/apps/github-sim",
            "created_at": iso(SEED_EPOCH),
            "updated_at": iso(SEED_EPOCH),
            "permissions": permissions,
            "events": config.events,
            "installations_count": installed.count(),
        })
    }
}
