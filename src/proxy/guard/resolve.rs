//! Names for numeric ids, and the installation that serves a call.
//!
//! GitHub is asked for an id as a call of the agent's own, with its rights: an id those can't see
//! stays unresolved and is refused. Answers are believed for five minutes, so that a transfer or a
//! rename upstream can't grant access for longer. Most ids come from GitHub's links to further pages, and need not be
//! asked for: the answer that held the link was about that repository.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::LINK;
use http::{HeaderMap, StatusCode, Uri};
use moka::sync::Cache;
use serde::Deserialize;

use super::facts::look_up;
use super::{Asker, KNOWN_FOR, Permitted, permit};
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
use crate::proxy::settle::Answer;

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

/// The installations that an agent's calls may go by.
#[derive(Default)]
pub(in crate::proxy) struct Reachable {
    pub(in crate::proxy) installations: Vec<Arc<Installation>>,
    /// Why an App's are missing: nobody knows what they would show.
    pub(in crate::proxy) failed: Option<ProxyError>,
    /// There are more than are asked.
    is_cut: bool,
}

impl Reachable {
    /// What follows if none of the installations shows what was looked for.
    ///
    /// # Errors
    /// If one of them may have it that did not say so.
    pub(super) fn none_shows_it(self, agent: &Agent) -> Result<(), ProxyError> {
        match self.failed {
            Some(error) => Err(error),
            None if self.is_cut => Err(ProxyError::RepositoryForbidden(format!(
                "The id is of nothing in the first {INSTALLATIONS_ASKED_MAX} accounts of agent {}, where ids are looked \
                 up: name the repository instead.",
                agent.name
            ))),
            None => Ok(()),
        }
    }
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
        let mut reachable = self.installations_of(agent).await?;
        for installation in self.soonest_first(&reachable, agent, "core") {
            let target = Target::parse(&format!("/{kind}/{id}"), None).map_err(|_| ProxyError::Internal)?;
            let asker = Asker { agent: Arc::clone(agent), installation, repository: None };
            let mut permitted = permit(asker, look_up(target, None), None)?;
            let Some(answer) = self.shown_by(&mut permitted, &mut reachable, ctx).await? else { continue };
            let (head, body) = answer.into_parts();
            match head.status {
                StatusCode::OK => {
                    let body = read_answer(body, ANSWER_BYTES_MAX, self.upstream.request_timeout).await;
                    let body = body.ok_or(ProxyError::UpstreamUnreachable("a look-up was cut short"))?;
                    return Ok(Some(body));
                }
                StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => {}
                _ => reachable.failed = Some(UNDECIDED),
            }
        }
        if reachable.failed.is_none() {
            self.known.names.unseen.insert(unseen, ());
        }
        reachable.none_shows_it(agent).map(|()| None)
    }

    /// The answer to a look-up that another installation can be asked, too. None if this one can't be asked now: that
    /// error is kept for the case that no other shows what is looked for.
    pub(super) async fn shown_by(
        &self,
        permitted: &mut Permitted,
        reachable: &mut Reachable,
        ctx: &mut Context,
    ) -> Result<Option<Answer>, ProxyError> {
        match Box::pin(self.exchange(permitted, None, ctx)).await {
            Ok(answer) => Ok(Some(answer)),
            Err(
                error @ (ProxyError::CredentialRefused(_)
                | ProxyError::UpstreamUnreachable(_)
                | ProxyError::UpstreamTimeout(_)
                | ProxyError::BudgetExhausted { .. }
                | ProxyError::UpstreamLimited(_)),
            ) => {
                reachable.failed = Some(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The installations in the order in which they are asked: those first that have room now, so that one that has none
    /// holds up no call about what lies elsewhere.
    pub(super) fn soonest_first(
        &self,
        reachable: &Reachable,
        agent: &Agent,
        resource: &str,
    ) -> Vec<Arc<Installation>> {
        let mut installations = reachable.installations.clone();
        installations
            .sort_by_cached_key(|one| self.budget.room(&one.label, resource, &agent.name, false).wait);
        installations
    }

    /// Learns a repository's id from an answer about it: GitHub's links to its other pages hold the id in place of the
    /// name. Only the path of the first link counts, which no parameter of the call can shape.
    pub(in crate::proxy) fn learn_id(&self, permitted: &Permitted, headers: &HeaderMap) {
        let learned = || {
            let Scope::Repository(name) = &permitted.call().route.scope else { return None };
            let link = headers.get(LINK)?.to_str().ok()?;
            let url: Uri = link.strip_prefix('<')?.split('>').next()?.parse().ok()?;
            let path = url.path().strip_prefix(self.upstream.api_url.path().trim_end_matches('/'))?;
            let (id, rest) = path.strip_prefix("/repositories/")?.split_once('/')?;
            let asked_for = permitted.call().target.path().splitn(5, '/').nth(4)?;
            Some((id.parse().ok()?, name.clone())).filter(|_| rest == asked_for)
        };
        if let Some((id, name)) = learned() {
            self.known.names.repositories.insert(id, name);
        }
    }

    /// The installations that the agent's repositories lie in.
    ///
    /// # Errors
    /// If none is known, and an App could not be asked.
    pub(in crate::proxy) async fn installations_of(&self, agent: &Agent) -> Result<Reachable, ProxyError> {
        if agent.repositories.is_everything() {
            let all = self.installations.all().await.map_err(|error| self.unavailable(&error))?;
            let installations = all.serving.iter().take(INSTALLATIONS_ASKED_MAX).cloned().collect();
            return Ok(Reachable {
                installations,
                failed: all.failed.as_deref().map(|error| self.told(error)),
                is_cut: all.serving.len() > INSTALLATIONS_ASKED_MAX,
            });
        }
        let owners = agent.repositories.owners();
        let mut found = Reachable { is_cut: owners.len() > INSTALLATIONS_ASKED_MAX, ..Reachable::default() };
        for owner in owners.into_iter().take(INSTALLATIONS_ASKED_MAX) {
            let of_owner = match self.installations.of_owner(owner).await {
                Ok(of_owner) => of_owner,
                Err(error) => {
                    found.failed = Some(self.unavailable(&error));
                    continue;
                }
            };
            for new in of_owner.iter() {
                if !found.installations.iter().any(|known| known.label == new.label) {
                    found.installations.push(Arc::clone(new));
                }
            }
        }
        match found.failed.take_if(|_| found.installations.is_empty()) {
            Some(error) => Err(error),
            None => Ok(found),
        }
    }

    /// The owner whose installation serves a call about things of all these owners.
    ///
    /// # Errors
    /// If no installation serves them all: GitHub would show or do a part, and say nothing of the rest.
    pub(super) async fn common_owner(&self, owners: &[String]) -> Result<Option<String>, ProxyError> {
        let Some(first) = owners.first() else { return Ok(None) };
        // While policy only observes, such a call is made as well as it can be.
        if self.rules.policy.is_observing || owners.iter().all(|owner| owner == first) {
            return Ok(Some(first.clone()));
        }
        let mut serving: Option<(&String, Arc<str>)> = None;
        for owner in owners {
            let found = self.installations.of_owner(owner).await.map_err(|error| self.unavailable(&error))?;
            match (found.first(), &serving) {
                (Some(one), Some((known, label))) if one.label != *label => {
                    return Err(ProxyError::BadRequest(format!(
                        "The request is about repositories of `{known}` and of `{owner}`, which different \
                         installations of the GitHub App serve: send one request for each owner."
                    )));
                }
                (Some(one), None) => serving = Some((owner, Arc::clone(&one.label))),
                (Some(_), Some(_)) | (None, _) => {}
            }
        }
        Ok(Some(serving.map_or(first, |(owner, _)| owner).clone()))
    }

    /// Whether nobody named an installation for the agent, and Apps are on more than one account, as far as is known.
    pub(super) async fn has_to_be_found(&self, agent: &Agent) -> bool {
        if agent.installation.is_some() {
            return false;
        }
        let Ok(all) = self.installations.all().await else { return false };
        let apps: Vec<_> =
            all.serving.iter().filter(|one| matches!(one.kind, Kind::App(_))).cloned().collect();
        !apps.is_empty() && !on_one_account(&apps)
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
                None if about_a_repository => return Err(self.not_installed(owner).await),
                None => {}
            }
        }
        let Some(default) = default else { return Box::pin(self.only_installation(agent, call)).await };
        if let Some(installation) = self.choose_on(default, None, agent, call).await? {
            return Ok(installation);
        }
        // Nobody named an installation, and these calls get the same answer by any of an App's.
        let is_query = *scope == Scope::Graphql && owner.is_none() && !call.is_write();
        let is_same = *scope == Scope::Everyone || (is_query && !agent.repositories.is_everything());
        if agent.installation.is_none() && is_same {
            let mut installations = Box::pin(self.installations_of(agent)).await?.installations;
            installations.retain(|one| !is_query || matches!(one.kind, Kind::App(_)));
            if let Some(installation) = self.choose(&installations, agent, call) {
                return Ok(installation);
            }
        }
        Err(self.not_installed(default).await)
    }

    async fn not_installed(&self, owner: &str) -> ProxyError {
        ProxyError::NoInstallation(match self.installations.is_suspended(owner).await {
            true => format!(
                "The GitHub App's installation on `{owner}` is suspended; an owner of `{owner}` can lift that."
            ),
            false => format!("No installation of the GitHub App covers `{owner}`."),
        })
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
        let all = &all.serving;
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

/// What a look-up ends with that decides, and was not answered.
pub(super) const UNDECIDED: ProxyError =
    ProxyError::UpstreamUnreachable("a look-up that decides was not answered");

const NO_CREDENTIAL: &str = "GitHub gave tollgate no credential for this call; the operator's log says why";

impl Proxy {
    /// What an agent is told when the App itself fails; the log says more.
    pub(in crate::proxy) fn unavailable(&self, error: &AppError) -> ProxyError {
        tracing::warn!(%error, "no credential");
        self.told(error)
    }

    fn told(&self, error: &AppError) -> ProxyError {
        match error {
            AppError::Timeout(after) => ProxyError::UpstreamTimeout(*after),
            AppError::Unreachable(_) => {
                ProxyError::UpstreamUnreachable("it did not answer tollgate's own call")
            }
            AppError::NotListed(_) => ProxyError::UpstreamUnreachable(
                "it was asked for too many unknown owners within a minute; ask again in a minute",
            ),
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
                    has_used_approval: false,
                })
            }
            AppError::Refused { status, .. } if status.is_server_error() => ProxyError::UpstreamUnreachable(
                "it gave tollgate no credential for this call; the operator's log says why",
            ),
            AppError::Key { .. }
            | AppError::Refused { .. }
            | AppError::NotGranted { .. }
            | AppError::Garbled(..) => ProxyError::CredentialRefused(NO_CREDENTIAL),
        }
    }
}
