//! What node ids stand for: asked of GitHub as a call of the agent's own, many ids at once, and
//! believed for five minutes.
//!
//! Ids that the agent's rights don't show stay unresolved, and whoever asked refuses them.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use moka::sync::Cache;
use serde_json::{Value, json};

use super::resolve::UNDECIDED;
use super::{Asker, KNOWN_FOR, permit};
use crate::config::Agent;
use crate::error::ProxyError;
use crate::policy::Class;
use crate::policy::branch::{NamedBranch, of_full_ref};
use crate::policy::repositories::RepositoryName;
use crate::policy::routes::{GRAPHQL, Route, Scope};
use crate::policy::target::Target;
use crate::proxy::Proxy;
use crate::proxy::body::read_answer;
use crate::proxy::classify::{Call, CallBody};
use crate::proxy::context::Context;

/// How many ids are remembered.
const IDS_MAX: u64 = 100_000;
/// The longest answer read, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Asks each kind of node for its repository. Kinds without one are accounts, or out of agents' reach.
const QUESTION: &str = "query TollgateNodes($ids: [ID!]!) { nodes(ids: $ids) { __typename id \
    ... on Repository { nameWithOwner } \
    ... on RepositoryNode { repository { nameWithOwner } } \
    ... on Ref { name prefix repository { nameWithOwner } } \
    ... on PullRequest { number } \
    ... on PullRequestReview { pullRequest { number } author { login } } \
    ... on LinkedBranch { ref { name prefix repository { nameWithOwner } } } \
    ... on GitObject { repository { nameWithOwner } } \
    ... on Label { repository { nameWithOwner } } \
    ... on Milestone { repository { nameWithOwner } } \
    ... on PullRequestReviewThread { repository { nameWithOwner } } \
    ... on CheckRun { repository { nameWithOwner } } \
    ... on CheckSuite { repository { nameWithOwner } } \
    ... on Deployment { repository { nameWithOwner } } \
    ... on Release { repository { nameWithOwner } } \
    ... on DiscussionComment { discussion { repository { nameWithOwner } } } } }";

/// Types that may be named beside a repository: assignees, reviewers, teams.
const ACCOUNTS: [&str; 6] = ["User", "Organization", "Bot", "Mannequin", "Team", "EnterpriseUserAccount"];

/// What an organization's issues can be or have; issues in a repository name them.
const OF_ISSUES: [&str; 5] =
    ["IssueFieldDate", "IssueFieldNumber", "IssueFieldSingleSelect", "IssueFieldText", "IssueType"];

/// What an id stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// The repository it lies in, or is.
    pub(super) repository: Option<RepositoryName>,
    pub(super) is_account: bool,
    /// A type or a field of issues.
    pub(super) is_of_issues: bool,
    /// For a ref: its branch.
    pub(super) branch: Option<NamedBranch>,
    /// For a pull request: its number.
    pub(super) pull: Option<u64>,
    /// What an approver sees: a ref's name, the number of a pull request, also of the one reviewed, otherwise the type.
    pub(super) title: String,
}

/// What ids stand for, as GitHub said.
#[derive(Debug, Clone)]
pub(super) struct Nodes {
    known: Cache<String, Node>,
}

impl Default for Nodes {
    fn default() -> Nodes {
        Nodes { known: Cache::builder().max_capacity(IDS_MAX).time_to_live(KNOWN_FOR).build() }
    }
}

impl Node {
    fn read(value: &Value) -> Option<Node> {
        let kind = value["__typename"].as_str()?;
        let named = |value: &Value| value["nameWithOwner"].as_str().and_then(RepositoryName::parse);
        let repository = named(value)
            .or_else(|| named(&value["repository"]))
            .or_else(|| named(&value["discussion"]["repository"]))
            .or_else(|| named(&value["ref"]["repository"]));
        let text = |key: &str| value[key].as_str().unwrap_or_default();
        let branch = (kind == "Ref").then(|| of_full_ref(&format!("{}{}", text("prefix"), text("name"))));
        let pull = value["number"].as_u64().filter(|_| kind == "PullRequest");
        let title = match (&branch, pull) {
            (Some(_), _) => format!("{}{}", text("prefix"), text("name")),
            (None, Some(number)) => format!("pull request #{number}"),
            (None, None) => {
                match (value["pullRequest"]["number"].as_u64(), value["author"]["login"].as_str()) {
                    (Some(number), Some(author)) => format!("review of pull request #{number} by {author}"),
                    _ => kind.to_owned(),
                }
            }
        };
        let (is_account, is_of_issues) = (ACCOUNTS.contains(&kind), OF_ISSUES.contains(&kind));
        Some(Node { repository, is_account, is_of_issues, branch, pull, title })
    }
}

impl Proxy {
    /// What the ids stand for; those that can't be seen are left out.
    pub(super) async fn nodes(
        &self,
        agent: &Arc<Agent>,
        ids: &[String],
        ctx: &mut Context,
    ) -> Result<HashMap<String, Node>, ProxyError> {
        let mut found: HashMap<String, Node> = HashMap::new();
        let mut missing: Vec<&String> = Vec::new();
        for id in ids {
            match self.known.nodes.known.get(id) {
                Some(node) => drop(found.insert(id.clone(), node)),
                None => missing.push(id),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let mut reachable = self.installations_of(agent).await?;
        for installation in self.soonest_first(&reachable, agent, "graphql") {
            let asker = Asker { agent: Arc::clone(agent), installation, repository: None };
            let mut permitted = permit(asker, question(&missing)?, None)?;
            let Some(answer) = self.shown_by(&mut permitted, &mut reachable, ctx).await? else { continue };
            let (head, body) = answer.into_parts();
            let read = read_answer(body, ANSWER_BYTES_MAX, self.upstream.request_timeout);
            let Some(body) = read.await.filter(|_| head.status == StatusCode::OK) else {
                reachable.failed = Some(UNDECIDED);
                continue;
            };
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let nodes = body["data"]["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
            // GitHub lists them in the order in which they were asked for.
            if nodes.len() == missing.len() {
                for (id, node) in
                    missing.iter().zip(nodes).filter_map(|(id, node)| Some((*id, Node::read(node)?)))
                {
                    self.known.nodes.known.insert(id.clone(), node.clone());
                    found.insert(id.clone(), node);
                }
            }
            missing.retain(|id| !found.contains_key(*id));
            if missing.is_empty() {
                return Ok(found);
            }
        }
        // What is not found in the accounts that were asked is refused like what can't be seen.
        reachable.failed.map_or(Ok(found), Err)
    }
}

fn question(ids: &[&String]) -> Result<Box<Call>, ProxyError> {
    let body = json!({ "query": QUESTION, "variables": { "ids": ids } }).to_string();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(Box::new(Call {
        method: Method::POST,
        headers,
        body: CallBody::Whole(Bytes::from(body)),
        ..Call::own(
            Target::parse("/graphql", None).map_err(|_| ProxyError::Internal)?,
            Route { operation: &GRAPHQL, scope: Scope::Graphql, params: Vec::new() },
            Class::Read,
        )
    }))
}
