//! The Git database: refs, trees, commits, blobs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::context::{Cx, flag, required, text};
use crate::exchange::{Answer, Reply};
use crate::handlers::contents::check_workflow;
use crate::render::gits::base64_lines;
use crate::world::Repository;
use crate::world::git::{FILE_MODE, Files, Person, TreeEntry};
use crate::world::refs::RefRefusal;

/// The full name of the `ref` parameter, which lacks `refs/`.
fn ref_name(cx: &Cx<'_>) -> String {
    format!("refs/{}", cx.param("ref"))
}

pub(crate) fn refs(cx: &mut Cx<'_>) -> Answer {
    list_refs(cx, "refs/")
}

pub(crate) fn matching_refs(cx: &mut Cx<'_>) -> Answer {
    let prefix = ref_name(cx);
    list_refs(cx, &prefix)
}

fn list_refs(cx: &Cx<'_>, prefix: &str) -> Answer {
    let repository = cx.repository();
    let all = repository.git.refs.iter();
    let matching: Vec<(&String, &String)> = all.filter(|(name, _)| name.starts_with(prefix)).collect();
    Ok(cx.page(&matching, |view, (name, sha)| view.git_ref(repository, name, sha)))
}

pub(crate) fn read_ref(cx: &mut Cx<'_>) -> Answer {
    let name = ref_name(cx);
    let repository = cx.repository();
    let sha = repository.git.refs.get(&name).ok_or_else(Reply::not_found)?;
    Ok(Reply::ok(cx.view().git_ref(repository, &name, sha)))
}

pub(crate) fn create_ref(cx: &mut Cx<'_>) -> Answer {
    let body = cx.request.json()?;
    let (name, sha) = (required(&body, "ref")?, required(&body, "sha")?);
    let now = cx.now;
    let repository = cx.repository_mut();
    repository.check_new_ref(&name, &sha).map_err(refused)?;
    repository.set_ref(&name, &sha, now);
    Ok(Reply::created(cx.view().git_ref(cx.repository(), &name, &sha)))
}

/// `PATCH …/git/refs/{ref}`: moves a ref; only forward, unless `force` is set.
pub(crate) fn change_ref(cx: &mut Cx<'_>) -> Answer {
    let name = ref_name(cx);
    let body = cx.request.json()?;
    let sha = required(&body, "sha")?;
    let now = cx.now;
    let repository = cx.repository_mut();
    repository.check_move(&name, &sha, flag(&body, "force")).map_err(refused)?;
    repository.set_ref(&name, &sha, now);
    Ok(Reply::ok(cx.view().git_ref(cx.repository(), &name, &sha)))
}

/// `DELETE …/git/refs/{ref}`: also closes pull requests from or into the branch.
pub(crate) fn remove_ref(cx: &mut Cx<'_>) -> Answer {
    let (name, now) = (ref_name(cx), cx.now);
    cx.repository_mut().delete_ref(&name, now).map_err(refused)?;
    Ok(Reply::no_content())
}

fn refused(refusal: RefRefusal) -> Reply {
    Reply::error(422, refusal.message())
}

pub(crate) fn read_tree(cx: &mut Cx<'_>) -> Answer {
    let repository = cx.repository();
    let name = cx.param("tree");
    let by_commit = repository.git.resolve(name).map(|commit| commit.tree.as_str());
    let id = by_commit.unwrap_or(name);
    repository.git.tree(id).ok_or_else(Reply::not_found)?;
    Ok(Reply::ok(tree(cx, id, cx.request.query("recursive").is_some())))
}

fn tree(cx: &Cx<'_>, id: &str, is_recursive: bool) -> Value {
    let repository = cx.repository();
    let mut entries = Vec::new();
    collect(repository, id, "", is_recursive, &mut entries);
    let view = cx.view();
    let entries = entries.iter().map(|(path, entry)| view.tree_entry(repository, path, entry));
    json!({
        "sha": id,
        "url": format!("{}/git/trees/{id}", view.repository_url(repository)),
        "tree": entries.collect::<Value>(),
        "truncated": false,
    })
}

fn collect<'a>(
    repository: &'a Repository,
    id: &str,
    prefix: &str,
    is_recursive: bool,
    entries: &mut Vec<(String, &'a TreeEntry)>,
) {
    for entry in repository.git.tree(id).unwrap_or_default() {
        let path = format!("{prefix}{}", entry.name);
        entries.push((path.clone(), entry));
        if is_recursive && entry.is_tree() {
            collect(repository, &entry.id, &format!("{path}/"), true, entries);
        }
    }
}

/// `POST …/git/trees`: entries with `path`, `mode` and `sha` or `content`, on top of `base_tree`.
pub(crate) fn create_tree(cx: &mut Cx<'_>) -> Answer {
    let body = cx.request.json()?;
    let entries = body.get("tree").and_then(Value::as_array).cloned();
    let entries = entries.ok_or_else(|| Reply::error(422, "Invalid tree info"))?;
    for entry in &entries {
        check_workflow(cx, entry["path"].as_str().unwrap_or_default())?;
    }
    let git = &mut cx.repository_mut().git;
    let mut files = match text(&body, "base_tree") {
        Some(base) => {
            let tree = git.resolve(&base).map_or(base, |commit| commit.tree.clone());
            git.tree(&tree).ok_or_else(|| Reply::error(422, "base_tree is not a valid tree oid"))?;
            git.files(&tree)
        }
        None => Files::new(),
    };
    for entry in &entries {
        let path = entry["path"].as_str().unwrap_or_default().to_owned();
        let mode = entry["mode"].as_str().unwrap_or(FILE_MODE).to_owned();
        let sha = entry["sha"].as_str().map(str::to_owned);
        match (entry["content"].as_str(), sha) {
            (Some(content), _) => {
                let blob = git.add_blob(content.to_owned());
                files.insert(path, (mode, blob));
            }
            (None, Some(sha)) if git.blob(&sha).is_some() => {
                files.insert(path, (mode, sha));
            }
            (None, Some(sha)) if git.tree(&sha).is_some() => {
                for (inner, file) in git.files(&sha) {
                    files.insert(format!("{path}/{inner}"), file);
                }
            }
            (None, Some(sha)) => {
                return Err(Reply::error(422, &format!("tree.sha {sha} is not a valid blob")));
            }
            (None, None) => {
                files.remove(&path);
            }
        }
    }
    let id = git.add_files(&files);
    Ok(Reply::created(tree(cx, &id, false)))
}

pub(crate) fn read_commit(cx: &mut Cx<'_>) -> Answer {
    let repository = cx.repository();
    let commit = repository.git.commit(cx.param("sha")).ok_or_else(Reply::not_found)?;
    Ok(Reply::ok(cx.view().git_commit(repository, commit)))
}

pub(crate) fn create_commit(cx: &mut Cx<'_>) -> Answer {
    let body = cx.request.json()?;
    let (message, tree) = (required(&body, "message")?, required(&body, "tree")?);
    let parents = crate::context::texts(&body, "parents").unwrap_or_default();
    let author = person(cx, &body, "author");
    let committer = person(cx, &body, "committer");
    let git = &mut cx.repository_mut().git;
    if git.tree(&tree).is_none() {
        return Err(Reply::error(422, "Tree SHA does not exist"));
    }
    if parents.iter().any(|parent| git.commit(parent).is_none()) {
        return Err(Reply::error(422, "Parent SHA does not exist or is not a commit object"));
    }
    let id = git.add_commit(&tree, parents, &message, author, committer);
    let repository = cx.repository();
    let commit = repository.git.commit(&id).ok_or_else(Reply::not_found)?;
    Ok(Reply::created(cx.view().git_commit(repository, commit)))
}

fn person(cx: &Cx<'_>, body: &Map<String, Value>, name: &str) -> Person {
    let author = cx.author();
    let Some(given) = body.get(name).and_then(Value::as_object) else { return author };
    Person {
        name: text(given, "name").unwrap_or(author.name),
        email: text(given, "email").unwrap_or(author.email),
        at: author.at,
    }
}

pub(crate) fn read_blob(cx: &mut Cx<'_>) -> Answer {
    let sha = cx.param("sha");
    let repository = cx.repository();
    let bytes = repository.git.blob(sha).ok_or_else(Reply::not_found)?;
    if cx.request.wants("raw") {
        return Ok(Reply::raw("application/vnd.github.raw+json; charset=utf-8", bytes.clone()));
    }
    let url = format!("{}/git/blobs/{sha}", cx.view().repository_url(repository));
    Ok(Reply::ok(json!({
        "sha": sha,
        "node_id": format!("B_kwDO{sha}"),
        "size": bytes.len(),
        "url": url,
        "content": base64_lines(bytes),
        "encoding": "base64",
    })))
}

pub(crate) fn create_blob(cx: &mut Cx<'_>) -> Answer {
    let body = cx.request.json()?;
    let content = required(&body, "content")?;
    let bytes = if text(&body, "encoding").as_deref() == Some("base64") {
        STANDARD
            .decode(content.replace(['\n', '\r'], ""))
            .map_err(|_| Reply::error(422, "content is not valid Base64"))?
    } else {
        content.into_bytes()
    };
    let sha = cx.repository_mut().git.add_blob(bytes);
    let url = format!("{}/git/blobs/{sha}", cx.view().repository_url(cx.repository()));
    Ok(Reply::created(json!({"sha": sha, "url": url})))
}
