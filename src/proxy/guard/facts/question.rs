//! What can be asked of GitHub, and by which request; no I/O.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::ProxyError;
use crate::policy::repositories::RepositoryName;
use crate::policy::target::Target;

/// How long an answer is believed without asking again, in milliseconds.
const BELIEVED_MS: i64 = 5 * 60_000;

/// The most items GitHub puts on one page.
pub(super) const A_PAGE: usize = 100;

/// What is not escaped in a path segment or a query value.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One thing to find out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::proxy::guard) enum Question {
    /// A repository, by name or by id.
    Repository(RepositoryName),
    RepositoryId(u64),
    Branch(RepositoryName, String),
    /// The rules in force for a branch, whether it exists or not.
    Rules(RepositoryName, String),
    /// A repository's open pull requests from a branch, which may be a fork's.
    PullsFrom {
        at: RepositoryName,
        owner: String,
        branch: String,
    },
    /// Open pull requests into a branch.
    PullsInto(RepositoryName, String),
    Pull(RepositoryName, u64),
    /// The commit that a branch, a tag or a SHA stands for.
    Commit(RepositoryName, String),
    Stack(RepositoryName, u64),
}

impl Question {
    pub(super) fn target(&self) -> Result<Target, ProxyError> {
        let encoded = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
        let (path, query) = match self {
            Question::Repository(name) => (format!("/repos/{name}"), None),
            Question::RepositoryId(id) => (format!("/repositories/{id}"), None),
            Question::Branch(name, branch) => (format!("/repos/{name}/branches/{}", encoded(branch)), None),
            Question::Rules(name, branch) => (
                format!("/repos/{name}/rules/branches/{}", encoded(branch)),
                Some(format!("per_page={A_PAGE}")),
            ),
            Question::PullsFrom { at, owner, branch } => (
                format!("/repos/{at}/pulls"),
                Some(format!("state=open&head={}:{}&per_page={A_PAGE}", encoded(owner), encoded(branch))),
            ),
            Question::PullsInto(name, branch) => (
                format!("/repos/{name}/pulls"),
                Some(format!("state=open&base={}&per_page=1", encoded(branch))),
            ),
            Question::Pull(name, number) => (format!("/repos/{name}/pulls/{number}"), None),
            Question::Commit(name, reference) => {
                (format!("/repos/{name}/commits/{}", encoded(reference)), Some("per_page=1".to_owned()))
            }
            Question::Stack(name, number) => (format!("/repos/{name}/stacks/{number}"), None),
        };
        // Only names of branches and commits come unchecked from the caller.
        Target::parse(&path, query.as_deref()).map_err(|_| {
            ProxyError::BadRequest(
                "The request names a branch or commit by what can be no name of one.".to_owned(),
            )
        })
    }

    /// The repository the question names, if it names one.
    pub(super) fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Question::RepositoryId(_) => None,
            Question::Repository(name)
            | Question::Branch(name, _)
            | Question::Rules(name, _)
            | Question::PullsFrom { at: name, .. }
            | Question::PullsInto(name, _)
            | Question::Pull(name, _)
            | Question::Commit(name, _)
            | Question::Stack(name, _) => Some(name),
        }
    }

    /// How long the answer is believed, in milliseconds: 0 for what changes with every push, or by
    /// the agent's own calls.
    pub(super) fn believed_ms(&self) -> i64 {
        match self {
            Question::Repository(_)
            | Question::RepositoryId(_)
            | Question::Branch(..)
            | Question::Rules(..) => BELIEVED_MS,
            Question::PullsFrom { .. }
            | Question::PullsInto(..)
            | Question::Pull(..)
            | Question::Commit(..)
            | Question::Stack(..) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_for_names_as_github_spells_them() {
        let name = || RepositoryName::parse("acme/widgets").unwrap();
        let target = |question: Question| {
            let target = question.target().unwrap();
            format!("{}?{}", target.path(), target.query().unwrap_or_default())
        };
        assert_eq!(
            target(Question::Branch(name(), "a/ü%".to_owned())),
            "/repos/acme/widgets/branches/a%2F%C3%BC%25?"
        );
        let pulls = Question::PullsFrom { at: name(), owner: "fork".to_owned(), branch: "a&b".to_owned() };
        assert_eq!(target(pulls), "/repos/acme/widgets/pulls?state=open&head=fork:a%26b&per_page=100");
    }
}
