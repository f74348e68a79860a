//! Puts a member into the input of a request's only mutation, whether the input is in the document or in the
//! variables. Everything else stays as sent.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::document::{Field, Input, InputValue, Kind, Variables};
use super::{GraphqlError, Request};
use crate::policy::json;

const NOT_ONE: GraphqlError = GraphqlError::Mutation(
    "what tollgate adds to a mutation needs exactly one of them in the document: send one at a time",
);

/// The body with the member set.
///
/// # Errors
/// When there is not exactly one mutation, or its input is not an object.
pub fn with_input(request: &Request, body: &[u8], key: &str, value: &Value) -> Result<Bytes, GraphqlError> {
    let [operation] = request.document.operations.as_slice() else { return Err(NOT_ONE) };
    let mut fields: Vec<&Field> = Vec::new();
    request.document.fields(&operation.selections, None, &mut |field, _| {
        if field.name != "__typename" {
            fields.push(field);
        }
    });
    let [field] = fields.as_slice() else { return Err(NOT_ONE) };
    let input = field.input("input").filter(|_| operation.kind == Kind::Mutation).ok_or(NOT_ONE)?;
    let variables = Variables::of(operation, &request.variables);
    match &input.value {
        // The whole input is a variable, so its value gets the member.
        InputValue::Variable(name) => {
            let Some(Value::Object(mut object)) = input.bind(&variables).map(Cow::into_owned) else {
                return Err(NOT_ONE);
            };
            object.insert(key.to_owned(), value.clone());
            with_variable(request, body, name, Value::Object(object))
        }
        InputValue::Object(members) => with_member(request, body, input, members, key, value),
        InputValue::Plain(_) | InputValue::List(_) => Err(NOT_ONE),
    }
}

/// The body with a member set in an object that is written in the document itself.
fn with_member(
    request: &Request,
    body: &[u8],
    object: &Input,
    members: &[(String, Input)],
    key: &str,
    value: &Value,
) -> Result<Bytes, GraphqlError> {
    match members.iter().find(|(known, _)| known == key).map(|(_, member)| member) {
        Some(Input { value: InputValue::Variable(name), .. }) => {
            with_variable(request, body, name, value.clone())
        }
        Some(member) => match (&member.value, value) {
            // Rewriting the whole object would leave variables unused, which GraphQL refuses.
            (InputValue::Object(within), Value::Object(new)) => {
                let variables = Variables::of(&request.document.operations[0], &request.variables);
                let is_new = |(key, value): &(&String, &Value)| {
                    let known = within.iter().find(|(known, _)| known == *key);
                    known.and_then(|(_, known)| known.bind(&variables)).as_deref() != Some(*value)
                };
                let mut changed = new.iter().filter(is_new);
                match (changed.next(), changed.next()) {
                    (Some((key, value)), None) => with_member(request, body, member, within, key, value),
                    _ => Err(NOT_ONE),
                }
            }
            _ => with_text(request, body, member.span.clone(), &literal(value)?),
        },
        None => {
            let open = object.span.start + 1;
            with_text(request, body, open..open, &format!("{key}: {} ", literal(value)?))
        }
    }
}

fn with_variable(request: &Request, body: &[u8], name: &str, value: Value) -> Result<Bytes, GraphqlError> {
    let mut variables: Map<String, Value> = request.variables.clone();
    variables.insert(name.to_owned(), value);
    Ok(json::with(body, "variables", &Value::Object(variables))?)
}

/// A value in GraphQL syntax: numbers and booleans as in JSON, member names without quotes.
fn literal(value: &Value) -> Result<String, GraphqlError> {
    let Value::Object(members) = value else {
        return match value {
            Value::String(text) => Ok(quoted(text)),
            Value::Array(_) => Err(NOT_ONE),
            value => Ok(value.to_string()),
        };
    };
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let mut text = String::from("{");
    for (name, value) in members {
        if !is_name(name) {
            return Err(NOT_ONE);
        }
        text.push_str(&format!("{name}: {} ", literal(value)?));
    }
    text.push('}');
    Ok(text)
}

/// A string in a spelling with only one reading: no character that a document must not contain, and no literal
/// backslash, which a reader that unescapes twice would interpret again.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' => quoted.push_str("\\\""),
            '\n' => quoted.push_str("\\n"),
            '\\' | '\u{2028}' | '\u{2029}' => quoted.push_str(&format!("\\u{:04x}", u32::from(char))),
            char if char.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

fn with_text(
    request: &Request,
    body: &[u8],
    place: std::ops::Range<usize>,
    new: &str,
) -> Result<Bytes, GraphqlError> {
    let mut text = request.text.clone();
    text.replace_range(place, new);
    Ok(json::with(body, "query", &Value::String(text))?)
}
