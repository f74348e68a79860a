//! What an event means: which areas of which repository may have changed.
//!
//! Source: GitHub Docs, "Webhook events and payloads". Order is not guaranteed, so an event is never read as a
//! state, only as a sign that something changed. GitHub adds events and actions: an unknown one counts as a
//! change of everything that it names.

use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::cache::changes::{Area, Change};
use crate::cache::feed::{News, Seen};
use crate::policy::repositories::{RepositoryName, is_account};

/// What a kind of event reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tells {
    /// A change in these areas of its repository.
    Of(&'static [Area]),
    /// A branch or tag was moved, created or deleted.
    Ref,
    Pull,
    /// A repository's own state, including its name.
    Repository,
    /// What an App can reach.
    Installation,
    /// Which events are delivered.
    Ping,
    /// Something that agents never read through the cache.
    Nothing,
}

const TABLE: &[(&str, Tells)] = &[
    ("check_run", CHECKS),
    ("check_suite", CHECKS),
    ("commit_comment", Tells::Of(&[Area::Code])),
    ("create", Tells::Ref),
    ("delete", Tells::Ref),
    ("deployment", Tells::Of(&[Area::Checks])),
    ("deployment_status", CHECKS),
    ("discussion", QUIET),
    ("discussion_comment", QUIET),
    ("fork", QUIET),
    ("github_app_authorization", Tells::Nothing),
    ("installation", Tells::Installation),
    ("installation_repositories", Tells::Installation),
    ("installation_target", Tells::Installation),
    ("issue_comment", ISSUES),
    ("issue_dependencies", ISSUES),
    ("issues", ISSUES),
    ("label", ISSUES),
    ("marketplace_purchase", Tells::Nothing),
    ("member", Tells::Repository),
    ("merge_group", CHECKS),
    ("milestone", ISSUES),
    ("ping", Tells::Ping),
    ("projects_v2", Tells::Nothing),
    ("projects_v2_item", Tells::Nothing),
    ("projects_v2_status_update", Tells::Nothing),
    ("public", Tells::Repository),
    ("pull_request", Tells::Pull),
    ("pull_request_review", PULLS),
    ("pull_request_review_comment", PULLS),
    ("pull_request_review_thread", PULLS),
    ("push", Tells::Ref),
    ("release", Tells::Of(&[Area::Releases, Area::Code])),
    ("repository", Tells::Repository),
    ("sponsorship", Tells::Nothing),
    ("star", QUIET),
    ("status", CHECKS),
    ("sub_issues", ISSUES),
    ("watch", QUIET),
    ("workflow_job", CHECKS),
    ("workflow_run", CHECKS),
];

const CHECKS: Tells = Tells::Of(&[Area::Checks, Area::Pulls]);
const PULLS: Tells = Tells::Of(&[Area::Pulls, Area::Issues]);
const ISSUES: Tells = Tells::Of(&[Area::Issues, Area::Pulls, Area::Repository]);
/// At most changes the repository's counters.
const QUIET: Tells = Tells::Of(&[Area::Repository]);

/// A signed delivery whose body can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no event of GitHub's")]
pub(super) struct Garbled;

#[derive(Deserialize)]
struct Payload<'a> {
    action: Option<String>,
    #[serde(rename = "ref")]
    git_ref: Option<String>,
    ref_type: Option<String>,
    repository: Option<Repository>,
    organization: Option<Account>,
    account: Option<Account>,
    installation: Option<Installation>,
    hook: Option<Hook>,
    /// The shape depends on the event.
    #[serde(borrow)]
    changes: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Repository {
    full_name: String,
}

#[derive(Deserialize)]
struct Account {
    login: String,
}

#[derive(Deserialize)]
struct Installation {
    account: Option<InstalledOn>,
}

/// A user or organization has a `login`, an enterprise a `slug`.
#[derive(Deserialize)]
struct InstalledOn {
    login: Option<String>,
    slug: Option<String>,
}

#[derive(Deserialize)]
struct Hook {
    #[serde(default)]
    active: bool,
    #[serde(default)]
    events: Vec<String>,
}

/// The previous values, from `changes`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Before {
    repository: Renamed,
    owner: Transferred,
    login: From<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Renamed {
    name: From<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Transferred {
    from: Option<Owner>,
}

#[derive(Deserialize)]
struct Owner {
    user: Option<Account>,
    organization: Option<Account>,
}

#[derive(Deserialize)]
struct From<T> {
    from: Option<T>,
}

impl<T> Default for From<T> {
    fn default() -> From<T> {
        From { from: None }
    }
}

/// The event's name if it is a known one: the metric label.
pub(super) fn label(event: &str) -> &'static str {
    TABLE.iter().find(|(known, _)| *known == event).map_or("other", |(known, _)| known)
}

/// What a delivery reports. `is_of_account`: the webhook is not limited to a single repository, so events of the
/// account's other repositories are delivered too.
///
/// # Errors
/// When the body is not a GitHub payload.
pub(super) fn read(event: &str, body: &[u8], is_of_account: bool) -> Result<News, Garbled> {
    let payload: Payload<'_> = serde_json::from_slice(body).map_err(|_| Garbled)?;
    let tells = TABLE.iter().find(|(known, _)| *known == event).map(|(_, tells)| *tells);
    let before = match (tells, payload.changes) {
        (Some(Tells::Repository | Tells::Installation), Some(changes)) => {
            serde_json::from_str(changes.get()).map_err(|_| Garbled)?
        }
        _ => Before::default(),
    };
    let mut news = News::default();
    match tells {
        Some(Tells::Nothing) => return Ok(news),
        Some(Tells::Ping) => {
            news.seen = payload.pinged().filter(|_| is_of_account);
            return Ok(news);
        }
        Some(Tells::Installation) => {
            news.ended = payload.accounts(before);
            news.changes.push(Change::Everything);
            return Ok(news);
        }
        Some(Tells::Of(_) | Tells::Ref | Tells::Pull | Tells::Repository) | None => {}
    }
    let Some(repository) = &payload.repository else {
        news.changes.push(Change::Everything);
        return Ok(news);
    };
    let name = RepositoryName::parse(&repository.full_name).ok_or(Garbled)?;
    news.changes = vec![Change::Repository { name: name.to_string(), areas: payload.areas(tells) }];
    news.changes.extend(before.name_of(&name).map(|before| all_of(&before)));
    if is_of_account {
        let (account, events) = (name.owner().to_owned(), vec![event.to_owned()]);
        news.seen = Some(Seen { account, events, is_list: false });
    }
    Ok(news)
}

impl Payload<'_> {
    fn areas(&self, tells: Option<Tells>) -> Vec<Area> {
        match tells {
            Some(Tells::Of(areas)) => areas.to_vec(),
            Some(Tells::Ref) => {
                // The branch's name now stands for another commit, which has other checks.
                let mut areas = vec![Area::Code, Area::Pulls, Area::Checks, Area::Repository];
                let is_tag = self.ref_type.as_deref() == Some("tag")
                    || self.git_ref.as_ref().is_some_and(|git_ref| git_ref.starts_with("refs/tags/"));
                if is_tag {
                    areas.push(Area::Releases);
                }
                areas
            }
            Some(Tells::Pull) => match self.action.as_deref() {
                // The pull request's own refs (`refs/pull/N/head`) move, and for a fork's there is no push event here.
                Some("opened" | "reopened" | "synchronize" | "closed") => {
                    vec![Area::Pulls, Area::Issues, Area::Repository, Area::Code, Area::Checks]
                }
                _ => vec![Area::Pulls, Area::Issues],
            },
            Some(Tells::Repository | Tells::Installation | Tells::Ping | Tells::Nothing) | None => {
                Area::ALL.to_vec()
            }
        }
    }

    /// Which events a new organization webhook says it delivers. An App's ping names no account; GitHub is asked
    /// instead.
    fn pinged(self) -> Option<Seen> {
        let hook = self.hook.filter(|hook| hook.active)?;
        let account = self.organization.filter(|account| is_account(&account.login))?.login;
        let is_told = |event: &str| hook.events.iter().any(|told| told == event || told == "*");
        let known = TABLE.iter().map(|(event, _)| *event);
        let events = known.filter(|event| is_told(event)).map(str::to_owned).collect();
        Some(Seen { account, events, is_list: true })
    }

    /// The account of an installation, also under its old name.
    fn accounts(self, before: Before) -> Vec<String> {
        let installed_on = self.installation.and_then(|installation| installation.account);
        let installed_on = installed_on.and_then(|on| on.login.or(on.slug));
        let now = [installed_on, self.account.map(|account| account.login)].into_iter().flatten();
        now.chain(before.login.from).filter(|account| is_account(account)).collect()
    }
}

impl Before {
    /// The repository's previous name, if it had another.
    fn name_of(self, now: &RepositoryName) -> Option<RepositoryName> {
        let owner = self.owner.from.and_then(|owner| owner.organization.or(owner.user));
        let owner = owner.map_or_else(|| now.owner().to_owned(), |account| account.login);
        let name = self.repository.name.from.unwrap_or_else(|| now.name().to_owned());
        RepositoryName::new(&owner, &name).filter(|before| before != now)
    }
}

fn all_of(name: &RepositoryName) -> Change {
    Change::Repository { name: name.to_string(), areas: Area::ALL.to_vec() }
}

#[cfg(test)]
mod tests;
