//! All installations there are, and those of one App.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::learned::Learned;
use super::{Installation, Installations, installation, questions};
use crate::github::apps::{App, AppError};

/// How long the list of all installations waits for further Apps when one has answered; theirs may have many pages.
const LIST_PATIENCE: Duration = Duration::from_secs(10);
/// What is asked about; no owner has this name.
const LIST: &str = "*";

/// The installations of one App.
#[derive(Debug, Default)]
pub struct OfApp {
    pub serving: Vec<Arc<Installation>>,
    /// Accounts, in lower case, whose installation is suspended.
    pub suspended: Vec<String>,
    /// Some are missing here: there are too many, or they can't be read.
    is_cut: bool,
}

impl OfApp {
    /// Whether the App is installed on an account, in lower case, suspended or not; none if the list does not tell.
    pub(super) fn names(&self, owner: &str) -> Option<bool> {
        let is_named =
            self.serving.iter().any(|one| one.is_on(owner)) || self.suspended.iter().any(|one| one == owner);
        (is_named || !self.is_cut).then_some(is_named)
    }
}

/// Every installation there is, as far as it is known.
#[derive(Debug, Default)]
pub struct Listed {
    /// Of every App, then the personal tokens.
    pub serving: Vec<Arc<Installation>>,
    pub(super) suspended: Vec<String>,
    /// An App of whose installations some are missing here.
    pub(super) cut: Option<String>,
    /// Why an App's installations are missing here.
    pub failed: Option<Arc<AppError>>,
}

impl Installations {
    /// Every installation of every App that could be asked, then the personal tokens.
    ///
    /// # Errors
    /// The failure of an App, if no other has an installation: what that one has may be all there is.
    pub async fn all(&self) -> Result<Arc<Listed>, Arc<AppError>> {
        if let Some(all) = self.all.get(&()).await {
            return Ok(all);
        }
        let listed = async { self.list().await.map_err(|error| AppError::clone(&error)) };
        Box::pin(self.all.try_get_with((), listed)).await
    }

    async fn list(&self) -> Result<Arc<Listed>, Arc<AppError>> {
        let mut listed = Listed::default();
        let mut by_id = HashMap::new();
        let questions = self.apps.iter().map(|app| async {
            // One that hangs holds up nobody for long who can have the last list.
            let is_known = self.learned.last_of_app.contains_key(&app.serial);
            let told = self.learned.soon_if(is_known, app, Some(LIST), self.of_app(app)).await;
            told.or_else(|error| {
                match self.learned.last_of_app.get(&app.serial).filter(|_| error.is_outage()) {
                    Some(last) => Ok(last),
                    None => Err(error),
                }
            })
        });
        let asked = self.learned.failures.ask_all(&self.apps, questions, |_| true, LIST_PATIENCE);
        for (app, answer) in self.apps.iter().zip(asked.await) {
            match answer {
                Ok(of_app) => {
                    let new = of_app.serving.iter().filter(|one| self.is_new(one, &mut by_id));
                    listed.serving.extend(new.cloned());
                    listed.suspended.extend(of_app.suspended.iter().cloned());
                    if of_app.is_cut {
                        listed.cut.get_or_insert_with(|| app.name.clone());
                    }
                }
                Err(error) => listed.failed = Some(error),
            }
        }
        if let Some(error) = listed.failed.as_ref().filter(|_| listed.serving.is_empty()) {
            return Err(Arc::clone(error));
        }
        listed.serving.extend(self.personal.iter().cloned());
        Ok(Arc::new(listed))
    }

    /// The installations of one App.
    ///
    /// # Errors
    /// If GitHub can't be asked.
    pub async fn of_app(&self, app: &Arc<App>) -> Result<Arc<OfApp>, Arc<AppError>> {
        self.learned.list_aside(app).await
    }
}

impl Learned {
    /// The list of an App. One of many pages is read to its end, even if nobody waits for it any more.
    pub(super) async fn list_aside(self: &Arc<Learned>, app: &Arc<App>) -> Result<Arc<OfApp>, Arc<AppError>> {
        if let Some(known) = self.of_app.get(&app.serial).await {
            return Ok(known);
        }
        let (learned, app) = (Arc::clone(self), Arc::clone(app));
        let asked = tokio::spawn(async move { learned.list_of(&app).await }).await;
        asked.unwrap_or_else(|error| Err(AppError::Unreachable(error.to_string()).into()))
    }

    async fn list_of(&self, app: &Arc<App>) -> Result<Arc<OfApp>, Arc<AppError>> {
        let asked = async {
            let forgotten = self.forgotten.load(Ordering::SeqCst);
            let asked = self.failures.ask(app, LIST, questions::all(app)).await;
            let (found, is_cut) = asked.map_err(|error| AppError::clone(&error))?;
            let mut of_app = OfApp { is_cut, ..OfApp::default() };
            for found in found {
                // One on an enterprise serves no repository.
                if found.account().is_none() {
                    continue;
                }
                match found.is_suspended() {
                    true => of_app.suspended.extend(found.account().map(str::to_ascii_lowercase)),
                    false => of_app.serving.push(Arc::new(installation(app, found, "unknown"))),
                }
            }
            let of_app = Arc::new(of_app);
            self.last_of_app.insert(app.serial, Arc::clone(&of_app));
            if self.forgotten.load(Ordering::SeqCst) != forgotten {
                self.last_of_app.invalidate(&app.serial);
            }
            Ok(of_app)
        };
        let forgotten = self.forgotten.load(Ordering::SeqCst);
        let of_app = Box::pin(self.of_app.try_get_with(app.serial, asked)).await;
        if self.forgotten.load(Ordering::SeqCst) != forgotten {
            self.of_app.invalidate(&app.serial).await;
        }
        of_app
    }
}
