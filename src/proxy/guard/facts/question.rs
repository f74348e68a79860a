//! What can be asked of GitHub, where, and what its answer tells: no I/O.

use http::header::{HeaderValue, LOCATION};
use http::{HeaderMap, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;

use crate::error::ProxyError;
use crate::policy::approval::is_commit;
use crate::policy::repositories::RepositoryName;
use crate::policy::target::Target;

/// How long an answer is believed without asking again.
const BELIEVED_MS: i64 = 5 * 60_000;

/// What stays plain in a path segment or a query's value.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Rules that say how commits and names must look, and guard nothing: where an organization has them
/// for all branches, its agents' branches are still theirs. (GitHub's "available rules for rulesets".)
const RULES_OF_FORM: [&str; 9] = [
    "branch_name_pattern",
    "commit_author_email_pattern",
    "commit_message_pattern",
    "committer_email_pattern",
    "file_extension_restriction",
    "file_path_restriction",
    "max_file_path_length",
    "max_file_size",
    "tag_name_pattern",
];

/// One thing to know.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::proxy::guard) enum Question {
    /// A repository, by name or by id.
    Repository(RepositoryName),
    RepositoryId(u64),
    Branch(RepositoryName, String),
    /// The rules in force for a branch, whether it exists or not.
    Rules(RepositoryName, String),
    /// Open pull requests from a branch, or into it.
    PullsFrom(RepositoryName, String),
    PullsInto(RepositoryName, String),
    Pull(RepositoryName, u64),
    /// The commit that a branch, a tag or an id means.
    Commit(RepositoryName, String),
    Stack(RepositoryName, u64),
}

/// What GitHub says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::proxy::guard) enum Fact {
    Repository {
        name: RepositoryName,
        default_branch: String,
    },
    /// It has another name now; the id leads to it.
    Moved {
        id: u64,
    },
    Branch {
        is_protected: bool,
    },
    Rules {
        guard: bool,
    },
    Pulls {
        is_any_open: bool,
        is_auto_merge_on: bool,
    },
    Pull {
        head: Option<RepositoryName>,
        head_branch: String,
        head_sha: String,
        stack: Option<u64>,
    },
    Commit {
        sha: String,
    },
    /// Number, commit and whether it is still to land, bottom first.
    Stack(Vec<(u64, String, bool)>),
    /// There is none.
    Missing,
}

impl Question {
    pub(super) fn target(&self) -> Result<Target, ProxyError> {
        let encoded = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
        let (path, query) = match self {
            Question::Repository(name) => (format!("/repos/{name}"), None),
            Question::RepositoryId(id) => (format!("/repositories/{id}"), None),
            Question::Branch(name, branch) => (format!("/repos/{name}/branches/{}", encoded(branch)), None),
            Question::Rules(name, branch) => {
                (format!("/repos/{name}/rules/branches/{}", encoded(branch)), Some("per_page=100".to_owned()))
            }
            Question::PullsFrom(name, branch) => (
                format!("/repos/{name}/pulls"),
                Some(format!("state=open&head={}:{}&per_page=100", encoded(name.owner()), encoded(branch))),
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
        Target::parse(&path, query.as_deref()).map_err(|_| ProxyError::Internal)
    }

    /// The repository it is about, if it says its name.
    pub(super) fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Question::RepositoryId(_) => None,
            Question::Repository(name)
            | Question::Branch(name, _)
            | Question::Rules(name, _)
            | Question::PullsFrom(name, _)
            | Question::PullsInto(name, _)
            | Question::Pull(name, _)
            | Question::Commit(name, _)
            | Question::Stack(name, _) => Some(name),
        }
    }

    /// What changes with every push, or by the agent's own calls, is always asked for.
    pub(super) fn believed_ms(&self) -> i64 {
        match self {
            Question::Repository(_)
            | Question::RepositoryId(_)
            | Question::Branch(..)
            | Question::Rules(..) => BELIEVED_MS,
            Question::PullsFrom(..)
            | Question::PullsInto(..)
            | Question::Pull(..)
            | Question::Commit(..)
            | Question::Stack(..) => 0,
        }
    }

    /// Reads an answer; none when it does not tell.
    pub(super) fn read(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Fact> {
        let moved = || headers.get(LOCATION).and_then(id_of_location).map(|id| Fact::Moved { id });
        match (self, status) {
            (
                Question::Repository(_),
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::PERMANENT_REDIRECT
                | StatusCode::TEMPORARY_REDIRECT,
            ) => moved(),
            // Rules need a plan that has them, and without it there are none.
            (Question::Rules(..), StatusCode::FORBIDDEN) if says_upgrade(body) => {
                Some(Fact::Rules { guard: false })
            }
            // No rules of a branch is an empty list; a 404 means that they can't be seen.
            (Question::Rules(..), StatusCode::NOT_FOUND) => None,
            (_, StatusCode::NOT_FOUND | StatusCode::GONE) => Some(Fact::Missing),
            (_, StatusCode::OK) => self.read_body(body),
            _ => None,
        }
    }

    fn read_body(&self, body: &[u8]) -> Option<Fact> {
        match self {
            Question::Repository(_) | Question::RepositoryId(_) => {
                let found: RepositoryAnswer = serde_json::from_slice(body).ok()?;
                let name = RepositoryName::parse(&found.full_name)?;
                Some(Fact::Repository { name, default_branch: found.default_branch })
            }
            Question::Branch(..) => {
                let found: BranchAnswer = serde_json::from_slice(body).ok()?;
                Some(Fact::Branch { is_protected: found.protected })
            }
            Question::Rules(..) => {
                let rules: Vec<RuleAnswer> = serde_json::from_slice(body).ok()?;
                let guard = rules.iter().any(|rule| !RULES_OF_FORM.contains(&rule.kind.as_str()));
                Some(Fact::Rules { guard: guard || rules.len() >= 100 })
            }
            Question::PullsFrom(..) | Question::PullsInto(..) => {
                let pulls: Vec<PullInList> = serde_json::from_slice(body).ok()?;
                let is_auto_merge_on = pulls.iter().any(|pull| !pull.auto_merge.is_null());
                Some(Fact::Pulls { is_any_open: !pulls.is_empty(), is_auto_merge_on })
            }
            Question::Pull(..) => {
                let pull: PullAnswer = serde_json::from_slice(body).ok()?;
                let head = pull.head.repo["full_name"].as_str().and_then(RepositoryName::parse);
                let stack = pull.stack.map(|stack| stack.number);
                Some(Fact::Pull { head, head_branch: pull.head.branch, head_sha: pull.head.sha, stack })
            }
            Question::Commit(..) => {
                let found: CommitAnswer = serde_json::from_slice(body).ok()?;
                is_commit(&found.sha).then_some(Fact::Commit { sha: found.sha })
            }
            Question::Stack(..) => {
                let stack: StackAnswer = serde_json::from_slice(body).ok()?;
                let pulls = stack.pull_requests.into_iter().map(|pull| {
                    let is_to_land = pull.state == "open" && pull.merged_at.is_none();
                    (pull.number, pull.head.sha, is_to_land)
                });
                Some(Fact::Stack(pulls.collect()))
            }
        }
    }
}

#[derive(Deserialize)]
struct RepositoryAnswer {
    full_name: String,
    default_branch: String,
}

#[derive(Deserialize)]
struct BranchAnswer {
    protected: bool,
}

#[derive(Deserialize)]
struct RuleAnswer {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct PullInList {
    #[serde(default)]
    auto_merge: Value,
}

#[derive(Deserialize)]
struct PullAnswer {
    head: HeadAnswer,
    #[serde(default)]
    stack: Option<StackOfPull>,
}

#[derive(Deserialize)]
struct HeadAnswer {
    #[serde(rename = "ref", default)]
    branch: String,
    sha: String,
    /// Null when the fork is gone; in a stack without the full name.
    #[serde(default)]
    repo: Value,
}

#[derive(Deserialize)]
struct CommitAnswer {
    sha: String,
}

#[derive(Deserialize)]
struct StackOfPull {
    number: u64,
}

#[derive(Deserialize)]
struct StackAnswer {
    pull_requests: Vec<PullOfStack>,
}

#[derive(Deserialize)]
struct PullOfStack {
    number: u64,
    state: String,
    merged_at: Option<String>,
    head: HeadAnswer,
}

/// `…/repositories/{id}`, as GitHub redirects to.
fn id_of_location(location: &HeaderValue) -> Option<u64> {
    let (_, rest) = location.to_str().ok()?.rsplit_once("/repositories/")?;
    rest.parse().ok()
}

/// GitHub's words where a plan has no rulesets.
fn says_upgrade(body: &[u8]) -> bool {
    memchr::memmem::find(body, b"Upgrade to GitHub").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> RepositoryName {
        RepositoryName::parse("acme/widgets").unwrap()
    }

    fn read(question: &Question, status: u16, body: &str) -> Option<Fact> {
        question.read(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn asks_for_names_as_github_spells_them() {
        let target = |question: Question| {
            let target = question.target().unwrap();
            format!("{}?{}", target.path(), target.query().unwrap_or_default())
        };
        assert_eq!(
            target(Question::Branch(name(), "a/ü%".to_owned())),
            "/repos/acme/widgets/branches/a%2F%C3%BC%25?"
        );
        assert_eq!(
            target(Question::PullsFrom(name(), "a&b".to_owned())),
            "/repos/acme/widgets/pulls?state=open&head=acme:a%26b&per_page=100"
        );
    }

    #[test]
    fn what_does_not_tell_is_no_fact() {
        let branch = Question::Branch(name(), "w".to_owned());
        let rules = Question::Rules(name(), "w".to_owned());
        for (question, status, body, expected) in [
            (&branch, 200, r#"{"protected":false}"#, Some(Fact::Branch { is_protected: false })),
            (&branch, 200, r#"{"protected":true}"#, Some(Fact::Branch { is_protected: true })),
            (&branch, 200, r#"{"protected":null}"#, None),
            (&branch, 200, "{}", None),
            (&branch, 200, "", None),
            (&branch, 404, "", Some(Fact::Missing)),
            (&branch, 403, "", None),
            (&branch, 301, "", None),
            (&branch, 500, "", None),
            (&rules, 200, "[]", Some(Fact::Rules { guard: false })),
            (&rules, 200, r#"[{"type":"pull_request"}]"#, Some(Fact::Rules { guard: true })),
            (&rules, 200, r#"[{"type":"branch_name_pattern"}]"#, Some(Fact::Rules { guard: false })),
            (&rules, 200, r#"[{"type":"something_new"}]"#, Some(Fact::Rules { guard: true })),
            (&rules, 200, r#"[{}]"#, None),
            (&rules, 404, "", None),
            (&rules, 403, r#"{"message":"Resource not accessible by integration"}"#, None),
            (
                &rules,
                403,
                r#"{"message":"Upgrade to GitHub Pro or make this repository public"}"#,
                Some(Fact::Rules { guard: false }),
            ),
        ] {
            assert_eq!(read(question, status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn redirects_lead_to_ids() {
        for (location, id) in [
            ("https://api.github.com/repositories/2004", Some(2004)),
            ("https://api.github.com/repositories/2004/pulls", None),
            ("https://api.github.com/repos/a/b", None),
        ] {
            assert_eq!(id_of_location(&HeaderValue::from_static(location)), id, "{location}");
        }
    }
}
