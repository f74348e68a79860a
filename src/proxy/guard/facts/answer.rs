//! What GitHub's answer to a question says; no I/O.

use http::header::{HeaderValue, LOCATION};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::question::{A_PAGE, Question};
use crate::policy::approval::{Base, is_commit};
use crate::policy::repositories::RepositoryName;

/// Rules about the form of commits and names, and one that asks for a review by Copilot, which guard nothing: if an
/// organization has them for all branches, agents' branches are still their own. (GitHub's "Available rules for
/// rulesets".)
const RULES_OF_FORM: [&str; 10] = [
    "branch_name_pattern",
    "commit_author_email_pattern",
    "commit_message_pattern",
    "committer_email_pattern",
    "copilot_code_review",
    "file_extension_restriction",
    "file_path_restriction",
    "max_file_path_length",
    "max_file_size",
    "tag_name_pattern",
];

/// What GitHub said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::proxy::guard) enum Fact {
    Repository {
        name: RepositoryName,
        default_branch: String,
        /// What it is a fork of, empty if it is none; `None` if GitHub does not show that.
        upstreams: Option<Vec<RepositoryName>>,
    },
    /// The repository was renamed; the id leads to it.
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
        base: Option<Base>,
        stack: Option<u64>,
        is_draft: bool,
    },
    Commit {
        sha: String,
    },
    /// Number, head commit and whether it is still to land; bottom first.
    Stack(Vec<(u64, String, bool)>),
    /// It does not exist.
    Missing,
}

impl Question {
    /// Reads an answer; none if it does not say.
    pub(super) fn read(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Fact> {
        let moved = || headers.get(LOCATION).and_then(id_of_location).map(|id| Fact::Moved { id });
        match (self, status) {
            (
                Question::Repository(_),
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::PERMANENT_REDIRECT
                | StatusCode::TEMPORARY_REDIRECT,
            ) => moved(),
            // Rules need a plan that has them; without it there are none.
            (Question::Rules(..), StatusCode::FORBIDDEN) if says_upgrade(body) => {
                Some(Fact::Rules { guard: false })
            }
            // A branch without rules gives an empty list; a 404 means that they can't be seen.
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
                let upstreams = found.upstreams();
                Some(Fact::Repository { name, default_branch: found.default_branch, upstreams })
            }
            Question::Branch(..) => {
                let found: BranchAnswer = serde_json::from_slice(body).ok()?;
                Some(Fact::Branch { is_protected: found.protected })
            }
            Question::Rules(..) => {
                let rules: Vec<RuleAnswer> = serde_json::from_slice(body).ok()?;
                let guard = rules.iter().any(|rule| !RULES_OF_FORM.contains(&rule.kind.as_str()));
                Some(Fact::Rules { guard: guard || rules.len() >= A_PAGE })
            }
            Question::PullsFrom { .. } | Question::PullsInto(..) => {
                let pulls: Vec<PullInList> = serde_json::from_slice(body).ok()?;
                let is_auto_merge_on = pulls.iter().any(|pull| !pull.auto_merge.is_null());
                // There may be more after a full page, and anybody can open that many.
                if pulls.len() >= A_PAGE && !is_auto_merge_on {
                    return None;
                }
                Some(Fact::Pulls { is_any_open: !pulls.is_empty(), is_auto_merge_on })
            }
            Question::Pull(..) => {
                let pull: PullAnswer = serde_json::from_slice(body).ok()?;
                let head = pull.head.repo["full_name"].as_str().and_then(RepositoryName::parse);
                let stack = pull.stack.map(|stack| stack.number);
                let is_draft = pull.draft;
                Some(Fact::Pull {
                    head,
                    head_branch: pull.head.branch,
                    head_sha: pull.head.sha,
                    base: pull.base.and_then(BaseAnswer::read),
                    stack,
                    is_draft,
                })
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
    #[serde(default)]
    fork: bool,
    /// For a fork: what it was made from, and the root of its network.
    #[serde(default)]
    parent: Value,
    #[serde(default)]
    source: Value,
}

impl RepositoryAnswer {
    fn upstreams(&self) -> Option<Vec<RepositoryName>> {
        if !self.fork {
            return Some(Vec::new());
        }
        let name = |of: &Value| of["full_name"].as_str().and_then(RepositoryName::parse);
        let (parent, source) = (name(&self.parent)?, name(&self.source));
        let source = source.filter(|source| *source != parent);
        Some([parent].into_iter().chain(source).collect())
    }
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
    base: Option<BaseAnswer>,
    #[serde(default)]
    draft: bool,
    #[serde(default)]
    stack: Option<StackOfPull>,
}

#[derive(Deserialize)]
struct BaseAnswer {
    #[serde(rename = "ref", default)]
    branch: Option<String>,
    #[serde(default)]
    repo: Value,
}

impl BaseAnswer {
    fn read(self) -> Option<Base> {
        let branch = self.branch?;
        let default = self.repo["default_branch"].as_str();
        Some(Base { is_default: default.is_none_or(|default| default == branch), branch })
    }
}

#[derive(Deserialize)]
struct HeadAnswer {
    #[serde(rename = "ref", default)]
    branch: String,
    sha: String,
    /// Null if the fork is gone; in a stack it lacks the full name.
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

/// The id in `…/repositories/{id}`, where GitHub redirects to.
fn id_of_location(location: &HeaderValue) -> Option<u64> {
    let (_, rest) = location.to_str().ok()?.rsplit_once("/repositories/")?;
    rest.parse().ok()
}

/// Whether the body has GitHub's words for a plan without rulesets.
fn says_upgrade(body: &[u8]) -> bool {
    memchr::memmem::find(body, b"Upgrade to GitHub").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> RepositoryName {
        RepositoryName::parse("acme/widgets").unwrap()
    }

    fn pulls_from(branch: &str) -> Question {
        Question::PullsFrom { at: name(), owner: "fork".to_owned(), branch: branch.to_owned() }
    }

    fn read(question: &Question, status: u16, body: &str) -> Option<Fact> {
        question.read(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
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
    fn a_full_page_of_pull_requests_tells_only_what_is_on_it() {
        let page = |auto_merge: &[&str]| format!("[{}]", auto_merge.join(","));
        let (off, on) = (r#"{"auto_merge":null}"#, r#"{"auto_merge":{"merge_method":"merge"}}"#);
        let full: Vec<&str> = std::iter::repeat_n(off, A_PAGE).collect();
        let one_on: Vec<&str> = full[1..].iter().copied().chain([on]).collect();
        let told = |is_auto_merge_on| Some(Fact::Pulls { is_any_open: true, is_auto_merge_on });
        for (answer, expected) in
            [(page(&full[1..]), told(false)), (page(&full), None), (page(&one_on), told(true))]
        {
            assert_eq!(read(&pulls_from("w"), 200, &answer), expected, "{answer}");
        }
    }

    #[test]
    fn a_fork_says_of_what() {
        let upstreams = |rest: &str| {
            let body = format!(r#"{{"full_name":"acme/w","default_branch":"main"{rest}}}"#);
            match read(&Question::Repository(name()), 200, &body) {
                Some(Fact::Repository { upstreams, .. }) => {
                    upstreams.map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>())
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(upstreams(""), Some(vec![]));
        assert_eq!(upstreams(r#","fork":true"#), None);
        let (parent, same) =
            (r#","fork":true,"parent":{"full_name":"b/w"}"#, r#","source":{"full_name":"b/w"}"#);
        assert_eq!(upstreams(parent), Some(vec!["b/w".to_owned()]));
        assert_eq!(upstreams(&format!("{parent}{same}")), Some(vec!["b/w".to_owned()]));
        let other = r#","source":{"full_name":"c/w"}"#;
        assert_eq!(upstreams(&format!("{parent}{other}")), Some(vec!["b/w".to_owned(), "c/w".to_owned()]));
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
