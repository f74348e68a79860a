//! Names for numeric ids, and the installation that serves a call.
//!
//! GitHub is asked for an id as a call of the agent's own, with its rights: an id those can't see
//! stays unresolved and is refused. Answers are believed for five minutes, so that a transfer or a
//! rename upstream can't grant access for longer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use moka::sync::Cache;
use serde::Deserialize;

use super::facts::look_up;
use super::{Asker, KNOWN_FOR, permit};
use crate::config::Agent;
use crate::error::{Limit, ProxyError};
use crate::github::apps::AppError;
use crate::github::installations::{Installation, Kind};
use crate::policy::repositories::RepositoryName;
use crate::policy::routes::Scope;
use crate::policy::target::Target;
use crate::proxy::Proxy;
use crate::proxy::body::read_answer;
use crate::proxy::classify::Call;
use crate::proxy::context::Context;

/// How long "can't be seen" is believed.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);
/// How many ids are remembered.
const IDS_MAX: u64 = 100_000;
/// The most installations asked for one id.
const INSTALLATIONS_ASKED_MAX: usize = 10;
/// The longest answer read, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// What numeric ids stand for.
#[derive(Debug, Clone)]
pub(super) struct Names {
    repositories: Cache<u64, RepositoryName>,
    organizations: Cache<u64, String>,
    /// Per agent: what one may not see, another may.
    unseen: Cache<(String, &'static str, u64), ()>,
}

impl Default for Names {
    fn default() -> Names {
        Names {
            repositories: Cache::builder().max_capacity(IDS_MAX).time_to_live(KNOWN_FOR).build(),
            organizations: Cache::builder().max_capacity(IDS_MAX).time_to_live(KNOWN_FOR).build(),
            unseen: Cache::builder().max_capacity(IDS_MAX).time_to_live(UNKNOWN_FOR).build(),
        }
    }
}

#[derive(Deserialize)]
struct Repository {
    id: u64,
    full_name: String,
}

#[derive(Deserialize)]
struct Organization {
    id: u64,
    login: String,
}

impl Proxy {
    /// The `owner/name` of a repository id; none if the agent's rights don't show it.
    pub(super) async fn repository_name(
        &self,
        agent: &Arc<Agent>,
        id: u64,
        ctx: &mut Context,
    ) -> Result<Option<RepositoryName>, ProxyError> {
        if let Some(name) = self.known.names.repositories.get(&id) {
            return Ok(Some(name));
        }
        let answer = self.ask_for_id(agent, "repositories", id, ctx).await?;
        let found = answer.and_then(|body| serde_json::from_slice::<Repository>(&body).ok());
        let name =
            found.filter(|found| found.id == id).and_then(|found| RepositoryName::parse(&found.full_name));
        if let Some(name) = &name {
            self.known.names.repositories.insert(id, name.clone());
        }
        Ok(name)
    }

    /// The login of an organization id; none if the agent's rights don't show it.
    pub(super) async fn organization_login(
        &self,
        agent: &Arc<Agent>,
        id: u64,
        ctx: &mut Context,
    ) -> Result<Option<String>, ProxyError> {
        if let Some(login) = self.known.names.organizations.get(&id) {
            return Ok(Some(login));
        }
        let answer = self.ask_for_id(agent, "organizations", id, ctx).await?;
        let found = answer.and_then(|body| serde_json::from_slice::<Organization>(&body).ok());
        let login = found.filter(|found| found.id == id).map(|found| found.login.to_ascii_lowercase());
        if let Some(login) = &login {
            self.known.names.organizations.insert(id, login.clone());
        }
        Ok(login)
    }

    /// Asks for `GET /KIND/ID` by each of the agent's installations in turn; returns the first body shown.
    async fn ask_for_id(
        &self,
        agent: &Arc<Agent>,
        kind: &'static str,
        id: u64,
        ctx: &mut Context,
    ) -> Result<Option<Bytes>, ProxyError> {
        let unseen = (agent.name.clone(), kind, id);
        if self.known.names.unseen.contains_key(&unseen) {
            return Ok(None);
        }
        for installation in self.installations_of(agent).await? {
            let target = Target::parse(&format!("/{kind}/{id}"), None).map_err(|_| ProxyError::Internal)?;
            let asker = Asker { agent: Arc::clone(agent), installation, repository: None };
            let mut permitted = permit(asker, look_up(target, None), None)?;
            let answer = Box::pin(self.exchange(&mut permitted, None, ctx)).await?;
            let (head, body) = answer.into_parts();
            match head.status {
                StatusCode::OK => {
                    let body = read_answer(body, ANSWER_BYTES_MAX, self.upstream.request_timeout).await;
                    let body = body.ok_or(ProxyError::UpstreamUnreachable("a look-up was cut short"))?;
                    return Ok(Some(body));
                }
                StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => {}
                _ => return Err(ProxyError::UpstreamUnreachable("a look-up that decides was not answered")),
            }
        }
        self.known.names.unseen.insert(unseen, ());
        Ok(None)
    }

    /// The installations that the agent's repositories lie in.
    pub(in crate::proxy) async fn installations_of(
        &self,
        agent: &Agent,
    ) -> Result<Vec<Arc<Installation>>, ProxyError> {
        if agent.repositories.is_everything() {
            let all = self.installations.all().await.map_err(|error| self.unavailable(&error))?;
            return Ok(all.iter().take(INSTALLATIONS_ASKED_MAX).cloned().collect());
        }
        let mut found: Vec<Arc<Installation>> = Vec::new();
        for owner in agent.repositories.owners().into_iter().take(INSTALLATIONS_ASKED_MAX) {
            let of_owner =
                self.installations.of_owner(owner).await.map_err(|error| self.unavailable(&error))?;
            for new in of_owner.iter() {
                if !found.iter().any(|known| known.label == new.label) {
                    found.push(Arc::clone(new));
                }
            }
        }
        Ok(found)
    }

    /// Whether one of our Apps is installed on an account.
    pub(super) async fn is_installed_on(&self, owner: &str) -> Result<bool, ProxyError> {
        let found = self.installations.of_owner(owner).await.map_err(|error| self.unavailable(&error))?;
        Ok(found.iter().any(|one| matches!(one.kind, Kind::App(_))))
    }

    /// An installation on the owner or, failing that, on the agent's default account.
    pub(super) async fn installation_for(
        &self,
        agent: &Agent,
        call: &Call,
        repository: Option<&RepositoryName>,
        owner: Option<&str>,
    ) -> Result<Arc<Installation>, ProxyError> {
        let scope = &call.route.scope;
        let default = agent.installation.as_deref().or_else(|| agent.repositories.owners().first().copied());
        if let Some(owner) = owner {
            let about_a_repository = matches!(scope, Scope::Repository(_) | Scope::RepositoryId(_));
            match self.choose_on(owner, repository, agent, call).await? {
                Some(installation) => return Ok(installation),
                None if about_a_repository => return Err(not_installed(owner)),
                None => {}
            }
        }
        if let Some(owner) = default {
            return self.choose_on(owner, None, agent, call).await?.ok_or_else(|| not_installed(owner));
        }
        Box::pin(self.only_installation(agent, call)).await
    }

    async fn choose_on(
        &self,
        owner: &str,
        repository: Option<&RepositoryName>,
        agent: &Agent,
        call: &Call,
    ) -> Result<Option<Arc<Installation>>, ProxyError> {
        let mut found = self.installations.of_owner(owner).await.map_err(|error| self.unavailable(&error))?;
        if let Some(repository) = repository.filter(|_| found.len() > 1) {
            found = Box::pin(self.installations.covering(found, repository)).await;
        }
        Ok(self.choose(&found, agent, call))
    }

    /// For an agent with every repository and no default: the only installation, if there is just one.
    async fn only_installation(&self, agent: &Agent, call: &Call) -> Result<Arc<Installation>, ProxyError> {
        let all = self.installations.all().await.map_err(|error| self.unavailable(&error))?;
        let apps: Vec<_> = all.iter().filter(|one| matches!(one.kind, Kind::App(_))).cloned().collect();
        // Several Apps on one account count as one.
        if let Some(chosen) = on_one_account(&apps).then(|| self.choose(&apps, agent, call)).flatten() {
            return Ok(chosen);
        }
        let scope = &call.route.scope;
        match (apps.as_slice(), all.first()) {
            ([], Some(personal)) => Ok(Arc::clone(personal)),
            ([first, ..], _) if *scope == Scope::Everyone => Ok(Arc::clone(first)),
            ([_, ..], _) => Err(ProxyError::NoInstallation(format!(
                "This call names no repository and there are {} installations. The operator can name one as \
                 `installation` of agent {}.",
                apps.len(),
                agent.name
            ))),
            ([], None) => Err(ProxyError::NoInstallation("The App is installed nowhere.".to_owned())),
        }
    }
}

fn on_one_account(apps: &[Arc<Installation>]) -> bool {
    let accounts = apps.iter().filter_map(|one| match &one.kind {
        Kind::App(app) => Some(app.account.as_str()),
        Kind::Personal(_) => None,
    });
    let mut accounts = accounts.collect::<Vec<_>>();
    accounts.dedup_by(|a, b| a.eq_ignore_ascii_case(b));
    accounts.len() == 1
}

fn not_installed(owner: &str) -> ProxyError {
    ProxyError::NoInstallation(format!("No installation of the GitHub App covers `{owner}`."))
}

const NO_CREDENTIAL: &str = "it gave tollgate no credential for this call; the operator's log says why";

impl Proxy {
    /// What an agent is told when the App itself fails; the log says more.
    pub(in crate::proxy) fn unavailable(&self, error: &AppError) -> ProxyError {
        tracing::warn!(%error, "no credential");
        match error {
            AppError::Timeout(after) => ProxyError::UpstreamTimeout(*after),
            AppError::Unreachable(_) => {
                ProxyError::UpstreamUnreachable("it did not answer tollgate's own call")
            }
            AppError::Limited { until, .. } => {
                let retry_after = until.saturating_sub(self.clock.now_seconds()).max(1).unsigned_abs();
                let reset = self.in_seconds(retry_after);
                ProxyError::UpstreamLimited(Limit {
                    retry_after,
                    reset,
                    used: 0,
                    resource: "core",
                    is_closed: false,
                    was_sent: false,
                })
            }
            AppError::Refused { status, .. } if status.is_server_error() => {
                ProxyError::UpstreamUnreachable(NO_CREDENTIAL)
            }
            AppError::Key { .. } | AppError::Refused { .. } | AppError::Garbled(..) => {
                ProxyError::CredentialRefused(NO_CREDENTIAL)
            }
        }
    }
}
