//! Pages of connections: what matches the arguments, in which order, and which part of it.

use std::cmp::Ordering;

use serde_json::{Value, json};

use crate::graphql::parse::Field;

/// The arguments of a field, bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arguments<'a> {
    pub(crate) field: &'a Field,
    pub(crate) variables: &'a Value,
}

impl Arguments<'_> {
    pub(crate) fn value(&self, name: &str) -> Option<Value> {
        self.field.argument(name, self.variables)
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.value(name)?.as_str().map(str::to_owned)
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.value(name)?.as_u64()
    }

    /// A list of texts; a single one stands for a list of one.
    pub(crate) fn texts(&self, name: &str) -> Option<Vec<String>> {
        texts(&self.value(name)?)
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(items) => Some(items.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        _ => None,
    }
}

/// The items that the arguments ask for, opened; `None` when they ask for all as they are.
pub(crate) fn matching(
    connection: &str,
    items: &[Value],
    arguments: &Arguments<'_>,
    open: impl Fn(&Value) -> Value,
) -> Option<Vec<Value>> {
    let filter = arguments.value("filterBy").unwrap_or_default();
    let order = arguments.value("orderBy");
    let prefix = (connection == "refs")
        .then(|| arguments.text("refPrefix").unwrap_or_else(|| "refs/heads/".to_owned()));
    let listed = |name: &str| arguments.texts(name).or_else(|| texts(&filter[name]));
    let (states, labels) = (listed("states"), listed("labels"));
    let exact = [
        ("headRefName", arguments.text("headRefName")),
        ("baseRefName", arguments.text("baseRefName")),
        ("prefix", prefix),
        ("author", filter["createdBy"].as_str().map(str::to_owned)),
        ("mentioned", filter["mentioned"].as_str().map(str::to_owned)),
        ("assignee", filter["assignee"].as_str().map(str::to_owned)),
    ];
    let query = arguments.text("query").filter(|_| connection != "search");
    let is_plain = order.is_none() && states.is_none() && labels.is_none() && query.is_none();
    if is_plain && exact.iter().all(|(_, wanted)| wanted.is_none()) {
        return None;
    }
    let mut found: Vec<Value> = items.iter().map(open).collect();
    found.retain(|item| {
        let is_state = |state: &String| item["state"] == **state;
        let names = item["__labels"].as_array();
        let has_label = |label: &String| names.is_some_and(|names| names.contains(&json!(label)));
        let name = item["name"].as_str().unwrap_or_default();
        states.as_ref().is_none_or(|states| states.iter().any(is_state))
            && labels.as_ref().is_none_or(|labels| labels.iter().any(has_label))
            && query.as_ref().is_none_or(|query| name.contains(query.as_str()))
            && exact.iter().all(|(key, wanted)| wanted.as_ref().is_none_or(|wanted| has(item, key, wanted)))
    });
    if let Some(order) = order {
        sort(&mut found, &order);
    }
    Some(found)
}

fn has(item: &Value, key: &str, wanted: &str) -> bool {
    match key {
        "author" => item["author"]["login"] == wanted,
        "mentioned" => item["body"].as_str().is_some_and(|body| body.contains(&format!("@{wanted}"))),
        "assignee" => {
            let assignees = item["assignees"].as_array();
            assignees.is_some_and(|found| found.iter().any(|user| user["login"] == wanted))
        }
        _ => item[key] == wanted,
    }
}

/// Orders by `{field, direction}`. Times are compared as they are written.
fn sort(items: &mut [Value], order: &Value) {
    let key = match order["field"].as_str() {
        Some("UPDATED_AT") => "updatedAt",
        Some("NAME" | "ALPHABETICAL") => "name",
        _ => "createdAt",
    };
    let text = |item: &Value| item[key].as_str().unwrap_or_default().to_owned();
    let number = |item: &Value| item["number"].as_u64();
    let compare =
        |a: &Value, b: &Value| -> Ordering { text(a).cmp(&text(b)).then(number(a).cmp(&number(b))) };
    items.sort_by(compare);
    if order["direction"] == "DESC" {
        items.reverse();
    }
}

/// The page that `first`, `last`, `after` and `before` ask for; `None` without `first` and `last`.
/// Cursors are positions.
pub(crate) fn page(items: &[Value], arguments: &Arguments<'_>) -> Option<Value> {
    let number = |name: &str| arguments.number(name).and_then(|number| usize::try_from(number).ok());
    let cursor = |name: &str| -> Option<usize> { arguments.text(name)?.parse().ok() };
    let (first, last) = (number("first"), number("last"));
    if first.is_none() && last.is_none() {
        return None;
    }
    let mut start = cursor("after").unwrap_or(0).min(items.len());
    let mut end = cursor("before").map_or(items.len(), |at| at.saturating_sub(1));
    end = end.clamp(start, items.len());
    if let Some(first) = first {
        end = end.min(start.saturating_add(first));
    } else if let Some(last) = last {
        start = start.max(end.saturating_sub(last));
    }
    let nodes = &items[start..end];
    let edges = nodes.iter().zip(start + 1..);
    Some(json!({
        "totalCount": items.len(),
        "issueCount": items.len(),
        "edges": edges
            .map(|(node, cursor)| json!({"cursor": cursor.to_string(), "node": node}))
            .collect::<Value>(),
        "nodes": nodes,
        "pageInfo": {
            "hasNextPage": end < items.len(),
            "hasPreviousPage": start > 0,
            "startCursor": (start < end).then(|| (start + 1).to_string()),
            "endCursor": (start < end).then(|| end.to_string()),
        },
    }))
}
