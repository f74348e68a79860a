//! Which installations serve an owner: asks GitHub, and what it last told serves while it can't tell.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{Absent, Installation, Installations, Kind, MISSES_MAX, Outdated, installation, questions};
use crate::github::apps::{App, AppError};

/// How long an owner's look-up waits for further Apps when one has answered.
const LOOK_UP_PATIENCE: Duration = Duration::from_secs(2);

/// What GitHub says of one App on an owner.
enum Told {
    Serving(Arc<Installation>),
    Suspended,
    Nothing,
}

enum LookUpError {
    Absent(Absent),
    /// Found, but not every App's look-up was answered: of the others it is what GitHub last told, if anything.
    Outdated(Outdated),
    Failed(Arc<AppError>),
}

impl Installations {
    /// Asks GitHub, unless too many look-ups were made.
    pub(super) async fn find(&self, owner: String) -> Result<Arc<[Arc<Installation>]>, Arc<AppError>> {
        if !self.may_look_up(&owner) {
            // Listing all installations is one call per few minutes, whatever names are asked for.
            let all = self.all().await?;
            let on_owner: Arc<[_]> = all.serving.iter().filter(|one| one.is_on(&owner)).cloned().collect();
            return match (on_owner.is_empty(), &all.failed) {
                (false, _) => Ok(on_owner),
                (true, Some(error)) => Err(Arc::clone(error)),
                (true, None) if all.suspended.contains(&owner) => Ok(self.instead(Absent::Suspended)),
                (true, None) => Ok(self.instead(Absent::NotInstalled)),
            };
        }
        if let Some(outdated) = self.outdated.get(&owner) {
            return Ok(outdated.serving);
        }
        let forgotten = self.learned.forgotten.load(Ordering::SeqCst);
        let found = self.by_owner.try_get_with(owner.clone(), async { self.look_up(&owner).await }).await;
        // What was asked before something was forgotten serves those who asked, and nobody later.
        let is_current = self.learned.forgotten.load(Ordering::SeqCst) == forgotten;
        if !is_current {
            self.by_owner.invalidate(&owner).await;
        }
        match found {
            Ok(found) => {
                self.learned.seen.insert(owner, ());
                Ok(found)
            }
            Err(error) => match &*error {
                LookUpError::Absent(absent) => {
                    if *absent == Absent::NotInstalled {
                        self.learned.misses.insert(owner.clone(), ());
                        self.learned.misses.run_pending_tasks();
                    }
                    if is_current {
                        self.absent.insert(owner, *absent).await;
                    }
                    Ok(self.instead(*absent))
                }
                LookUpError::Outdated(outdated) => {
                    if is_current {
                        self.outdated.insert(owner, outdated.clone());
                    }
                    Ok(Arc::clone(&outdated.serving))
                }
                LookUpError::Failed(error) => Err(Arc::clone(error)),
            },
        }
    }

    /// Look-ups are the App's own calls, charged to no agent, so names that turn out to be unknown are looked up
    /// only so often per minute. An owner that has had an installation is always looked up.
    pub(super) fn may_look_up(&self, owner: &str) -> bool {
        self.learned.seen.contains_key(owner) || self.learned.misses.entry_count() < MISSES_MAX || {
            self.learned.misses.run_pending_tasks();
            self.learned.misses.entry_count() < MISSES_MAX
        }
    }

    async fn look_up(&self, owner: &str) -> Result<Arc<[Arc<Installation>]>, LookUpError> {
        let mut installations = Vec::new();
        let (mut is_suspended, mut failed) = (false, None);
        let mut by_id = HashMap::new();
        let questions = self.apps.iter().map(|app| self.of_app_on(app, owner));
        let is_found = |told: &Told| !matches!(told, Told::Nothing);
        let asked = self.learned.failures.ask_all(&self.apps, questions, is_found, LOOK_UP_PATIENCE);
        for (app, answer) in self.apps.iter().zip(asked.await) {
            let serving = match answer {
                Ok(Told::Serving(installation)) => Some(installation),
                Ok(Told::Suspended) => {
                    is_suspended = true;
                    None
                }
                Ok(Told::Nothing) => None,
                // Another App may serve the owner meanwhile.
                Err(error) => {
                    let last = self.learned.last_on.get(&key(app, owner)).filter(|_| error.is_outage());
                    failed = Some(error);
                    last.map(|(last, _)| last)
                }
            };
            installations.extend(serving.filter(|serving| self.is_new(serving, &mut by_id)));
        }
        match (installations.is_empty(), failed) {
            // Not for minutes: the App that failed may be the one that checks and reviews go by.
            (false, Some(error)) => {
                let is_outage = error.is_outage();
                Err(LookUpError::Outdated(Outdated { serving: installations.into(), is_outage }))
            }
            (false, None) => Ok(installations.into()),
            (true, Some(error)) => Err(LookUpError::Failed(error)),
            (true, None) if is_suspended => Err(LookUpError::Absent(Absent::Suspended)),
            (true, None) => Err(LookUpError::Absent(Absent::NotInstalled)),
        }
    }

    /// What GitHub says of an App on an owner. Not asked if it just said so: while another App fails, owners are
    /// looked up again and again, and GitHub limits these calls.
    async fn of_app_on(&self, app: &Arc<App>, owner: &str) -> Result<Told, Arc<AppError>> {
        let key = key(app, owner);
        let last = self.learned.last_on.get(&key);
        if let Some((last, told_at)) = &last
            && told_at.elapsed() < self.learned.recent_for
        {
            return Ok(Told::Serving(Arc::clone(last)));
        }
        let forgotten = self.learned.forgotten.load(Ordering::SeqCst);
        let asked = self.learned.failures.ask(app, owner, questions::on_account(app, owner));
        match self.soon_if(last.is_some(), app, asked).await? {
            Some(found) if !found.is_suspended() => {
                let found = Arc::new(installation(app, found, owner));
                if self.learned.forgotten.load(Ordering::SeqCst) == forgotten {
                    self.learned.last_on.insert(key, (Arc::clone(&found), Instant::now()));
                }
                Ok(Told::Serving(found))
            }
            found => {
                self.learned.last_on.invalidate(&key);
                if found.is_none() {
                    return Ok(Told::Nothing);
                }
                tracing::warn!(app = app.name, owner, "the installation is suspended");
                Ok(Told::Suspended)
            }
        }
    }

    /// Waits for an answer only so long, if there is an earlier one: whoever was served is not held up for long by an
    /// endpoint that hangs.
    pub(super) async fn soon_if<T>(
        &self,
        is_known: bool,
        app: &App,
        asked: impl Future<Output = Result<T, Arc<AppError>>>,
    ) -> Result<T, Arc<AppError>> {
        if !is_known {
            return asked.await;
        }
        let late = || Err(self.learned.failures.note(app, AppError::Timeout(self.learned.last_patience)));
        timeout(self.learned.last_patience, asked).await.unwrap_or_else(|_| late())
    }

    /// Whether no App before had it, by the labels of those in `by_id`. Otherwise two entries of the configuration
    /// name one App, by `app_id` and by `client_id`, and its quota would be counted twice.
    pub(super) fn is_new(&self, found: &Arc<Installation>, by_id: &mut HashMap<u64, Arc<str>>) -> bool {
        let Kind::App(on) = &found.kind else { return true };
        let known = by_id.entry(on.id).or_insert_with(|| Arc::clone(&found.label));
        if *known == found.label {
            return true;
        }
        if !self.doubles.contains_key(&found.label) {
            self.doubles.insert(Arc::clone(&found.label), ());
            tracing::error!(
                app = on.app.name,
                installation = &**known,
                "two entries of `apps` name one App: the later one is left out; remove it"
            );
        }
        false
    }
}

fn key(app: &App, owner: &str) -> (u64, String) {
    (app.serial, owner.to_owned())
}
