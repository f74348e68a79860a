//! Which installation serves an owner's repositories: asked of GitHub, remembered for minutes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use moka::future::Cache;
use moka::sync;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::apps::{App, AppError, message_of};
use crate::config::{self, PersonalToken};
use crate::policy::repositories::is_account;

/// How long an answer is believed: a removed or suspended installation is noticed within it.
const FOUND_FOR: Duration = Duration::from_secs(300);
/// How long "not installed" is believed, so that a new installation is soon of use.
const MISSING_FOR: Duration = Duration::from_secs(15);
/// Owners without an installation that are asked for within a minute.
const MISSES_MAX: u64 = 60;
const MISS_COUNTED_FOR: Duration = Duration::from_secs(60);
/// How long a failed look-up stands for others.
const FAILED_FOR: Duration = Duration::from_secs(2);
/// Owners remembered.
const OWNERS_MAX: u64 = 10_000;
/// Pages of a hundred read when all installations are listed.
const PAGES_MAX: usize = 20;

/// Where a credential comes from: an App's installation, or a personal access token.
#[derive(Debug)]
pub struct Installation {
    /// `APP/ACCOUNT`, or the personal token's name: the label in metrics.
    pub label: Arc<str>,
    pub kind: Kind,
}

impl Installation {
    /// Whether it is an App's on this account.
    fn is_on(&self, owner: &str) -> bool {
        matches!(&self.kind, Kind::App(app) if app.account.eq_ignore_ascii_case(owner))
    }
}

/// The two kinds of credential.
#[derive(Debug)]
pub enum Kind {
    App(AppInstallation),
    Personal(SecretString),
}

/// One installation of an App.
#[derive(Debug)]
pub struct AppInstallation {
    pub app: Arc<App>,
    pub id: u64,
    /// Login of the account it is installed on, as GitHub spells it.
    pub account: String,
    /// Permission name -> level the installation was given.
    pub permissions: BTreeMap<String, String>,
}

/// GitHub's installation object, as far as we need it.
#[derive(Debug, Deserialize)]
struct Found {
    id: u64,
    account: Option<Account>,
    #[serde(default)]
    permissions: BTreeMap<String, String>,
    suspended_at: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Account {
    login: String,
}

/// Finds installations.
#[derive(Debug)]
pub struct Installations {
    apps: Vec<Arc<App>>,
    personal: Vec<Arc<Installation>>,
    by_owner: Cache<String, Arc<Installation>>,
    missing: Cache<String, ()>,
    /// Owners that had an installation at some time.
    seen: sync::Cache<String, ()>,
    /// Owners without one, asked for within the last minute.
    misses: sync::Cache<String, ()>,
    /// The last call as an App that failed: bad credentials in quick succession lock good ones out.
    failed: Cache<(), Arc<AppError>>,
    all: Cache<(), Arc<Vec<Arc<Installation>>>>,
}

impl Installations {
    pub fn new(apps: Vec<Arc<App>>, tokens: Vec<PersonalToken>) -> Installations {
        let personal = tokens
            .into_iter()
            .map(|PersonalToken { name, token }| {
                Arc::new(Installation { label: name.into(), kind: Kind::Personal(token) })
            })
            .collect();
        Installations {
            apps,
            personal,
            by_owner: Cache::builder().max_capacity(OWNERS_MAX).time_to_live(FOUND_FOR).build(),
            seen: sync::Cache::builder().max_capacity(OWNERS_MAX).build(),
            misses: sync::Cache::builder().max_capacity(OWNERS_MAX).time_to_live(MISS_COUNTED_FOR).build(),
            failed: Cache::builder().max_capacity(1).time_to_live(FAILED_FOR).build(),
            missing: Cache::builder().max_capacity(OWNERS_MAX).time_to_live(MISSING_FOR).build(),
            all: Cache::builder().max_capacity(1).time_to_live(FOUND_FOR).build(),
        }
    }

    /// The installation on an account, or else the first personal token; none when neither is there.
    pub async fn of_owner(&self, owner: &str) -> Result<Option<Arc<Installation>>, Arc<AppError>> {
        let owner = owner.to_ascii_lowercase();
        // What can't be an account must not become part of a path that is asked for as the App.
        if !is_account(&owner) || self.missing.contains_key(&owner) {
            return Ok(self.personal.first().cloned());
        }
        if !self.by_owner.contains_key(&owner)
            && let Some(error) = self.failed.get(&()).await
        {
            return Err(error);
        }
        if !self.by_owner.contains_key(&owner) && !self.may_look_up(&owner) {
            // The list of all is one call for minutes, whatever names are asked for.
            let all = self.all().await?;
            let listed = all.iter().find(|one| one.is_on(&owner)).cloned();
            return Ok(listed.or_else(|| self.personal.first().cloned()));
        }
        let found = self.by_owner.try_get_with(owner.clone(), async { self.look_up(&owner).await }).await;
        match found {
            Ok(installation) => {
                if !self.seen.contains_key(&owner) {
                    self.seen.insert(owner, ());
                }
                Ok(Some(installation))
            }
            Err(error) => match &*error {
                LookUpError::Missing => {
                    self.misses.insert(owner.clone(), ());
                    self.misses.run_pending_tasks();
                    self.missing.insert(owner, ()).await;
                    Ok(self.personal.first().cloned())
                }
                // Whoever suspended it wants no access, by no other credential either.
                LookUpError::Suspended => Ok(None),
                LookUpError::Failed(error) => {
                    let error = Arc::new(error.clone());
                    self.failed.insert((), Arc::clone(&error)).await;
                    Err(error)
                }
            },
        }
    }

    /// Every installation of every App, and the personal tokens after them.
    pub async fn all(&self) -> Result<Arc<Vec<Arc<Installation>>>, Arc<AppError>> {
        self.all
            .try_get_with((), async {
                let mut all = Vec::new();
                for app in &self.apps {
                    list(app, &mut all).await?;
                }
                all.extend(self.personal.iter().cloned());
                Ok(Arc::new(all))
            })
            .await
    }

    /// Forgets whether an account has an installation, so that GitHub is asked again.
    pub async fn forget(&self, owner: &str) {
        let owner = owner.to_ascii_lowercase();
        self.by_owner.invalidate(&owner).await;
        self.missing.invalidate(&owner).await;
        self.all.invalidate(&()).await;
    }

    /// Whether it is of these Apps and tokens, in this order.
    pub fn is_of(&self, apps: &[config::App], tokens: &[PersonalToken]) -> bool {
        let is_same = |known: &Arc<Installation>, token: &PersonalToken| match &known.kind {
            Kind::Personal(secret) => {
                *known.label == *token.name && secret.expose_secret() == token.token.expose_secret()
            }
            Kind::App(_) => false,
        };
        (self.apps.len(), self.personal.len()) == (apps.len(), tokens.len())
            && self.apps.iter().zip(apps).all(|(known, app)| known.is(app))
            && self.personal.iter().zip(tokens).all(|(known, token)| is_same(known, token))
    }

    /// The Apps of the configuration.
    pub fn apps(&self) -> &[Arc<App>] {
        &self.apps
    }

    /// Look-ups are calls of the App's own, which no agent pays for: names that turn out to be nobody's
    /// are asked for so many times a minute. An owner who had an installation is always asked for.
    fn may_look_up(&self, owner: &str) -> bool {
        self.seen.contains_key(owner) || self.misses.entry_count() < MISSES_MAX || {
            self.misses.run_pending_tasks();
            self.misses.entry_count() < MISSES_MAX
        }
    }

    async fn look_up(&self, owner: &str) -> Result<Arc<Installation>, LookUpError> {
        for app in &self.apps {
            // An organization's and a user's installation have different addresses.
            for kind in ["orgs", "users"] {
                let path = format!("/{kind}/{owner}/installation");
                let (status, body) = app.call(Method::GET, &path, None).await?;
                match status {
                    StatusCode::OK => {
                        let found: Found = read("an installation", &body)?;
                        if found.suspended_at.is_none() {
                            return Ok(Arc::new(installation(app, found, owner)));
                        }
                        tracing::warn!(app = app.name, owner, "the installation is suspended");
                        return Err(LookUpError::Suspended);
                    }
                    StatusCode::NOT_FOUND => {}
                    status => return Err(refused(status, "an installation", &body).into()),
                }
            }
        }
        Err(LookUpError::Missing)
    }
}

enum LookUpError {
    Missing,
    Suspended,
    Failed(AppError),
}

impl From<AppError> for LookUpError {
    fn from(error: AppError) -> Self {
        LookUpError::Failed(error)
    }
}

async fn list(app: &Arc<App>, all: &mut Vec<Arc<Installation>>) -> Result<(), AppError> {
    for page in 1..=PAGES_MAX {
        let path = format!("/app/installations?per_page=100&page={page}");
        let (status, body) = app.call(Method::GET, &path, None).await?;
        if status != StatusCode::OK {
            return Err(refused(status, "the list of installations", &body));
        }
        let found: Vec<Found> = read("the list of installations", &body)?;
        let count = found.len();
        let active = found.into_iter().filter(|found| found.suspended_at.is_none());
        all.extend(active.map(|found| Arc::new(installation(app, found, "unknown"))));
        if count < 100 {
            break;
        }
    }
    Ok(())
}

fn installation(app: &Arc<App>, found: Found, asked_for: &str) -> Installation {
    let account = found.account.map_or_else(|| asked_for.to_owned(), |account| account.login);
    Installation {
        label: format!("{}/{account}", app.name).into(),
        kind: Kind::App(AppInstallation {
            app: Arc::clone(app),
            id: found.id,
            account,
            permissions: found.permissions,
        }),
    }
}

fn read<T: serde::de::DeserializeOwned>(what: &'static str, body: &[u8]) -> Result<T, AppError> {
    serde_json::from_slice(body).map_err(|error| AppError::Garbled(what, error.to_string()))
}

fn refused(status: StatusCode, what: &'static str, body: &[u8]) -> AppError {
    AppError::Refused { status, what, message: message_of(body) }
}
