//! Stage 4, may it be done: takes agent and call, gives [`Permitted`], the proof the later stages ask for.
//!
//! Only this file can make a `Permitted`. It stands before the cache, so that nothing kept is shown
//! to somebody who may not ask for it. Numeric ids are resolved first, by a look-up that is itself a
//! permitted call of this agent, and everything is judged by name.

mod approval;
mod resolve;

use std::sync::Arc;

pub(super) use resolve::{Names, unavailable};

use http::Method;

use super::Proxy;
use super::classify::{Call, CallBody};
use super::context::Context;
use crate::config::Agent;
use crate::error::ProxyError;
use crate::github::installations::{Installation, Kind};
use crate::github::tokens::{Access, REPOSITORIES_MAX};
use crate::policy::Class;
use crate::policy::repositories::RepositoryName;
use crate::policy::routes::Scope;
use crate::policy::search;

/// A call that may be made, for whom, and with whose rights.
#[derive(Debug)]
pub(crate) struct Permitted {
    agent: Arc<Agent>,
    call: Call,
    installation: Arc<Installation>,
    access: Access,
    /// What the token is narrowed to; none: all of the installation's repositories.
    token_repositories: Option<Vec<String>>,
    /// The one repository it is about, if it is about one.
    repository: Option<RepositoryName>,
}

impl Permitted {
    pub(super) fn agent(&self) -> &Arc<Agent> {
        &self.agent
    }

    pub(super) fn call(&self) -> &Call {
        &self.call
    }

    pub(super) fn body_mut(&mut self) -> &mut CallBody {
        &mut self.call.body
    }

    pub(super) fn installation(&self) -> &Arc<Installation> {
        &self.installation
    }

    pub(super) fn access(&self) -> Access {
        self.access
    }

    pub(super) fn token_repositories(&self) -> Option<&Vec<String>> {
        self.token_repositories.as_ref()
    }

    pub(super) fn repository(&self) -> Option<&RepositoryName> {
        self.repository.as_ref()
    }

    /// Whether GitHub changes something, so that a second attempt could do it twice.
    pub(super) fn is_write(&self) -> bool {
        match self.call.route.scope {
            Scope::Graphql => self.call.changes_by_graphql,
            _ => !matches!(self.call.method, Method::GET | Method::HEAD),
        }
    }

    /// Narrows the token to the one repository asked for, if there is one and it is not so already.
    pub(super) fn narrow_to_repository(&mut self) -> bool {
        let Some(repository) = &self.repository else { return false };
        let alone = Some(vec![repository.name().to_owned()]);
        if self.token_repositories.is_none() || self.token_repositories == alone {
            return false;
        }
        self.token_repositories = alone;
        true
    }
}

impl Proxy {
    pub(super) async fn guard(
        &self,
        agent: &Arc<Agent>,
        call: Call,
        ctx: &mut Context,
    ) -> Result<Permitted, ProxyError> {
        check_class(agent, &call)?;
        let (repository, owner) = self.confine(agent, &call, ctx).await?;
        self.check_approval(agent, &call, repository.as_ref())?;
        let installation = self.installation_for(agent, &call.route.scope, owner.as_deref()).await?;
        permit(agent, call, installation, repository)
    }

    /// Refuses what lies outside the agent's repositories; gives the repository, and the owner whose
    /// installation serves the call.
    async fn confine(
        &self,
        agent: &Arc<Agent>,
        call: &Call,
        ctx: &mut Context,
    ) -> Result<(Option<RepositoryName>, Option<String>), ProxyError> {
        let everything = agent.repositories.is_everything();
        match &call.route.scope {
            Scope::Repository(name) => {
                check_repository(agent, name)?;
                check_compared(agent, call)?;
                Ok((Some(name.clone()), Some(name.owner().to_owned())))
            }
            Scope::RepositoryId(id) => {
                let name = self.repository_name(agent, *id, ctx).await?.ok_or_else(|| outside(agent))?;
                check_repository(agent, &name)?;
                check_compared(agent, call)?;
                let owner = name.owner().to_owned();
                Ok((Some(name), Some(owner)))
            }
            Scope::Search => {
                let owner = search::judge(call.route.operation.template, &call.target, &agent.repositories)
                    .map_err(|error| {
                    ProxyError::RepositoryForbidden(format!("Search is refused: {error}."))
                })?;
                Ok((None, owner))
            }
            Scope::OrganizationId(id) if everything => {
                let login = self.organization_login(agent, *id, ctx).await?;
                Ok((None, Some(login.ok_or_else(|| outside(agent))?)))
            }
            Scope::Fleet(owner) if everything => Ok((None, owner.clone())),
            Scope::OrganizationId(_) | Scope::Fleet(_) => Err(ProxyError::RepositoryForbidden(format!(
                "This call spans repositories; it is for agents with every repository, and {} has not.",
                agent.name
            ))),
            Scope::Everyone | Scope::InstallationRepositories | Scope::Graphql => Ok((None, None)),
        }
    }
}

/// Makes the proof.
fn permit(
    agent: &Arc<Agent>,
    call: Call,
    installation: Arc<Installation>,
    repository: Option<RepositoryName>,
) -> Result<Permitted, ProxyError> {
    let everything = agent.repositories.is_everything();
    let (token_repositories, confined) = match &installation.kind {
        // A personal token reaches whatever its user does.
        Kind::Personal(_) => (None, everything),
        Kind::App(app) => match agent.repositories.named_of(&app.account) {
            None => (None, true),
            // Nothing named would mint a token for everything. It happens when an account was renamed.
            Some(names) if names.is_empty() => {
                return Err(ProxyError::NoInstallation(format!(
                    "The installation that answers for this call is on `{}`, where agent {} has no repositories.",
                    app.account, agent.name
                )));
            }
            Some(names) if names.len() > REPOSITORIES_MAX => (None, false),
            Some(names) => (Some(names), true),
        },
    };
    if call.route.scope == Scope::Graphql && !confined {
        return Err(ProxyError::OperationForbidden(format!(
            "GraphQL can't be confined to the repositories of agent {} with the credential it has: \
             that takes a GitHub App, and at most {REPOSITORIES_MAX} repositories named. Use REST.",
            agent.name
        )));
    }
    // What is open to everybody needs no right to write, whatever its method.
    let reads = call.class == Class::Read || call.route.scope == Scope::Everyone;
    let access = if reads { Access::Read } else { Access::Write };
    Ok(Permitted { agent: Arc::clone(agent), call, installation, access, token_repositories, repository })
}

/// Whether the agent may use operations of this class at all.
fn check_class(agent: &Agent, call: &Call) -> Result<(), ProxyError> {
    let class = call.class;
    if call.changes_by_graphql {
        return Err(ProxyError::OperationForbidden(
            "GraphQL mutations are not let through yet, whatever they do. Use the REST API.".to_owned(),
        ));
    }
    if class == Class::Token {
        return Err(ProxyError::OperationForbidden(
            "Operations on credentials are never open to agents: tollgate holds the tokens.".to_owned(),
        ));
    }
    if agent.allow.contains(&class) {
        return Ok(());
    }
    Err(ProxyError::OperationForbidden(format!(
        "This is a {class} operation, which agent {} may not do. Its operator can add `{class}` to the agent's `allow`.",
        agent.name
    )))
}

fn check_repository(agent: &Agent, name: &RepositoryName) -> Result<(), ProxyError> {
    if agent.repositories.contains(name) { Ok(()) } else { Err(outside(agent)) }
}

/// The same words whether the repository exists or not.
fn outside(agent: &Agent) -> ProxyError {
    ProxyError::RepositoryForbidden(format!(
        "This repository is not among those of agent {}. Its operator can add it to the agent's `repositories`.",
        agent.name
    ))
}

/// A second repository in the path: `…/repos/{repo_owner}/{repo_name}`, `compare/other:branch...` and `…/other:repo:branch` reach into another repository of the network.
fn check_compared(agent: &Agent, call: &Call) -> Result<(), ProxyError> {
    if let (Some(owner), Some(name)) = (call.route.param("repo_owner"), call.route.param("repo_name")) {
        let name = RepositoryName::new(owner, name).ok_or_else(|| outside(agent))?;
        check_repository(agent, &name)?;
    }
    let Some(range) = call.route.param("basehead") else {
        return Ok(());
    };
    for end in range.split("...").flat_map(|part| part.split("..")) {
        let parts: Vec<&str> = end.split(':').collect();
        let inside = match parts.as_slice() {
            [_] => true,
            [owner, _] => agent.repositories.contains_owner(owner),
            [owner, name, _] => {
                RepositoryName::new(owner, name).is_some_and(|name| agent.repositories.contains(&name))
            }
            _ => false,
        };
        if !inside {
            return Err(outside(agent));
        }
    }
    Ok(())
}
