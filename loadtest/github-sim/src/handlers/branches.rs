//! Branches, their protection and rules, tags, and merging of branches.

use serde_json::{Value, json};

use crate::books::Merge;
use crate::context::{Cx, required, text};
use crate::exchange::{Answer, Reply};
use crate::render::{ref_node_id, verification};
use crate::world::Repository;
use crate::world::pulls::MergeRefusal;

pub(crate) fn list(cx: &mut Cx<'_>) -> Answer {
    let repository = cx.repository();
    let mut branches = repository.git.names("heads");
    if let Some(wanted) = cx.request.query("protected") {
        branches.retain(|(name, _)| repository.protected.contains(name) == (wanted == "true"));
    }
    Ok(cx.page(&branches, |view, (name, sha)| view.branch(repository, name, sha)))
}

/// The branch of the `branch` parameter with its tip.
fn find(cx: &Cx<'_>) -> Result<(String, String), Reply> {
    let name = cx.param("branch").to_owned();
    let sha = cx.repository().git.branch(&name).map(str::to_owned);
    Ok((name, sha.ok_or_else(|| Reply::error(404, "Branch not found"))?))
}

pub(crate) fn read(cx: &mut Cx<'_>) -> Answer {
    let (name, sha) = find(cx)?;
    Ok(Reply::ok(cx.view().full_branch(cx.repository(), &name, &sha)))
}

pub(crate) fn protection(cx: &mut Cx<'_>) -> Answer {
    let (name, _) = find(cx)?;
    if !cx.repository().protected.contains(&name) {
        return Err(Reply::error(404, "Branch not protected"));
    }
    let url = format!("{}/branches/{name}/protection", cx.view().repository_url(cx.repository()));
    Ok(Reply::ok(json!({
        "url": url,
        "enforce_admins": {"url": format!("{url}/enforce_admins"), "enabled": true},
        "required_linear_history": {"enabled": false},
        "allow_force_pushes": {"enabled": false},
        "allow_deletions": {"enabled": false},
    })))
}

/// `GET …/rules/branches/{branch}`: the active ruleset rules; the branch need not exist. Classic branch
/// protection is not included.
pub(crate) fn rules(cx: &mut Cx<'_>) -> Answer {
    let repository = cx.repository();
    let branch = cx.param("branch");
    let rules: Vec<&str> = repository.rules.get(branch).into_iter().flatten().map(String::as_str).collect();
    Ok(cx.page(&rules, |_, kind| {
        json!({
            "type": kind,
            "ruleset_source_type": "Repository",
            "ruleset_source": repository.full_name(),
            "ruleset_id": repository.id,
        })
    }))
}

pub(crate) fn tags(cx: &mut Cx<'_>) -> Answer {
    let repository = cx.repository();
    let tags = repository.git.names("tags");
    Ok(cx.page(&tags, |view, (name, sha)| {
        let base = view.repository_url(repository);
        json!({
            "name": name,
            "commit": {"sha": sha, "url": format!("{base}/commits/{sha}")},
            "zipball_url": format!("{base}/zipball/refs/tags/{name}"),
            "tarball_url": format!("{base}/tarball/refs/tags/{name}"),
            "node_id": ref_node_id(repository, &format!("refs/tags/{name}")),
        })
    }))
}

/// Merges `head` into a branch and returns the new tip; `Ok(None)` when there is nothing to merge.
pub(crate) fn merge_into(
    cx: &mut Cx<'_>,
    base: &str,
    head_sha: &str,
    message: &str,
) -> Result<Option<String>, Reply> {
    let author = cx.author();
    cx.repository_mut().merge_branch(base, head_sha, message, &author).map_err(refused)
}

/// GitHub's answer when a merge cannot be done.
pub(crate) fn refused(refusal: MergeRefusal) -> Reply {
    match refusal {
        MergeRefusal::Missing => Reply::error(404, "Base does not exist"),
        MergeRefusal::Conflict => Reply::error(409, "Merge conflict"),
    }
}

/// Records a merge in the books.
pub(crate) fn note_merge(cx: &mut Cx<'_>, pull: Option<u64>, sha: &str) {
    let merge =
        Merge { repository: cx.repository().full_name(), pull, sha: sha.to_owned(), by: cx.route.name() };
    cx.state.books.merges.push(merge);
}

/// `POST …/merges`.
pub(crate) fn merge(cx: &mut Cx<'_>) -> Answer {
    let body = cx.request.json()?;
    let (base, head) = (required(&body, "base")?, required(&body, "head")?);
    let message = text(&body, "commit_message").unwrap_or_else(|| format!("Merge {head} into {base}"));
    let commit = cx.repository().git.resolve(&head);
    let head = commit.ok_or_else(|| Reply::error(404, "Head does not exist"))?.id.clone();
    let Some(id) = merge_into(cx, &base, &head, &message)? else {
        return Ok(Reply::no_content());
    };
    note_merge(cx, None, &id);
    let repository: &Repository = cx.repository();
    let commit = repository.git.commit(&id).ok_or_else(Reply::not_found)?;
    let mut object: Value = cx.view().commit(repository, commit);
    object["commit"]["verification"] = verification();
    Ok(Reply::created(object))
}

/// `POST …/merge-upstream`: no repository here is a fork.
pub(crate) fn merge_upstream(_: &mut Cx<'_>) -> Answer {
    Err(Reply::error(422, "This repository is not a fork"))
}
