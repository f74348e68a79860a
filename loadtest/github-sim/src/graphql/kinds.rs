//! Which interfaces and unions each type of the schema belongs to.

/// Whether a type is, or belongs to, the type, interface or union `on`.
pub(crate) fn is_a(kind: &str, on: &str) -> bool {
    let kinds: &[&str] = match on {
        "Node" => return true,
        "Actor" | "Assignee" | "RequestedReviewer" => &["User", "Bot", "Organization"],
        "RepositoryOwner" | "ProfileOwner" | "ProjectV2Owner" | "Sponsorable" => &["User", "Organization"],
        "GitObject" => &["Commit"],
        "Starrable" | "RepositoryInfo" | "ProjectOwner" => &["Repository"],
        "IssueOrPullRequest" | "Labelable" | "Assignable" | "Closable" | "Lockable" | "ReferencedSubject" => {
            &["Issue", "PullRequest"]
        }
        "SearchResultItem" => &["Issue", "PullRequest", "Repository", "User", "Organization"],
        "Comment" | "Reactable" | "Updatable" | "UpdatableComment" | "RepositoryNode" => {
            &["Issue", "PullRequest", "IssueComment", "PullRequestReview"]
        }
        "Deletable" => &["IssueComment", "PullRequestReview"],
        "Subscribable" => &["Issue", "PullRequest", "Repository", "Commit"],
        "UniformResourceLocatable" => {
            &["User", "Bot", "Organization", "Repository", "Issue", "PullRequest", "Commit", "Release"]
        }
        "StatusCheckRollupContext" => &["CheckRun", "StatusContext"],
        "RequirableByPullRequest" => &["CheckRun", "StatusContext"],
        _ => return kind == on,
    };
    kinds.contains(&kind)
}
