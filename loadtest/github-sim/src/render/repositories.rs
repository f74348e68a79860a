//! Repositories, labels, branches.

use serde_json::{Map, Value, json};

use crate::clock::iso;
use crate::render::{View, html_url, label_id, object_url, repository_node_id};
use crate::world::{Repository, SEED_EPOCH};

/// Members whose value is the repository's URL plus this suffix.
const URLS: [(&str, &str); 37] = [
    ("archive_url", "/{archive_format}{/ref}"),
    ("assignees_url", "/assignees{/user}"),
    ("blobs_url", "/git/blobs{/sha}"),
    ("branches_url", "/branches{/branch}"),
    ("collaborators_url", "/collaborators{/collaborator}"),
    ("comments_url", "/comments{/number}"),
    ("commits_url", "/commits{/sha}"),
    ("compare_url", "/compare/{base}...{head}"),
    ("contents_url", "/contents/{+path}"),
    ("contributors_url", "/contributors"),
    ("deployments_url", "/deployments"),
    ("downloads_url", "/downloads"),
    ("events_url", "/events"),
    ("forks_url", "/forks"),
    ("git_commits_url", "/git/commits{/sha}"),
    ("git_refs_url", "/git/refs{/sha}"),
    ("git_tags_url", "/git/tags{/sha}"),
    ("hooks_url", "/hooks"),
    ("issue_comment_url", "/issues/comments{/number}"),
    ("issue_events_url", "/issues/events{/number}"),
    ("issues_url", "/issues{/number}"),
    ("keys_url", "/keys{/key_id}"),
    ("labels_url", "/labels{/name}"),
    ("languages_url", "/languages"),
    ("merges_url", "/merges"),
    ("milestones_url", "/milestones{/number}"),
    ("notifications_url", "/notifications{?since,all,participating}"),
    ("pulls_url", "/pulls{/number}"),
    ("releases_url", "/releases{/id}"),
    ("stargazers_url", "/stargazers"),
    ("statuses_url", "/statuses/{sha}"),
    ("subscribers_url", "/subscribers"),
    ("subscription_url", "/subscription"),
    ("tags_url", "/tags"),
    ("teams_url", "/teams"),
    ("trees_url", "/git/trees{/sha}"),
    ("url", ""),
];

impl View<'_> {
    /// A repository as in lists and in other objects.
    pub(crate) fn repository(&self, repository: &Repository) -> Value {
        let base = self.repository_url(repository);
        let html = html_url(repository);
        let full_name = repository.full_name();
        let mut object = Map::new();
        for (name, suffix) in URLS {
            object.insert(name.to_owned(), Value::String(format!("{base}{suffix}")));
        }
        let open = repository.issues.values().filter(|issue| issue.is_open).count();
        let visibility = if repository.private { "private" } else { "public" };
        let rest = json!({
            "id": repository.id,
            "node_id": repository_node_id(repository),
            "name": repository.name,
            "full_name": full_name,
            "private": repository.private,
            "visibility": visibility,
            "owner": self.user(&repository.owner),
            "html_url": html,
            "description": repository.description,
            "fork": repository.parent.is_some(),
            "created_at": iso(SEED_EPOCH),
            "updated_at": iso(repository.updated_at),
            "pushed_at": iso(repository.updated_at),
            "git_url": format!("git://github.com/{full_name}.git"),
            "ssh_url": format!("git@github.com:{full_name}.git"),
            "clone_url": format!("{html}.git"),
            "svn_url": html,
            "mirror_url": null,
            "homepage": null,
            "size": 108,
            "stargazers_count": 0,
            "watchers_count": 0,
            "watchers": 0,
            "language": "Rust",
            "has_issues": true,
            "has_projects": true,
            "has_wiki": true,
            "has_pages": false,
            "has_discussions": false,
            "forks_count": 0,
            "forks": 0,
            "archived": repository.archived,
            "disabled": false,
            "open_issues_count": open,
            "open_issues": open,
            "license": null,
            "allow_forking": true,
            "is_template": false,
            "web_commit_signoff_required": false,
            "topics": [],
            "default_branch": repository.default_branch,
            "permissions":
                {"admin": false, "maintain": false, "push": true, "triage": true, "pull": true},
        });
        if let Value::Object(rest) = rest {
            object.extend(rest);
        }
        if !self.is_2026() {
            object.insert("has_downloads".to_owned(), json!(true));
        }
        Value::Object(object)
    }

    /// A single repository.
    pub(crate) fn full_repository(&self, repository: &Repository) -> Value {
        let mut object = self.repository(repository);
        for name in ["allow_squash_merge", "allow_merge_commit", "allow_rebase_merge"] {
            object[name] = json!(true);
        }
        object["allow_auto_merge"] = json!(true);
        for name in ["allow_update_branch", "delete_branch_on_merge"] {
            object[name] = json!(false);
        }
        object["network_count"] = json!(0);
        let parent = repository.parent.as_deref().and_then(|parent| self.world.find(parent));
        for member in parent.iter().flat_map(|_| ["parent", "source"]) {
            object[member] = parent.map(|parent| self.repository(parent)).into();
        }
        object["subscribers_count"] = json!(1);
        if self.world.owner(&repository.owner).is_some_and(|owner| owner.installation_id.is_some()) {
            object["organization"] = self.user(&repository.owner);
        }
        object
    }

    pub(crate) fn label(&self, repository: &Repository, name: &str) -> Value {
        let id = label_id(repository, name);
        let color = repository.labels.get(name).map_or("ededed", String::as_str);
        json!({
            "id": id,
            "node_id": format!("LA_kwDO{id}"),
            "url": format!("{}/labels/{name}", self.repository_url(repository)),
            "name": name,
            "color": color,
            "default": name == "bug",
            "description": null,
        })
    }

    /// A branch as in lists.
    pub(crate) fn branch(&self, repository: &Repository, name: &str, sha: &str) -> Value {
        let is_protected = repository.protected.contains(name);
        let base = self.repository_url(repository);
        let spelled = name.replace('%', "%25");
        json!({
            "name": name,
            "commit": {"sha": sha, "url": object_url(&base, "commits", sha)},
            "protected": is_protected,
            "protection": {
                "enabled": is_protected,
                "required_status_checks":
                    {"enforcement_level": "off", "contexts": [], "checks": []},
            },
            "protection_url": format!("{base}/branches/{spelled}/protection"),
        })
    }

    /// A single branch.
    pub(crate) fn full_branch(&self, repository: &Repository, name: &str, sha: &str) -> Value {
        let mut object = self.branch(repository, name, sha);
        if let Some(commit) = repository.git.commit(sha) {
            object["commit"] = self.commit(repository, commit);
        }
        object["_links"] = json!({
            "self": format!("{}/branches/{name}", self.repository_url(repository)),
            "html": format!("{}/tree/{name}", html_url(repository)),
        });
        object
    }
}
