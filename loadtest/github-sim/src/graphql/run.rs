//! Applies selection sets to views.

use serde_json::{Map, Value, json};

use crate::access::{Sight, sight};
use crate::clock::iso;
use crate::context::Cx;
use crate::graphql::Profile;
use crate::graphql::parse::{Document, Field, Selection};
use crate::graphql::views;
use crate::world::Repository;

/// The execution of one query.
pub(crate) struct Runner<'a, 'w> {
    cx: &'a Cx<'w>,
    document: &'a Document,
    variables: Value,
    profile: Profile,
    pub(crate) errors: Vec<Value>,
}

impl<'a, 'w> Runner<'a, 'w> {
    pub(crate) fn new(cx: &'a Cx<'w>, document: &'a Document, variables: &Value, profile: Profile) -> Self {
        let mut bound = Map::new();
        for operation in &document.operations {
            bound.extend(operation.defaults.clone());
        }
        bound.extend(variables.as_object().cloned().unwrap_or_default());
        Self { cx, document, variables: Value::Object(bound), profile, errors: Vec::new() }
    }

    /// The `data` of a query.
    pub(crate) fn root(&mut self, selections: &[Selection]) -> Value {
        let mut data = Map::new();
        for field in self.document.fields(selections) {
            let value = self.root_field(field);
            let value = self.select(&value, field);
            data.insert(field.key().to_owned(), value);
        }
        Value::Object(data)
    }

    fn root_field(&mut self, field: &Field) -> Value {
        let text = |name: &str| match field.argument(name, &self.variables) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        match field.name.as_str() {
            "viewer" => views::actor(&self.cx.view(), self.cx.actor()),
            "rateLimit" => self.rate_limit(),
            "repository" => {
                let full_name = format!("{}/{}", text("owner"), text("name"));
                match self.visible(self.cx.state.world.find(&full_name)) {
                    Some(found) => views::repository(&self.cx.view(), found),
                    None => {
                        let message =
                            format!("Could not resolve to a Repository with the name '{full_name}'.");
                        self.missing(field, &message)
                    }
                }
            }
            "organization" | "user" | "repositoryOwner" => match self.cx.state.world.owner(&text("login")) {
                Some(owner) => views::actor(&self.cx.view(), &owner.login),
                None => self.missing(field, "Could not resolve to an account with that login."),
            },
            "node" => self.node(field, &text("id")),
            "nodes" => {
                let ids = field.argument("ids", &self.variables).unwrap_or_default();
                let ids = ids.as_array().cloned().unwrap_or_default();
                ids.iter().map(|id| self.node(field, id.as_str().unwrap_or_default())).collect()
            }
            "__typename" => json!("Query"),
            _ => {
                let message = format!("Field '{}' doesn't exist on type 'Query'", field.name);
                self.errors.push(json!({"message": message, "path": [field.key()]}));
                Value::Null
            }
        }
    }

    fn node(&mut self, field: &Field, id: &str) -> Value {
        let view = self.cx.view();
        for repository in self.cx.state.world.repositories.values() {
            if let Some(found) = views::node(&view, repository, id)
                && self.visible(Some(repository)).is_some()
            {
                return found;
            }
        }
        self.missing(field, &format!("Could not resolve to a node with the global id of '{id}'"))
    }

    fn visible<'r>(&self, repository: Option<&'r Repository>) -> Option<&'r Repository> {
        let world = &self.cx.state.world;
        repository.filter(|found| sight(world, &self.cx.caller, found) != Sight::Hidden)
    }

    fn missing(&mut self, field: &Field, message: &str) -> Value {
        let error = json!({"type": "NOT_FOUND", "path": [field.key()], "message": message});
        self.errors.push(error);
        Value::Null
    }

    /// The `rateLimit` object, as it is once this query has been charged.
    fn rate_limit(&self) -> Value {
        let cx = self.cx;
        let account = cx.caller.account(cx.shared.config.app_id);
        let window = cx.state.limits.window(&account, "graphql", cx.now);
        let used = (window.used + self.profile.cost).min(window.limit);
        json!({
            "__typename": "RateLimit",
            "cost": self.profile.cost,
            "limit": window.limit,
            "remaining": window.limit - used,
            "used": used,
            "resetAt": iso(window.reset_at),
            "nodeCount": self.profile.nodes,
        })
    }

    /// What a field's selections take of its value.
    fn select(&mut self, value: &Value, field: &Field) -> Value {
        match value {
            Value::Array(items) if is_connection(self.document, field) => {
                let connection = self.connection(items, field);
                self.members(&connection, &field.selections)
            }
            Value::Array(items) => items.iter().map(|item| self.select(item, field)).collect(),
            Value::Object(_) if !field.selections.is_empty() => self.members(value, &field.selections),
            _ => value.clone(),
        }
    }

    fn members(&mut self, object: &Value, selections: &[Selection]) -> Value {
        let mut members = Map::new();
        self.collect(object, selections, &mut members, 0);
        Value::Object(members)
    }

    fn collect(
        &mut self,
        object: &Value,
        selections: &[Selection],
        members: &mut Map<String, Value>,
        depth: usize,
    ) {
        let applies = |on: &str| {
            let kind = object["__typename"].as_str();
            kind.is_none_or(|kind| kind == on) || ["Node", "Actor", "RepositoryOwner"].contains(&on)
        };
        for selection in selections {
            match selection {
                Selection::Field(field) => {
                    let value = self.member(object, field);
                    let value = self.select(&value, field);
                    members.insert(field.key().to_owned(), value);
                }
                Selection::Inline { on, selections } => {
                    if on.as_deref().is_none_or(applies) {
                        self.collect(object, selections, members, depth);
                    }
                }
                Selection::Spread(name) => {
                    if let Some(fragment) = self.document.fragments.get(name)
                        && applies(&fragment.on)
                        && depth < 50
                    {
                        self.collect(object, &fragment.selections, members, depth + 1);
                    }
                }
            }
        }
    }

    /// A member of an object; some are picked by an argument.
    fn member(&self, object: &Value, field: &Field) -> Value {
        let number = field.argument("number", &self.variables).and_then(|value| value.as_u64());
        let list = match field.name.as_str() {
            "issue" => "issues",
            "pullRequest" => "pullRequests",
            _ => return object[&field.name].clone(),
        };
        let items = object[list].as_array();
        items
            .and_then(|items| items.iter().find(|item| item["number"].as_u64() == number))
            .cloned()
            .unwrap_or_default()
    }

    /// A page of a connection. Cursors are positions.
    fn connection(&mut self, items: &[Value], field: &Field) -> Value {
        let number = |name: &str| {
            let value = field.argument(name, &self.variables)?;
            value.as_u64().and_then(|number| usize::try_from(number).ok())
        };
        let cursor =
            |name: &str| -> Option<usize> { field.argument(name, &self.variables)?.as_str()?.parse().ok() };
        let states = field.argument("states", &self.variables);
        let matching: Vec<&Value> = items.iter().filter(|item| has_state(item, states.as_ref())).collect();
        if number("first").is_none() && number("last").is_none() {
            let message = format!(
                "You must provide a `first` or `last` value to properly paginate the `{}` connection.",
                field.name
            );
            let path = [field.key()];
            let error = json!({"type": "MISSING_PAGINATION_BOUNDARIES", "path": path, "message": message});
            self.errors.push(error);
            return json!({"nodes": null, "totalCount": matching.len()});
        }
        let mut start = cursor("after").unwrap_or(0).min(matching.len());
        let mut end = cursor("before").map_or(matching.len(), |at| at.saturating_sub(1));
        end = end.clamp(start, matching.len());
        if let Some(first) = number("first") {
            end = end.min(start.saturating_add(first));
        } else if let Some(last) = number("last") {
            start = start.max(end.saturating_sub(last));
        }
        let nodes: Vec<Value> = matching[start..end].iter().copied().cloned().collect();
        let edges = nodes.iter().zip(start + 1..);
        json!({
            "totalCount": matching.len(),
            "edges": edges
                .map(|(node, cursor)| json!({"cursor": cursor.to_string(), "node": node}))
                .collect::<Value>(),
            "nodes": nodes,
            "pageInfo": {
                "hasNextPage": end < matching.len(),
                "hasPreviousPage": start > 0,
                "startCursor": (start < end).then(|| (start + 1).to_string()),
                "endCursor": (start < end).then(|| end.to_string()),
            },
        })
    }
}

/// Whether a field's value is asked for as a connection.
fn is_connection(document: &Document, field: &Field) -> bool {
    const MEMBERS: [&str; 4] = ["nodes", "edges", "pageInfo", "totalCount"];
    let fields = document.fields(&field.selections);
    fields.iter().any(|member| MEMBERS.contains(&member.name.as_str()))
}

fn has_state(item: &Value, states: Option<&Value>) -> bool {
    match states {
        None => true,
        Some(Value::Array(states)) => states.contains(&item["state"]),
        Some(state) => *state == item["state"],
    }
}
