//! Applies selection sets to views.

use serde_json::{Map, Value, json};

use crate::access::{Sight, sight};
use crate::clock::iso;
use crate::context::Cx;
use crate::graphql::cost::Profile;
use crate::graphql::ids::Node;
use crate::graphql::page::{self, Arguments};
use crate::graphql::parse::{Document, Field, Selection};
use crate::graphql::{fields, kinds, views};
use crate::world::Repository;

/// The execution of one operation.
pub(crate) struct Runner<'a, 'w> {
    cx: &'a Cx<'w>,
    document: &'a Document,
    variables: &'a Value,
    profile: Profile,
    /// The current path in the answer.
    path: Vec<Value>,
    pub(crate) errors: Vec<Value>,
}

impl<'a, 'w> Runner<'a, 'w> {
    pub(crate) fn new(
        cx: &'a Cx<'w>,
        document: &'a Document,
        variables: &'a Value,
        profile: Profile,
    ) -> Self {
        Self { cx, document, variables, profile, path: Vec::new(), errors: Vec::new() }
    }

    /// The `data` of a query.
    pub(crate) fn root(&mut self, selections: &[Selection]) -> Value {
        let mut data = Map::new();
        for field in self.document.fields(selections, self.variables) {
            self.path.push(json!(field.key()));
            let value = self.root_field(field);
            let value = self.select(&value, field);
            self.path.pop();
            put(&mut data, field.key(), value);
        }
        Value::Object(data)
    }

    /// The answer of one mutation field.
    pub(crate) fn payload(&mut self, payload: &Value, field: &Field) -> Value {
        self.path.push(json!(field.key()));
        let value = self.select(payload, field);
        self.path.pop();
        value
    }

    fn root_field(&mut self, field: &Field) -> Value {
        let arguments = Arguments { field, variables: self.variables };
        let text = |name: &str| arguments.text(name).unwrap_or_default();
        let cx = self.cx;
        match field.name.as_str() {
            "viewer" => views::actor(&cx.view(), cx.actor()),
            "rateLimit" => self.rate_limit(),
            "repository" => self.repository(&format!("{}/{}", text("owner"), text("name"))),
            "organization" | "user" | "repositoryOwner" => {
                let (kind, login) = (field.name.as_str(), text("login"));
                match fields::account(cx, kind, &login) {
                    Some(found) => found,
                    // `repositoryOwner` is null without an error.
                    None if kind == "repositoryOwner" => Value::Null,
                    None => {
                        let kind = if kind == "user" { "a User" } else { "an Organization" };
                        self.missing(&format!("Could not resolve to {kind} with the login of '{login}'."))
                    }
                }
            }
            "search" => fields::search(cx, &text("query"), &text("type")),
            "node" => self.node(&text("id")),
            "nodes" => {
                let ids = arguments.texts("ids").unwrap_or_default();
                let found = ids.iter().enumerate().map(|(place, id)| {
                    self.path.push(json!(place));
                    let found = self.node(id);
                    self.path.pop();
                    found
                });
                found.collect()
            }
            "__typename" => json!("Query"),
            // The schema is not exposed; clients take that for an older server.
            "__type" | "__schema" => Value::Null,
            name => {
                let message = format!("Field '{name}' doesn't exist on type 'Query'");
                self.errors.push(json!({"message": message, "path": self.path}));
                Value::Null
            }
        }
    }

    fn repository(&mut self, full_name: &str) -> Value {
        let world = &self.cx.state.world;
        // Former names lead to the repository too.
        let found = world.find(full_name).or_else(|| world.find_former(full_name));
        match self.visible(found) {
            Some(found) => views::repository(&self.cx.view(), found),
            None => self.missing(&format!("Could not resolve to a Repository with the name '{full_name}'.")),
        }
    }

    fn node(&mut self, id: &str) -> Value {
        let view = self.cx.view();
        let world = &self.cx.state.world;
        let found = Node::find(&view, id).filter(|node| {
            let repository = node.repository().map(|id| world.repositories.get(&id));
            repository.is_none_or(|found| self.visible(found).is_some())
        });
        let shown = found.and_then(|node| views::node(&view, &node));
        shown.unwrap_or_else(|| {
            self.missing(&format!("Could not resolve to a node with the global id of '{id}'"))
        })
    }

    fn visible<'r>(&self, repository: Option<&'r Repository>) -> Option<&'r Repository> {
        let world = &self.cx.state.world;
        repository.filter(|found| sight(world, &self.cx.caller, found) != Sight::Hidden)
    }

    fn missing(&mut self, message: &str) -> Value {
        self.errors.push(json!({"type": "NOT_FOUND", "path": self.path, "message": message}));
        Value::Null
    }

    /// The `rateLimit` object, as after charging this query.
    fn rate_limit(&self) -> Value {
        let cx = self.cx;
        let account = cx.caller.account(&cx.shared.config);
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

    /// Applies a field's selections to its value.
    fn select(&mut self, value: &Value, field: &Field) -> Value {
        match value {
            Value::Array(items) if self.is_connection(field) => {
                let connection = self.connection(items, field);
                self.members(&connection, &field.selections)
            }
            Value::Array(items) => {
                let selected = items.iter().enumerate().map(|(place, item)| {
                    self.path.push(json!(place));
                    let selected = self.select(item, field);
                    self.path.pop();
                    selected
                });
                selected.collect()
            }
            Value::Object(_) if field.selections.is_empty() => {
                let message = format!(
                    "Field must have selections (field '{0}' has no selections. \
                     Did you mean '{0} {{ ... }}'?)",
                    field.name
                );
                self.errors.push(json!({"message": message, "path": self.path}));
                Value::Null
            }
            Value::Object(_) => match views::linked(&self.cx.view(), value) {
                Some(opened) => self.members(&opened, &field.selections),
                None => self.members(value, &field.selections),
            },
            _ => value.clone(),
        }
    }

    fn members(&mut self, object: &Value, selections: &[Selection]) -> Value {
        let mut members = Map::new();
        if object.is_null() {
            return Value::Null;
        }
        self.collect(object, selections, &mut members);
        Value::Object(members)
    }

    fn collect(&mut self, object: &Value, selections: &[Selection], members: &mut Map<String, Value>) {
        let kind = object["__typename"].as_str();
        let applies = |on: &str| kind.is_none_or(|kind| kinds::is_a(kind, on));
        for selection in selections {
            match selection {
                Selection::Field(field) if field.is_wanted(self.variables) => {
                    self.path.push(json!(field.key()));
                    let value = self.member(object, field);
                    let value = self.select(&value, field);
                    self.path.pop();
                    put(members, field.key(), value);
                }
                Selection::Inline { on, conditions, selections } if conditions.hold(self.variables) => {
                    if on.as_deref().is_none_or(applies) {
                        self.collect(object, selections, members);
                    }
                }
                Selection::Spread { name, conditions } if conditions.hold(self.variables) => {
                    if let Some(fragment) = self.document.fragments.get(name)
                        && applies(&fragment.on)
                    {
                        self.collect(object, &fragment.selections, members);
                    }
                }
                Selection::Field(_) | Selection::Inline { .. } | Selection::Spread { .. } => {}
            }
        }
    }

    /// A member of an object; some are computed only when asked for.
    fn member(&mut self, object: &Value, field: &Field) -> Value {
        let arguments = Arguments { field, variables: self.variables };
        match fields::made(self.cx, object, &field.name, &arguments) {
            None => object[&field.name].clone(),
            Some(Ok(value)) => value,
            Some(Err(message)) => self.missing(&message),
        }
    }

    /// Whether the field's selections treat its value as a connection.
    fn is_connection(&self, field: &Field) -> bool {
        self.asks_for(field, &["nodes", "edges", "pageInfo", "totalCount", "issueCount"])
    }

    fn asks_for(&self, field: &Field, names: &[&str]) -> bool {
        let fields = self.document.fields(&field.selections, self.variables);
        fields.iter().any(|member| names.contains(&member.name.as_str()))
    }

    /// A page of a connection.
    fn connection(&mut self, items: &[Value], field: &Field) -> Value {
        let arguments = Arguments { field, variables: self.variables };
        let view = self.cx.view();
        let open = |item: &Value| views::linked(&view, item).unwrap_or_else(|| item.clone());
        let matching = page::matching(&field.name, items, &arguments, open);
        let items = matching.as_deref().unwrap_or(items);
        if let Some(connection) = page::page(items, &arguments) {
            return connection;
        }
        if self.asks_for(field, &["nodes", "edges", "pageInfo"]) {
            let message = format!(
                "You must provide a `first` or `last` value to properly paginate the `{}` connection.",
                field.name
            );
            let error =
                json!({"type": "MISSING_PAGINATION_BOUNDARIES", "path": self.path, "message": message});
            self.errors.push(error);
        }
        json!({"nodes": null, "totalCount": items.len()})
    }
}

/// Adds a member. If it is already there, merges both selections.
pub(crate) fn put(members: &mut Map<String, Value>, key: &str, value: Value) {
    match members.get_mut(key) {
        Some(present) => merge(present, value),
        None => {
            members.insert(key.to_owned(), value);
        }
    }
}

fn merge(present: &mut Value, more: Value) {
    match (present, more) {
        (Value::Object(present), Value::Object(more)) => {
            for (key, value) in more {
                put(present, &key, value);
            }
        }
        (Value::Array(present), Value::Array(more)) => {
            for (present, more) in present.iter_mut().zip(more) {
                merge(present, more);
            }
        }
        (present, more) => *present = more,
    }
}
