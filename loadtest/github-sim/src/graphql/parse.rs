//! A reader of GraphQL documents: operations, fragments, fields, arguments. Directives are skipped.
//!
//! Source: the GraphQL specification of October 2021, section 2. Block strings are read, type
//! definitions are not.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::vec::IntoIter;

use serde_json::{Map, Value};

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
    /// Default values of variables.
    pub(crate) defaults: Map<String, Value>,
    pub(crate) selections: Vec<Selection>,
}

#[derive(Debug)]
pub(crate) struct Fragment {
    pub(crate) on: String,
    pub(crate) selections: Vec<Selection>,
}

#[derive(Debug)]
pub(crate) enum Selection {
    Field(Field),
    Inline { on: Option<String>, selections: Vec<Selection> },
    Spread(String),
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) alias: Option<String>,
    pub(crate) name: String,
    arguments: Vec<(String, Argument)>,
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
    fn bind(&self, variables: &Value) -> Value {
        match self {
            Self::Variable(name) => variables[name].clone(),
            Self::Value(value) => value.clone(),
            Self::List(items) => items.iter().map(|item| item.bind(variables)).collect(),
            Self::Object(members) => {
                let bound = members.iter().map(|(name, value)| (name.clone(), value.bind(variables)));
                Value::Object(bound.collect())
            }
        }
    }
}

impl Field {
    /// The name under which the value is answered.
    pub(crate) fn key(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.name)
    }

    /// An argument's value; `None` when absent or null.
    pub(crate) fn argument(&self, name: &str, variables: &Value) -> Option<Value> {
        let (_, argument) = self.arguments.iter().find(|(present, _)| present == name)?;
        Some(argument.bind(variables)).filter(|value| !value.is_null())
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

    /// The fields of a selection set, with fragments opened.
    pub(crate) fn fields<'a>(&'a self, selections: &'a [Selection]) -> Vec<&'a Field> {
        let mut fields = Vec::new();
        for selection in selections {
            match selection {
                Selection::Field(field) => fields.push(field),
                Selection::Inline { selections, .. } => fields.extend(self.fields(selections)),
                Selection::Spread(name) => {
                    let fragment = self.fragments.get(name);
                    fields.extend(fragment.map_or(vec![], |found| self.fields(&found.selections)));
                }
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
                defaults: Map::new(),
                selections: reader.selections()?,
            }),
            Token::Name(word) if word == "fragment" => {
                reader.tokens.next();
                let name = reader.name()?;
                reader.word("on")?;
                let on = reader.name()?;
                reader.skip_directives()?;
                let selections = reader.selections()?;
                document.fragments.insert(name, Fragment { on, selections });
            }
            Token::Name(_) => document.operations.push(reader.operation()?),
            _ => return None,
        }
    }
    (!document.operations.is_empty()).then_some(document)
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    Value(Value),
    /// One of the punctuators; `.` stands for `...`.
    Mark(char),
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            ' ' | '\t' | '\n' | '\r' | ',' | '\u{feff}' => first.len_utf8(),
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '.' => {
                tokens.push(Token::Mark('.'));
                rest.starts_with("...").then_some(3)?
            }
            '{' | '}' | '(' | ')' | '[' | ']' | ':' | '!' | '$' | '=' | '@' | '|' | '&' => {
                tokens.push(Token::Mark(first));
                1
            }
            '"' => {
                let (value, length) = string(rest)?;
                tokens.push(Token::Value(Value::String(value)));
                length
            }
            '-' | '0'..='9' => {
                let is_part = |symbol: char| symbol.is_ascii_alphanumeric() || "+-.".contains(symbol);
                let length = rest.find(|symbol| !is_part(symbol)).unwrap_or(rest.len());
                tokens.push(Token::Value(serde_json::from_str(&rest[..length]).ok()?));
                length
            }
            _ if first.is_ascii_alphabetic() || first == '_' => {
                let is_part = |symbol: char| symbol.is_ascii_alphanumeric() || symbol == '_';
                let length = rest.find(|symbol| !is_part(symbol)).unwrap_or(rest.len());
                tokens.push(Token::Name(rest[..length].to_owned()));
                length
            }
            _ => return None,
        };
        rest = &rest[length..];
    }
    Some(tokens)
}

/// A string at the beginning of `text`, and how long it is there.
fn string(text: &str) -> Option<(String, usize)> {
    if let Some(block) = text.strip_prefix("\"\"\"") {
        let end = block.find("\"\"\"")?;
        return Some((block[..end].trim().to_owned(), end + 6));
    }
    let mut is_escaped = false;
    for (at, symbol) in text.char_indices().skip(1) {
        match symbol {
            '"' if !is_escaped => {
                // Escapes are those of JSON.
                return Some((serde_json::from_str(&text[..=at]).ok()?, at + 1));
            }
            '\n' => return None,
            _ => is_escaped = symbol == '\\' && !is_escaped,
        }
    }
    None
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
        let kind = self.name()?;
        let has_name = matches!(self.tokens.peek(), Some(Token::Name(_)));
        let name = if has_name { self.name() } else { None };
        let mut defaults = Map::new();
        if self.took('(') {
            while !self.took(')') {
                self.mark('$')?;
                let variable = self.name()?;
                self.mark(':')?;
                while matches!(self.tokens.peek()?, Token::Name(_) | Token::Mark('[' | ']' | '!')) {
                    self.tokens.next();
                }
                if self.took('=') {
                    defaults.insert(variable, self.argument()?.bind(&Value::Null));
                }
                self.skip_directives()?;
            }
        }
        self.skip_directives()?;
        Some(Operation { kind, name, defaults, selections: self.selections()? })
    }

    fn selections(&mut self) -> Option<Vec<Selection>> {
        self.mark('{')?;
        let mut selections = Vec::new();
        while !self.took('}') {
            selections.push(if self.took('.') { self.spread()? } else { self.field()? });
        }
        Some(selections)
    }

    fn spread(&mut self) -> Option<Selection> {
        let on = match self.tokens.peek()? {
            Token::Name(word) if word == "on" => {
                self.tokens.next();
                Some(self.name()?)
            }
            Token::Name(_) => {
                let name = self.name()?;
                self.skip_directives()?;
                return Some(Selection::Spread(name));
            }
            Token::Mark(_) | Token::Value(_) => None,
        };
        self.skip_directives()?;
        Some(Selection::Inline { on, selections: self.selections()? })
    }

    fn field(&mut self) -> Option<Selection> {
        let first = self.name()?;
        let (alias, name) = if self.took(':') { (Some(first), self.name()?) } else { (None, first) };
        let arguments = self.arguments()?;
        self.skip_directives()?;
        let has_selections = self.tokens.peek() == Some(&Token::Mark('{'));
        let selections = if has_selections { self.selections()? } else { Vec::new() };
        Some(Selection::Field(Field { alias, name, arguments, selections }))
    }

    fn arguments(&mut self) -> Option<Vec<(String, Argument)>> {
        let mut arguments = Vec::new();
        if self.took('(') {
            while !self.took(')') {
                let name = self.name()?;
                self.mark(':')?;
                arguments.push((name, self.argument()?));
            }
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
                Some(Argument::Object(members))
            }
            Token::Mark(_) => None,
        }
    }

    fn skip_directives(&mut self) -> Option<()> {
        while self.took('@') {
            self.name()?;
            self.arguments()?;
        }
        Some(())
    }
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
        assert_eq!(operation.defaults["n"], 5);
        let field = document.fields(&operation.selections)[0];
        assert_eq!((field.key(), field.name.as_str()), ("r", "repository"));
        assert_eq!(field.argument("name", &Value::Null).unwrap(), "a\"b");
        let names: Vec<&str> =
            document.fields(&field.selections).iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["name", "issues"]);
        for broken in ["", "{", "query { a(", "}", "{ \"x\" }"] {
            assert!(super::document(broken).is_none(), "{broken}");
        }
    }
}
