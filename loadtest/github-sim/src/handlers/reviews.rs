//! Reviews of pull requests, comments on their diffs, and requests for review.

use serde_json::{Value, json};

use crate::context::{Cx, required, text, texts};
use crate::exchange::{Answer, Reply};
use crate::handlers::pulls::{find, find_mut};
use crate::world::{Comment, Review};

/// The state that a review's event leads to; without an event it stays pending.
pub(crate) fn state_of(event: Option<&str>) -> Result<&'static str, Reply> {
    match event {
        None => Ok("PENDING"),
        Some("COMMENT") => Ok("COMMENTED"),
        Some("APPROVE") => Ok("APPROVED"),
        Some("REQUEST_CHANGES") => Ok("CHANGES_REQUESTED"),
        Some(_) => Err(Reply::error(422, "event is not a known event")),
    }
}

pub(crate) fn list(cx: &mut Cx<'_>) -> Answer {
    let repository = cx.repository();
    let (issue, pull) = find(cx)?;
    Ok(cx.page(&pull.reviews, |view, review| view.review(repository, issue.number, review)))
}

pub(crate) fn create(cx: &mut Cx<'_>) -> Answer {
    let body = cx.request.json()?;
    let state = state_of(text(&body, "event").as_deref())?;
    let commit_id = text(&body, "commit_id").unwrap_or(find(cx)?.1.head_sha.clone());
    let (user, at) = (cx.actor().to_owned(), cx.now);
    let id = cx.repository_mut().next_id();
    let text = text(&body, "body").unwrap_or_default();
    let review = Review { id, user, body: text, state: state.to_owned(), commit_id, at };
    find_mut(cx)?.reviews.push(review.clone());
    show(cx, &review)
}

fn show(cx: &Cx<'_>, review: &Review) -> Answer {
    let number = cx.number("number")?;
    Ok(Reply::ok(cx.view().review(cx.repository(), number, review)))
}

pub(crate) fn read(cx: &mut Cx<'_>) -> Answer {
    let id = cx.number("review_id")?;
    let review = find(cx)?.1.reviews.iter().find(|review| review.id == id);
    show(cx, review.ok_or_else(Reply::not_found)?)
}

/// `POST …/reviews/{id}/events`: submits a pending review.
pub(crate) fn submit(cx: &mut Cx<'_>) -> Answer {
    let body = cx.request.json()?;
    let state = state_of(Some(&required(&body, "event")?))?;
    set_state(cx, state)
}

/// `PUT …/reviews/{id}/dismissals`.
pub(crate) fn dismiss(cx: &mut Cx<'_>) -> Answer {
    required(&cx.request.json()?, "message")?;
    set_state(cx, "DISMISSED")
}

fn set_state(cx: &mut Cx<'_>, state: &str) -> Answer {
    let id = cx.number("review_id")?;
    let review = find_mut(cx)?.reviews.iter_mut().find(|review| review.id == id);
    let review = review.ok_or_else(Reply::not_found)?;
    state.clone_into(&mut review.state);
    let review = review.clone();
    show(cx, &review)
}

pub(crate) fn comments(cx: &mut Cx<'_>) -> Answer {
    let repository = cx.repository();
    let (issue, pull) = find(cx)?;
    Ok(cx.page(&pull.review_comments, |view, comment| view.review_comment(repository, issue.number, comment)))
}

pub(crate) fn comment(cx: &mut Cx<'_>) -> Answer {
    let body = required(&cx.request.json()?, "body")?;
    let number = find(cx)?.0.number;
    let (user, at) = (cx.actor().to_owned(), cx.now);
    let id = cx.repository_mut().next_id();
    let comment = Comment { id, user, body, at };
    find_mut(cx)?.review_comments.push(comment.clone());
    Ok(Reply::created(cx.view().review_comment(cx.repository(), number, &comment)))
}

pub(crate) fn requested(cx: &mut Cx<'_>) -> Answer {
    let view = cx.view();
    let users = find(cx)?.1.requested_reviewers.iter().map(|login| view.user(login));
    Ok(Reply::ok(json!({"users": users.collect::<Value>(), "teams": []})))
}

pub(crate) fn request(cx: &mut Cx<'_>) -> Answer {
    let logins = texts(&cx.request.json()?, "reviewers").unwrap_or_default();
    let pull = find_mut(cx)?;
    for login in logins {
        if !pull.requested_reviewers.contains(&login) {
            pull.requested_reviewers.push(login);
        }
    }
    let (issue, pull) = find(cx)?;
    Ok(Reply::json(201, cx.view().pull(cx.repository(), issue, pull)))
}
