//! The document errors for which GitHub refuses a request before running any of it.
//!
//! Source: the GraphQL specification of October 2021, sections 5.2 and 5.5. Checks that need the schema are left out.

use std::collections::BTreeSet;

use crate::graphql::parse::{Document, Selection};

/// Checks operations and fragments; the error is the message.
pub(crate) fn check(document: &Document) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for operation in &document.operations {
        match &operation.name {
            None if document.operations.len() > 1 => {
                return Err("An anonymous operation must be the only operation".to_owned());
            }
            Some(name) if !names.insert(name) => {
                return Err(format!("Operation name \"{name}\" must be unique"));
            }
            _ => {}
        }
    }
    let mut walk = Walk { document, open: Vec::new(), done: BTreeSet::new() };
    for operation in &document.operations {
        walk.go(&operation.selections)?;
    }
    match document.fragments.keys().find(|name| !walk.done.contains(name.as_str())) {
        Some(name) => Err(format!("Fragment {name} was defined, but not used")),
        None => Ok(()),
    }
}

/// A walk through everything reachable from the operations, each fragment once.
struct Walk<'a> {
    document: &'a Document,
    /// The fragments that the walk is currently in.
    open: Vec<&'a str>,
    done: BTreeSet<&'a str>,
}

impl<'a> Walk<'a> {
    fn go(&mut self, selections: &'a [Selection]) -> Result<(), String> {
        for selection in selections {
            match selection {
                Selection::Field(field) => self.go(&field.selections)?,
                Selection::Inline { selections, .. } => self.go(selections)?,
                Selection::Spread { name, .. } => self.enter(name)?,
            }
        }
        Ok(())
    }

    fn enter(&mut self, name: &'a str) -> Result<(), String> {
        let Some(fragment) = self.document.fragments.get(name) else {
            return Err(format!("Fragment {name} was used, but not defined"));
        };
        if self.open.contains(&name) {
            return Err(format!("Fragment {name} contains an infinite loop"));
        }
        if self.done.insert(name) {
            self.open.push(name);
            self.go(&fragment.selections)?;
            self.open.pop();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graphql::parse::document;

    #[test]
    fn refuses_what_github_refuses() {
        for (text, message) in [
            ("query A { a } query B { ...x } fragment x on Y { z }", ""),
            ("{ a } query B { b }", "An anonymous operation must be the only operation"),
            ("query A { a } query A { b }", "Operation name \"A\" must be unique"),
            ("{ ...x }", "Fragment x was used, but not defined"),
            ("{ a } fragment x on Y { z }", "Fragment x was defined, but not used"),
            (
                "{ ...x } fragment x on Y { z { ...w } } fragment w on Z { ...x }",
                "Fragment x contains an infinite loop",
            ),
        ] {
            let found = check(&document(text).unwrap()).err().unwrap_or_default();
            assert_eq!(found, message, "{text}");
        }
    }
}
