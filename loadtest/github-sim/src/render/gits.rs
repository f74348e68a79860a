//! Commits, trees, blobs, refs, file contents and diffs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::clock::iso;
use crate::render::{View, commit_node_id, html_url, ref_node_id};
use crate::world::git::{Change, Commit, Git, Person, TreeEntry};
use crate::world::{PERSONAL_LOGIN, Repository};

/// The URL of an object below a repository.
pub(crate) fn object_url(base: &str, kind: &str, id: &str) -> String {
    format!("{base}/{kind}/{id}")
}

/// GitHub's `verification` of an unsigned commit.
pub(crate) fn verification() -> Value {
    json!({
        "verified": false,
        "reason": "unsigned",
        "signature": null,
        "payload": null,
        "verified_at": null,
    })
}

fn person(person: &Person) -> Value {
    json!({"name": person.name, "email": person.email, "date": iso(person.at)})
}

impl View<'_> {
    /// A commit as in the commits API.
    pub(crate) fn commit(&self, repository: &Repository, commit: &Commit) -> Value {
        let base = self.repository_url(repository);
        let html = html_url(repository);
        let parent = |id: &String| {
            json!({
                "sha": id,
                "url": object_url(&base, "commits", id),
                "html_url": format!("{html}/commit/{id}"),
            })
        };
        json!({
            "sha": commit.id,
            "node_id": commit_node_id(repository, &commit.id),
            "commit": {
                "author": person(&commit.author),
                "committer": person(&commit.committer),
                "message": commit.message,
                "tree": {
                    "sha": commit.tree,
                    "url": object_url(&base, "git/trees", &commit.tree),
                },
                "url": object_url(&base, "git/commits", &commit.id),
                "comment_count": 0,
                "verification": verification(),
            },
            "url": object_url(&base, "commits", &commit.id),
            "html_url": format!("{html}/commit/{}", commit.id),
            "comments_url": format!("{base}/commits/{}/comments", commit.id),
            "author": self.user(PERSONAL_LOGIN),
            "committer": self.user(PERSONAL_LOGIN),
            "parents": commit.parents.iter().map(parent).collect::<Value>(),
        })
    }

    /// A single commit, with its files.
    pub(crate) fn full_commit(&self, repository: &Repository, commit: &Commit) -> Value {
        let mut object = self.commit(repository, commit);
        let changes = changes_of(&repository.git, commit);
        let files: Vec<Value> =
            changes.iter().map(|change| self.file(repository, &commit.id, change)).collect();
        let sum = |name: &str| files.iter().filter_map(|file| file[name].as_u64()).sum::<u64>();
        let (additions, deletions) = (sum("additions"), sum("deletions"));
        object["stats"] =
            json!({"total": additions + deletions, "additions": additions, "deletions": deletions});
        object["files"] = Value::Array(files);
        object
    }

    /// A commit as in the Git database API.
    pub(crate) fn git_commit(&self, repository: &Repository, commit: &Commit) -> Value {
        let full = self.commit(repository, commit);
        json!({
            "sha": commit.id,
            "node_id": full["node_id"],
            "url": full["commit"]["url"],
            "html_url": full["html_url"],
            "author": full["commit"]["author"],
            "committer": full["commit"]["committer"],
            "tree": full["commit"]["tree"],
            "message": commit.message,
            "parents": full["parents"],
            "verification": verification(),
        })
    }

    /// A changed file, in commits, comparisons and pull requests.
    pub(crate) fn file(&self, repository: &Repository, commit: &str, change: &Change) -> Value {
        let base = self.repository_url(repository);
        let html = html_url(repository);
        let blob = change.after.as_ref().or(change.before.as_ref()).cloned().unwrap_or_default();
        let (patch, additions, deletions) = patch(&repository.git, change);
        json!({
            "sha": blob,
            "filename": change.path,
            "status": change.status(),
            "additions": additions,
            "deletions": deletions,
            "changes": additions + deletions,
            "blob_url": format!("{html}/blob/{commit}/{}", change.path),
            "raw_url": format!("{html}/raw/{commit}/{}", change.path),
            "contents_url": format!("{base}/contents/{}?ref={commit}", change.path),
            "patch": patch,
        })
    }

    pub(crate) fn git_ref(&self, repository: &Repository, name: &str, sha: &str) -> Value {
        let base = self.repository_url(repository);
        json!({
            "ref": name,
            "node_id": ref_node_id(repository, name),
            "url": format!("{base}/git/{}", name.replace('%', "%25")),
            "object": {"type": "commit", "sha": sha, "url": object_url(&base, "git/commits", sha)},
        })
    }

    pub(crate) fn tree_entry(&self, repository: &Repository, path: &str, entry: &TreeEntry) -> Value {
        let base = self.repository_url(repository);
        let kind = if entry.is_tree() { "git/trees" } else { "git/blobs" };
        let mut object = json!({
            "path": path,
            "mode": entry.mode,
            "type": entry.kind(),
            "sha": entry.id,
            "url": object_url(&base, kind, &entry.id),
        });
        if let Some(blob) = repository.git.blob(&entry.id) {
            object["size"] = json!(blob.len());
        }
        object
    }

    /// A file or directory of the contents API; `with_content` adds the base64.
    pub(crate) fn content(
        &self,
        repository: &Repository,
        path: &str,
        reference: &str,
        entry: &TreeEntry,
        with_content: bool,
    ) -> Value {
        let base = self.repository_url(repository);
        let html = html_url(repository);
        let spelled = path.replace('%', "%25").replace(' ', "%20").replace(';', "%3B");
        let url = format!("{base}/contents/{spelled}?ref={reference}");
        let (kind, git_kind, page) = match entry.kind() {
            "tree" => ("dir", "git/trees", "tree"),
            _ => ("file", "git/blobs", "blob"),
        };
        let git_url = object_url(&base, git_kind, &entry.id);
        let html_url = format!("{html}/{page}/{reference}/{spelled}");
        let blob = repository.git.blob(&entry.id);
        let download_url = blob.map(|_| {
            let name = repository.full_name();
            format!("https://raw.githubusercontent.com/{name}/{reference}/{spelled}")
        });
        let mut object = json!({
            "name": path.rsplit('/').next().unwrap_or(path),
            "path": path,
            "sha": entry.id,
            "size": blob.map_or(0, bytes::Bytes::len),
            "url": url,
            "html_url": html_url,
            "git_url": git_url,
            "download_url": download_url,
            "type": kind,
            "_links": {"self": url, "git": git_url, "html": html_url},
        });
        if let Some(blob) = blob.filter(|_| with_content) {
            object["content"] = json!(base64_lines(blob));
            object["encoding"] = json!("base64");
        }
        object
    }
}

/// Base64 in lines of 60 characters, as GitHub wraps it.
pub(crate) fn base64_lines(bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let mut lines = String::with_capacity(text.len() + text.len() / 60 + 1);
    for (index, symbol) in text.chars().enumerate() {
        if index > 0 && index % 60 == 0 {
            lines.push('\n');
        }
        lines.push(symbol);
    }
    lines.push('\n');
    lines
}

/// What a commit changed against its first parent.
pub(crate) fn changes_of(git: &Git, commit: &Commit) -> Vec<Change> {
    let parent = commit.parents.first().and_then(|id| git.commit(id));
    git.changes(parent.map(|parent| parent.tree.as_str()), &commit.tree)
}

/// A patch that replaces the whole file, with the counts of added and removed lines.
fn patch(git: &Git, change: &Change) -> (String, usize, usize) {
    let lines = |id: &Option<String>| -> Vec<String> {
        let blob = id.as_ref().and_then(|id| git.blob(id));
        let text = blob.map(|blob| String::from_utf8_lossy(blob).into_owned()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    let (before, after) = (lines(&change.before), lines(&change.after));
    let mut patch = format!(
        "@@ -{},{} +{},{} @@",
        usize::from(!before.is_empty()),
        before.len(),
        usize::from(!after.is_empty()),
        after.len()
    );
    for line in &before {
        patch.push_str(&format!("\n-{line}"));
    }
    for line in &after {
        patch.push_str(&format!("\n+{line}"));
    }
    (patch, after.len(), before.len())
}

/// A list of changes in the form of `git diff`.
pub(crate) fn diff_text(git: &Git, changes: &[Change]) -> String {
    let mut text = String::new();
    for change in changes {
        let path = &change.path;
        let side = |id: &Option<String>, letter: &str| match id {
            Some(_) => format!("{letter}/{path}"),
            None => "/dev/null".to_owned(),
        };
        text.push_str(&format!(
            "diff --git a/{path} b/{path}\n--- {}\n+++ {}\n{}\n",
            side(&change.before, "a"),
            side(&change.after, "b"),
            patch(git, change).0
        ));
    }
    text
}
