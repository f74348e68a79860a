//! Issues, their comments and labels. Pull requests are issues here, too.

use serde_json::{Map, Value};

use crate::context::{Cx, required, text, texts};
use crate::exchange::{Answer, Reply};
use crate::world::{Comment, Issue};

/// `GET …/issues`: by state, labels and since; newest first unless asked otherwise.
pub(crate) fn list(cx: &mut Cx<'_>) -> Answer {
    let state = cx.request.query("state").unwrap_or("open");
    let labels: Vec<&str> = cx.request.query("labels").map_or(vec![], |text| text.split(',').collect());
    let has_labels =
        |issue: &Issue| labels.iter().all(|wanted| issue.labels.iter().any(|label| label == wanted));
    let repository = cx.repository();
    let mut issues: Vec<&Issue> =
        repository.issues.values().filter(|issue| matches_state(issue, state) && has_labels(issue)).collect();
    if cx.request.query("sort") == Some("updated") {
        issues.sort_by_key(|issue| issue.updated_at);
    }
    if cx.request.query("direction") != Some("asc") {
        issues.reverse();
    }
    Ok(cx.page(&issues, |view, issue| view.issue(repository, issue)))
}

/// Whether an issue has the state of a `state` parameter.
pub(crate) fn matches_state(issue: &Issue, state: &str) -> bool {
    match state {
        "all" => true,
        "closed" => !issue.is_open,
        _ => issue.is_open,
    }
}

fn shown(cx: &Cx<'_>, status: u16) -> Answer {
    let issue = cx.issue()?;
    let body = cx.view().issue(cx.repository(), issue);
    let reply = if status == 201 { Reply::created(body) } else { Reply::ok(body) };
    Ok(reply.modified_at(issue.updated_at))
}

pub(crate) fn read(cx: &mut Cx<'_>) -> Answer {
    shown(cx, 200)
}

pub(crate) fn create(cx: &mut Cx<'_>) -> Answer {
    let body = cx.request.json()?;
    let title = required(&body, "title")?;
    let (user, now) = (cx.actor(), cx.now);
    let repository = cx.repository_mut();
    let number = repository.next_number();
    let mut issue = Issue::new(number, &title, user, now);
    apply(&mut issue, &body, now);
    repository.issues.insert(number, issue);
    cx.params.insert("number".to_owned(), number.to_string());
    shown(cx, 201)
}

pub(crate) fn change(cx: &mut Cx<'_>) -> Answer {
    let body = cx.request.json()?;
    let now = cx.now;
    let issue = cx.issue_mut()?;
    apply(issue, &body, now);
    shown(cx, 200)
}

/// Takes over the members of an issue that a body has.
pub(crate) fn apply(issue: &mut Issue, body: &Map<String, Value>, now: i64) {
    if let Some(title) = text(body, "title") {
        issue.title = title;
    }
    if body.contains_key("body") {
        issue.body = text(body, "body");
    }
    if let Some(labels) = texts(body, "labels") {
        issue.labels = labels;
    }
    if let Some(assignees) = texts(body, "assignees") {
        issue.assignees = assignees;
    }
    issue.updated_at = now;
    match text(body, "state").as_deref() {
        Some("closed") if issue.is_open => issue.close(now),
        Some("open") if !issue.is_open => issue.reopen(now),
        _ => {}
    }
}

pub(crate) fn comments(cx: &mut Cx<'_>) -> Answer {
    let (repository, issue) = (cx.repository(), cx.issue()?);
    Ok(cx.page(&issue.comments, |view, comment| view.comment(repository, issue.number, comment)))
}

pub(crate) fn comment(cx: &mut Cx<'_>) -> Answer {
    let text = required(&cx.request.json()?, "body")?;
    cx.issue()?;
    let (user, now) = (cx.actor().to_owned(), cx.now);
    let id = cx.repository_mut().next_id();
    let comment = Comment { id, user, body: text, at: now };
    let issue = cx.issue_mut()?;
    issue.comments.push(comment.clone());
    issue.updated_at = now;
    let number = issue.number;
    Ok(Reply::created(cx.view().comment(cx.repository(), number, &comment)))
}

/// The comment of the `comment_id` parameter and the number of its issue.
fn find_comment(cx: &Cx<'_>) -> Result<(u64, Comment), Reply> {
    let id = cx.number("comment_id")?;
    let issues = cx.repository().issues.values();
    let mut found = issues.filter_map(|issue| {
        let comment = issue.comments.iter().find(|comment| comment.id == id)?;
        Some((issue.number, comment.clone()))
    });
    found.next().ok_or_else(Reply::not_found)
}

pub(crate) fn read_comment(cx: &mut Cx<'_>) -> Answer {
    let (issue, comment) = find_comment(cx)?;
    Ok(Reply::ok(cx.view().comment(cx.repository(), issue, &comment)))
}

pub(crate) fn change_comment(cx: &mut Cx<'_>) -> Answer {
    let (number, mut comment) = find_comment(cx)?;
    comment.body = required(&cx.request.json()?, "body")?;
    let issue = cx.repository_mut().issues.get_mut(&number);
    for present in issue.into_iter().flat_map(|issue| &mut issue.comments) {
        if present.id == comment.id {
            present.body.clone_from(&comment.body);
        }
    }
    Ok(Reply::ok(cx.view().comment(cx.repository(), number, &comment)))
}

pub(crate) fn remove_comment(cx: &mut Cx<'_>) -> Answer {
    let (number, comment) = find_comment(cx)?;
    if let Some(issue) = cx.repository_mut().issues.get_mut(&number) {
        issue.comments.retain(|present| present.id != comment.id);
    }
    Ok(Reply::no_content())
}

pub(crate) fn labels(cx: &mut Cx<'_>) -> Answer {
    let (repository, issue) = (cx.repository(), cx.issue()?);
    Ok(cx.page(&issue.labels, |view, name| view.label(repository, name)))
}

pub(crate) fn add_labels(cx: &mut Cx<'_>) -> Answer {
    let added = sent_labels(cx)?;
    let issue = cx.issue_mut()?;
    for name in added {
        if !issue.labels.contains(&name) {
            issue.labels.push(name);
        }
    }
    labels(cx)
}

pub(crate) fn set_labels(cx: &mut Cx<'_>) -> Answer {
    let wanted = sent_labels(cx)?;
    cx.issue_mut()?.labels = wanted;
    labels(cx)
}

/// Labels come as `{"labels": […]}` or as a bare array.
fn sent_labels(cx: &Cx<'_>) -> Result<Vec<String>, Reply> {
    let body = match serde_json::from_slice(&cx.request.body) {
        Ok(Value::Array(names)) => Map::from_iter([("labels".to_owned(), Value::Array(names))]),
        _ => cx.request.json()?,
    };
    Ok(texts(&body, "labels").unwrap_or_default())
}

pub(crate) fn remove_label(cx: &mut Cx<'_>) -> Answer {
    let name = cx.param("name").to_owned();
    let issue = cx.issue_mut()?;
    if !issue.labels.contains(&name) {
        return Err(Reply::error(404, "Label does not exist"));
    }
    issue.labels.retain(|label| *label != name);
    labels(cx)
}

pub(crate) fn all_labels(cx: &mut Cx<'_>) -> Answer {
    let repository = cx.repository();
    let names: Vec<&String> = repository.labels.keys().collect();
    Ok(cx.page(&names, |view, name| view.label(repository, name)))
}

pub(crate) fn read_label(cx: &mut Cx<'_>) -> Answer {
    let name = cx.param("name");
    if !cx.repository().labels.contains_key(name) {
        return Err(Reply::not_found());
    }
    Ok(Reply::ok(cx.view().label(cx.repository(), name)))
}

pub(crate) fn create_label(cx: &mut Cx<'_>) -> Answer {
    let body = cx.request.json()?;
    let name = required(&body, "name")?;
    let color = text(&body, "color").unwrap_or_else(|| "ededed".to_owned());
    if cx.repository().labels.contains_key(&name) {
        return Err(Reply::invalid("Label", "name", "already_exists", "name already exists"));
    }
    cx.repository_mut().labels.insert(name.clone(), color);
    Ok(Reply::created(cx.view().label(cx.repository(), &name)))
}
