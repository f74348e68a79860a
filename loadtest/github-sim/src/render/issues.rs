//! Issues, pull requests, comments and reviews.

use serde_json::{Value, json};

use crate::clock::iso;
use crate::render::{View, html_url};
use crate::world::git::Git;
use crate::world::pulls::merge_title;
use crate::world::{Comment, Issue, Pull, Repository, Review};

impl View<'_> {
    /// An issue, or a pull request in its issue form.
    pub(crate) fn issue(&self, repository: &Repository, issue: &Issue) -> Value {
        let base = self.repository_url(repository);
        let url = format!("{base}/issues/{}", issue.number);
        let page = if issue.pull.is_some() { "pull" } else { "issues" };
        let html = format!("{}/{page}/{}", html_url(repository), issue.number);
        let assignees: Vec<Value> = issue.assignees.iter().map(|login| self.user(login)).collect();
        let labels = issue.labels.iter().map(|name| self.label(repository, name));
        let mut object = json!({
            "id": issue_id(repository, issue),
            "node_id": issue_node_id(repository, issue),
            "url": url,
            "repository_url": base,
            "labels_url": format!("{url}/labels{{/name}}"),
            "comments_url": format!("{url}/comments"),
            "events_url": format!("{url}/events"),
            "timeline_url": format!("{url}/timeline"),
            "html_url": html,
            "number": issue.number,
            "title": issue.title,
            "body": issue.body,
            "state": if issue.is_open { "open" } else { "closed" },
            "state_reason": if issue.is_open { Value::Null } else { json!("completed") },
            "user": self.user(&issue.user),
            "labels": labels.collect::<Value>(),
            "assignees": assignees,
            "milestone": null,
            "locked": false,
            "active_lock_reason": null,
            "comments": issue.comments.len(),
            "created_at": iso(issue.created_at),
            "updated_at": iso(issue.updated_at),
            "closed_at": issue.closed_at.map(iso),
            "author_association": "MEMBER",
            "closed_by": null,
            "performed_via_github_app": null,
            "reactions": reactions(&url),
        });
        if !self.is_2026() {
            object["assignee"] = assignees.first().cloned().unwrap_or(Value::Null);
        }
        if let Some(pull) = &issue.pull {
            object["pull_request"] = json!({
                "url": format!("{base}/pulls/{}", issue.number),
                "html_url": html,
                "diff_url": format!("{html}.diff"),
                "patch_url": format!("{html}.patch"),
                "merged_at": pull.merged_at.map(iso),
            });
            object["draft"] = json!(pull.draft);
        }
        object
    }

    /// A comment on an issue or pull request.
    pub(crate) fn comment(&self, repository: &Repository, issue: u64, comment: &Comment) -> Value {
        let base = self.repository_url(repository);
        let url = format!("{base}/issues/comments/{}", comment.id);
        json!({
            "id": comment.id,
            "node_id": format!("IC_kwDO{}", comment.id),
            "url": url,
            "html_url": format!("{}/issues/{issue}#issuecomment-{}", html_url(repository), comment.id),
            "issue_url": format!("{base}/issues/{issue}"),
            "body": comment.body,
            "user": self.user(&comment.user),
            "created_at": iso(comment.at),
            "updated_at": iso(comment.at),
            "author_association": "MEMBER",
            "performed_via_github_app": null,
            "reactions": reactions(&url),
        })
    }

    /// A pull request as in lists.
    pub(crate) fn pull(&self, repository: &Repository, issue: &Issue, pull: &Pull) -> Value {
        let base = self.repository_url(repository);
        let url = format!("{base}/pulls/{}", issue.number);
        let issue_url = format!("{base}/issues/{}", issue.number);
        let statuses = format!("{base}/statuses/{}", pull.head_sha);
        let mut object = self.issue(repository, issue);
        let html = object["html_url"].as_str().unwrap_or_default().to_owned();
        let gone = [
            "pull_request",
            "repository_url",
            "labels_url",
            "events_url",
            "timeline_url",
            "reactions",
            "closed_by",
            "performed_via_github_app",
            "state_reason",
        ];
        if let Value::Object(members) = &mut object {
            members.retain(|name, _| !gone.contains(&name.as_str()));
        }
        object["url"] = json!(url);
        object["node_id"] = json!(issue_node_id(repository, issue));
        object["issue_url"] = json!(issue_url);
        object["diff_url"] = json!(format!("{html}.diff"));
        object["patch_url"] = json!(format!("{html}.patch"));
        object["commits_url"] = json!(format!("{url}/commits"));
        object["review_comments_url"] = json!(format!("{url}/comments"));
        object["review_comment_url"] = json!(format!("{base}/pulls/comments{{/number}}"));
        object["comments_url"] = json!(format!("{issue_url}/comments"));
        object["statuses_url"] = json!(statuses);
        object["draft"] = json!(pull.draft);
        object["merged_at"] = json!(pull.merged_at.map(iso));
        object["auto_merge"] = self.auto_merge(issue, pull);
        object["stack"] = self.stack_of(repository, issue.number);
        if !self.is_2026() {
            object["merge_commit_sha"] = json!(pull.merge_commit_sha);
        }
        object["requested_reviewers"] =
            pull.requested_reviewers.iter().map(|login| self.user(login)).collect();
        object["requested_teams"] = json!([]);
        object["head"] = self.end(repository, &pull.head_ref, &pull.head_sha);
        let base_sha = repository.git.branch(&pull.base_ref).unwrap_or_default();
        object["base"] = self.end(repository, &pull.base_ref, base_sha);
        let link = |href: String| json!({"href": href});
        object["_links"] = json!({
            "self": link(url.clone()),
            "html": link(html),
            "issue": link(issue_url.clone()),
            "comments": link(format!("{issue_url}/comments")),
            "review_comments": link(format!("{url}/comments")),
            "review_comment": link(format!("{base}/pulls/comments{{/number}}")),
            "commits": link(format!("{url}/commits")),
            "statuses": link(statuses),
        });
        object
    }

    /// A single pull request.
    pub(crate) fn full_pull(&self, repository: &Repository, issue: &Issue, pull: &Pull) -> Value {
        let mut object = self.pull(repository, issue, pull);
        let base = repository.git.branch(&pull.base_ref).unwrap_or_default();
        let git: &Git = &repository.git;
        let ancestor = git.merge_base(base, &pull.head_sha).map(|commit| commit.tree.as_str());
        let changed = git.commit(&pull.head_sha).map(|head| git.changes(ancestor, &head.tree));
        let is_open = issue.is_open && pull.merged_at.is_none();
        object["merged"] = json!(pull.merged_at.is_some());
        object["mergeable"] = if is_open { json!(true) } else { Value::Null };
        object["rebaseable"] = object["mergeable"].clone();
        object["mergeable_state"] = json!(match (is_open, pull.draft) {
            (true, true) => "draft",
            (true, false) => "clean",
            (false, _) => "unknown",
        });
        object["merged_by"] = pull.merged_at.map_or(Value::Null, |_| self.user(&issue.user));
        object["review_comments"] = json!(pull.review_comments.len());
        object["maintainer_can_modify"] = json!(false);
        object["commits"] = json!(git.log_between(base, &pull.head_sha).len());
        object["changed_files"] = json!(changed.map_or(0, |changes| changes.len()));
        object["additions"] = json!(1);
        object["deletions"] = json!(0);
        object
    }

    /// Who enabled auto-merge on a pull request, and how; null when nobody has.
    fn auto_merge(&self, issue: &Issue, pull: &Pull) -> Value {
        let Some(auto_merge) = &pull.auto_merge else { return Value::Null };
        json!({
            "enabled_by": self.user(&auto_merge.user),
            "merge_method": auto_merge.method.to_lowercase(),
            "commit_title": merge_title(issue, pull),
            "commit_message": issue.title,
        })
    }

    fn end(&self, repository: &Repository, name: &str, sha: &str) -> Value {
        json!({
            "label": format!("{}:{name}", repository.owner),
            "ref": name,
            "sha": sha,
            "user": self.user(&repository.owner),
            "repo": self.repository(repository),
        })
    }

    pub(crate) fn review(&self, repository: &Repository, pull: u64, review: &Review) -> Value {
        let url = format!("{}/pulls/{pull}", self.repository_url(repository));
        let html = format!("{}/pull/{pull}#pullrequestreview-{}", html_url(repository), review.id);
        json!({
            "id": review.id,
            "node_id": format!("PRR_kwDO{}", review.id),
            "user": self.user(&review.user),
            "body": review.body,
            "state": review.state,
            "html_url": html,
            "pull_request_url": url,
            "author_association": "MEMBER",
            "submitted_at": iso(review.at),
            "commit_id": review.commit_id,
            "_links": {"html": {"href": html}, "pull_request": {"href": url}},
        })
    }

    /// A comment on a pull request's diff.
    pub(crate) fn review_comment(&self, repository: &Repository, pull: u64, comment: &Comment) -> Value {
        let base = self.repository_url(repository);
        let url = format!("{base}/pulls/comments/{}", comment.id);
        let pull_url = format!("{base}/pulls/{pull}");
        let html = format!("{}/pull/{pull}#discussion_r{}", html_url(repository), comment.id);
        json!({
            "id": comment.id,
            "node_id": format!("PRRC_kwDO{}", comment.id),
            "url": url,
            "html_url": html,
            "pull_request_url": pull_url,
            "pull_request_review_id": null,
            "diff_hunk": "@@ -1 +1 @@",
            "path": "README.md",
            "position": 1,
            "line": 1,
            "side": "RIGHT",
            "body": comment.body,
            "user": self.user(&comment.user),
            "created_at": iso(comment.at),
            "updated_at": iso(comment.at),
            "author_association": "MEMBER",
            "_links": {
                "self": {"href": url}, "html": {"href": html}, "pull_request": {"href": pull_url},
            },
        })
    }
}

/// The id of an issue or pull request.
pub(crate) fn issue_id(repository: &Repository, issue: &Issue) -> u64 {
    repository.id * 100_000 + issue.number
}

/// The node id: `I_` for issues, `PR_` for pull requests.
pub(crate) fn issue_node_id(repository: &Repository, issue: &Issue) -> String {
    let prefix = if issue.pull.is_some() { "PR_kwDO" } else { "I_kwDO" };
    format!("{prefix}{}", issue_id(repository, issue))
}

fn reactions(url: &str) -> Value {
    json!({
        "url": format!("{url}/reactions"), "total_count": 0, "+1": 0, "-1": 0, "laugh": 0,
        "hooray": 0, "confused": 0, "heart": 0, "rocket": 0, "eyes": 0,
    })
}
