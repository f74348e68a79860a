//! How a document is read: parsed by `apollo-parser` within bounds, its tree put into ours.

use std::collections::{HashMap, HashSet};

use apollo_parser::cst::{self, CstNode, Definition};
use apollo_parser::{Lexer, Parser, TokenKind};
use serde_json::Value;

use super::{DEPTH_MAX, Document, Field, Fragment, Input, InputValue, Kind, Operation, Selection};
use crate::policy::graphql::GraphqlError;

/// Most lexical tokens; a page-long query of `gh` has some hundreds.
const TOKENS_MAX: usize = 20_000;

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// When it does not parse, is beyond a bound, or has more than one reading.
    pub fn parse(text: &str) -> Result<Document, GraphqlError> {
        check_unambiguous(text)?;
        let tree = Parser::new(text).recursion_limit(DEPTH_MAX).token_limit(TOKENS_MAX).parse();
        if let Some(error) = tree.errors().next() {
            return Err(GraphqlError::Syntax(error.message().to_owned()));
        }
        let mut document = Document { operations: Vec::new(), fragments: HashMap::new() };
        for definition in tree.document().definitions() {
            match definition {
                Definition::OperationDefinition(operation) => {
                    document.operations.push(operation_of(&operation)?)
                }
                Definition::FragmentDefinition(fragment) => {
                    let name = fragment.fragment_name().and_then(|name| name.name());
                    let name = text_of(name)?;
                    let on =
                        fragment.type_condition().and_then(|on| on.named_type()).and_then(|on| on.name());
                    check_directives(fragment.directives())?;
                    let fragment =
                        Fragment { on: text_of(on)?, selections: selections_of(fragment.selection_set())? };
                    if document.fragments.insert(name, fragment).is_some() {
                        return Err(GraphqlError::Ambiguous("two fragments of one name"));
                    }
                }
                _ => return Err(GraphqlError::Syntax("only operations and fragments can be run".to_owned())),
            }
        }
        document.check()?;
        Ok(document)
    }
}

fn operation_of(operation: &cst::OperationDefinition) -> Result<Operation, GraphqlError> {
    let kind = match operation.operation_type() {
        // `{ viewer { login } }` is a query.
        None => Kind::Query,
        Some(word) if word.query_token().is_some() => Kind::Query,
        Some(word) if word.mutation_token().is_some() => Kind::Mutation,
        Some(_) => Kind::Subscription,
    };
    check_directives(operation.directives())?;
    let mut variables: Vec<(String, Option<Input>)> = Vec::new();
    let mut seen: HashSet<String> = HashSet::new();
    for definition in
        operation.variable_definitions().iter().flat_map(cst::VariableDefinitions::variable_definitions)
    {
        let name = text_of(definition.variable().and_then(|variable| variable.name()))?;
        if !seen.insert(name.clone()) {
            return Err(GraphqlError::Ambiguous("a variable declared twice"));
        }
        let default = definition.default_value().and_then(|default| default.value());
        variables.push((name, default.map(|value| input_of(&value)).transpose()?));
    }
    Ok(Operation {
        kind,
        name: operation.name().map(|name| name.text().to_string()),
        variables,
        selections: selections_of(operation.selection_set())?,
    })
}

fn selections_of(set: Option<cst::SelectionSet>) -> Result<Vec<Selection>, GraphqlError> {
    let Some(set) = set else { return Ok(Vec::new()) };
    let selections = set.selections().map(|selection| match selection {
        cst::Selection::Field(field) => {
            check_directives(field.directives())?;
            Ok(Selection::Field(Field {
                alias: field.alias().and_then(|alias| alias.name()).map(|name| name.text().to_string()),
                name: text_of(field.name())?,
                arguments: arguments_of(field.arguments())?,
                selections: selections_of(field.selection_set())?,
            }))
        }
        cst::Selection::InlineFragment(inline) => {
            check_directives(inline.directives())?;
            let on = inline.type_condition().and_then(|on| on.named_type()).and_then(|on| on.name());
            let on = on.map(|name| name.text().to_string());
            Ok(Selection::Inline { on, selections: selections_of(inline.selection_set())? })
        }
        cst::Selection::FragmentSpread(spread) => {
            check_directives(spread.directives())?;
            Ok(Selection::Spread(text_of(spread.fragment_name().and_then(|name| name.name()))?))
        }
    });
    selections.collect()
}

/// Directives decide nothing here; but the parser lets some pass that are malformed.
fn check_directives(directives: Option<cst::Directives>) -> Result<(), GraphqlError> {
    let Some(directives) = directives else { return Ok(()) };
    for directive in directives.directives() {
        text_of(directive.name())?;
        arguments_of(directive.arguments())?;
    }
    Ok(())
}

fn arguments_of(arguments: Option<cst::Arguments>) -> Result<Vec<(String, Input)>, GraphqlError> {
    let Some(arguments) = arguments else { return Ok(Vec::new()) };
    let named = arguments.arguments().map(|argument| (argument.name(), argument.value()));
    unique(named)
}

fn unique(
    members: impl Iterator<Item = (Option<cst::Name>, Option<cst::Value>)>,
) -> Result<Vec<(String, Input)>, GraphqlError> {
    let mut read: Vec<(String, Input)> = Vec::new();
    let mut seen: HashSet<String> = HashSet::new();
    for (name, value) in members {
        let name = text_of(name)?;
        if !seen.insert(name.clone()) {
            return Err(GraphqlError::Ambiguous("an argument or a member twice"));
        }
        let value = value.ok_or_else(|| GraphqlError::Syntax("a value is missing".to_owned()))?;
        read.push((name, input_of(&value)?));
    }
    Ok(read)
}

fn input_of(value: &cst::Value) -> Result<Input, GraphqlError> {
    let range = value.syntax().text_range();
    let span = usize::from(range.start())..usize::from(range.end());
    let text = || value.syntax().text().to_string();
    let value = match value {
        cst::Value::Variable(variable) => InputValue::Variable(text_of(variable.name())?),
        cst::Value::StringValue(text) => InputValue::Plain(Value::String(String::from(text))),
        cst::Value::IntValue(_) | cst::Value::FloatValue(_) => {
            let number = serde_json::from_str(text().trim());
            InputValue::Plain(number.map_err(|_| GraphqlError::Syntax("a number is too large".to_owned()))?)
        }
        cst::Value::BooleanValue(boolean) => InputValue::Plain(Value::Bool(boolean.true_token().is_some())),
        cst::Value::NullValue(_) => InputValue::Plain(Value::Null),
        cst::Value::EnumValue(name) => InputValue::Plain(Value::String(text_of(name.name())?)),
        cst::Value::ListValue(list) => {
            let items = list.values().map(|item| input_of(&item));
            InputValue::List(items.collect::<Result<_, _>>()?)
        }
        cst::Value::ObjectValue(object) => {
            InputValue::Object(unique(object.object_fields().map(|member| (member.name(), member.value())))?)
        }
    };
    Ok(Input { value, span })
}

fn text_of(name: Option<cst::Name>) -> Result<String, GraphqlError> {
    let name = name.ok_or_else(|| GraphqlError::Syntax("a name is missing".to_owned()))?;
    Ok(name.text().to_string())
}

/// Whether `data.rateLimit.cost`, if the answer shows it, can only be GitHub's own figure: nothing else is
/// called so by an alias. An argument of such a name counts as an alias, too.
pub(in crate::policy::graphql) fn shows_cost(document: &str) -> bool {
    if !document.contains("rateLimit") {
        return false;
    }
    let is_ignored = |kind| matches!(kind, TokenKind::Whitespace | TokenKind::Comment | TokenKind::Comma);
    let tokens: Vec<_> = Lexer::new(document).flatten().filter(|token| !is_ignored(token.kind())).collect();
    let is_figure = |name: &str| matches!(name, "rateLimit" | "cost" | "data");
    let is_alias =
        |pair: &[apollo_parser::Token<'_>]| is_figure(pair[0].data()) && pair[1].kind() == TokenKind::Colon;
    !tokens.windows(2).any(is_alias)
}

/// Refuses spellings after which two lexers can stand at different places.
///
/// A block string that ends in more than three quotes: some end it at the first three, some at the
/// last, and what one reads as text is an operation to the other. A CR without LF, or a control
/// character, may or may not end a comment. `\u{…}` is an escape of the newest specification alone.
fn check_unambiguous(document: &str) -> Result<(), GraphqlError> {
    if document.contains("\"\"\"\"") {
        return Err(GraphqlError::Ambiguous("four quotes in a row"));
    }
    if document.contains("\\u{") {
        return Err(GraphqlError::Ambiguous("an escape with braces"));
    }
    let mut chars = document.chars().peekable();
    while let Some(char) = chars.next() {
        let sound = match char {
            '\r' => chars.peek() == Some(&'\n'),
            '\n' | '\t' => true,
            '\u{85}' | '\u{2028}' | '\u{2029}' => false,
            char => !char.is_control(),
        };
        if !sound {
            return Err(GraphqlError::Ambiguous("a control character or an odd line end"));
        }
    }
    Ok(())
}
