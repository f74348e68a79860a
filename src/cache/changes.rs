//! What is known to have changed at GitHub, and what GitHub tells of: whether something that was read may
//! be believed without asking again.
//!
//! Changes come from writes through tollgate and from webhooks. They are kept by repository and by
//! [`Area`], each with its time; when too many are kept, everything counts as changed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;

/// GitHub's own caches may show what was before a change for so long after it.
pub const SETTLES_WITHIN: Duration = Duration::from_secs(10);
/// What GitHub tells of is believed for so long without asking: a lost delivery costs no more.
pub const TOLD_FOR: Duration = Duration::from_secs(300);
/// An event that was seen shows for so long that its kind is delivered.
const SEEN_FOR_MS: i64 = 24 * 3_600_000;
/// Repositories whose changes are kept one by one.
const REPOSITORIES_MAX: usize = 50_000;
/// Accounts of which it is known what is told.
const ACCOUNTS_MAX: usize = 10_000;

/// A part of a repository, whose reads change together and which some of GitHub's events cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    /// Contents, commits, branches, tags.
    Code,
    Pulls,
    /// Issues, their comments, labels.
    Issues,
    /// Check runs and commit statuses.
    Checks,
    Releases,
    /// The repository itself.
    Repository,
    /// What guards its branches: protection, rules, which one is the default. No answer to an agent hangs on it,
    /// but what the guard believes.
    Guard,
}

impl Area {
    pub const ALL: [Area; 7] =
        [Area::Code, Area::Pulls, Area::Issues, Area::Checks, Area::Releases, Area::Repository, Area::Guard];

    /// The area of a GET by its path template below `/repos/{owner}/{repo}`; none when no event covers it.
    pub fn of_template(template: &str) -> Option<Area> {
        let rest = template.strip_prefix("/repos/{owner}/{repo}")?;
        let mut steps = rest.split('/').skip(1);
        let first = steps.next().unwrap_or_default();
        let is_about = |word: &str| rest.split('/').any(|step| step == word);
        match first {
            "" => Some(Area::Repository),
            "commits" if ["check-runs", "check-suites", "status", "statuses"].into_iter().any(is_about) => {
                Some(Area::Checks)
            }
            "commits" if is_about("comments") || is_about("pulls") => None,
            "branches" if is_about("protection") => None,
            "contents" | "readme" | "git" | "commits" | "branches" | "tags" | "compare" => Some(Area::Code),
            "pulls" => Some(Area::Pulls),
            "issues" | "labels" => Some(Area::Issues),
            "check-runs" | "check-suites" => Some(Area::Checks),
            "releases" => Some(Area::Releases),
            _ => None,
        }
    }

    /// The events that together tell of every change in it that agents wait for.
    fn events(self) -> &'static [&'static str] {
        match self {
            Area::Code => &["push"],
            Area::Pulls => &["pull_request", "pull_request_review", "push"],
            Area::Issues => &["issues", "issue_comment", "label", "pull_request"],
            // A branch's name stands for another commit after a push.
            Area::Checks => &["check_run", "check_suite", "status", "push"],
            Area::Releases => &["release"],
            Area::Repository => &["repository", "push"],
            Area::Guard => &["branch_protection_rule", "repository_ruleset", "repository"],
        }
    }
}

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Of a repository, `owner/name` in lower case.
    Repository { name: String, areas: Vec<Area> },
    /// Anything there is.
    Everything,
}

/// What an answer depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// `owner/name` in lower case; none when it may show many repositories.
    pub repository: Option<String>,
    /// None: no event covers it, and any change of the repository may show in it.
    pub area: Option<Area>,
}

/// What is known of changes, for all entries of the cache.
#[derive(Debug)]
pub struct Changes {
    clock: Arc<dyn Clock>,
    /// Of each repository, the epoch milliseconds of the last change in each area.
    repositories: Mutex<FxHashMap<String, [i64; Area::ALL.len()]>>,
    /// The last change of anything.
    latest: AtomicI64,
    /// The last time everything may have changed.
    everything: AtomicI64,
    /// By account, in lower case.
    told: Mutex<FxHashMap<String, Told>>,
}

/// Which events are delivered for an account; times are epoch milliseconds.
#[derive(Debug, Default)]
struct Told {
    /// Until when it is believed of each.
    events: HashMap<String, i64>,
    /// Until then GitHub's own list of them is known, and what is not in it is not delivered.
    listed_until_ms: i64,
}

impl Changes {
    pub fn new(clock: Arc<dyn Clock>) -> Changes {
        Changes {
            clock,
            repositories: Mutex::default(),
            latest: AtomicI64::new(0),
            everything: AtomicI64::new(0),
            told: Mutex::default(),
        }
    }

    /// Something changed just now.
    pub fn note(&self, change: &Change) {
        let now = self.clock.now_ms();
        self.latest.fetch_max(now, Ordering::Relaxed);
        let (name, areas) = match change {
            Change::Repository { name, areas } => (name, areas),
            Change::Everything => {
                self.everything.fetch_max(now, Ordering::Relaxed);
                return;
            }
        };
        let mut repositories = lock(&self.repositories);
        if repositories.len() >= REPOSITORIES_MAX && !repositories.contains_key(&name.to_ascii_lowercase()) {
            repositories.clear();
            self.everything.fetch_max(now, Ordering::Relaxed);
        }
        let times = repositories.entry(name.to_ascii_lowercase()).or_default();
        for area in areas {
            times[*area as usize] = now.max(times[*area as usize]);
        }
    }

    /// When what an answer depends on changed last, epoch milliseconds; 0 when nothing is known of it.
    pub fn last(&self, reach: &Reach) -> i64 {
        let everything = self.everything.load(Ordering::Relaxed);
        let Some(name) = &reach.repository else { return self.latest.load(Ordering::Relaxed) };
        let repositories = lock(&self.repositories);
        let times = repositories.get(name).copied().unwrap_or_default();
        let own = match reach.area {
            Some(area) => times[area as usize],
            None => times.into_iter().max().unwrap_or_default(),
        };
        own.max(everything)
    }

    /// GitHub delivers events of this kind for this account: one came just now.
    pub fn seen(&self, account: &str, event: &str) {
        self.believe(account, event, self.clock.now_ms() + SEEN_FOR_MS, 0);
    }

    /// GitHub's list of what it delivers for this account has events of this kind.
    pub fn tells(&self, account: &str, event: &str, until_ms: i64) {
        self.believe(account, event, until_ms, until_ms);
    }

    /// Forgets what is delivered: the Apps are other ones.
    pub fn forget_told(&self) {
        lock(&self.told).clear();
    }

    fn believe(&self, account: &str, event: &str, until_ms: i64, listed_until_ms: i64) {
        if !Area::ALL.into_iter().any(|area| area.events().contains(&event)) {
            return;
        }
        let mut told = lock(&self.told);
        if told.len() >= ACCOUNTS_MAX && !told.contains_key(&account.to_ascii_lowercase()) {
            told.clear();
        }
        let told = told.entry(account.to_ascii_lowercase()).or_default();
        told.listed_until_ms = listed_until_ms.max(told.listed_until_ms);
        let until = told.events.entry(event.to_owned()).or_default();
        *until = until_ms.max(*until);
    }

    /// Whether a change that shows in the answer would be told: where GitHub's list is known, if it has
    /// all the area's events; else, if one of them was seen.
    pub fn covers(&self, reach: &Reach) -> bool {
        let (Some(name), Some(area)) = (&reach.repository, reach.area) else { return false };
        let account = name.split('/').next().unwrap_or_default();
        let now = self.clock.now_ms();
        let told = lock(&self.told);
        let Some(told) = told.get(account) else { return false };
        let mut is_told =
            area.events().iter().map(|event| told.events.get(*event).is_some_and(|until| now < *until));
        if now < told.listed_until_ms { is_told.all(|is| is) } else { is_told.any(|is| is) }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this lock")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn reach(name: &str, area: Option<Area>) -> Reach {
        Reach { repository: Some(name.to_owned()), area }
    }

    #[test]
    fn changes_are_known_by_repository_and_area() {
        let clock = Arc::new(ManualClock::at_seconds(1_000));
        let changes = Changes::new(Arc::clone(&clock) as _);
        let issues = reach("acme/widgets", Some(Area::Issues));
        assert_eq!(changes.last(&issues), 0);
        changes.note(&Change::Repository { name: "acme/widgets".to_owned(), areas: vec![Area::Code] });
        let noted = clock.now_ms();
        assert_eq!(changes.last(&issues), 0);
        assert_eq!(changes.last(&reach("acme/widgets", Some(Area::Code))), noted);
        assert_eq!(changes.last(&reach("acme/widgets", None)), noted);
        assert_eq!(changes.last(&reach("acme/other", None)), 0);
        assert_eq!(changes.last(&Reach { repository: None, area: None }), noted);
        clock.advance(Duration::from_secs(1));
        changes.note(&Change::Everything);
        assert_eq!(changes.last(&issues), clock.now_ms());
    }

    #[test]
    fn an_area_is_covered_while_its_events_come() {
        let clock = Arc::new(ManualClock::at_seconds(1_000));
        let changes = Changes::new(Arc::clone(&clock) as _);
        let checks = reach("acme/widgets", Some(Area::Checks));
        assert!(!changes.covers(&checks));
        changes.seen("Acme", "check_run");
        assert!(changes.covers(&checks));
        for other in [reach("other/widgets", Some(Area::Checks)), reach("acme/widgets", None)] {
            assert!(!changes.covers(&other), "{other:?}");
        }
        clock.advance(Duration::from_secs(24 * 3_600));
        assert!(!changes.covers(&checks));
    }

    #[test]
    fn where_github_lists_its_events_an_area_takes_all_of_them() {
        let clock = Arc::new(ManualClock::at_seconds(1_000));
        let changes = Changes::new(Arc::clone(&clock) as _);
        let checks = reach("acme/widgets", Some(Area::Checks));
        let until = clock.now_ms() + 1_000;
        for event in ["check_run", "check_suite", "push"] {
            changes.tells("acme", event, until);
            assert!(!changes.covers(&checks));
        }
        changes.seen("acme", "status");
        assert!(changes.covers(&checks), "what comes is delivered, listed or not");
    }

    #[test]
    fn every_template_has_the_area_of_what_it_shows() {
        for (path, area) in [
            ("", Some(Area::Repository)),
            ("/issues/{issue_number}/comments", Some(Area::Issues)),
            ("/labels", Some(Area::Issues)),
            ("/pulls/{pull_number}/files", Some(Area::Pulls)),
            ("/contents/{path}", Some(Area::Code)),
            ("/git/trees/{tree_sha}", Some(Area::Code)),
            ("/commits/{ref}", Some(Area::Code)),
            ("/commits/{ref}/check-runs", Some(Area::Checks)),
            ("/commits/{ref}/status", Some(Area::Checks)),
            ("/commits/{commit_sha}/comments", None),
            ("/branches/{branch}", Some(Area::Code)),
            ("/branches/{branch}/protection", None),
            ("/releases/latest", Some(Area::Releases)),
            ("/actions/runs", None),
            ("/stats/contributors", None),
        ] {
            let template = format!("/repos/{{owner}}/{{repo}}{path}");
            assert_eq!(Area::of_template(&template), area, "{path}");
        }
        assert_eq!(Area::of_template("/orgs/{org}/repos"), None);
    }
}
