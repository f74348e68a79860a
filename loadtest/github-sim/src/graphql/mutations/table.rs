//! The mutations: what each is about, what it takes, and who does it.

use crate::context::Cx;
use crate::graphql::ids::Node;
use crate::graphql::mutations::{Act, Done, code, issues, merges, pulls, reviews};

/// What a mutation can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Repository,
    /// A branch, by its id or by names.
    Branch,
    Ref,
    Issue,
    Pull,
    /// An issue or a pull request.
    Either,
    Comment,
    Review,
    /// Anything that can have reactions.
    Reactable,
}

impl Kind {
    pub(super) fn admits(self, cx: &Cx<'_>, node: &Node) -> bool {
        let is_pull = |repository: u64, number: u64| {
            let repository = cx.state.world.repositories.get(&repository);
            repository.is_some_and(|found| found.pull(number).is_some())
        };
        match (self, node) {
            (Self::Repository, Node::Repository(_))
            | (Self::Branch | Self::Ref, Node::Ref(..))
            | (Self::Either | Self::Reactable, Node::Issue(..))
            | (Self::Comment | Self::Reactable, Node::Comment(..))
            | (Self::Review | Self::Reactable, Node::Review(..)) => true,
            (Self::Issue, Node::Issue(repository, number)) => !is_pull(*repository, *number),
            // A review to be submitted may be named by its pull request.
            (Self::Pull | Self::Review, Node::Issue(repository, number)) => is_pull(*repository, *number),
            _ => false,
        }
    }
}

/// A row of the table.
pub(super) struct Mutation {
    pub(super) name: &'static str,
    /// The input that names its subject; `|` separates alternatives.
    pub(super) subject: &'static str,
    pub(super) kind: Kind,
    /// The permission, as in the REST routes.
    pub(super) need: &'static str,
    pub(super) run: fn(&mut Act<'_, '_>) -> Done,
}

const fn row(
    name: &'static str,
    subject: &'static str,
    kind: Kind,
    need: &'static str,
    run: fn(&mut Act<'_, '_>) -> Done,
) -> Mutation {
    Mutation { name, subject, kind, need, run }
}

const CONTENTS: &str = "contents=write";
const PULLS: &str = "pull_requests=write";
const BOTH: &str = "contents=write,pull_requests=write";
const ISSUES: &str = "issues=write";
const EITHER: &str = "issues=write; pull_requests=write";

const PULL_ID: &str = "pullRequestId";
const REVIEW_ID: &str = "pullRequestReviewId|pullRequestId";
const REPOSITORY_ID: &str = "repositoryId";

pub(super) static TABLE: &[Mutation] = &[
    row("mergePullRequest", PULL_ID, Kind::Pull, CONTENTS, merges::merge),
    row("enqueuePullRequest", PULL_ID, Kind::Pull, CONTENTS, merges::enqueue),
    row("enablePullRequestAutoMerge", PULL_ID, Kind::Pull, BOTH, merges::enable_auto_merge),
    row("disablePullRequestAutoMerge", PULL_ID, Kind::Pull, BOTH, merges::disable_auto_merge),
    row("mergeBranch", REPOSITORY_ID, Kind::Repository, CONTENTS, merges::merge_branch),
    row("updatePullRequestBranch", PULL_ID, Kind::Pull, PULLS, merges::update_branch),
    row("createRef", REPOSITORY_ID, Kind::Repository, CONTENTS, code::create_ref),
    row("updateRef", "refId", Kind::Ref, CONTENTS, code::update_ref),
    row("updateRefs", REPOSITORY_ID, Kind::Repository, CONTENTS, code::update_refs),
    row("deleteRef", "refId", Kind::Ref, CONTENTS, code::delete_ref),
    row("createCommitOnBranch", "branch", Kind::Branch, CONTENTS, code::create_commit),
    row("createLinkedBranch", "issueId", Kind::Issue, CONTENTS, code::create_linked_branch),
    row("createDeployment", REPOSITORY_ID, Kind::Repository, "deployments=write", code::create_deployment),
    row("createPullRequest", REPOSITORY_ID, Kind::Repository, PULLS, pulls::create),
    row("updatePullRequest", PULL_ID, Kind::Pull, PULLS, pulls::update),
    row("closePullRequest", PULL_ID, Kind::Pull, PULLS, pulls::close),
    row("reopenPullRequest", PULL_ID, Kind::Pull, PULLS, pulls::reopen),
    row("markPullRequestReadyForReview", PULL_ID, Kind::Pull, PULLS, pulls::mark_ready),
    row("convertPullRequestToDraft", PULL_ID, Kind::Pull, PULLS, pulls::convert_to_draft),
    row("requestReviews", PULL_ID, Kind::Pull, PULLS, reviews::request),
    row("addPullRequestReview", PULL_ID, Kind::Pull, PULLS, reviews::add),
    row("submitPullRequestReview", REVIEW_ID, Kind::Review, PULLS, reviews::submit),
    row("dismissPullRequestReview", "pullRequestReviewId", Kind::Review, PULLS, reviews::dismiss),
    row("createIssue", REPOSITORY_ID, Kind::Repository, ISSUES, issues::create),
    row("updateIssue", "id", Kind::Issue, ISSUES, issues::update),
    row("closeIssue", "issueId", Kind::Issue, ISSUES, issues::close),
    row("reopenIssue", "issueId", Kind::Issue, ISSUES, issues::reopen),
    row("addComment", "subjectId", Kind::Either, EITHER, issues::add_comment),
    row("updateIssueComment", "id", Kind::Comment, EITHER, issues::update_comment),
    row("deleteIssueComment", "id", Kind::Comment, EITHER, issues::delete_comment),
    row("addLabelsToLabelable", "labelableId", Kind::Either, EITHER, issues::add_labels),
    row("removeLabelsFromLabelable", "labelableId", Kind::Either, EITHER, issues::remove_labels),
    row("addAssigneesToAssignable", "assignableId", Kind::Either, EITHER, issues::add_assignees),
    row("addReaction", "subjectId", Kind::Reactable, EITHER, issues::add_reaction),
];
