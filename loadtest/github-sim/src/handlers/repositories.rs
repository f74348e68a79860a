//! The repository itself.

use crate::context::{Cx, text};
use crate::exchange::{Answer, Reply};

pub(crate) fn read(cx: &mut Cx<'_>) -> Answer {
    let repository = cx.repository();
    Ok(Reply::ok(cx.view().full_repository(repository)).modified_at(repository.updated_at))
}

/// `PATCH /repos/{owner}/{repo}`: name, description, default branch, visibility, archived.
pub(crate) fn change(cx: &mut Cx<'_>) -> Answer {
    let body = cx.request.json()?;
    let now = cx.now;
    let repository = cx.repository_mut();
    if let Some(branch) = text(&body, "default_branch") {
        if repository.git.branch(&branch).is_none() {
            let message = format!("The branch {branch} was not found.");
            return Err(Reply::invalid("Repository", "default_branch", "invalid", &message));
        }
        repository.default_branch = branch;
    }
    if let Some(description) = text(&body, "description") {
        repository.description = Some(description);
    }
    for (name, member) in [("private", &mut repository.private), ("archived", &mut repository.archived)] {
        if let Some(value) = body.get(name).and_then(serde_json::Value::as_bool) {
            *member = value;
        }
    }
    repository.updated_at = now;
    let full_name = repository.full_name();
    if let Some(name) = text(&body, "name") {
        cx.state.world.rename(&full_name, &name);
    }
    Ok(Reply::ok(cx.view().full_repository(cx.repository())))
}
