//! Operations that GitHub ties to the author of what they change.
//!
//! Only the App that created a check run can change it (GitHub Docs, "REST API endpoints for check runs"). Only its
//! author sees and submits a pending review. Nobody can approve their own pull request ("About pull request reviews"),
//! but if one App opened it and another approved it, an agent could. So a single identity does all of this.

use super::routes::Operation;

const OF_ONE_IDENTITY: [&str; 24] = [
    "checks/create",
    "checks/create-suite",
    "checks/rerequest-run",
    "checks/rerequest-suite",
    "checks/set-suites-preferences",
    "checks/update",
    "pulls/create",
    "pulls/create-review",
    "pulls/delete-pending-review",
    "pulls/submit-review",
    "pulls/update-review",
    "addPullRequestReview",
    "addPullRequestReviewComment",
    "addPullRequestReviewThread",
    "addPullRequestReviewThreadReply",
    "createCheckRun",
    "createCheckSuite",
    "createPullRequest",
    "deletePullRequestReview",
    "rerequestCheckSuite",
    "submitPullRequestReview",
    "updateCheckRun",
    "updateCheckSuitePreferences",
    "updatePullRequestReview",
];

/// Whether the same App must perform the operation every time.
pub fn is_of_one_identity(operation: &Operation) -> bool {
    OF_ONE_IDENTITY.contains(&operation.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_them_are_published() {
        let published = include_str!("data/published.tsv");
        for id in OF_ONE_IDENTITY {
            assert!(published.lines().any(|line| line.rsplit('\t').next() == Some(id)), "{id}");
        }
    }

    /// Makes whoever adds an operation on checks or reviews decide where it belongs.
    #[test]
    fn every_write_of_checks_and_reviews_is_among_them_or_left_out_knowingly() {
        let left_out = [
            // Anyone with the permission may do these to what others created.
            "pulls/create-review-comment",
            "pulls/update-review-comment",
            "pulls/delete-review-comment",
            "pulls/create-reply-for-review-comment",
            "pulls/request-reviewers",
            "pulls/remove-requested-reviewers",
            "pulls/dismiss-review",
            "deletePullRequestReviewComment",
            "dismissPullRequestReview",
            "updatePullRequestReviewComment",
        ];
        for line in include_str!("data/published.tsv").lines().skip(1) {
            let columns: Vec<&str> = line.split('\t').collect();
            let (method, id) = (columns[1], columns[3]);
            let is_one = id.starts_with("checks/")
                || (id.starts_with("pulls/") && id.contains("review"))
                || ["CheckRun", "CheckSuite", "PullRequestReview"].iter().any(|name| id.contains(name));
            if method != "GET" && is_one && !OF_ONE_IDENTITY.contains(&id) {
                assert!(left_out.contains(&id), "{id}");
            }
        }
    }
}
