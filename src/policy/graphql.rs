//! Determines what a GraphQL request does by fully parsing its document.
//!
//! Every operation and every fragment of the document counts, not only the one that `operationName` picks.
//! [`reads`] says whether it stays within the agent's repositories, [`mutations`] what it changes, [`price`] what
//! it costs, and [`edit`] puts a member into a mutation's input.

pub mod document;

pub mod edit;

pub mod mutations;

pub mod price;

pub mod reads;

mod types;

use serde_json::{Map, Value};
use thiserror::Error;

use super::json::{self, JsonError};
use document::{Document, Operation, Variables};
use price::Price;

pub use document::Kind;

/// Longest body accepted, in bytes.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Why a GraphQL request is refused.
#[derive(Debug, Error)]
pub enum GraphqlError {
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error("`query` must be a string that holds the document")]
    NoDocument,
    #[error("`{0}` has no place in a GraphQL request here; send `query`, `variables`, `operationName`")]
    Member(String),
    #[error("the document does not parse: {0}")]
    Syntax(String),
    /// GraphQL parsers differ here, and GitHub's may read it differently than ours.
    #[error("the document holds {0}, which not every parser reads alike; leave it out")]
    Ambiguous(&'static str),
    #[error("`tempCloneToken` is a credential, and tollgate hands none out")]
    Credential,
    #[error("the document holds no operation")]
    NoOperation,
    #[error("`operationName` must name an operation of the document")]
    OperationName,
    #[error("subscriptions are not served")]
    Subscription,
    #[error("`{0}` lists or picks from many repositories; name one with `repository(owner:, name:)`")]
    Walk(String),
    #[error(
        "`{0}` shows what belongs to an account and to no repository, which is for agents with every repository"
    )]
    Account(String),
    #[error("the root field `{0}` is for agents with every repository")]
    Root(String),
    #[error("the argument `{1}` of `{0}` must have a value that can be judged")]
    Argument(String, String),
    #[error("`{0}` is not among your repositories")]
    Outside(String),
    #[error("search is refused: {0}")]
    Search(String),
    #[error("more than {0} ids in one document")]
    TooManyIds(usize),
    #[error("tollgate knows no mutation `{0}` of GitHub's, and what is in no list is not let through")]
    UnknownMutation(String),
    #[error("{0}")]
    Mutation(&'static str),
    #[error(
        "the query asks for up to {nodes} nodes, and GitHub takes at most {max}: the product of all `first` and `last` \
         on the way to each list; ask for smaller pages"
    )]
    Nodes { nodes: u64, max: u64 },
}

/// Which kind of fault a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The document has no reading or several, or exceeds GitHub's limits.
    Form,
    /// The document reaches beyond the agent's repositories.
    Outside,
    /// The operation is not open to agents.
    Closed,
}

impl GraphqlError {
    pub fn fault(&self) -> Fault {
        match self {
            GraphqlError::Walk(_)
            | GraphqlError::Account(_)
            | GraphqlError::Root(_)
            | GraphqlError::Outside(_)
            | GraphqlError::Search(_) => Fault::Outside,
            GraphqlError::Credential | GraphqlError::Subscription | GraphqlError::UnknownMutation(_) => {
                Fault::Closed
            }
            GraphqlError::Json(_)
            | GraphqlError::NoDocument
            | GraphqlError::Member(_)
            | GraphqlError::Syntax(_)
            | GraphqlError::Ambiguous(_)
            | GraphqlError::NoOperation
            | GraphqlError::OperationName
            | GraphqlError::Argument(..)
            | GraphqlError::TooManyIds(_)
            | GraphqlError::Mutation(_)
            | GraphqlError::Nodes { .. } => Fault::Form,
        }
    }
}

/// A GraphQL request that was parsed.
#[derive(Debug)]
pub struct Request {
    pub document: Document,
    /// The document as sent.
    text: String,
    variables: Map<String, Value>,
    operation_name: Option<String>,
    /// Whether `data.rateLimit.cost`, if the answer has it, can only be GitHub's own figure.
    pub shows_cost: bool,
}

impl Request {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// When the body is not one plain JSON object with an unambiguous document.
    pub fn read(body: &[u8]) -> Result<Request, GraphqlError> {
        let mut object = json::object(body)?;
        for (key, value) in &object {
            let sound = match key.as_str() {
                "query" => true,
                "variables" => value.is_object() || value.is_null(),
                "operationName" => value.is_string() || value.is_null(),
                "extensions" => value.is_null() || value.as_object().is_some_and(is_harmless),
                _ => false,
            };
            if !sound {
                return Err(GraphqlError::Member(json::shown(key)));
            }
        }
        let Some(Value::String(text)) = object.remove("query") else { return Err(GraphqlError::NoDocument) };
        // A GraphQL name has only one spelling, and an alias does not hide it.
        if text.contains("tempCloneToken") {
            return Err(GraphqlError::Credential);
        }
        let operation_name = match object.remove("operationName") {
            Some(Value::String(name)) if !name.is_empty() => Some(name),
            _ => None,
        };
        let variables = match object.remove("variables") {
            Some(Value::Object(variables)) => variables,
            _ => Map::new(),
        };
        let document = Document::parse(&text)?;
        document.check_bound(&variables)?;
        if operation_name.is_some() && document.operation(operation_name.as_deref()).is_none() {
            return Err(GraphqlError::OperationName);
        }
        let shows_cost = document::shows_cost(&text);
        Ok(Request { document, text, variables, operation_name, shows_cost })
    }

    /// The strongest kind among the document's operations.
    pub fn kind(&self) -> Kind {
        self.document.operations.iter().map(|operation| operation.kind).max().unwrap_or(Kind::Query)
    }

    /// The cost before sending; if several operations might run, the most expensive one's.
    ///
    /// # Errors
    /// When it asks for more nodes than GitHub allows.
    pub fn price(&self) -> Result<Price, GraphqlError> {
        let named = self.document.operation(self.operation_name.as_deref());
        let operations: Vec<&Operation> = match named {
            Some(operation) => vec![operation],
            None => self.document.operations.iter().collect(),
        };
        let prices = operations.into_iter().map(|operation| {
            let variables = Variables::of(operation, &self.variables);
            price::price(&self.document, operation, &variables)
        });
        let price = prices.max_by_key(|price| (price.points(), price.nodes)).unwrap_or_default();
        if price.nodes > price::NODES_MAX {
            return Err(GraphqlError::Nodes { nodes: price.nodes, max: price::NODES_MAX });
        }
        Ok(price)
    }
}

/// Some clients send `extensions` empty, Apollo's with its own name. Anything else may ask for a persisted document.
fn is_harmless(extensions: &Map<String, Value>) -> bool {
    extensions.iter().all(|(key, value)| key == "clientLibrary" && value.is_object())
}

#[cfg(test)]
mod tests;
