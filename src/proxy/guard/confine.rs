//! Whether a call stays within the agent's repositories, judged by name.

use std::sync::Arc;

use crate::config::Agent;
use crate::error::ProxyError;
use crate::policy::repositories::RepositoryName;
use crate::policy::routes::Scope;
use crate::policy::search;
use crate::proxy::Proxy;
use crate::proxy::classify::Call;
use crate::proxy::context::Context;

impl Proxy {
    /// Refuses what lies outside the agent's repositories. Returns the repository, and the owner
    /// whose installation serves the call.
    pub(super) async fn confine(
        &self,
        agent: &Arc<Agent>,
        call: &mut Call,
        ctx: &mut Context,
    ) -> Result<(Option<RepositoryName>, Option<String>), ProxyError> {
        if call.route.scope == Scope::Graphql {
            return Box::pin(self.confine_graphql(agent, call, ctx)).await;
        }
        let call: &Call = call;
        let everything = agent.repositories.is_everything();
        match &call.route.scope {
            Scope::Repository(name) => {
                let checked = check_repository(agent, name).and_then(|()| check_compared(agent, call));
                self.tolerate(agent, ctx, checked)?;
                Ok((Some(name.clone()), Some(name.owner().to_owned())))
            }
            Scope::RepositoryId(id) => {
                let name =
                    Box::pin(self.repository_name(agent, *id, ctx)).await?.ok_or_else(|| outside(agent))?;
                ctx.repository = Some(name.clone());
                let checked = check_repository(agent, &name).and_then(|()| check_compared(agent, call));
                self.tolerate(agent, ctx, checked)?;
                let owner = name.owner().to_owned();
                Ok((Some(name), Some(owner)))
            }
            Scope::Search => {
                let judged = search::judge(call.route.operation.template, &call.target, &agent.repositories);
                let mut owners = Vec::new();
                let checked = judged
                    .map(|found| owners = found)
                    .map_err(|error| ProxyError::RepositoryForbidden(format!("Search is refused: {error}.")));
                self.tolerate(agent, ctx, checked)?;
                Ok((None, Box::pin(self.common_owner(&owners)).await?))
            }
            Scope::OrganizationId(id) if everything => {
                let login = Box::pin(self.organization_login(agent, *id, ctx)).await?;
                Ok((None, Some(login.ok_or_else(|| outside(agent))?)))
            }
            Scope::Fleet(owner) if everything => Ok((None, owner.clone())),
            Scope::OrganizationId(_) | Scope::Fleet(_) => {
                let refused = Err(ProxyError::RepositoryForbidden(format!(
                    "This call spans repositories; it is for agents with every repository, and {} has not.",
                    agent.name
                )));
                self.tolerate(agent, ctx, refused)?;
                Ok((None, None))
            }
            Scope::Everyone | Scope::InstallationRepositories | Scope::Graphql => Ok((None, None)),
        }
    }
}

pub(super) fn check_repository(agent: &Agent, name: &RepositoryName) -> Result<(), ProxyError> {
    if agent.repositories.contains(name) { Ok(()) } else { Err(outside(agent)) }
}

/// The same words whether or not the repository exists.
pub(super) fn outside(agent: &Agent) -> ProxyError {
    ProxyError::RepositoryForbidden(format!(
        "This repository is not among those of agent {}; asking again will not help. Its operator can add it to the \
         agent's `repositories`.",
        agent.name
    ))
}

/// Checks a second repository in the path: `…/repos/{repo_owner}/{repo_name}`,
/// `compare/other:branch...` and `…/other:repo:branch` reach into another repository of the network.
pub(super) fn check_compared(agent: &Agent, call: &Call) -> Result<(), ProxyError> {
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
            [owner, _] if !agent.repositories.contains_owner(owner) => {
                // GitHub finds the repository by its owner, which may have several in the network.
                return Err(ProxyError::RepositoryForbidden(format!(
                    "`{owner}:…` may be in any repository of {owner}, and agent {} has not all of them. Name the branch \
                     alone, or `OWNER:REPOSITORY:BRANCH`.",
                    agent.name
                )));
            }
            [_, _] => true,
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
