//! `POST /graphql`: a small interpreter of selection sets over JSON views of the world.
//!
//! It has no schema: a field that the view lacks is null. Connections are arrays in the view and get `nodes`, `edges`,
//! `pageInfo` and `totalCount` in [`page`]. Mutations are recorded in the books and carried out in [`mutations`].

mod bind;
mod check;
mod cost;
mod fields;
mod ids;
mod kinds;
mod lex;
mod mutations;
mod page;
mod parse;
mod run;
mod views;

use serde_json::{Map, Value, json};

use crate::context::Cx;
use crate::exchange::{Answer, Reply, Request};

use page::Arguments;
use parse::{Document, Field, Operation};
use run::Runner;

pub(crate) use cost::{Profile, profile};

/// Most nodes that a query may ask for.
const NODES_MAX: u64 = 500_000;

fn read(request: &Request) -> Result<(Document, Value), Reply> {
    let body = Value::Object(request.json()?);
    let Some(query) = body["query"].as_str() else {
        return Err(Reply::error(400, "A query attribute must be specified and must be a string."));
    };
    let read = parse::document(query).ok_or_else(|| "Parse error on the query".to_owned());
    let checked = read.and_then(|document| check::check(&document).map(|()| document));
    match checked {
        Ok(document) => Ok((document, body)),
        Err(message) => Err(Reply::ok(json!({"errors": [{"message": message}]}))),
    }
}

/// Answers the chosen operation of a document.
pub(crate) fn handle(cx: &mut Cx<'_>) -> Answer {
    let (document, body) = read(cx.request)?;
    let Some(operation) = document.operation(body["operationName"].as_str()) else {
        return Ok(Reply::ok(json!({"errors": [{"message": "No operation named in the query"}]})));
    };
    if operation.kind == "subscription" {
        let message = "Schema is not configured for subscriptions";
        return Ok(Reply::ok(json!({"errors": [{"message": message}]})));
    }
    let variables = match bind::bind(operation, &body["variables"]) {
        Ok(variables) => variables,
        Err(errors) => return Ok(Reply::ok(json!({"errors": errors}))),
    };
    let profile = profile(cx.request);
    if profile.nodes > NODES_MAX {
        let message = format!(
            "This query requests up to {} possible nodes which exceeds the maximum limit of 500,000.",
            profile.nodes
        );
        let error = json!({"type": "MAX_NODE_LIMIT_EXCEEDED", "message": message});
        return Ok(Reply::ok(json!({"errors": [error]})));
    }
    if operation.kind == "mutation" {
        return Ok(Reply::ok(mutate(cx, &document, operation, &variables, profile)));
    }
    let mut runner = Runner::new(cx, &document, &variables, profile);
    let data = runner.root(&operation.selections);
    Ok(Reply::ok(with_errors(data, runner.errors)))
}

fn with_errors(data: Value, errors: Vec<Value>) -> Value {
    let mut answer = Map::from_iter([("data".to_owned(), data)]);
    if !errors.is_empty() {
        answer.insert("errors".to_owned(), Value::Array(errors));
    }
    Value::Object(answer)
}

/// Records the fields of a mutation and carries them out one after another. As on GitHub, a document with a field
/// that does not exist is refused as a whole.
fn mutate(
    cx: &mut Cx<'_>,
    document: &Document,
    operation: &Operation,
    variables: &Value,
    profile: Profile,
) -> Value {
    let fields = match distinct(document.fields(&operation.selections, variables), variables) {
        Ok(fields) => fields,
        Err(error) => return json!({"errors": [error]}),
    };
    let is_done = |field: &Field| field.name != "__typename";
    let names = fields.iter().map(|alike| alike[0]).filter(|field| is_done(field));
    cx.state.books.mutations.extend(names.clone().map(|field| field.name.clone()));
    let unknown = names.filter(|field| !mutations::is_known(&field.name)).map(unknown_field);
    let unknown: Vec<Value> = unknown.collect();
    if !unknown.is_empty() {
        return json!({"errors": unknown});
    }
    let (mut data, mut errors) = (Map::new(), Vec::new());
    for alike in fields {
        let field = alike[0];
        let done = match is_done(field) {
            true => mutations::carry_out(cx, &field.name, &Arguments { field, variables }),
            false => Ok(json!("Mutation")),
        };
        match done {
            Ok(payload) => {
                let mut runner = Runner::new(cx, document, variables, profile);
                for field in alike {
                    run::put(&mut data, field.key(), runner.payload(&payload, field));
                }
                errors.extend(runner.errors);
            }
            Err(refusal) => {
                data.insert(field.key().to_owned(), Value::Null);
                let mut error = json!({"path": [field.key()], "message": refusal.message});
                if let Some(kind) = refusal.kind {
                    error["type"] = json!(kind);
                }
                errors.push(error);
            }
        }
    }
    with_errors(Value::Object(data), errors)
}

fn unknown_field(field: &Field) -> Value {
    let extensions = json!({"code": "undefinedField", "typeName": "Mutation", "fieldName": field.name});
    json!({
        "path": ["mutation", field.key()],
        "extensions": extensions,
        "message": format!("Field '{}' doesn't exist on type 'Mutation'", field.name),
    })
}

/// Groups fields by their key in the answer. Fields with one key are carried out once and must be alike.
fn distinct<'a>(fields: Vec<&'a Field>, variables: &Value) -> Result<Vec<Vec<&'a Field>>, Value> {
    let mut groups: Vec<Vec<&Field>> = Vec::new();
    for field in fields {
        match groups.iter_mut().find(|alike| alike[0].key() == field.key()) {
            None => groups.push(vec![field]),
            Some(alike) if alike[0].is_like(field, variables) => alike.push(field),
            Some(_) => {
                let message = format!("Field '{}' has a conflict", field.key());
                return Err(json!({"path": ["mutation", field.key()], "message": message}));
            }
        }
    }
    Ok(groups)
}
