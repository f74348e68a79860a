//! Mutations of refs and commits, and deployments of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::context::{Cx, flag, text};
use crate::graphql::ids::Node;
use crate::graphql::mutations::{Act, Done, Refusal, seen};
use crate::graphql::views::link;
use crate::handlers::contents::check_workflow;
use crate::handlers::misc::add_deployment;
use crate::render::{commit_node_id, ref_node_id};
use crate::world::git::FILE_MODE;
use crate::world::refs::RefRefusal;

/// Means "no commit" in `updateRefs`.
const ZEROS: &str = "0000000000000000000000000000000000000000";

impl From<RefRefusal> for Refusal {
    fn from(refusal: RefRefusal) -> Self {
        Self::unprocessable(refusal.message())
    }
}

fn show(act: &Act<'_, '_>, name: &str) -> Value {
    link(&ref_node_id(act.cx.repository(), name))
}

/// The full name of the ref that the mutation is about.
fn name(act: &Act<'_, '_>) -> String {
    match &act.subject {
        Node::Ref(_, name) => name.clone(),
        _ => String::new(),
    }
}

/// `createRef`: the name is a full one, `refs/heads/new`.
pub(super) fn create_ref(act: &mut Act<'_, '_>) -> Done {
    let (name, oid, now) = (act.required("name")?, act.required("oid")?, act.cx.now);
    let repository = act.cx.repository_mut();
    match repository.check_new_ref(&name, &oid) {
        Err(RefRefusal::Known) => {
            let message = format!("A ref named \"{name}\" already exists in the repository.");
            return Err(Refusal::unprocessable(&message));
        }
        checked => checked?,
    }
    repository.set_ref(&name, &oid, now);
    Ok(json!({"ref": show(act, &name)}))
}

/// `updateRef`: forwards only, unless it is forced.
pub(super) fn update_ref(act: &mut Act<'_, '_>) -> Done {
    let (name, oid, now) = (name(act), act.required("oid")?, act.cx.now);
    let is_forced = flag(&act.input, "force");
    let repository = act.cx.repository_mut();
    repository.check_move(&name, &oid, is_forced)?;
    repository.set_ref(&name, &oid, now);
    Ok(json!({"ref": show(act, &name)}))
}

/// `updateRefs`: all or none. Zeros mean that there is to be none, before or after.
pub(super) fn update_refs(act: &mut Act<'_, '_>) -> Done {
    let updates = act.input.get("refUpdates").and_then(Value::as_array).cloned();
    let updates = updates.ok_or_else(|| Refusal::absent("updateRefs", "refUpdates"))?;
    let now = act.cx.now;
    let repository = act.cx.repository_mut();
    let mut checked = Vec::new();
    for update in &updates {
        let member = |name: &str| update[name].as_str();
        let (Some(name), Some(after)) = (member("name"), member("afterOid")) else {
            return Err(Refusal::absent("updateRefs", "refUpdates"));
        };
        if checked.iter().any(|(known, _)| *known == name) {
            return Err(Refusal::unprocessable(&format!("Ref {name} is named twice")));
        }
        let present = repository.git.refs.get(name);
        if let Some(before) = member("beforeOid")
            && before != present.map_or(ZEROS, String::as_str)
        {
            return Err(Refusal::unprocessable(&format!("Ref {name} is not at {before}")));
        }
        match (present, after) {
            (None, ZEROS) => return Err(RefRefusal::Missing.into()),
            (Some(_), ZEROS) => {}
            (None, after) => repository.check_new_ref(name, after)?,
            (Some(_), after) => repository.check_move(name, after, update["force"] == true)?,
        }
        checked.push((name, after));
    }
    for (name, after) in checked {
        match after {
            ZEROS => repository.delete_ref(name, now)?,
            after => repository.set_ref(name, after, now),
        }
    }
    Ok(json!({}))
}

pub(super) fn delete_ref(act: &mut Act<'_, '_>) -> Done {
    let (name, now) = (name(act), act.cx.now);
    act.cx.repository_mut().delete_ref(&name, now)?;
    Ok(json!({}))
}

/// The branch of `createCommitOnBranch`, by its id or by names.
pub(super) fn branch(cx: &Cx<'_>, input: &Map<String, Value>) -> Result<Node, Refusal> {
    let branch = input.get("branch").and_then(Value::as_object);
    let branch = branch.ok_or_else(|| Refusal::absent("createCommitOnBranch", "branch"))?;
    if let Some(id) = text(branch, "id") {
        return match seen(cx, &id)? {
            node @ Node::Ref(..) => Ok(node),
            _ => Err(Refusal::unknown_node(&id)),
        };
    }
    let full_name = text(branch, "repositoryNameWithOwner");
    let full_name = full_name.ok_or_else(|| Refusal::absent("createCommitOnBranch", "branch"))?;
    let world = &cx.state.world;
    let found = world.find(&full_name).map(crate::render::repository_node_id);
    let found = found.and_then(|id| seen(cx, &id).ok()).and_then(|node| node.repository());
    let repository = found.and_then(|id| world.repositories.get(&id)).ok_or_else(|| {
        Refusal::missing(format!("Could not resolve to a Repository with the name '{full_name}'."))
    })?;
    let name = text(branch, "branchName").unwrap_or_default();
    let name = format!("refs/heads/{}", name.strip_prefix("refs/heads/").unwrap_or(&name));
    let is_known = repository.git.refs.contains_key(&name);
    is_known
        .then_some(Node::Ref(repository.id, name))
        .ok_or_else(|| Refusal::missing(format!("No such branch in {full_name}.")))
}

/// `createCommitOnBranch`: one commit with all its changes, if the branch is where it is expected.
pub(super) fn create_commit(act: &mut Act<'_, '_>) -> Done {
    let (name, expected) = (name(act), act.required("expectedHeadOid")?);
    let Some(branch) = name.strip_prefix("refs/heads/").map(str::to_owned) else {
        return Err(Refusal::unprocessable("Commits are made on branches alone."));
    };
    let tip = act.cx.repository().git.branch(&branch).unwrap_or_default().to_owned();
    if tip != expected {
        let message =
            format!("Expected branch to point to \"{expected}\" but it did not.  Pull and try again.");
        return Err(Refusal { kind: Some("STALE_DATA"), message });
    }
    let message = act.input.get("message").cloned().unwrap_or_default();
    let headline = message["headline"].as_str();
    let headline = headline.ok_or_else(|| Refusal::absent("createCommitOnBranch", "message"))?;
    let body = message["body"].as_str().filter(|body| !body.is_empty());
    let message = body.map_or_else(|| headline.to_owned(), |body| format!("{headline}\n\n{body}"));
    let changes = file_changes(act)?;
    let author = act.cx.author();
    let repository = act.cx.repository_mut();
    let git = &mut repository.git;
    let mut files = git.commit(&tip).map(|commit| git.files(&commit.tree)).unwrap_or_default();
    for (path, content) in changes {
        match content {
            Some(content) => {
                let blob = git.add_blob(content);
                files.insert(path, (FILE_MODE.to_owned(), blob));
            }
            None if files.remove(&path).is_some() => {}
            None => {
                let message = format!("A path was requested for deletion which does not exist: {path}");
                return Err(Refusal::unprocessable(&message));
            }
        }
    }
    let tree = git.add_files(&files);
    let id = git.add_commit(&tree, vec![tip], &message, author.clone(), author.clone());
    repository.move_branch(&branch, &id, author.at);
    let commit = link(&commit_node_id(repository, &id));
    Ok(json!({"commit": commit, "ref": show(act, &name)}))
}

/// A path with its new content, or with none when it is to go.
type FileChange = (String, Option<Vec<u8>>);

fn file_changes(act: &Act<'_, '_>) -> Result<Vec<FileChange>, Refusal> {
    let changes = act.input.get("fileChanges").cloned().unwrap_or_default();
    let listed = |name: &str| changes[name].as_array().cloned().unwrap_or_default();
    let mut found = Vec::new();
    for deletion in listed("deletions") {
        found.push((deletion["path"].as_str().unwrap_or_default().to_owned(), None));
    }
    for addition in listed("additions") {
        let content = addition["contents"].as_str().unwrap_or_default().replace(['\n', '\r'], "");
        let content = STANDARD.decode(content);
        let content = content.map_err(|_| Refusal::unprocessable("contents is not valid Base64"))?;
        found.push((addition["path"].as_str().unwrap_or_default().to_owned(), Some(content)));
    }
    for (path, _) in &found {
        if path.is_empty()
            || path.starts_with('/')
            || path.split('/').any(|part| part == ".." || part == ".git")
        {
            return Err(Refusal::unprocessable(&format!("path is malformed: {path}")));
        }
        check_workflow(act.cx, path)?;
    }
    Ok(found)
}

/// `createLinkedBranch`: a branch for an issue, in its repository or another.
pub(super) fn create_linked_branch(act: &mut Act<'_, '_>) -> Done {
    let (oid, number, now) = (act.required("oid")?, act.number(), act.cx.now);
    let issue = act.issue_link();
    let title = act.issue()?.title.to_lowercase().replace(|symbol: char| !symbol.is_alphanumeric(), "-");
    if let Some(id) = text(&act.input, "repositoryId") {
        let Node::Repository(repository) = seen(act.cx, &id)? else { return Err(Refusal::unknown_node(&id)) };
        act.enter(repository)?;
    }
    let branch = text(&act.input, "name").unwrap_or_else(|| format!("{number}-{title}"));
    let name = format!("refs/heads/{}", branch.strip_prefix("refs/heads/").unwrap_or(&branch));
    let repository = act.cx.repository_mut();
    repository.check_new_ref(&name, &oid)?;
    repository.set_ref(&name, &oid, now);
    let id = format!("LB_kwDO{}", repository.next_id());
    let linked = json!({"__typename": "LinkedBranch", "id": id, "ref": show(act, &name)});
    Ok(json!({"issue": issue, "linkedBranch": linked}))
}

pub(super) fn create_deployment(act: &mut Act<'_, '_>) -> Done {
    let id = act.required("refId")?;
    let name = match seen(act.cx, &id)? {
        Node::Ref(repository, name) if repository == act.cx.repository_id => name,
        _ => return Err(Refusal::unknown_node(&id)),
    };
    let prefixes = ["refs/heads/", "refs/tags/"];
    let short = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(&name);
    let deployment = add_deployment(act.cx, short, &act.input)?;
    let id = deployment["node_id"].as_str().unwrap_or_default();
    Ok(json!({"deployment": link(id), "autoMerged": false}))
}
