//! What an App asks GitHub about its installations, as itself.
//!
//! Source: GitHub Docs, "REST API endpoints for GitHub Apps".

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::github::apps::{App, AppError, THE_LIST};
use crate::policy::repositories::RepositoryName;

/// Pages of a hundred installations read when all of them are listed.
const PAGES_MAX: usize = 20;

/// GitHub's installation object, reduced to what we need.
#[derive(Debug, Deserialize)]
pub(super) struct Found {
    pub(super) id: u64,
    account: Option<Account>,
    /// Permission name → level.
    #[serde(default)]
    pub(super) permissions: BTreeMap<String, String>,
    #[serde(default)]
    repository_selection: String,
    suspended_at: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Account {
    /// An enterprise has none.
    login: Option<String>,
}

/// One element of a list: an installation of a kind that we don't know must not hide the others.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Element {
    Found(Found),
    Odd(IgnoredAny),
}

impl Found {
    /// Login of the account it is installed on, as GitHub spells it.
    pub(super) fn account(&self) -> Option<&str> {
        self.account.as_ref()?.login.as_deref()
    }

    /// Covers only selected repositories of the account.
    pub(super) fn is_selected(&self) -> bool {
        self.repository_selection == "selected"
    }

    pub(super) fn is_suspended(&self) -> bool {
        self.suspended_at.is_some()
    }
}

/// The App's installation on an account, if there is one.
pub(super) async fn on_account(app: &App, owner: &str) -> Result<Option<Found>, AppError> {
    // Organizations' and users' installations have different paths.
    for kind in ["orgs", "users"] {
        let path = format!("/{kind}/{owner}/installation");
        if let Some(found) = if_there(ask(app, &path, "an installation").await)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Whether the App is installed where a repository is, and may use it.
pub(super) async fn covers(app: &App, repository: &RepositoryName) -> Result<bool, AppError> {
    let path = format!("/repos/{repository}/installation");
    let found = if_there(ask::<IgnoredAny>(app, &path, "a repository's installation").await)?;
    Ok(found.is_some())
}

/// The App's installations, and whether there are more: it reads the first two thousand, and those that can be read.
pub(super) async fn all(app: &App) -> Result<(Vec<Found>, bool), AppError> {
    let (mut all, mut has_odd) = (Vec::new(), false);
    for page in 1..=PAGES_MAX {
        let path = format!("/app/installations?per_page=100&page={page}");
        let elements: Vec<Element> = ask(app, &path, THE_LIST).await?;
        let is_last = elements.len() < 100;
        for element in elements {
            match element {
                Element::Found(found) => all.push(found),
                Element::Odd(_) => {
                    has_odd = true;
                    tracing::warn!(app = app.name, "one of its installations can't be read");
                }
            }
        }
        if is_last {
            return Ok((all, has_odd));
        }
    }
    Ok((all, true))
}

async fn ask<T: DeserializeOwned>(app: &App, path: &str, what: &'static str) -> Result<T, AppError> {
    let (status, body) = app.call(Method::GET, path, None).await?;
    if status != StatusCode::OK {
        return Err(AppError::refused(status, what, &body));
    }
    serde_json::from_slice(&body).map_err(|error| AppError::Garbled(what, error.to_string()))
}

/// None if GitHub knows no such thing.
fn if_there<T>(answer: Result<T, AppError>) -> Result<Option<T>, AppError> {
    match answer {
        Err(AppError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
        answer => answer.map(Some),
    }
}
