//! What GitHub ties to who made it.
//!
//! A check run is changed by the App that made it alone (GitHub Docs, "REST API endpoints for check
//! runs"). A review that is pending is seen and submitted by its author alone, and nobody approves a pull
//! request of their own ("About pull request reviews"): made by one App and approved by another, it would
//! be. So all of this is done by one identity.

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

/// Whether an operation goes by the same App each time.
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

    /// Whoever adds an operation on checks or reviews decides where it belongs.
    #[test]
    fn every_write_of_checks_and_reviews_is_among_them_or_left_out_knowingly() {
        let left_out = [
            // Anybody with the right may do these to what others made.
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
