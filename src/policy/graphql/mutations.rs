//! What a document's mutations change: each is judged by its row in the operation table, like a REST operation.
//!
//! An id says nothing by itself, so ids are returned to the caller, who has to ask GitHub what they are; so are
//! ids that stand for a branch or pull request. An unlisted mutation is refused.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::document::{Field, Input, Kind, Variables};
use super::reads::{IDS_MAX, repository_of_url};
use super::{GraphqlError, Request};
use crate::policy::Class;
use crate::policy::branch::Place;
use crate::policy::branch::{NamedBranch, of_branch_name, of_full_ref};
use crate::policy::repositories::RepositoryName;
use crate::policy::routes::{self, Condition, Operation};

/// Most mutations allowed in one document.
const MUTATIONS_MAX: usize = 20;
/// Most branches that one mutation may name.
const BRANCHES_MAX: usize = 10;

/// Mutations that land one pull request; an approval binds them to its commit.
const LANDINGS: [&str; 3] = ["mergePullRequest", "enqueuePullRequest", "enablePullRequestAutoMerge"];
/// Auto-merge, which is an approval action of its own.
pub const AUTO_MERGE: &str = "enablePullRequestAutoMerge";

/// One mutation of a document.
#[derive(Debug)]
pub struct Mutation {
    pub operation: &'static Operation,
    /// The input with variables replaced.
    pub input: Map<String, Value>,
    /// The class; if `branches` is not empty, the class that applies if one of them is guarded.
    pub class: Class,
    pub branches: Vec<Branch>,
    /// A repository that the input names directly.
    pub repository: Option<RepositoryName>,
    /// Node ids of the objects that it touches.
    pub ids: Vec<String>,
    /// The node id of the pull request that it lands.
    pub lands: Option<String>,
}

/// A branch that a mutation names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Branch {
    Named(NamedBranch),
    /// By a ref's node id.
    Ref(String),
    /// The head of the pull request with this node id.
    HeadOf(String),
}

/// Finds the mutations of every operation.
///
/// # Errors
/// When a mutation is not listed, or its input can't be judged.
pub fn judge(request: &Request) -> Result<Vec<Mutation>, GraphqlError> {
    let mut mutations = Vec::new();
    for operation in request.document.operations.iter().filter(|operation| operation.kind == Kind::Mutation) {
        // Readers differ on whether an explicit null stands for the default.
        let is_undone = |(name, default): &(String, Option<Input>)| {
            default.is_some() && request.variables.get(name).is_some_and(Value::is_null)
        };
        if operation.variables.iter().any(is_undone) {
            return Err(GraphqlError::Ambiguous("a default that a null takes away"));
        }
        let variables = Variables::of(operation, &request.variables);
        let mut fields: Vec<&Field> = Vec::new();
        request.document.fields(&operation.selections, None, &mut |field, _| {
            if field.name != "__typename" {
                fields.push(field);
            }
        });
        if mutations.len() + fields.len() > MUTATIONS_MAX {
            return Err(GraphqlError::Mutation(
                "the document holds more than 20 mutations; send fewer at a time",
            ));
        }
        for field in fields {
            mutations.push(mutation(field, &variables)?);
        }
    }
    // A fragment that is never spread changes nothing, but must not look as if it did.
    for (on, selections) in request.document.unspread() {
        let mut is_known = true;
        if on == "Mutation" {
            request.document.fields(selections, None, &mut |field, _| {
                is_known &= field.name == "__typename" || routes::mutation(&field.name).is_some();
            });
        }
        if !is_known {
            return Err(GraphqlError::UnknownMutation("in a fragment".to_owned()));
        }
    }
    // A document has a single class, and one mutation must not hide behind another.
    if mutations.len() > 1 && mutations.iter().any(|mutation| mutation.class > Class::Write) {
        return Err(GraphqlError::Mutation(
            "what lands code, moves a branch, approves or guards stands alone: send one mutation in the document",
        ));
    }
    if mutations.iter().map(|mutation| mutation.ids.len()).sum::<usize>() > IDS_MAX {
        return Err(GraphqlError::TooManyIds(IDS_MAX));
    }
    Ok(mutations)
}

fn mutation(field: &Field, variables: &Variables<'_>) -> Result<Mutation, GraphqlError> {
    let operation =
        routes::mutation(&field.name).ok_or_else(|| GraphqlError::UnknownMutation(field.name.clone()))?;
    let [(name, input)] = field.arguments.as_slice() else {
        return Err(GraphqlError::Mutation("a mutation has exactly one argument, `input`"));
    };
    let input = match input.bind(variables).map(Cow::into_owned) {
        Some(Value::Object(input)) if name == "input" => input,
        _ => return Err(GraphqlError::Mutation("the `input` of a mutation is an object")),
    };
    let mut ids = Vec::new();
    collect_ids(&input, &mut ids)?;
    let (class, branches) = class_of(operation, &input)?;
    let repository = repository_of(&input)?;
    let lands = match LANDINGS.contains(&operation.id) {
        true => Some(text(&input, "pullRequestId").ok_or(NO_PULL)?.to_owned()),
        false => None,
    };
    Ok(Mutation { operation, class, branches, repository, ids, lands, input })
}

const NO_PULL: GraphqlError = GraphqlError::Mutation("`pullRequestId` is missing");

/// Whether an input member is a node id, by GitHub's naming.
fn is_id(key: &str) -> bool {
    const NO_IDS: [&str; 8] = [
        "appId",
        "clientMutationId",
        "externalId",
        "integrationId",
        "iterationId",
        "repositoryRoleDatabaseId",
        "singleSelectOptionId",
        "workflowId",
    ];
    let is_named_so =
        matches!(key, "id" | "ids" | "inReplyTo") || key.ends_with("Id") || key.ends_with("Ids");
    is_named_so && !NO_IDS.contains(&key)
}

fn collect_ids(object: &Map<String, Value>, ids: &mut Vec<String>) -> Result<(), GraphqlError> {
    for (key, value) in object {
        match value {
            Value::Object(inner) => collect_ids(inner, ids)?,
            Value::Array(items) if !is_id(key) => {
                for inner in items.iter().filter_map(Value::as_object) {
                    collect_ids(inner, ids)?;
                }
            }
            Value::Array(items) => {
                for item in items {
                    push_id(item, ids)?;
                }
            }
            value if is_id(key) => push_id(value, ids)?,
            _ => {}
        }
    }
    Ok(())
}

fn push_id(value: &Value, ids: &mut Vec<String>) -> Result<(), GraphqlError> {
    match value {
        Value::Null => {}
        Value::String(id) if ids.contains(id) => {}
        Value::String(_) if ids.len() == IDS_MAX => return Err(GraphqlError::TooManyIds(IDS_MAX)),
        Value::String(id) => ids.push(id.clone()),
        _ => return Err(GraphqlError::Mutation("an id is a string")),
    }
    Ok(())
}

/// The repository that a mutation names, in `branch { repositoryNameWithOwner }` or by an issue's URL.
fn repository_of(input: &Map<String, Value>) -> Result<Option<RepositoryName>, GraphqlError> {
    if let Some(url) = input.get("subIssueUrl").filter(|url| !url.is_null()) {
        let named = url.as_str().and_then(repository_of_url);
        return named.map(Some).ok_or(GraphqlError::Mutation("`subIssueUrl` is no issue of a repository"));
    }
    let named = input.get("branch").and_then(|branch| branch.get("repositoryNameWithOwner"));
    match named {
        None | Some(Value::Null) => Ok(None),
        Some(name) => name
            .as_str()
            .and_then(RepositoryName::parse)
            .map(Some)
            .ok_or(GraphqlError::Mutation("`repositoryNameWithOwner` is no repository")),
    }
}

/// The class, after applying the conditions that the input decides, and the branches that it depends on.
fn class_of(operation: &Operation, input: &Map<String, Value>) -> Result<(Class, Vec<Branch>), GraphqlError> {
    let settled = |met: bool| Ok((if met { operation.class } else { Class::Write }, Vec::new()));
    match operation.condition {
        Condition::Always | Condition::CreatesPull | Condition::EndsDraft => settled(true),
        Condition::NamesBase => settled(input.get("baseRefName").is_some_and(|base| !base.is_null())),
        // Anything that GitHub could read as an approval counts as one.
        Condition::Approves => settled(match input.get("event") {
            None | Some(Value::Null) => false,
            Some(event) => !matches!(event.as_str(), Some("COMMENT" | "REQUEST_CHANGES")),
        }),
        Condition::Branch { place, .. } => {
            let branches = match place {
                Place::Head => vec![Branch::HeadOf(text(input, "pullRequestId").ok_or(NO_PULL)?.to_owned())],
                Place::Input(key) => branches_of(key, input)?,
                Place::Path(_) | Place::Ref(_) | Place::Body(_) | Place::BodyOrQuery(_) => {
                    vec![Branch::Named(NamedBranch::Guarded)]
                }
            };
            Ok((operation.class, branches))
        }
    }
}

fn branches_of(key: &str, input: &Map<String, Value>) -> Result<Vec<Branch>, GraphqlError> {
    let guarded = || vec![Branch::Named(NamedBranch::Guarded)];
    Ok(match (key, input.get(key)) {
        ("refId", Some(Value::String(id))) => vec![Branch::Ref(id.clone())],
        // `createRef` takes a full ref, `createLinkedBranch` a branch name.
        ("name", Some(Value::String(name))) if name.starts_with("refs/") => {
            vec![Branch::Named(of_full_ref(name))]
        }
        ("name", Some(Value::String(name))) => vec![Branch::Named(of_branch_name(name))],
        ("branch", Some(Value::Object(branch))) => vec![committable(branch)?],
        ("refUpdates", Some(Value::Array(updates))) => {
            if updates.is_empty() || updates.len() > BRANCHES_MAX {
                return Err(GraphqlError::Mutation("`refUpdates` names 1 to 10 refs here"));
            }
            let names = updates.iter().map(|update| match update.get("name").and_then(Value::as_str) {
                Some(name) => Branch::Named(of_full_ref(name)),
                None => Branch::Named(NamedBranch::Guarded),
            });
            names.collect()
        }
        _ => guarded(),
    })
}

/// A `CommittableBranch`: either an id, or a repository and a name.
fn committable(branch: &Map<String, Value>) -> Result<Branch, GraphqlError> {
    let said = |key: &str| branch.get(key).filter(|value| !value.is_null());
    match (said("id"), said("repositoryNameWithOwner"), said("branchName")) {
        (Some(Value::String(id)), None, None) => Ok(Branch::Ref(id.clone())),
        (None, Some(_), Some(Value::String(name))) => Ok(Branch::Named(of_branch_name(name))),
        _ => Err(GraphqlError::Mutation(
            "`branch` is named by `id`, or by `repositoryNameWithOwner` and `branchName`",
        )),
    }
}

/// A string member of an input.
pub fn text<'a>(input: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    input.get(key).and_then(Value::as_str)
}
