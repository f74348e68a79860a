//! What a query will cost, by GitHub's published formula.
//!
//! Source: GitHub Docs, "Rate limits and query limits for the GraphQL API": the number of requests needed to fill
//! every connection, assuming each `first` or `last` is reached, divided by 100 and rounded; at least 1. And at
//! most 500,000 nodes.

use super::document::{Document, Field, Operation, Selection, Variables};

/// Most nodes that GitHub allows in one call.
pub const NODES_MAX: u64 = 500_000;
/// Page size assumed when it is a variable without a value.
const PAGE_MAX: u64 = 100;

/// What a query is expected to cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Price {
    /// Requests needed to fill its connections.
    pub requests: u64,
    pub nodes: u64,
}

impl Price {
    /// Points charged to the primary limit.
    pub fn points(self) -> u64 {
        (self.requests.saturating_add(50) / 100).max(1)
    }
}

/// Prices the operation that a request runs.
pub fn price(document: &Document, operation: &Operation, variables: &Variables<'_>) -> Price {
    let mut price = Price::default();
    add(document, &operation.selections, variables, 1, &mut price);
    price
}

fn add(
    document: &Document,
    selections: &[Selection],
    variables: &Variables<'_>,
    parents: u64,
    price: &mut Price,
) {
    document.fields(selections, None, &mut |field, _| {
        if field.selections.is_empty() {
            return;
        }
        let parents = match page_size(field, variables) {
            None => parents,
            Some(size) => {
                let children = parents.saturating_mul(size);
                price.requests = price.requests.saturating_add(parents);
                price.nodes = price.nodes.saturating_add(children);
                children
            }
        };
        add(document, &field.selections, variables, parents, price);
    });
}

/// `first` or `last` of a connection; `None` for any other field.
fn page_size(field: &Field, variables: &Variables<'_>) -> Option<u64> {
    let said = |name: &str| {
        let input = field.input(name)?;
        Some(input.bind(variables).and_then(|value| value.as_u64()).unwrap_or(PAGE_MAX))
    };
    said("first").or_else(|| said("last"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;

    fn of(text: &str, variables: &Value) -> Price {
        let document = Document::parse(text).unwrap();
        let sent: Map<String, Value> = variables.as_object().cloned().unwrap_or_default();
        let operation = &document.operations[0];
        price(&document, operation, &Variables::of(operation, &sent))
    }

    #[test]
    fn github_s_examples_come_out_as_published() {
        let repositories = "query { viewer { login repositories(first: 100) { edges { node { id issues(first: 50) { \
             edges { node { id labels(first: 60) { edges { node { id name } } } } } } } } } } }";
        let price = of(repositories, &json!({}));
        assert_eq!((price.requests, price.points()), (5_101, 51));
        let nodes = "query { viewer { repositories(first: 50) { edges { repository:node { name \
             pullRequests(first: 20) { edges { pullRequest:node { title comments(first: 10) { edges { comment:node { bodyHTML } } } } } } \
             issues(first: 20) { totalCount edges { issue:node { title bodyHTML comments(first: 10) { edges { comment:node { bodyHTML } } } } } } \
             } } } followers(first: 10) { edges { follower:node { login } } } } }";
        assert_eq!(of(nodes, &json!({})).nodes, 22_060);
    }

    #[test]
    fn sizes_come_from_variables_defaults_or_the_most_there_can_be() {
        let text = "query Q($n: Int = 7, $m: Int!) { a { b(first: $n) { nodes { c(last: $m) { nodes { id } } } } } }";
        assert_eq!(of(text, &json!({"m": 3})).nodes, 7 + 21);
        assert_eq!(of(text, &json!({"n": 2, "m": 3})).nodes, 2 + 6);
        assert_eq!(of(text, &json!({"n": 2})).nodes, 2 + 200);
        let fragments = "query { a(first: 10) { nodes { ...F ... on T { d(first: 2) { nodes { id } } } } } } \
             fragment F on T { c(first: 3) { nodes { id } } }";
        assert_eq!((of(fragments, &json!({})).requests, of(fragments, &json!({})).nodes), (21, 60));
        assert_eq!(of("{ viewer { login } }", &json!({})).points(), 1);
    }
}
