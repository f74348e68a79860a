//! Whether a GraphQL request stays within its agent's repositories, and what its mutations are about.
//!
//! Node ids in a document are resolved first; then mutations are judged by name like everything else.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::nodes::Node;
use crate::audit::Change;
use crate::config::Agent;
use crate::error::ProxyError;
use crate::policy::Class;
use crate::policy::branch::NamedBranch;
use crate::policy::graphql::mutations::{self, Branch, Mutation};
use crate::policy::graphql::{GraphqlError, reads};
use crate::policy::repositories::RepositoryName;
use crate::proxy::Proxy;
use crate::proxy::classify::{Call, GraphqlCall, refused};
use crate::proxy::context::Context;

impl Proxy {
    /// Returns the repository that is changed, and the owner whose installation serves the call.
    pub(super) async fn confine_graphql(
        &self,
        agent: &Arc<Agent>,
        call: &mut Call,
        ctx: &mut Context,
    ) -> Result<(Option<RepositoryName>, Option<String>), ProxyError> {
        let Some(graphql) = call.graphql.take() else { return Ok((None, None)) };
        let confined = self.confine_document(agent, &graphql, call, ctx).await;
        call.graphql = Some(graphql);
        confined
    }

    async fn confine_document(
        &self,
        agent: &Arc<Agent>,
        graphql: &GraphqlCall,
        call: &mut Call,
        ctx: &mut Context,
    ) -> Result<(Option<RepositoryName>, Option<String>), ProxyError> {
        let mut reads = reads::Reads::default();
        let judged = reads::judge(&graphql.request, &agent.repositories).map(|judged| reads = judged);
        self.tolerate(agent, ctx, judged.map_err(|error| refused(&error)))?;
        // For agents with every repository, ids matter only if they say which installation is to serve, and the operator
        // named none.
        let everything = agent.repositories.is_everything();
        if everything && !reads.ids.is_empty() && !Box::pin(self.has_to_be_found(agent)).await {
            reads.ids.clear();
        }
        let mut ids = reads.ids.clone();
        for id in graphql.mutations.iter().flat_map(|mutation| &mutation.ids) {
            if !ids.contains(id) {
                ids.push(id.clone());
            }
        }
        if ids.len() > reads::IDS_MAX {
            return Err(refused(&GraphqlError::TooManyIds(reads::IDS_MAX)));
        }
        let nodes = Box::pin(self.nodes(agent, &ids, ctx)).await?;
        for id in reads.ids.iter().filter(|_| !everything) {
            let checked = check_node(agent, id, &nodes).map(drop);
            self.tolerate(agent, ctx, checked)?;
        }
        ctx.changes = graphql.mutations.iter().map(|mutation| change(mutation, &nodes)).collect();
        let mut repositories: Vec<RepositoryName> = Vec::new();
        for mutation in &graphql.mutations {
            let checked = check_touched(agent, mutation, &nodes);
            match call.class {
                Class::Read | Class::Write => self.tolerate(agent, ctx, checked)?,
                // What is gated is about what can be seen, even while policy only observes.
                _ => checked?,
            }
            for repository in touched(mutation, &nodes) {
                if !repositories.contains(repository) {
                    repositories.push(repository.clone());
                }
            }
            for id in &mutation.ids {
                if let Some(node) = nodes.get(id) {
                    call.ids.insert(id.clone(), node.title.clone());
                }
            }
            call.branches.extend(mutation.branches.iter().map(|branch| named(branch, &nodes)));
            if let Some(id) = &mutation.lands {
                call.lands = nodes.get(id).and_then(|node| node.pull);
            }
            if mutation.operation.id == "addPullRequestReview" {
                let id = mutation.input.get("pullRequestId").and_then(Value::as_str);
                call.reviews = id.and_then(|id| nodes.get(id)).and_then(|node| node.pull);
            }
        }
        if repositories.len() > 1 && call.class > Class::Write {
            return Err(ProxyError::BadRequest(
                "The document changes more than one repository; send one mutation at a time.".to_owned(),
            ));
        }
        let read = reads.ids.iter().filter_map(|id| nodes.get(id)?.repository.as_ref());
        let owners =
            repositories.iter().chain(read).map(|repository| repository.owner().to_ascii_lowercase());
        let owners: Vec<String> = owners.chain(reads.owners).collect();
        let owner = Box::pin(self.common_owner(&owners)).await?;
        Ok((repositories.into_iter().next(), owner.or(reads.account)))
    }

    /// Auto-merge lands what is pushed later. So it is refused, unless the operator lets it be
    /// approved as an action of its own.
    pub(super) fn check_auto_merge(&self, call: &mut Call) -> Result<(), ProxyError> {
        let enables = |mutation: &Mutation| mutation.operation.id == mutations::AUTO_MERGE;
        let mutations = call.graphql.iter().flat_map(|graphql| &graphql.mutations);
        if !mutations.into_iter().any(enables) {
            return Ok(());
        }
        if !self.rules.policy.allow_auto_merge {
            return Err(ProxyError::OperationForbidden(
                "Auto-merge lands what is pushed after the approval, so it is not open here; asking again will not \
                 help. Ask for an approval of the merge itself."
                    .to_owned(),
            ));
        }
        call.class = Class::Merge;
        call.action = Some("auto-merge");
        Ok(())
    }
}

/// A mutation as the audit log tells of it.
fn change(mutation: &Mutation, nodes: &HashMap<String, Node>) -> Change {
    let ids = mutation.ids.iter().filter_map(|id| Some((id.clone(), nodes.get(id)?.title.clone())));
    Change {
        operation: mutation.operation.id,
        repositories: touched(mutation, nodes).into_iter().map(RepositoryName::to_string).collect(),
        ids: ids.collect(),
    }
}

/// The repositories that a mutation's input names, also by ids that are known.
fn touched<'a>(mutation: &'a Mutation, nodes: &'a HashMap<String, Node>) -> Vec<&'a RepositoryName> {
    let by_id = mutation.ids.iter().filter_map(|id| nodes.get(id)?.repository.as_ref());
    let mut touched = Vec::new();
    for repository in mutation.repository.iter().chain(by_id) {
        if !touched.contains(&repository) {
            touched.push(repository);
        }
    }
    touched
}

/// What an id stands for; an error if that is outside the agent's repositories and no account.
fn check_node<'a>(agent: &Agent, id: &str, nodes: &'a HashMap<String, Node>) -> Result<&'a Node, ProxyError> {
    let shown: String = id.chars().take(100).collect();
    match nodes.get(id) {
        Some(node) if node.is_account => Ok(node),
        Some(Node { repository: Some(repository), .. }) if !agent.repositories.contains(repository) => {
            Err(outside(agent, &shown))
        }
        Some(node @ Node { repository: Some(_), .. }) => Ok(node),
        Some(node) if agent.repositories.is_everything() => Ok(node),
        // It may lie anywhere, or not exist.
        Some(_) | None => Err(outside(agent, &shown)),
    }
}

fn outside(agent: &Agent, id: &str) -> ProxyError {
    ProxyError::RepositoryForbidden(format!(
        "The node id {id:?} is of nothing in the repositories of agent {}, or can't be seen; asking again will not help.",
        agent.name
    ))
}

/// Whether a mutation touches what the agent may, and at least one repository, except for agents with every one.
fn check_touched(
    agent: &Agent,
    mutation: &Mutation,
    nodes: &HashMap<String, Node>,
) -> Result<(), ProxyError> {
    if let Some(repository) = &mutation.repository {
        super::confine::check_repository(agent, repository)?;
    }
    for id in &mutation.ids {
        if nodes.get(id).is_some_and(|node| node.is_of_issues) {
            continue;
        }
        let node = check_node(agent, id, nodes)?;
        // Accounts may be assigned or asked for review. But what is made for an owner lies in none
        // of the agent's repositories.
        let is_owner = mutation.input.get("ownerId").and_then(Value::as_str) == Some(id);
        if node.is_account && is_owner && !agent.repositories.is_everything() {
            return Err(outside(agent, id));
        }
    }
    if touched(mutation, nodes).is_empty() && !agent.repositories.is_everything() {
        return Err(ProxyError::RepositoryForbidden(format!(
            "`{}` names nothing in a repository; it is for agents with every repository, and {} has not.",
            mutation.operation.id, agent.name
        )));
    }
    Ok(())
}

fn named(branch: &Branch, nodes: &HashMap<String, Node>) -> NamedBranch {
    let known = match branch {
        Branch::Named(branch) => Some(branch.clone()),
        Branch::Ref(id) => nodes.get(id).and_then(|node| node.branch.clone()),
        Branch::HeadOf(id) => nodes.get(id).and_then(|node| node.pull).map(NamedBranch::HeadOfPull),
    };
    known.unwrap_or(NamedBranch::Guarded)
}
