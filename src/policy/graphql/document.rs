//! A GraphQL document as a tree: operations, fragments, fields and their arguments.
//!
//! Source: the GraphQL specification of October 2021, section 2. A document is refused if it has an error,
//! exceeds a bound, or contains something that two readers could understand differently.

mod read;
mod tokens;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde_json::{Map, Value};

use super::{BODY_BYTES_MAX, GraphqlError};
pub(super) use tokens::shows_cost;

/// Deepest nesting of selections and values; real queries need far less.
const DEPTH_MAX: usize = 64;
/// Most fields of a document after expanding its fragments.
const FIELDS_MAX: usize = 20_000;

/// Most operations allowed in a document.
const OPERATIONS_MAX: usize = 50;
/// Approximate limit in bytes on all variable values together, counted once per use.
const BOUND_BYTES_MAX: usize = 2 * BODY_BYTES_MAX;
/// Approximate memory of a value besides its text, in bytes.
const VALUE_BYTES: usize = 16;

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Query,
    Mutation,
    Subscription,
}

/// An executable document.
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
    /// Declared variables, with their default values.
    pub variables: Vec<(String, Option<Input>)>,
    pub selections: Vec<Selection>,
}

/// A fragment and the type that it is on.
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

/// A value and its position in the document.
#[derive(Debug, Clone)]
pub struct Input {
    pub value: InputValue,
    /// Byte range in the document.
    pub span: Range<usize>,
}

/// A value as written.
#[derive(Debug, Clone)]
pub enum InputValue {
    Variable(String),
    /// Any other value without variables or nested values; an enum value is its name.
    Plain(Value),
    List(Vec<Input>),
    Object(Vec<(String, Input)>),
}

/// The variables' values: from the request, or else the operation's defaults.
#[derive(Debug, Clone, Default)]
pub struct Variables<'a> {
    values: HashMap<&'a str, Cow<'a, Value>>,
}

impl<'a> Variables<'a> {
    /// The variables of one operation, with the values that the request sent.
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
    /// The value with variables replaced; `None` if it is a variable without a value.
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

    /// Approximate size in bytes once variables of the given sizes are put in.
    fn size(&self, sizes: &impl Fn(&str) -> usize) -> usize {
        VALUE_BYTES
            + match &self.value {
                InputValue::Variable(name) => sizes(name),
                InputValue::Plain(_) => self.span.len(),
                InputValue::List(items) => items.iter().map(|item| item.size(sizes)).sum(),
                InputValue::Object(members) => {
                    members.iter().map(|(name, value)| name.len() + value.size(sizes)).sum()
                }
            }
    }
}

/// Approximate size of a value in bytes.
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
    /// The field's key in the answer.
    pub fn key(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.name)
    }

    /// An argument's value; `None` when absent or null.
    pub fn argument<'a>(&'a self, name: &str, variables: &'a Variables<'_>) -> Option<Cow<'a, Value>> {
        self.input(name)?.bind(variables).filter(|value| !value.is_null())
    }

    /// An argument as written.
    pub fn input(&self, name: &str) -> Option<&Input> {
        self.arguments.iter().find(|(known, _)| known == name).map(|(_, input)| input)
    }
}

impl Document {
    /// Checks that names are unique, that spreads lead to a fragment and not in circles, and that the whole is
    /// not too large.
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

    /// Checks that the request's variables may be put in: a long one that is used often could need more memory
    /// than there is.
    ///
    /// # Errors
    /// When the values come to more than [`BOUND_BYTES_MAX`].
    pub fn check_bound(&self, variables: &Map<String, Value>) -> Result<(), GraphqlError> {
        let sent: HashMap<&str, usize> =
            variables.iter().map(|(name, value)| (name.as_str(), size_of(value))).collect();
        let mut left = BOUND_BYTES_MAX;
        for operation in &self.operations {
            let mut defaults: HashMap<&str, usize> = HashMap::new();
            for (name, default) in &operation.variables {
                let size = default.as_ref().map_or(0, |input| input.size(&|_| 0));
                left = left.saturating_sub(size);
                defaults.insert(name, size);
            }
            let size_of = |name: &str| sent.get(name).max(defaults.get(name)).copied().unwrap_or_default();
            self.weigh(&operation.selections, &size_of, &mut left);
        }
        match left {
            0 => Err(GraphqlError::Syntax(
                "its variables are too long for how often they are named".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    fn weigh(&self, selections: &[Selection], sizes: &impl Fn(&str) -> usize, left: &mut usize) {
        self.fields(selections, None, &mut |field, _| {
            if *left > 0 {
                let size: usize = field.arguments.iter().map(|(_, input)| input.size(sizes)).sum();
                *left = left.saturating_sub(size);
                self.weigh(&field.selections, sizes, left);
            }
        });
    }

    /// The fragments that no operation reaches.
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

    /// Walks the fields of a selection set with fragments expanded, passing each field's type according to the
    /// nearest type condition.
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

    /// The operation that a request runs; `None` if that is not clear.
    pub fn operation(&self, name: Option<&str>) -> Option<&Operation> {
        match name {
            None if self.operations.len() == 1 => self.operations.first(),
            None => None,
            name => self.operations.iter().find(|operation| operation.name.as_deref() == name),
        }
    }
}
