//! Finds the installations that can serve an owner's repositories: asks GitHub and remembers the answer for minutes.

mod asking;
mod learned;
mod lists;
mod look_up;
mod questions;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use moka::Expiry;
use moka::future::Cache;
use moka::sync;
use secrecy::ExposeSecret;

use super::apps::{App, AppError};
use super::tokens::Token;
use crate::config::{self, PersonalToken};
use crate::policy::repositories::{RepositoryName, is_account};
use learned::{Learned, Name, Permit};
pub use lists::{Listed, OfApp};
use questions::Found;

static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// How long an answer is trusted; within it, a removed or suspended installation is noticed.
const FOUND_FOR: Duration = Duration::from_secs(300);
/// How long "not installed" and "suspended" are trusted; short, so that a new installation is soon usable.
const MISSING_FOR: Duration = Duration::from_secs(15);
/// Names that may be looked up per minute and turn out to be unknown; with more than [`FEW_APPS`], as many fewer, but
/// some.
const MISSES_MAX: usize = 60;
const MISSES_MIN: usize = 4;
const MISS_COUNTED_FOR: Duration = Duration::from_secs(60);
/// How long the list of all installations is used before it is put together anew from what each App said.
const LISTED_FOR: Duration = Duration::from_secs(2);
/// How long a look-up may take if there is an earlier answer. That serves in an outage of the look-up, for no longer than
/// a token lives, and GitHub judges each token anew all the same. It is asked again after this time.
const LAST_PATIENCE: Duration = Duration::from_secs(5);
const LAST_FOR: Duration = Duration::from_secs(3600);
const OUTDATED_FOR: Duration = Duration::from_secs(10);
/// The same if an App fails for a reason of its own, such as its key.
const REFUSED_FOR: Duration = Duration::from_secs(60);
/// Of more Apps than this, only those that list an owner are asked about it.
const FEW_APPS: usize = 3;
/// Owners remembered.
const OWNERS_MAX: u64 = 10_000;

/// Where a credential comes from: an App's installation, or a personal access token.
#[derive(Debug)]
pub struct Installation {
    /// `APP/ACCOUNT`, or the personal token's name: the label in metrics.
    pub label: Arc<str>,
    /// Distinguishes the credential and its permissions from others under the same label, within this process:
    /// what was learned with one must not serve another.
    pub rights: u64,
    pub kind: Kind,
}

impl Installation {
    /// Login of the account that an App is installed on, in lower case.
    pub fn account(&self) -> Option<String> {
        match &self.kind {
            Kind::App(app) => Some(app.account.to_ascii_lowercase()),
            Kind::Personal(_) => None,
        }
    }

    /// Whether it is an App's installation on this account.
    fn is_on(&self, owner: &str) -> bool {
        matches!(&self.kind, Kind::App(app) if app.account.eq_ignore_ascii_case(owner))
    }
}

/// The two kinds of credential.
#[derive(Debug)]
pub enum Kind {
    App(AppInstallation),
    Personal(Arc<Token>),
}

/// One installation of an App.
#[derive(Debug)]
pub struct AppInstallation {
    pub app: Arc<App>,
    pub id: u64,
    /// Login of the account it is installed on, as GitHub spells it.
    pub account: String,
    /// Permission name → level that the installation was granted.
    pub permissions: BTreeMap<String, String>,
    /// Covers only selected repositories of the account.
    is_selected: bool,
}

/// Finds and remembers installations.
#[derive(Debug)]
pub struct Installations {
    apps: Vec<Arc<App>>,
    personal: Vec<Arc<Installation>>,
    /// By owner in lower case, the installation of every App installed there, in the order of the Apps; never empty.
    by_owner: Cache<String, Arc<[Arc<Installation>]>>,
    absent: Cache<String, Absent>,
    /// What serves an owner for some seconds because not every App's look-up was answered.
    outdated: sync::Cache<String, Outdated>,
    all: Cache<(), Arc<Listed>>,
    /// Labels of installations that another entry of `apps` has, too, and that were reported.
    doubles: sync::Cache<Arc<str>, ()>,
    learned: Arc<Learned>,
}

impl Installations {
    pub fn new(apps: Vec<Arc<App>>, tokens: Vec<PersonalToken>) -> Installations {
        Installations::with(Learned::new(FOUND_FOR, LAST_PATIENCE).into(), apps, tokens)
    }

    /// Those of other Apps and tokens. An App that is configured as before is the same one: it keeps what was learned
    /// of it, and GitHub's word that it has to wait.
    #[must_use]
    pub fn renewed(
        &self,
        apps: Vec<config::App>,
        tokens: Vec<PersonalToken>,
        make: impl Fn(config::App) -> App,
    ) -> Installations {
        let kept = |app: &config::App| self.apps.iter().find(|known| known.is(app)).map(Arc::clone);
        let apps = apps.into_iter().map(|app| kept(&app).unwrap_or_else(|| Arc::new(make(app)))).collect();
        Installations::with(Arc::clone(&self.learned), apps, tokens)
    }

    fn with(learned: Arc<Learned>, apps: Vec<Arc<App>>, tokens: Vec<PersonalToken>) -> Installations {
        let personal = tokens
            .into_iter()
            .map(|PersonalToken { name, token }| {
                let rights = HASHER.hash_one(token.expose_secret());
                Arc::new(Installation {
                    label: name.into(),
                    rights,
                    kind: Kind::Personal(Token::personal(&token).into()),
                })
            })
            .collect();
        Installations {
            personal,
            by_owner: Cache::builder().max_capacity(OWNERS_MAX).time_to_live(learned.found_for).build(),
            absent: Cache::builder().max_capacity(OWNERS_MAX).time_to_live(MISSING_FOR).build(),
            outdated: sync::Cache::builder().max_capacity(OWNERS_MAX).expire_after(Believed).build(),
            all: Cache::builder().max_capacity(1).time_to_live(LISTED_FOR).build(),
            doubles: sync::Cache::builder().max_capacity(OWNERS_MAX).time_to_live(FOUND_FOR).build(),
            learned,
            apps,
        }
    }

    /// The installations on an account, in the order of the Apps; failing that, the first personal token. Empty
    /// when there is neither.
    pub async fn of_owner(&self, owner: &str) -> Result<Arc<[Arc<Installation>]>, Arc<AppError>> {
        let owner = owner.to_ascii_lowercase();
        // Anything that can't be an account must not become part of a path that is called as the App.
        if !is_account(&owner) {
            return Ok(self.first_personal());
        }
        if let Some(absent) = self.absent.get(&owner).await {
            return Ok(self.instead(absent));
        }
        if let Some(found) = self.by_owner.get(&owner).await {
            return Ok(found);
        }
        // Boxed to keep every caller's future small.
        Box::pin(self.find(owner)).await
    }

    /// Whether what GitHub last said of an account, not long ago, is that its installation is suspended.
    pub async fn is_suspended(&self, owner: &str) -> bool {
        self.absent.get(&owner.to_ascii_lowercase()).await == Some(Absent::Suspended)
    }

    /// What serves an account that has no usable App installation.
    fn instead(&self, absent: Absent) -> Arc<[Arc<Installation>]> {
        match absent {
            Absent::NotInstalled => self.first_personal(),
            // Whoever suspended the installation wants no access, by any other credential either.
            Absent::Suspended => Arc::default(),
        }
    }

    fn first_personal(&self) -> Arc<[Arc<Installation>]> {
        self.personal.iter().take(1).cloned().collect()
    }

    /// Those of several installations on an account that cover a repository. If none is known to, returns all:
    /// GitHub's own error tells the caller more than we could.
    pub async fn covering(
        &self,
        of_owner: Arc<[Arc<Installation>]>,
        repository: &RepositoryName,
    ) -> Arc<[Arc<Installation>]> {
        let (mut covering, mut asked, mut permit) = (Vec::new(), Vec::new(), None);
        for installation in of_owner.iter() {
            let (is_covered, told) = self.covers(installation, repository, &mut permit).await;
            asked.extend(told);
            if is_covered {
                covering.push(Arc::clone(installation));
            }
        }
        let name = match asked.as_slice() {
            told if told.contains(&Name::Known) => Name::Known,
            [] => Name::Untold,
            told if told.contains(&Name::Untold) => Name::Untold,
            _ => Name::Unknown,
        };
        Permit::settle(permit, name);
        if covering.is_empty() { of_owner } else { covering.into() }
    }

    /// Whether an App's installation covers a repository, which exists then.
    ///
    /// # Errors
    /// If GitHub can't be asked.
    pub async fn sees(installation: &Installation, repository: &RepositoryName) -> Result<bool, AppError> {
        match &installation.kind {
            Kind::App(on) => questions::covers(&on.app, repository).await,
            Kind::Personal(_) => Ok(true),
        }
    }

    /// Asks GitHub if the installation is limited to selected repositories; an unknown answer counts as not covered.
    /// With what GitHub told, if it was asked.
    async fn covers<'a>(
        &'a self,
        installation: &Arc<Installation>,
        repository: &RepositoryName,
        permit: &mut Option<Permit<'a>>,
    ) -> (bool, Option<Name>) {
        let Kind::App(on) = &installation.kind else { return (true, None) };
        if !on.is_selected {
            return (true, None);
        }
        let key = (on.app.serial, repository.to_string().to_ascii_lowercase());
        if let Some(known) = self.learned.covered.get(&key).await {
            return (known, None);
        }
        let last = self.learned.last_covered.get(&key).unwrap_or_default();
        // As with owners, look-ups of made-up names are limited per minute.
        if permit.is_none() {
            *permit = self.learned.unknown_repositories.permit(&key.1, MISSES_MAX);
        }
        if permit.is_none() {
            return (last, None);
        }
        let mut told = None;
        let asked = async {
            match questions::covers(&on.app, repository).await {
                Ok(true) => {
                    told = Some(Name::Known);
                    self.learned.last_covered.insert(key.clone(), true);
                    true
                }
                Ok(false) => {
                    told = Some(Name::Unknown);
                    self.learned.last_covered.invalidate(&key);
                    false
                }
                Err(error) => {
                    told = Some(Name::Untold);
                    tracing::warn!(installation = &*installation.label, %error, "it is not known what it covers");
                    error.is_outage() && last
                }
            }
        };
        let is_covered = Box::pin(self.learned.covered.get_with(key.clone(), asked)).await;
        (is_covered, told)
    }

    /// Forgets the installations on an account, so that GitHub is asked again.
    pub async fn forget(&self, owner: &str) {
        let owner = owner.to_ascii_lowercase();
        let learned = &self.learned;
        learned.forgotten.fetch_add(1, Ordering::SeqCst);
        for app in &self.apps {
            let key = (app.serial, owner.clone());
            learned.last_on.invalidate(&key);
            learned.not_on.invalidate(&key);
        }
        learned.last_of_app.invalidate_all();
        learned.last_covered.invalidate_all();
        learned.covered.invalidate_all();
        learned.of_app.invalidate_all();
        // Last, since these are filled from the others.
        self.by_owner.invalidate(&owner).await;
        self.outdated.invalidate(&owner);
        self.absent.invalidate(&owner).await;
        self.all.invalidate(&()).await;
    }

    /// Whether these are exactly the configured Apps and tokens, in this order.
    pub fn is_of(&self, apps: &[config::App], tokens: &[PersonalToken]) -> bool {
        let is_same = |known: &Arc<Installation>, token: &PersonalToken| match &known.kind {
            Kind::Personal(known_token) => {
                let given = Token::personal(&token.token);
                *known.label == *token.name && known_token.authorization() == given.authorization()
            }
            Kind::App(_) => false,
        };
        (self.apps.len(), self.personal.len()) == (apps.len(), tokens.len())
            && self.apps.iter().zip(apps).all(|(known, app)| known.is(app))
            && self.personal.iter().zip(tokens).all(|(known, token)| is_same(known, token))
    }

    /// The personal tokens.
    pub fn personal(&self) -> &[Arc<Installation>] {
        &self.personal
    }

    /// The configured Apps.
    pub fn apps(&self) -> &[Arc<App>] {
        &self.apps
    }
}

/// What serves an owner although an App failed, and whether that was GitHub's or the network's fault.
#[derive(Debug, Clone)]
struct Outdated {
    serving: Arc<[Arc<Installation>]>,
    is_outage: bool,
}

/// How long a repository's coverage, or what is outdated, is trusted.
struct Believed;

impl Expiry<String, Outdated> for Believed {
    fn expire_after_create(
        &self,
        _owner: &String,
        outdated: &Outdated,
        _now: std::time::Instant,
    ) -> Option<Duration> {
        Some(if outdated.is_outage { OUTDATED_FOR } else { REFUSED_FOR })
    }
}

impl Expiry<(u64, String), bool> for Believed {
    fn expire_after_create(
        &self,
        _key: &(u64, String),
        is_covered: &bool,
        _now: std::time::Instant,
    ) -> Option<Duration> {
        Some(if *is_covered { FOUND_FOR } else { MISSING_FOR })
    }
}

/// Why no App installation serves an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absent {
    NotInstalled,
    Suspended,
}

fn installation(app: &Arc<App>, found: Found, asked_for: &str) -> Installation {
    let account = found.account().unwrap_or(asked_for).to_owned();
    Installation {
        label: format!("{}/{account}", app.name).into(),
        rights: HASHER.hash_one((app.identity(), found.id, &found.permissions)),
        kind: Kind::App(AppInstallation {
            app: Arc::clone(app),
            id: found.id,
            account,
            is_selected: found.is_selected(),
            permissions: found.permissions,
        }),
    }
}
