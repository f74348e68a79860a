//! The values of an operation's variables.
//!
//! Source: the GraphQL specification of October 2021, section 6.1.2. Of GitHub's schema only nullability, lists
//! and the built-in scalars are known.

use serde_json::{Map, Value, json};

use crate::graphql::parse::{Operation, Variable};

/// Binds the sent values to the declared variables; the errors are those with which GitHub refuses the rest.
pub(crate) fn bind(operation: &Operation, sent: &Value) -> Result<Value, Vec<Value>> {
    // Accepts the variables as a JSON string too, as GraphQL servers in Ruby do.
    let text = sent.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let sent = text.as_ref().unwrap_or(sent);
    let mut bound = Map::new();
    let mut errors = Vec::new();
    for variable in &operation.variables {
        let value = sent.get(&variable.name).or(variable.default.as_ref());
        match value {
            None if !variable.kind.ends_with('!') => {}
            None => errors.push(refusal(variable)),
            Some(value) => match coerce(&variable.kind, value) {
                Some(value) => {
                    bound.insert(variable.name.clone(), value);
                }
                None => errors.push(refusal(variable)),
            },
        }
    }
    if errors.is_empty() { Ok(Value::Object(bound)) } else { Err(errors) }
}

fn refusal(variable: &Variable) -> Value {
    let Variable { name, kind, .. } = variable;
    json!({"message": format!("Variable ${name} of type {kind} was provided invalid value")})
}

/// A value coerced to a type; `None` when it does not fit.
fn coerce(kind: &str, value: &Value) -> Option<Value> {
    if value.is_null() {
        return (!kind.ends_with('!')).then_some(Value::Null);
    }
    let kind = kind.strip_suffix('!').unwrap_or(kind);
    if let Some(of) = kind.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return match value {
            Value::Array(items) => items.iter().map(|item| coerce(of, item)).collect(),
            // A single value stands for a list of one.
            single => Some(Value::Array(vec![coerce(of, single)?])),
        };
    }
    let is_right = match kind {
        "String" => value.is_string(),
        "ID" => value.is_string() || value.is_u64(),
        "Int" => value.is_i64(),
        "Boolean" => value.is_boolean(),
        _ if kind.ends_with("Input") => value.is_object(),
        _ => true,
    };
    is_right.then(|| match (kind, value) {
        ("ID", Value::Number(number)) => Value::String(number.to_string()),
        _ => value.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graphql::parse::document;

    #[test]
    fn binds_defaults_lists_and_nulls_and_refuses_the_rest() {
        let text = "query($a: Int = 5, $b: [ID!]!, $c: String, $d: State = OPEN, $e: XInput!) { x }";
        let document = document(text).unwrap();
        let operation = document.operation(None).unwrap();
        let bound = bind(operation, &json!({"b": "one", "e": {"deep": [1]}, "other": 1})).unwrap();
        assert_eq!(bound, json!({"a": 5, "b": ["one"], "d": "OPEN", "e": {"deep": [1]}}));
        let bound = bind(operation, &json!({"a": null, "b": [1], "c": null, "e": {}})).unwrap();
        assert_eq!(bound, json!({"a": null, "b": ["1"], "c": null, "d": "OPEN", "e": {}}));
        let bound = bind(operation, &json!(r#"{"a": 7, "b": [], "e": {}}"#)).unwrap();
        assert_eq!(bound["a"], 7);
        for (sent, count) in [
            (json!({}), 2),
            (json!({"b": [null], "e": {}}), 1),
            (json!({"a": "5", "b": [], "c": 1, "e": []}), 3),
        ] {
            assert_eq!(bind(operation, &sent).unwrap_err().len(), count, "{sent}");
        }
    }
}
