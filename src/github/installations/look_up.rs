//! Which installations serve an owner: asks GitHub, and what it last told serves while it can't tell.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tokio::time::{Instant, timeout_at};

use super::learned::{Name, Permit};
use super::{
    Absent, FEW_APPS, Installation, Installations, Kind, MISSES_MAX, MISSES_MIN, OfApp, Outdated,
    installation, questions,
};
use crate::github::apps::{App, AppError};

/// How long an owner's look-up waits for further Apps when one has answered.
const LOOK_UP_PATIENCE: Duration = Duration::from_secs(2);

/// Lists of installations that are asked for at once.
const LISTS_AT_ONCE: usize = 16;

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
    /// Asks GitHub, unless too many unknown owners were asked for. One that has had an installation is always looked
    /// up.
    pub(super) async fn find(&self, owner: String) -> Result<Arc<[Arc<Installation>]>, Arc<AppError>> {
        if let Some(outdated) = self.outdated.get(&owner) {
            return Ok(outdated.serving);
        }
        let mut permit = None;
        if !self.learned.seen.contains_key(&owner) {
            let most = (MISSES_MAX * FEW_APPS / self.apps.len().max(FEW_APPS)).max(MISSES_MIN);
            permit = self.learned.unknown_owners.permit(&owner, most);
            if permit.is_none() {
                return self.listed(&owner).await;
            }
        }
        let forgotten = self.learned.forgotten.load(Ordering::SeqCst);
        let found = self.by_owner.try_get_with(owner.clone(), async { self.look_up(&owner).await }).await;
        let (answer, name) = match found {
            Ok(found) => {
                self.learned.seen.insert(owner.clone(), ());
                (Ok(found), Name::Known)
            }
            Err(error) => match &*error {
                LookUpError::Absent(absent) => {
                    self.absent.insert(owner.clone(), *absent).await;
                    let is_suspended = *absent == Absent::Suspended;
                    (Ok(self.instead(*absent)), if is_suspended { Name::Untold } else { Name::Unknown })
                }
                LookUpError::Outdated(outdated) => {
                    self.learned.seen.insert(owner.clone(), ());
                    self.outdated.insert(owner.clone(), outdated.clone());
                    (Ok(Arc::clone(&outdated.serving)), Name::Known)
                }
                LookUpError::Failed(error) => (Err(Arc::clone(error)), Name::Untold),
            },
        };
        Permit::settle(permit, name);
        // What was asked before something was forgotten serves those who asked, and nobody later.
        if self.learned.forgotten.load(Ordering::SeqCst) != forgotten {
            self.by_owner.invalidate(&owner).await;
            self.absent.invalidate(&owner).await;
            self.outdated.invalidate(&owner);
        }
        answer
    }

    /// Those on an owner by the Apps' lists, which take a few calls every five minutes, whatever names are asked for.
    async fn listed(&self, owner: &str) -> Result<Arc<[Arc<Installation>]>, Arc<AppError>> {
        let all = self.all().await?;
        let on_owner: Arc<[_]> = all.serving.iter().filter(|one| one.is_on(owner)).cloned().collect();
        if !on_owner.is_empty() {
            self.learned.seen.insert(owner.to_owned(), ());
            return Ok(on_owner);
        }
        match (&all.failed, &all.cut) {
            (Some(error), _) => Err(Arc::clone(error)),
            (None, _) if all.suspended.iter().any(|one| one == owner) => Ok(self.instead(Absent::Suspended)),
            // It may be one of those that are missing, and suspended: nothing else may serve it then.
            (None, Some(app)) => Err(AppError::NotListed(app.clone()).into()),
            (None, None) => Ok(self.instead(Absent::NotInstalled)),
        }
    }

    /// Asks those of the Apps that may be on the owner. If none of them is any more, the others may be by now.
    async fn look_up(&self, owner: &str) -> Result<Arc<[Arc<Installation>]>, LookUpError> {
        let likely = self.likely_on(owner).await;
        let told = self.ask_about(owner, &likely).await;
        let is_absent = matches!(told, Err(LookUpError::Absent(Absent::NotInstalled)));
        if is_absent && likely.len() < self.apps.len() {
            self.ask_about(owner, &self.apps).await
        } else {
            told
        }
    }

    /// The Apps to ask about an owner. Of many, those that list it and those whose list is not known; if none lists it,
    /// all of them. To ask each App about each owner would be most of what tollgate does.
    async fn likely_on(&self, owner: &str) -> Vec<Arc<App>> {
        if self.apps.len() <= FEW_APPS {
            return self.apps.clone();
        }
        let lists = self.lists().await;
        let lists_it = |app: &Arc<App>| lists.get(&app.serial).and_then(|list| list.names(owner));
        if !self.apps.iter().any(|app| lists_it(app) == Some(true)) {
            return self.apps.clone();
        }
        self.apps.iter().filter(|app| lists_it(app) != Some(false)).cloned().collect()
    }

    /// The Apps' lists by serial, as far as they are known soon, or were within an hour.
    async fn lists(&self) -> HashMap<u64, Arc<OfApp>> {
        let (mut lists, mut missing) = (HashMap::new(), Vec::new());
        for app in &self.apps {
            match self.learned.of_app.get(&app.serial).await {
                Some(known) => drop(lists.insert(app.serial, known)),
                None => missing.push(Arc::clone(app)),
            }
        }
        let asked = stream::iter(missing).map(|app| {
            let learned = Arc::clone(&self.learned);
            async move { (app.serial, learned.list_aside(&app).await.ok()) }
        });
        let mut asked = pin!(asked.buffer_unordered(LISTS_AT_ONCE));
        let until = Instant::now() + LOOK_UP_PATIENCE;
        while let Ok(Some((serial, known))) = timeout_at(until, asked.next()).await {
            lists.extend(known.map(|known| (serial, known)));
        }
        for app in &self.apps {
            if let Entry::Vacant(unknown) = lists.entry(app.serial)
                && let Some(last) = self.learned.last_of_app.get(&app.serial)
            {
                unknown.insert(last);
            }
        }
        lists
    }

    async fn ask_about(
        &self,
        owner: &str,
        apps: &[Arc<App>],
    ) -> Result<Arc<[Arc<Installation>]>, LookUpError> {
        let mut installations = Vec::new();
        let (mut is_suspended, mut failed) = (false, None);
        let mut by_id = HashMap::new();
        let last = |app: &App| self.learned.last_on.get(&key(app, owner));
        let is_served = apps.iter().any(|app| last(app).is_some());
        let questions = apps.iter().map(|app| self.of_app_on(app, owner, is_served));
        let is_found = |told: &Told| !matches!(told, Told::Nothing);
        let asked = self.learned.failures.ask_all(apps, questions, is_found, LOOK_UP_PATIENCE);
        for (app, answer) in apps.iter().zip(asked.await) {
            let serving = match answer {
                Ok(Told::Serving(installation)) => Some(installation),
                Ok(Told::Suspended) => {
                    is_suspended = true;
                    None
                }
                Ok(Told::Nothing) => None,
                // Another App may serve the owner meanwhile.
                Err(error) => {
                    let last = last(app).filter(|_| error.is_outage());
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
    /// looked up again and again, and GitHub limits these calls. `is_served`: an App was found on the owner before.
    async fn of_app_on(&self, app: &Arc<App>, owner: &str, is_served: bool) -> Result<Told, Arc<AppError>> {
        let (learned, key) = (&self.learned, key(app, owner));
        let last = learned.last_on.get(&key);
        if let Some((last, told_at)) = &last
            && told_at.elapsed() < learned.recent_for
        {
            return Ok(Told::Serving(Arc::clone(last)));
        }
        let believed_for = if is_served { learned.recent_for } else { learned.missing_for };
        if learned.not_on.get(&key).is_some_and(|told_at| told_at.elapsed() < believed_for) {
            return Ok(Told::Nothing);
        }
        let forgotten = learned.forgotten.load(Ordering::SeqCst);
        let asked = learned.failures.ask(app, owner, questions::on_account(app, owner));
        let found = learned.soon_if(last.is_some(), app, None, asked).await?;
        let told = match found {
            Some(found) if !found.is_suspended() => {
                let found = Arc::new(installation(app, found, owner));
                learned.last_on.insert(key.clone(), (Arc::clone(&found), Instant::now()));
                Told::Serving(found)
            }
            Some(_) => {
                learned.last_on.invalidate(&key);
                tracing::warn!(app = app.name, owner, "the installation is suspended");
                Told::Suspended
            }
            None => {
                learned.last_on.invalidate(&key);
                learned.not_on.insert(key.clone(), Instant::now());
                Told::Nothing
            }
        };
        // What was asked before something was forgotten must not be remembered.
        if learned.forgotten.load(Ordering::SeqCst) != forgotten {
            learned.last_on.invalidate(&key);
            learned.not_on.invalidate(&key);
        }
        Ok(told)
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
