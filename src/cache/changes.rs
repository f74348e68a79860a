//! Knows what changed at GitHub and which changes GitHub reports, and so whether something that was read may be
//! trusted without asking again.
//!
//! Changes come from writes through tollgate and from webhooks. They are kept by repository and [`Area`], each
//! with its time; when there are too many, everything counts as changed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;

/// After a change, GitHub's own caches may show the old state for this long.
pub const SETTLES_WITHIN: Duration = Duration::from_secs(10);
/// How long content whose changes GitHub reports is trusted without asking; it bounds the harm of a lost delivery.
pub const TOLD_FOR: Duration = Duration::from_secs(300);
/// For this long, one event proves that events of its kind are delivered.
const SEEN_FOR_MS: i64 = 24 * 3_600_000;
/// Repositories whose changes are tracked separately.
const REPOSITORIES_MAX: usize = 50_000;
/// Accounts for which delivered events are tracked.
const ACCOUNTS_MAX: usize = 10_000;

/// Steps of a path to what changes without an event, or with one that the path's area does not wait for. (GitHub Docs,
/// "Webhook events and payloads".)
const UNREPORTED: [&str; 8] =
    ["assets", "dependencies", "events", "parent", "reactions", "sub_issue", "sub_issues", "timeline"];
/// Likewise: GitHub reports none of more than three tags pushed at once.
const OF_TAGS: [&str; 2] = ["tags", "matching-refs"];

/// A part of a repository whose reads change together and which some of GitHub's events cover.
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
    /// What guards its branches: protection, rules, the default branch. No answer to an agent depends on it, but
    /// the guard's own knowledge does.
    Guard,
}

impl Area {
    pub const ALL: [Area; 7] =
        [Area::Code, Area::Pulls, Area::Issues, Area::Checks, Area::Releases, Area::Repository, Area::Guard];

    /// The area of a GET by its path template below `/repos/{owner}/{repo}`; `None` when no event covers it.
    pub fn of_template(template: &str) -> Option<Area> {
        let rest = template.strip_prefix("/repos/{owner}/{repo}")?;
        let mut steps = rest.split('/').skip(1);
        let first = steps.next().unwrap_or_default();
        let is_about = |word: &str| rest.split('/').any(|step| step == word);
        if UNREPORTED.into_iter().any(is_about) {
            return None;
        }
        match first {
            "tags" | "git" if OF_TAGS.into_iter().any(is_about) => None,
            "" => Some(Area::Repository),
            "commits" if ["check-runs", "check-suites", "status", "statuses"].into_iter().any(is_about) => {
                Some(Area::Checks)
            }
            "commits" if is_about("comments") || is_about("pulls") => None,
            "branches" if is_about("protection") => None,
            "contents" | "readme" | "git" | "commits" | "branches" | "compare" => Some(Area::Code),
            "pulls" => Some(Area::Pulls),
            "issues" | "labels" => Some(Area::Issues),
            "check-runs" | "check-suites" => Some(Area::Checks),
            "releases" => Some(Area::Releases),
            _ => None,
        }
    }

    /// The events that together report every change in the area that agents wait for: its own, and others'.
    fn events(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Area::Code => (&["push"], &[]),
            // Whether a pull request can be merged depends on its checks.
            Area::Pulls => (
                &["pull_request", "pull_request_review", "pull_request_review_comment"],
                &["push", "check_run", "check_suite", "status"],
            ),
            Area::Issues => (&["issues", "issue_comment", "label"], &["pull_request"]),
            // After a push, a branch's name stands for another commit.
            Area::Checks => (&["check_run", "check_suite", "status"], &["push"]),
            Area::Releases => (&["release"], &[]),
            Area::Repository => (&["repository"], &["push"]),
            Area::Guard => (&["branch_protection_rule", "repository_ruleset", "repository"], &[]),
        }
    }
}

/// Something that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Areas of a repository; `name` is `owner/name` in lower case.
    Repository { name: String, areas: Vec<Area> },
    /// Everything, in any repository.
    Everything,
}

/// What an answer depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// `owner/name` in lower case; `None` when the answer may show many repositories.
    pub repository: Option<String>,
    /// `None`: no event covers the answer, and any change of the repository may show in it.
    pub area: Option<Area>,
}

/// Everything known about changes, for all entries of the cache.
#[derive(Debug)]
pub struct Changes {
    clock: Arc<dyn Clock>,
    /// By repository, the time of the last change in each area; epoch milliseconds.
    repositories: Mutex<FxHashMap<String, [i64; Area::ALL.len()]>>,
    /// The last change of anything; epoch milliseconds.
    latest: AtomicI64,
    /// The last time that everything counted as changed; epoch milliseconds.
    everything: AtomicI64,
    /// Delivered events by account, in lower case.
    told: Mutex<FxHashMap<String, Told>>,
}

/// Which events GitHub delivers for an account; times are epoch milliseconds.
#[derive(Debug, Default)]
struct Told {
    /// Until when each event is believed to be delivered.
    events: HashMap<String, i64>,
    /// Until then GitHub's own list of delivered events is known, and an event not in it counts as not delivered.
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

    /// Records that something changed just now.
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
        let mut repositories = self.repositories.lock();
        if repositories.len() >= REPOSITORIES_MAX && !repositories.contains_key(&name.to_ascii_lowercase()) {
            repositories.clear();
            self.everything.fetch_max(now, Ordering::Relaxed);
        }
        let times = repositories.entry(name.to_ascii_lowercase()).or_default();
        for area in areas {
            times[*area as usize] = now.max(times[*area as usize]);
        }
    }

    /// When what an answer depends on last changed, epoch milliseconds; 0 when no change is known.
    pub fn last(&self, reach: &Reach) -> i64 {
        let everything = self.everything.load(Ordering::Relaxed);
        let Some(name) = &reach.repository else { return self.latest.load(Ordering::Relaxed) };
        let repositories = self.repositories.lock();
        let times = repositories.get(name).copied().unwrap_or_default();
        let own = match reach.area {
            Some(area) => times[area as usize],
            None => times.into_iter().max().unwrap_or_default(),
        };
        own.max(everything)
    }

    /// Records that an event of this kind just arrived for this account, so GitHub delivers it.
    pub fn seen(&self, account: &str, event: &str) {
        self.believe(account, event, self.clock.now_ms() + SEEN_FOR_MS, 0);
    }

    /// Records that the ping of an account's webhook lists this event; believed as long as if it had arrived.
    pub fn pinged(&self, account: &str, event: &str) {
        self.tells(account, event, self.clock.now_ms() + SEEN_FOR_MS);
    }

    /// Records that GitHub lists this event as delivered for this account; believed until `until_ms`, epoch
    /// milliseconds.
    pub fn tells(&self, account: &str, event: &str, until_ms: i64) {
        self.believe(account, event, until_ms, until_ms);
    }

    /// Forgets which events are delivered, because the Apps were replaced.
    pub fn forget_told(&self) {
        self.told.lock().clear();
    }

    fn believe(&self, account: &str, event: &str, until_ms: i64, listed_until_ms: i64) {
        if !Area::ALL.into_iter().any(|area| area.events().0.contains(&event)) {
            return;
        }
        let mut told = self.told.lock();
        if told.len() >= ACCOUNTS_MAX && !told.contains_key(&account.to_ascii_lowercase()) {
            told.clear();
        }
        let told = told.entry(account.to_ascii_lowercase()).or_default();
        told.listed_until_ms = listed_until_ms.max(told.listed_until_ms);
        let until = told.events.entry(event.to_owned()).or_default();
        *until = until_ms.max(*until);
    }

    /// Whether GitHub would report a change that shows in the answer. If GitHub's list of events is known, it
    /// must have all that the area needs; otherwise one of the area's own must have been seen.
    pub fn covers(&self, reach: &Reach) -> bool {
        let (Some(name), Some(area)) = (&reach.repository, reach.area) else { return false };
        let account = name.split('/').next().unwrap_or_default();
        let now = self.clock.now_ms();
        let told = self.told.lock();
        let Some(told) = told.get(account) else { return false };
        let is_told = |event: &&str| told.events.get(*event).is_some_and(|until| now < *until);
        let (own, others) = area.events();
        if now < told.listed_until_ms {
            own.iter().chain(others).all(is_told)
        } else {
            own.iter().any(is_told)
        }
    }
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
    fn without_a_list_only_an_area_s_own_events_are_a_sign() {
        let changes = Changes::new(Arc::new(ManualClock::at_seconds(1_000)));
        let covered = || {
            let areas = Area::ALL.into_iter();
            areas.filter(|area| changes.covers(&reach("acme/widgets", Some(*area)))).collect::<Vec<_>>()
        };
        changes.seen("acme", "push");
        assert_eq!(covered(), [Area::Code]);
        changes.seen("acme", "status");
        assert_eq!(covered(), [Area::Code, Area::Checks]);
        changes.seen("acme", "pull_request");
        assert_eq!(covered(), [Area::Code, Area::Pulls, Area::Checks]);
    }

    #[test]
    fn what_a_ping_lists_is_a_list() {
        let clock = Arc::new(ManualClock::at_seconds(1_000));
        let changes = Changes::new(Arc::clone(&clock) as _);
        let issues = reach("acme/widgets", Some(Area::Issues));
        changes.seen("acme", "issues");
        assert!(changes.covers(&issues));
        changes.pinged("acme", "push");
        assert!(!changes.covers(&issues), "comments are not delivered");
        for event in ["issue_comment", "label", "pull_request"] {
            changes.pinged("acme", event);
        }
        assert!(changes.covers(&issues));
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
            ("/releases/tags/{tag}", Some(Area::Releases)),
            ("/releases/assets/{asset_id}", None),
            ("/issues/{issue_number}/reactions", None),
            ("/issues/{issue_number}/timeline", None),
            ("/issues/{issue_number}/dependencies/blocked_by", None),
            ("/issues/{issue_number}/sub_issues", None),
            ("/issues/comments/{comment_id}/reactions", None),
            ("/tags", None),
            ("/git/matching-refs/{ref}", None),
            ("/actions/runs", None),
            ("/stats/contributors", None),
        ] {
            let template = format!("/repos/{{owner}}/{{repo}}{path}");
            assert_eq!(Area::of_template(&template), area, "{path}");
        }
        assert_eq!(Area::of_template("/orgs/{org}/repos"), None);
    }
}
