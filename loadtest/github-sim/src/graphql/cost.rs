//! What a document costs, before it runs.
//!
//! Source: docs.github.com, "Rate limits and query limits for the GraphQL API".

use serde_json::Value;

use crate::exchange::Request;
use crate::graphql::bind::bind;
use crate::graphql::parse::{Document, Field, Selection};
use crate::graphql::read;

/// What the limits must know of a request before it runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Profile {
    /// Points of the primary limit.
    pub(crate) cost: u64,
    /// Nodes that the query may return.
    pub(crate) nodes: u64,
    pub(crate) is_mutation: bool,
}

/// The profile of a request; one that cannot be read costs one point.
pub(crate) fn profile(request: &Request) -> Profile {
    let least = Profile { cost: 1, ..Profile::default() };
    let Ok((document, body)) = read(request) else { return least };
    let Some(operation) = document.operation(body["operationName"].as_str()) else { return least };
    let Ok(variables) = bind(operation, &body["variables"]) else { return least };
    let mut sums = Sums { document: &document, variables: &variables, requests: 0, nodes: 0 };
    sums.add(&operation.selections, 1);
    Profile {
        cost: ((sums.requests + 50) / 100).max(1),
        nodes: sums.nodes,
        is_mutation: operation.kind == "mutation",
    }
}

/// The sums of GitHub's two formulas.
struct Sums<'a> {
    document: &'a Document,
    variables: &'a Value,
    requests: u64,
    nodes: u64,
}

impl Sums<'_> {
    fn add(&mut self, selections: &[Selection], parents: u64) {
        for selection in selections {
            match selection {
                Selection::Field(field) => {
                    let Some(size) = page_size(field, self.variables) else {
                        self.add(&field.selections, parents);
                        continue;
                    };
                    self.requests = self.requests.saturating_add(parents);
                    let children = parents.saturating_mul(size);
                    self.nodes = self.nodes.saturating_add(children);
                    self.add(&field.selections, children);
                }
                Selection::Inline { selections, .. } => self.add(selections, parents),
                Selection::Spread { name, .. } => {
                    if let Some(fragment) = self.document.fragments.get(name) {
                        self.add(&fragment.selections, parents);
                    }
                }
            }
        }
    }
}

/// `first` or `last` of a connection.
fn page_size(field: &Field, variables: &Value) -> Option<u64> {
    let argument = |name: &str| field.argument(name, variables)?.as_u64();
    argument("first").or_else(|| argument("last"))
}
