//! Mutations of reviews.

use serde_json::{Value, json};

use crate::context::{flag, text};
use crate::graphql::ids::Node;
use crate::graphql::mutations::{Act, Done, Refusal};
use crate::graphql::views::{actor, link};
use crate::handlers::reviews::state_of;
use crate::world::{Comment, Review};

fn shown(id: u64) -> Done {
    let review = link(&format!("PRR_kwDO{id}"));
    let edge = json!({"__typename": "PullRequestReviewEdge", "cursor": "1", "node": review});
    Ok(json!({"pullRequestReview": review, "reviewEdge": edge}))
}

/// The state after an event.
fn state(event: Option<&str>) -> Result<String, Refusal> {
    if event == Some("DISMISS") {
        return Ok("DISMISSED".to_owned());
    }
    Ok(state_of(event)?.to_owned())
}

/// `addPullRequestReview`: without an event it stays pending.
pub(super) fn add(act: &mut Act<'_, '_>) -> Done {
    let state = state(text(&act.input, "event").as_deref())?;
    let (user, at) = (act.cx.actor().to_owned(), act.cx.now);
    let body = text(&act.input, "body").unwrap_or_default();
    let head = act.pull()?.head_sha.clone();
    let commit_id = text(&act.input, "commitOID").unwrap_or(head);
    let id = act.cx.repository_mut().next_id();
    let listed = |name: &str| act.input.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut remarks = listed("comments");
    remarks.extend(listed("threads"));
    for remark in remarks {
        let body = remark["body"].as_str().unwrap_or_default().to_owned();
        let id = act.cx.repository_mut().next_id();
        act.pull()?.review_comments.push(Comment { id, user: user.clone(), body, at });
    }
    act.pull()?.reviews.push(Review { id, user, body, state, commit_id, at });
    shown(id)
}

/// `submitPullRequestReview`: submits the named review, or the caller's pending one of a pull request.
pub(super) fn submit(act: &mut Act<'_, '_>) -> Done {
    let event = act.required("event")?;
    let (state, body, user) = (state(Some(&event))?, text(&act.input, "body"), act.cx.actor());
    let subject = act.subject.clone();
    let mut reviews = act.pull()?.reviews.iter_mut();
    let found = reviews.find(|review| match subject {
        Node::Review(_, _, id) => review.id == id,
        _ => review.user == user && review.state == "PENDING",
    });
    let review = found.ok_or_else(|| Refusal::missing("Could not find a pending review.".to_owned()))?;
    if review.state != "PENDING" {
        return Err(Refusal::unprocessable("Can not submit a review that is not pending"));
    }
    review.state = state;
    review.body = body.unwrap_or_else(|| review.body.clone());
    shown(review.id)
}

pub(super) fn dismiss(act: &mut Act<'_, '_>) -> Done {
    act.required("message")?;
    let Node::Review(_, _, id) = act.subject else {
        return Err(Refusal::unknown_node(&act.required("pullRequestReviewId")?));
    };
    let review = act.pull()?.reviews.iter_mut().find(|review| review.id == id);
    let review = review.ok_or_else(Refusal::gone)?;
    if !["APPROVED", "CHANGES_REQUESTED"].contains(&review.state.as_str()) {
        return Err(Refusal::unprocessable(
            "Can not dismiss a pull request review that is not approved or requesting changes",
        ));
    }
    "DISMISSED".clone_into(&mut review.state);
    shown(id)
}

/// `requestReviews`: replaces the requested reviewers, or adds to them with `union`. There are no teams here.
pub(super) fn request(act: &mut Act<'_, '_>) -> Done {
    let logins = act.logins("userIds")?.unwrap_or_default();
    let is_union = flag(&act.input, "union");
    let pull = act.pull()?;
    if !is_union {
        pull.requested_reviewers.clear();
    }
    for login in &logins {
        if !pull.requested_reviewers.contains(login) {
            pull.requested_reviewers.push(login.clone());
        }
    }
    let last = logins
        .last()
        .map(|login| json!({"__typename": "UserEdge", "cursor": "1", "node": actor(&act.cx.view(), login)}));
    Ok(json!({"pullRequest": act.issue_link(), "requestedReviewersEdge": last}))
}
