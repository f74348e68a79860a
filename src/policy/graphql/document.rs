//! A GraphQL document as a tree: operations, fragments, fields and their arguments.
//!
//! Source: the GraphQL specification of October 2021, section 2. Parsed by `apollo-parser` within bounds;
//! a document with any error, or with something that two readers could take differently, is refused.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use apollo_parser::cst::{self, CstNode, Definition};
use apollo_parser::{Lexer, Parser, TokenKind};
use serde_json::{Map, Value};

use super::{BODY_BYTES_MAX, GraphqlError};

/// Deepest nesting of selections and values; GitHub's own schema needs far less.
const DEPTH_MAX: usize = 64;
/// Most lexical tokens; a page-long query of `gh` has some hundreds.
const TOKENS_MAX: usize = 20_000;
/// Most fields that a document has once its fragments are put in their places.
const FIELDS_MAX: usize = 20_000;

/// Most operations of a document.
const OPERATIONS_MAX: usize = 50;
/// Bytes, about, that its variables come to wherever they are put in.
const BOUND_BYTES_MAX: usize = 2 * BODY_BYTES_MAX;
/// What a value takes beside its text.
const VALUE_BYTES: usize = 16;

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Query,
    Mutation,
    Subscription,
}

/// A document that can be run.
#[derive(Debug)]
pub struct Document {
    pub operations: Vec<Operation>,
    pub fragments: HashMap<String, Fragment>,
}

/// One operation of a document.
#[derive(Debug)]
pub struct Operation {
    pub kind: Kind,
    pub name: Option<String>,
    /// Declared variables, and what they are when the request does not say.
    pub variables: Vec<(String, Option<Input>)>,
    pub selections: Vec<Selection>,
}

/// A fragment, by the type it is on.
#[derive(Debug)]
pub struct Fragment {
    pub on: String,
    pub selections: Vec<Selection>,
}

/// One entry of a selection set.
#[derive(Debug)]
pub enum Selection {
    Field(Field),
    /// `... on Type { }`, or without a type.
    Inline {
        on: Option<String>,
        selections: Vec<Selection>,
    },
    Spread(String),
}

/// A field with its arguments.
#[derive(Debug)]
pub struct Field {
    pub alias: Option<String>,
    pub name: String,
    pub arguments: Vec<(String, Input)>,
    pub selections: Vec<Selection>,
}

/// A value in the document, and where it stands there.
#[derive(Debug, Clone)]
pub struct Input {
    pub value: InputValue,
    /// Bytes of the document.
    pub span: Range<usize>,
}

/// A value as written.
#[derive(Debug, Clone)]
pub enum InputValue {
    Variable(String),
    /// Everything that holds no variable and no further value; an enum's value is its name.
    Plain(Value),
    List(Vec<Input>),
    Object(Vec<(String, Input)>),
}

/// Values of variables: those of the request, else the operation's defaults.
#[derive(Debug, Clone, Default)]
pub struct Variables<'a> {
    values: HashMap<&'a str, Cow<'a, Value>>,
}

impl<'a> Variables<'a> {
    /// For one operation, with what the request says.
    pub fn of(operation: &'a Operation, sent: &'a Map<String, Value>) -> Variables<'a> {
        let mut values = HashMap::new();
        for (name, default) in &operation.variables {
            let default = || default.as_ref()?.bind(&Variables::default()).map(Cow::into_owned);
            if let Some(value) = sent.get(name).map(Cow::Borrowed).or_else(|| default().map(Cow::Owned)) {
                values.insert(name.as_str(), value);
            }
        }
        Variables { values }
    }
}

impl Input {
    /// The value with its variables put in; none when it is a variable that has no value.
    pub fn bind<'a>(&'a self, variables: &'a Variables<'_>) -> Option<Cow<'a, Value>> {
        let owned = |item: &'a Input| item.bind(variables).map(Cow::into_owned);
        match &self.value {
            InputValue::Variable(name) => {
                variables.values.get(name.as_str()).map(|value| Cow::Borrowed(&**value))
            }
            InputValue::Plain(value) => Some(Cow::Borrowed(value)),
            InputValue::List(items) => {
                Some(Cow::Owned(items.iter().map(|item| owned(item).unwrap_or_default()).collect()))
            }
            InputValue::Object(members) => {
                let bound = members.iter().filter_map(|(name, value)| Some((name.clone(), owned(value)?)));
                Some(Cow::Owned(Value::Object(bound.collect())))
            }
        }
    }

    /// Bytes, about, that it comes to with variables of these sizes put in.
    fn size(&self, sizes: &HashMap<&str, usize>) -> usize {
        VALUE_BYTES
            + match &self.value {
                InputValue::Variable(name) => sizes.get(name.as_str()).copied().unwrap_or_default(),
                InputValue::Plain(_) => self.span.len(),
                InputValue::List(items) => items.iter().map(|item| item.size(sizes)).sum(),
                InputValue::Object(members) => {
                    members.iter().map(|(name, value)| name.len() + value.size(sizes)).sum()
                }
            }
    }
}

/// Bytes, about, that a value takes.
fn size_of(value: &Value) -> usize {
    VALUE_BYTES
        + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(size_of).sum(),
            Value::Object(members) => members.iter().map(|(name, value)| name.len() + size_of(value)).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
}

impl Field {
    /// What its value is called in the answer.
    pub fn key(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.name)
    }

    /// An argument's value; none when absent or null.
    pub fn argument<'a>(&'a self, name: &str, variables: &'a Variables<'_>) -> Option<Cow<'a, Value>> {
        self.input(name)?.bind(variables).filter(|value| !value.is_null())
    }

    /// An argument as written.
    pub fn input(&self, name: &str) -> Option<&Input> {
        self.arguments.iter().find(|(known, _)| known == name).map(|(_, input)| input)
    }
}

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

    /// Names are unique, spreads lead somewhere and not in circles, and the whole is not too large.
    fn check(&self) -> Result<(), GraphqlError> {
        if self.operations.is_empty() {
            return Err(GraphqlError::NoOperation);
        }
        if self.operations.len() > OPERATIONS_MAX {
            return Err(GraphqlError::Syntax(format!("it has more than {OPERATIONS_MAX} operations")));
        }
        let names: Vec<Option<&str>> =
            self.operations.iter().map(|operation| operation.name.as_deref()).collect();
        let is_doubled = names.iter().enumerate().any(|(at, name)| names[..at].contains(name));
        if is_doubled || (names.len() > 1 && names.contains(&None)) {
            return Err(GraphqlError::Ambiguous("operations that can't be told apart by name"));
        }
        let mut left = FIELDS_MAX;
        for operation in &self.operations {
            self.count(&operation.selections, &mut left, 0)?;
        }
        for fragment in self.fragments.values() {
            self.count(&fragment.selections, &mut left, 0)?;
        }
        Ok(())
    }

    fn count(&self, selections: &[Selection], left: &mut usize, depth: usize) -> Result<(), GraphqlError> {
        if depth > DEPTH_MAX {
            return Err(GraphqlError::Syntax(
                "its fragments are nested too deeply, or in a circle".to_owned(),
            ));
        }
        for selection in selections {
            *left = left.checked_sub(1).ok_or_else(|| {
                GraphqlError::Syntax(format!(
                    "it has more than {FIELDS_MAX} fields once its fragments are put in"
                ))
            })?;
            match selection {
                Selection::Field(field) => self.count(&field.selections, left, depth + 1)?,
                Selection::Inline { selections, .. } => self.count(selections, left, depth + 1)?,
                Selection::Spread(name) => {
                    let fragment = self.fragments.get(name);
                    let fragment =
                        fragment.ok_or(GraphqlError::Ambiguous("a spread of a fragment it does not hold"))?;
                    self.count(&fragment.selections, left, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the variables of a request may be put in: a long one, named often, comes to more than there
    /// is memory.
    ///
    /// # Errors
    /// When they come to more than [`BOUND_BYTES_MAX`].
    pub fn check_bound(&self, variables: &Map<String, Value>) -> Result<(), GraphqlError> {
        let sent: HashMap<&str, usize> =
            variables.iter().map(|(name, value)| (name.as_str(), size_of(value))).collect();
        let mut left = BOUND_BYTES_MAX;
        for operation in &self.operations {
            let mut sizes = sent.clone();
            for (name, default) in &operation.variables {
                let default = default.as_ref().map_or(0, |input| input.size(&HashMap::new()));
                left = left.saturating_sub(default);
                sizes.entry(name).and_modify(|size| *size = default.max(*size)).or_insert(default);
            }
            self.weigh(&operation.selections, &sizes, &mut left);
        }
        match left {
            0 => Err(GraphqlError::Syntax(
                "its variables are too long for how often they are named".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    fn weigh(&self, selections: &[Selection], sizes: &HashMap<&str, usize>, left: &mut usize) {
        self.fields(selections, None, &mut |field, _| {
            if *left > 0 {
                let size: usize = field.arguments.iter().map(|(_, input)| input.size(sizes)).sum();
                *left = left.saturating_sub(size);
                self.weigh(&field.selections, sizes, left);
            }
        });
    }

    /// The fragments that no operation comes to.
    pub fn unspread(&self) -> impl Iterator<Item = (&str, &[Selection])> {
        let mut spread: HashSet<&str> = HashSet::new();
        let mut open: Vec<&[Selection]> =
            self.operations.iter().map(|operation| operation.selections.as_slice()).collect();
        while let Some(selections) = open.pop() {
            for selection in selections {
                match selection {
                    Selection::Field(field) => open.push(&field.selections),
                    Selection::Inline { selections, .. } => open.push(selections),
                    Selection::Spread(name) => {
                        if let Some(fragment) = self.fragments.get(name)
                            && spread.insert(name)
                        {
                            open.push(&fragment.selections);
                        }
                    }
                }
            }
        }
        let unspread = self.fragments.iter().filter(move |(name, _)| !spread.contains(name.as_str()));
        unspread.map(|(_, fragment)| (fragment.on.as_str(), fragment.selections.as_slice()))
    }

    /// Walks the fields of a selection set, fragments put in their places, with the type of each as the
    /// nearest type condition says.
    pub fn fields<'a>(
        &'a self,
        selections: &'a [Selection],
        on: Option<&'a str>,
        each: &mut impl FnMut(&'a Field, Option<&'a str>),
    ) {
        for selection in selections {
            match selection {
                Selection::Field(field) => each(field, on),
                Selection::Inline { on: inner, selections } => {
                    self.fields(selections, inner.as_deref().or(on), each);
                }
                Selection::Spread(name) => {
                    if let Some(fragment) = self.fragments.get(name) {
                        self.fields(&fragment.selections, Some(&fragment.on), each);
                    }
                }
            }
        }
    }

    /// The operation a request runs.
    pub fn operation(&self, name: Option<&str>) -> Option<&Operation> {
        match name {
            None if self.operations.len() == 1 => self.operations.first(),
            None => None,
            name => self.operations.iter().find(|operation| operation.name.as_deref() == name),
        }
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
pub(super) fn shows_cost(document: &str) -> bool {
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
