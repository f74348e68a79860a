//! The grammar of executable documents: operations and fragments.
//!
//! Source: the GraphQL specification of October 2021, sections 2.2 to 2.12; each function is one of its
//! productions. Type definitions, descriptions and fragment variables are refused.

use std::collections::{HashMap, HashSet};

use apollo_parser::TokenKind;
use serde_json::Value;

use super::tokens::{Tokens, text_of_string};
use super::{Document, Field, Fragment, Input, InputValue, Kind, Operation, Selection};
use crate::policy::graphql::GraphqlError;

const PARENTHESES: [TokenKind; 2] = [TokenKind::LParen, TokenKind::RParen];
const SQUARE: [TokenKind; 2] = [TokenKind::LBracket, TokenKind::RBracket];
const CURLY: [TokenKind; 2] = [TokenKind::LCurly, TokenKind::RCurly];

/// Whether a value may contain variables; a default may not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Variables,
    Constants,
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// When it does not parse, exceeds a bound, or has more than one reading.
    pub fn parse(text: &str) -> Result<Document, GraphqlError> {
        let mut tokens = Tokens::of(text)?;
        let mut document = Document { operations: Vec::new(), fragments: HashMap::new() };
        while tokens.kind() != TokenKind::Eof {
            if tokens.is_word("fragment") {
                let (name, fragment) = fragment(&mut tokens)?;
                if document.fragments.insert(name, fragment).is_some() {
                    return Err(GraphqlError::Ambiguous("two fragments of one name"));
                }
            } else {
                document.operations.push(operation(&mut tokens)?);
            }
        }
        document.check()?;
        Ok(document)
    }
}

fn operation(tokens: &mut Tokens<'_>) -> Result<Operation, GraphqlError> {
    // `{ viewer { login } }` is a query.
    if tokens.kind() == TokenKind::LCurly {
        let selections = selection_set(tokens)?;
        return Ok(Operation { kind: Kind::Query, name: None, variables: Vec::new(), selections });
    }
    let kind = match () {
        () if tokens.is_word("query") => Kind::Query,
        () if tokens.is_word("mutation") => Kind::Mutation,
        () if tokens.is_word("subscription") => Kind::Subscription,
        () => return Err(tokens.unexpected("an operation or a fragment")),
    };
    tokens.take()?;
    let name = match tokens.kind() {
        TokenKind::Name => Some(tokens.take()?.to_owned()),
        _ => None,
    };
    let variables = match tokens.kind() {
        TokenKind::LParen => variable_definitions(tokens)?,
        _ => Vec::new(),
    };
    directives(tokens, Holds::Variables)?;
    Ok(Operation { kind, name, variables, selections: selection_set(tokens)? })
}

fn variable_definitions(tokens: &mut Tokens<'_>) -> Result<Vec<(String, Option<Input>)>, GraphqlError> {
    let mut seen = HashSet::new();
    let definitions = tokens.bracketed(PARENTHESES, |tokens| {
        let name = variable(tokens)?;
        tokens.expect(TokenKind::Colon, "`:`")?;
        type_reference(tokens)?;
        let default = match tokens.takes(TokenKind::Eq)? {
            true => Some(value(tokens, Holds::Constants)?),
            false => None,
        };
        directives(tokens, Holds::Constants)?;
        match seen.insert(name) {
            true => Ok((name.to_owned(), default)),
            false => Err(GraphqlError::Ambiguous("a variable declared twice")),
        }
    });
    some(definitions?, "the parentheses of its variables")
}

fn variable<'a>(tokens: &mut Tokens<'a>) -> Result<&'a str, GraphqlError> {
    tokens.expect(TokenKind::Dollar, "a variable")?;
    tokens.name()
}

/// Types decide nothing here: GitHub checks them.
fn type_reference(tokens: &mut Tokens<'_>) -> Result<(), GraphqlError> {
    match tokens.kind() {
        TokenKind::LBracket => {
            let types = tokens.bracketed(SQUARE, type_reference)?;
            if types.len() != 1 {
                return Err(GraphqlError::Syntax("a list type is of one type".to_owned()));
            }
        }
        _ => drop(tokens.name()?),
    }
    tokens.takes(TokenKind::Bang)?;
    Ok(())
}

fn fragment(tokens: &mut Tokens<'_>) -> Result<(String, Fragment), GraphqlError> {
    tokens.take()?;
    if tokens.is_word("on") {
        return Err(tokens.unexpected("the name of a fragment"));
    }
    let name = tokens.name()?.to_owned();
    if !tokens.is_word("on") {
        return Err(tokens.unexpected("`on`"));
    }
    tokens.take()?;
    let on = tokens.name()?.to_owned();
    directives(tokens, Holds::Variables)?;
    Ok((name, Fragment { on, selections: selection_set(tokens)? }))
}

fn selection_set(tokens: &mut Tokens<'_>) -> Result<Vec<Selection>, GraphqlError> {
    some(tokens.bracketed(CURLY, selection)?, "a selection set")
}

fn selection(tokens: &mut Tokens<'_>) -> Result<Selection, GraphqlError> {
    if !tokens.takes(TokenKind::Spread)? {
        return Ok(Selection::Field(field(tokens)?));
    }
    if tokens.kind() == TokenKind::Name && !tokens.is_word("on") {
        let name = tokens.take()?.to_owned();
        directives(tokens, Holds::Variables)?;
        return Ok(Selection::Spread(name));
    }
    let on = match tokens.takes(TokenKind::Name)? {
        true => Some(tokens.name()?.to_owned()),
        false => None,
    };
    directives(tokens, Holds::Variables)?;
    Ok(Selection::Inline { on, selections: selection_set(tokens)? })
}

fn field(tokens: &mut Tokens<'_>) -> Result<Field, GraphqlError> {
    let first = tokens.name()?;
    let (alias, name) = match tokens.takes(TokenKind::Colon)? {
        true => (Some(first.to_owned()), tokens.name()?),
        false => (None, first),
    };
    let arguments = match tokens.kind() {
        TokenKind::LParen => arguments(tokens, Holds::Variables)?,
        _ => Vec::new(),
    };
    directives(tokens, Holds::Variables)?;
    let selections = match tokens.kind() {
        TokenKind::LCurly => selection_set(tokens)?,
        _ => Vec::new(),
    };
    Ok(Field { alias, name: name.to_owned(), arguments, selections })
}

/// Directives decide nothing here, since what they would skip is judged anyway; but they must be well-formed.
fn directives(tokens: &mut Tokens<'_>, holds: Holds) -> Result<(), GraphqlError> {
    while tokens.takes(TokenKind::At)? {
        tokens.name()?;
        if tokens.kind() == TokenKind::LParen {
            arguments(tokens, holds)?;
        }
    }
    Ok(())
}

fn arguments(tokens: &mut Tokens<'_>, holds: Holds) -> Result<Vec<(String, Input)>, GraphqlError> {
    some(members(tokens, PARENTHESES, holds)?, "the parentheses of arguments")
}

/// `name: value`, each name once: a field's arguments or an object's members.
fn members(
    tokens: &mut Tokens<'_>,
    brackets: [TokenKind; 2],
    holds: Holds,
) -> Result<Vec<(String, Input)>, GraphqlError> {
    let mut seen = HashSet::new();
    tokens.bracketed(brackets, |tokens| {
        let name = tokens.name()?;
        tokens.expect(TokenKind::Colon, "`:`")?;
        let value = value(tokens, holds)?;
        match seen.insert(name) {
            true => Ok((name.to_owned(), value)),
            false => Err(GraphqlError::Ambiguous("an argument or a member twice")),
        }
    })
}

fn value(tokens: &mut Tokens<'_>, holds: Holds) -> Result<Input, GraphqlError> {
    let (value, span) = tokens.spanned(|tokens| {
        Ok(match tokens.kind() {
            TokenKind::Dollar if holds == Holds::Variables => {
                InputValue::Variable(variable(tokens)?.to_owned())
            }
            TokenKind::Int | TokenKind::Float => InputValue::Plain(number(tokens.take()?)?),
            TokenKind::StringValue => InputValue::Plain(Value::String(text_of_string(tokens.take()?)?)),
            TokenKind::Name => InputValue::Plain(match tokens.take()? {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                "null" => Value::Null,
                name => Value::String(name.to_owned()),
            }),
            TokenKind::LBracket => InputValue::List(tokens.bracketed(SQUARE, |tokens| value(tokens, holds))?),
            TokenKind::LCurly => InputValue::Object(members(tokens, CURLY, holds)?),
            _ => return Err(tokens.unexpected("a value")),
        })
    })?;
    Ok(Input { value, span })
}

/// GraphQL writes numbers as JSON does.
fn number(text: &str) -> Result<Value, GraphqlError> {
    serde_json::from_str(text).map_err(|_| GraphqlError::Syntax("a number is too large".to_owned()))
}

/// A list that must not be empty.
fn some<T>(items: Vec<T>, what: &str) -> Result<Vec<T>, GraphqlError> {
    match items.is_empty() {
        true => Err(GraphqlError::Syntax(format!("{what} must hold something"))),
        false => Ok(items),
    }
}
