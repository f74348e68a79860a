//! A reader of GraphQL documents: operations, fragments, fields, arguments.
//!
//! Source: the GraphQL specification of October 2021, section 2. Type definitions are not read, and
//! of the directives `@include` and `@skip` alone are kept.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::vec::IntoIter;

use serde_json::Value;

use crate::graphql::lex::{Token, tokens};

/// A document: its operations and named fragments.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) operations: Vec<Operation>,
    pub(crate) fragments: BTreeMap<String, Fragment>,
}

#[derive(Debug)]
pub(crate) struct Operation {
    /// `query`, `mutation` or `subscription`.
    pub(crate) kind: String,
    pub(crate) name: Option<String>,
    pub(crate) variables: Vec<Variable>,
    pub(crate) selections: Vec<Selection>,
}

/// A variable as an operation declares it.
#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) name: String,
    /// As it is written, `[ID!]!`.
    pub(crate) kind: String,
    pub(crate) default: Option<Value>,
}

#[derive(Debug)]
pub(crate) struct Fragment {
    pub(crate) on: String,
    pub(crate) selections: Vec<Selection>,
}

#[derive(Debug)]
pub(crate) enum Selection {
    Field(Field),
    Inline { on: Option<String>, conditions: Conditions, selections: Vec<Selection> },
    Spread { name: String, conditions: Conditions },
}

/// The conditions of `@include` and `@skip`: each value must be the one wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions(Vec<(bool, Argument)>);

impl Conditions {
    pub(crate) fn hold(&self, variables: &Value) -> bool {
        let is_met = |(wanted, argument): &(bool, Argument)| {
            argument.bind(variables).and_then(|value| value.as_bool()) == Some(*wanted)
        };
        self.0.iter().all(is_met)
    }
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) alias: Option<String>,
    pub(crate) name: String,
    arguments: Vec<(String, Argument)>,
    conditions: Conditions,
    pub(crate) selections: Vec<Selection>,
}

#[derive(Clone, Debug)]
enum Argument {
    Variable(String),
    Value(Value),
    List(Vec<Argument>),
    Object(Vec<(String, Argument)>),
}

impl Argument {
    /// The value; `None` for a variable without one, which counts as absent.
    fn bind(&self, variables: &Value) -> Option<Value> {
        match self {
            Self::Variable(name) => variables.get(name).cloned(),
            Self::Value(value) => Some(value.clone()),
            Self::List(items) => {
                Some(items.iter().map(|item| item.bind(variables).unwrap_or_default()).collect())
            }
            Self::Object(members) => {
                let bound = members.iter();
                let bound = bound.filter_map(|(name, value)| Some((name.clone(), value.bind(variables)?)));
                Some(Value::Object(bound.collect()))
            }
        }
    }
}

impl Field {
    /// The field's key in the answer.
    pub(crate) fn key(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.name)
    }

    /// Whether `@include` and `@skip` leave it in.
    pub(crate) fn is_wanted(&self, variables: &Value) -> bool {
        self.conditions.hold(variables)
    }

    /// An argument's value; `None` when absent or null.
    pub(crate) fn argument(&self, name: &str, variables: &Value) -> Option<Value> {
        let (_, argument) = self.arguments.iter().find(|(present, _)| present == name)?;
        argument.bind(variables).filter(|value| !value.is_null())
    }

    /// Whether another field asks for the same thing, so that the two are one.
    pub(crate) fn is_like(&self, other: &Self, variables: &Value) -> bool {
        let bound = |field: &Self| {
            let arguments = field.arguments.iter();
            arguments
                .map(|(name, argument)| (name.clone(), argument.bind(variables)))
                .collect::<BTreeMap<_, _>>()
        };
        self.name == other.name && bound(self) == bound(other)
    }
}

impl Document {
    /// The operation of that name, or the only one.
    pub(crate) fn operation(&self, name: Option<&str>) -> Option<&Operation> {
        match name {
            Some(name) => self.operations.iter().find(|operation| operation.name.as_deref() == Some(name)),
            None => self.operations.first().filter(|_| self.operations.len() == 1),
        }
    }

    /// The wanted fields of a selection set, with fragments expanded.
    pub(crate) fn fields<'a>(&'a self, selections: &'a [Selection], variables: &Value) -> Vec<&'a Field> {
        let mut fields = Vec::new();
        for selection in selections {
            match selection {
                Selection::Field(field) if field.is_wanted(variables) => fields.push(field),
                Selection::Inline { conditions, selections, .. } if conditions.hold(variables) => {
                    fields.extend(self.fields(selections, variables));
                }
                Selection::Spread { name, conditions } if conditions.hold(variables) => {
                    let fragment = self.fragments.get(name);
                    fields.extend(fragment.map_or(vec![], |found| self.fields(&found.selections, variables)));
                }
                Selection::Field(_) | Selection::Inline { .. } | Selection::Spread { .. } => {}
            }
        }
        fields
    }
}

/// Reads a document; `None` when it is not one.
pub(crate) fn document(text: &str) -> Option<Document> {
    let mut reader = Reader { tokens: tokens(text)?.into_iter().peekable() };
    let mut document = Document::default();
    while let Some(token) = reader.tokens.peek().cloned() {
        match token {
            Token::Mark('{') => document.operations.push(Operation {
                kind: "query".to_owned(),
                name: None,
                variables: Vec::new(),
                selections: reader.selections()?,
            }),
            Token::Name(word) if word == "fragment" => {
                reader.tokens.next();
                let name = reader.name()?;
                reader.word("on")?;
                let on = reader.name()?;
                reader.conditions()?;
                let selections = reader.selections()?;
                if document.fragments.insert(name, Fragment { on, selections }).is_some() {
                    return None;
                }
            }
            Token::Name(_) => document.operations.push(reader.operation()?),
            _ => return None,
        }
    }
    (!document.operations.is_empty()).then_some(document)
}

struct Reader {
    tokens: Peekable<IntoIter<Token>>,
}

impl Reader {
    fn name(&mut self) -> Option<String> {
        match self.tokens.next()? {
            Token::Name(name) => Some(name),
            Token::Value(_) | Token::Mark(_) => None,
        }
    }

    fn word(&mut self, word: &str) -> Option<()> {
        (self.name()? == word).then_some(())
    }

    fn mark(&mut self, mark: char) -> Option<()> {
        (self.tokens.next()? == Token::Mark(mark)).then_some(())
    }

    /// Takes the mark if it comes next.
    fn took(&mut self, mark: char) -> bool {
        self.tokens.next_if_eq(&Token::Mark(mark)).is_some()
    }

    fn operation(&mut self) -> Option<Operation> {
        let kind =
            self.name().filter(|kind| ["query", "mutation", "subscription"].contains(&kind.as_str()))?;
        let has_name = matches!(self.tokens.peek(), Some(Token::Name(_)));
        let name = if has_name { self.name() } else { None };
        let mut variables = Vec::new();
        if self.took('(') {
            while !self.took(')') {
                variables.push(self.variable()?);
            }
        }
        self.conditions()?;
        Some(Operation { kind, name, variables, selections: self.selections()? })
    }

    fn variable(&mut self) -> Option<Variable> {
        self.mark('$')?;
        let name = self.name()?;
        self.mark(':')?;
        let mut kind = String::new();
        loop {
            match self.tokens.peek()? {
                Token::Name(word) => kind.push_str(word),
                Token::Mark(mark @ ('[' | ']' | '!')) => kind.push(*mark),
                Token::Mark(_) | Token::Value(_) => break,
            }
            self.tokens.next();
        }
        let default = if self.took('=') { self.argument()?.bind(&Value::Null) } else { None };
        self.conditions()?;
        Some(Variable { name, kind, default })
    }

    fn selections(&mut self) -> Option<Vec<Selection>> {
        self.mark('{')?;
        let mut selections = Vec::new();
        while !self.took('}') {
            selections.push(if self.took('.') { self.spread()? } else { self.field()? });
        }
        (!selections.is_empty()).then_some(selections)
    }

    fn spread(&mut self) -> Option<Selection> {
        let on = match self.tokens.peek()? {
            Token::Name(word) if word == "on" => {
                self.tokens.next();
                Some(self.name()?)
            }
            Token::Name(_) => {
                let name = self.name()?;
                return Some(Selection::Spread { name, conditions: self.conditions()? });
            }
            Token::Mark(_) | Token::Value(_) => None,
        };
        let conditions = self.conditions()?;
        Some(Selection::Inline { on, conditions, selections: self.selections()? })
    }

    fn field(&mut self) -> Option<Selection> {
        let first = self.name()?;
        let (alias, name) = if self.took(':') { (Some(first), self.name()?) } else { (None, first) };
        let arguments = self.arguments()?;
        let conditions = self.conditions()?;
        let has_selections = self.tokens.peek() == Some(&Token::Mark('{'));
        let selections = if has_selections { self.selections()? } else { Vec::new() };
        Some(Selection::Field(Field { alias, name, arguments, conditions, selections }))
    }

    fn arguments(&mut self) -> Option<Vec<(String, Argument)>> {
        let mut arguments = Vec::new();
        if self.took('(') {
            while !self.took(')') {
                let name = self.name()?;
                self.mark(':')?;
                arguments.push((name, self.argument()?));
            }
            distinct(&arguments).filter(|()| !arguments.is_empty())?;
        }
        Some(arguments)
    }

    fn argument(&mut self) -> Option<Argument> {
        match self.tokens.next()? {
            Token::Value(value) => Some(Argument::Value(value)),
            Token::Name(word) => Some(Argument::Value(match word.as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                "null" => Value::Null,
                _ => Value::String(word),
            })),
            Token::Mark('$') => Some(Argument::Variable(self.name()?)),
            Token::Mark('[') => {
                let mut items = Vec::new();
                while !self.took(']') {
                    items.push(self.argument()?);
                }
                Some(Argument::List(items))
            }
            Token::Mark('{') => {
                let mut members = Vec::new();
                while !self.took('}') {
                    let name = self.name()?;
                    self.mark(':')?;
                    members.push((name, self.argument()?));
                }
                distinct(&members)?;
                Some(Argument::Object(members))
            }
            Token::Mark(_) => None,
        }
    }

    /// Reads directives.
    fn conditions(&mut self) -> Option<Conditions> {
        let mut conditions = Conditions::default();
        while self.took('@') {
            let is_wanted = match self.name()?.as_str() {
                "include" => Some(true),
                "skip" => Some(false),
                _ => None,
            };
            for (name, argument) in self.arguments()? {
                if let Some(is_wanted) = is_wanted.filter(|_| name == "if") {
                    conditions.0.push((is_wanted, argument));
                }
            }
        }
        Some(conditions)
    }
}

/// `None` if a name occurs twice, which GitHub refuses.
fn distinct(members: &[(String, Argument)]) -> Option<()> {
    let is_new =
        |(at, (name, _)): (usize, &(String, Argument))| members[..at].iter().all(|(known, _)| known != name);
    members.iter().enumerate().all(is_new).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_documents_and_refuses_others() {
        let text = r#"
            query Q($owner: String!, $n: Int = 5) { # a comment
              r: repository(owner: $owner, name: "a\"b") @include(if: true) {
                ...parts
                ... on Repository { issues(first: $n, orderBy: {field: CREATED_AT}) { totalCount } }
              }
            }
            fragment parts on Repository { name }"#;
        let document = document(text).unwrap();
        let operation = document.operation(Some("Q")).unwrap();
        let variables: Vec<(&str, &str)> =
            operation.variables.iter().map(|found| (found.name.as_str(), found.kind.as_str())).collect();
        assert_eq!(variables, [("owner", "String!"), ("n", "Int")]);
        assert_eq!(operation.variables[1].default, Some(Value::from(5)));
        let field = document.fields(&operation.selections, &Value::Null)[0];
        assert_eq!((field.key(), field.name.as_str()), ("r", "repository"));
        assert_eq!(field.argument("name", &Value::Null).unwrap(), "a\"b");
        let names: Vec<&str> = document
            .fields(&field.selections, &Value::Null)
            .iter()
            .map(|field| field.name.as_str())
            .collect();
        assert_eq!(names, ["name", "issues"]);
        let twice = [
            "{ a(b: 1, b: 2) }",
            "{ a(b: {c: 1, c: 2}) }",
            "{ ...x } fragment x on A { b } fragment x on A { b }",
        ];
        for broken in ["", "{", "query { a(", "}", "{ \"x\" }", "{ a { } }", "{ a() }", "MUTATION { a }"]
            .into_iter()
            .chain(twice)
        {
            assert!(super::document(broken).is_none(), "{broken}");
        }
    }
}
