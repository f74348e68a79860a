//! `POST /graphql`: a small interpreter of selection sets over JSON views of the world.
//!
//! It knows no schema: a field that the view lacks is null. Connections are arrays in the view and
//! get `nodes`, `edges`, `pageInfo` and `totalCount` here. Cost and node counts follow
//! docs.github.com, "Rate limits and query limits for the GraphQL API". Mutations change nothing;
//! they are noted in the books.

mod parse;
mod run;
mod views;

use serde_json::{Value, json};

use crate::context::Cx;
use crate::exchange::{Answer, Reply, Request};

use parse::{Document, Field, Operation, Selection};
use run::Runner;

/// Most nodes that a query may ask for.
const NODES_MAX: u64 = 500_000;

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
    let mut sums = Sums { document: &document, variables: &body["variables"], requests: 0, nodes: 0 };
    sums.add(&operation.selections, 1, 0);
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
    fn add(&mut self, selections: &[Selection], parents: u64, depth: usize) {
        // Fragments may refer to each other; GitHub refuses cycles, here they just end.
        if depth > 50 {
            return;
        }
        for selection in selections {
            match selection {
                Selection::Field(field) => {
                    let Some(size) = page_size(field, self.variables) else {
                        self.add(&field.selections, parents, depth + 1);
                        continue;
                    };
                    self.requests = self.requests.saturating_add(parents);
                    let children = parents.saturating_mul(size);
                    self.nodes = self.nodes.saturating_add(children);
                    self.add(&field.selections, children, depth + 1);
                }
                Selection::Inline { selections, .. } => self.add(selections, parents, depth + 1),
                Selection::Spread(name) => {
                    if let Some(fragment) = self.document.fragments.get(name) {
                        self.add(&fragment.selections, parents, depth + 1);
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

fn read(request: &Request) -> Result<(Document, Value), Reply> {
    let body = Value::Object(request.json()?);
    let Some(query) = body["query"].as_str() else {
        return Err(Reply::error(400, "A query attribute must be specified and must be a string."));
    };
    match parse::document(query) {
        Some(document) => Ok((document, body)),
        None => Err(Reply::ok(json!({"errors": [{"message": "Parse error on the query"}]}))),
    }
}

/// Answers a query; a mutation is noted and answered with nulls.
pub(crate) fn handle(cx: &mut Cx<'_>) -> Answer {
    let (document, body) = read(cx.request)?;
    let Some(operation) = document.operation(body["operationName"].as_str()) else {
        return Ok(Reply::ok(json!({"errors": [{"message": "No operation named in the query"}]})));
    };
    if operation.kind == "mutation" {
        return Ok(Reply::ok(mutate(cx, &document, operation)));
    }
    let profile = profile(cx.request);
    if profile.nodes > NODES_MAX {
        let message = format!(
            "This query requests up to {} possible nodes which exceeds the maximum limit of 500,000.",
            profile.nodes
        );
        let error = json!({"type": "MAX_NODE_LIMIT_EXCEEDED", "message": message});
        return Ok(Reply::ok(json!({"errors": [error]})));
    }
    let mut runner = Runner::new(cx, &document, &body["variables"], profile);
    let data = runner.root(&operation.selections);
    let errors = runner.errors;
    let mut answer = json!({"data": data});
    if !errors.is_empty() {
        answer["errors"] = Value::Array(errors);
    }
    Ok(Reply::ok(answer))
}

fn mutate(cx: &mut Cx<'_>, document: &Document, operation: &Operation) -> Value {
    let mut data = serde_json::Map::new();
    for field in document.fields(&operation.selections) {
        cx.state.books.mutations.push(field.name.clone());
        data.insert(field.key().to_owned(), json!({"clientMutationId": null}));
    }
    json!({"data": data})
}
