//! Node ids and what they name.
//!
//! They look like GitHub's and are stable, but only the prefixes match GitHub's: `PR_kwDO200100076` is pull
//! request 76 of repository 2001.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::render::issues::issue_node_id;
use crate::render::{View, label_id};
use crate::world::{BOT_LOGIN, Comment, PERSONAL_LOGIN, Repository, World};

/// Something that has a node id. The first number is that of its repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Account(String),
    Repository(u64),
    /// An issue or pull request, by number.
    Issue(u64, u64),
    /// A ref, by full name.
    Ref(u64, String),
    Commit(u64, String),
    Label(u64, String),
    /// A comment of an issue or pull request, by the issue's number and its own id.
    Comment(u64, u64, u64),
    /// A review, by the pull request's number and its own id.
    Review(u64, u64, u64),
    /// A comment on a pull request's diff, in the same way.
    ReviewComment(u64, u64, u64),
    Release(u64, u64),
    CheckRun(u64, u64),
    Deployment(u64, u64),
}

impl Node {
    /// What an id names, regardless of who may see it.
    pub(crate) fn find(view: &View<'_>, id: &str) -> Option<Self> {
        let world = view.world;
        let (prefix, rest) = id.split_once('_')?;
        let rest = rest.strip_prefix("kwDO").or_else(|| rest.strip_prefix("kgDO"))?;
        if ["U", "O", "BOT"].contains(&prefix) {
            let owners = world.owners.iter().map(|owner| owner.login.as_str());
            let mut logins = owners.chain([BOT_LOGIN, PERSONAL_LOGIN]);
            return logins
                .find(|login| view.user(login)["node_id"] == id)
                .map(|found| Self::Account(found.to_owned()));
        }
        match prefix {
            "REF" => {
                let (repository, name) =
                    split(world, rest, rest.find(|symbol: char| !symbol.is_ascii_digit())?)?;
                let name = String::from_utf8(URL_SAFE_NO_PAD.decode(name).ok()?).ok()?;
                repository.git.refs.contains_key(&name).then_some(Self::Ref(repository.id, name))
            }
            "C" => {
                let (repository, sha) = split(world, rest, rest.len().checked_sub(40)?)?;
                repository.git.commit(sha).map(|commit| Self::Commit(repository.id, commit.id.clone()))
            }
            _ => Self::numbered(world, prefix, id, rest.parse().ok()?),
        }
    }

    fn numbered(world: &World, prefix: &str, id: &str, number: u64) -> Option<Self> {
        let of = |factor: u64| world.repositories.get(&(number / factor));
        let has_it = |comments: &[Comment]| comments.iter().any(|found| found.id == number);
        match prefix {
            "R" => of(1).map(|found| Self::Repository(found.id)),
            "I" | "PR" => {
                let repository = of(100_000)?;
                let issue = repository.issues.get(&(number % 100_000))?;
                let is_it = issue_node_id(repository, issue) == id;
                is_it.then_some(Self::Issue(repository.id, issue.number))
            }
            "IC" => {
                let repository = of(1_000_000)?;
                let mut issues = repository.issues.values();
                let issue = issues.find(|issue| has_it(&issue.comments))?;
                Some(Self::Comment(repository.id, issue.number, number))
            }
            "PRR" => {
                let repository = of(1_000_000)?;
                let mut pulls = repository.pulls();
                let (issue, _) =
                    pulls.find(|(_, pull)| pull.reviews.iter().any(|found| found.id == number))?;
                Some(Self::Review(repository.id, issue.number, number))
            }
            "PRRC" => {
                let repository = of(1_000_000)?;
                let mut pulls = repository.pulls();
                let (issue, _) = pulls.find(|(_, pull)| has_it(&pull.review_comments))?;
                Some(Self::ReviewComment(repository.id, issue.number, number))
            }
            "CR" => {
                let repository = of(1_000_000)?;
                let has_it = repository.check_runs.iter().any(|found| found["id"] == number);
                has_it.then_some(Self::CheckRun(repository.id, number))
            }
            "LA" => {
                let repository = of(10_000_000_000)?;
                let mut names = repository.label_names().into_iter();
                let name = names.find(|name| label_id(repository, name) == number)?;
                Some(Self::Label(repository.id, name))
            }
            "RE" => {
                let repository = of(1_000_000)?;
                repository.releases.contains_key(&number).then_some(Self::Release(repository.id, number))
            }
            "DE" => {
                let repository = of(1_000_000)?;
                let has_it = repository.deployments.iter().any(|found| found["id"] == number);
                has_it.then_some(Self::Deployment(repository.id, number))
            }
            _ => None,
        }
    }

    /// The id of the repository that it is in.
    pub(crate) fn repository(&self) -> Option<u64> {
        match self {
            Self::Account(_) => None,
            Self::Repository(id)
            | Self::Issue(id, _)
            | Self::Ref(id, _)
            | Self::Commit(id, _)
            | Self::Label(id, _)
            | Self::Comment(id, _, _)
            | Self::Review(id, _, _)
            | Self::ReviewComment(id, _, _)
            | Self::CheckRun(id, _)
            | Self::Release(id, _)
            | Self::Deployment(id, _) => Some(*id),
        }
    }
}

/// The repository whose number is before that place, and what is after it.
fn split<'a, 'w>(world: &'w World, text: &'a str, at: usize) -> Option<(&'w Repository, &'a str)> {
    if !text.is_char_boundary(at) {
        return None;
    }
    let (number, rest) = text.split_at(at);
    Some((world.repositories.get(&number.parse().ok()?)?, rest))
}
