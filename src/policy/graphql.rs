//! What a GraphQL request does, from a real parse of its document.
//!
//! Every operation of the document counts, not only the one `operationName` picks. For now queries
//! are reads and anything else is refused: mutations wait for their gate.

use apollo_parser::cst::{Definition, OperationDefinition};
use apollo_parser::{Lexer, Parser, TokenKind};
use serde_json::Value;
use thiserror::Error;

use super::json::{self, JsonError};

/// Longest body taken, in bytes.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Deepest nesting of selections and values; GitHub's own schema needs far less.
const DEPTH_MAX: usize = 64;
/// Most lexical tokens; a page-long query of `gh` has some hundreds.
const TOKENS_MAX: usize = 20_000;

/// Why a GraphQL request is refused.
#[derive(Debug, Error)]
pub enum GraphqlError {
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error("`query` must be a string that holds the document")]
    NoDocument,
    #[error("`{0}` has no place in a GraphQL request here; send `query`, `variables`, `operationName`")]
    Member(String),
    #[error("the document does not parse: {0}")]
    Syntax(String),
    /// Readers of GraphQL differ here, and GitHub's may be another than ours.
    #[error("the document holds {0}, which not every parser reads alike; leave it out")]
    Ambiguous(&'static str),
    #[error("`tempCloneToken` is a credential, and tollgate hands none out")]
    Credential,
    #[error("the document holds no operation")]
    NoOperation,
    #[error("`operationName` must name an operation of the document")]
    OperationName,
}

/// The strongest thing a document does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Query,
    Mutation,
    Subscription,
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Understood {
    pub kind: Kind,
    /// Whether `data.rateLimit.cost`, if the answer shows it, can only be GitHub's own figure: nothing
    /// else is called so by an alias.
    pub shows_cost: bool,
}

/// Reads the body of a GraphQL request and says what it does.
pub fn classify(body: &[u8]) -> Result<Understood, GraphqlError> {
    let object = json::object(body)?;
    for (key, value) in &object {
        let sound = match key.as_str() {
            "query" => true,
            "variables" => value.is_object() || value.is_null(),
            "operationName" => value.is_string() || value.is_null(),
            // Some clients send it empty; with content it asks for a stored document.
            "extensions" => value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty),
            _ => false,
        };
        if !sound {
            return Err(GraphqlError::Member(key.clone()));
        }
    }
    let document = object.get("query").and_then(Value::as_str).ok_or(GraphqlError::NoDocument)?;
    let name = object.get("operationName").and_then(Value::as_str).filter(|name| !name.is_empty());
    Ok(Understood { kind: kind_of(document, name)?, shows_cost: shows_cost(document) })
}

/// See [`Understood::shows_cost`]; an argument of such a name counts as an alias, too.
fn shows_cost(document: &str) -> bool {
    let is_ignored = |kind| matches!(kind, TokenKind::Whitespace | TokenKind::Comment | TokenKind::Comma);
    let tokens: Vec<_> = Lexer::new(document).flatten().filter(|token| !is_ignored(token.kind())).collect();
    let is_figure = |name: &str| matches!(name, "rateLimit" | "cost" | "data");
    let is_alias =
        |pair: &[apollo_parser::Token<'_>]| is_figure(pair[0].data()) && pair[1].kind() == TokenKind::Colon;
    document.contains("rateLimit") && !tokens.windows(2).any(is_alias)
}

/// Refuses spellings after which two lexers can stand at different places.
///
/// A block string that ends in more than three quotes: some end it at the first three, some at the
/// last, and what one reads as text is an operation to the other. A CR without LF, or a control
/// character, may or may not end a comment.
fn check_unambiguous(document: &str) -> Result<(), GraphqlError> {
    if document.contains("\"\"\"\"") {
        return Err(GraphqlError::Ambiguous("four quotes in a row"));
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

fn kind_of(document: &str, operation_name: Option<&str>) -> Result<Kind, GraphqlError> {
    check_unambiguous(document)?;
    // A name has one spelling in GraphQL, and an alias does not hide it.
    if document.contains("tempCloneToken") {
        return Err(GraphqlError::Credential);
    }
    let tree = Parser::new(document).recursion_limit(DEPTH_MAX).token_limit(TOKENS_MAX).parse();
    if let Some(error) = tree.errors().next() {
        return Err(GraphqlError::Syntax(error.message().to_owned()));
    }
    let mut kinds = Vec::new();
    let mut named = operation_name.is_none();
    for definition in tree.document().definitions() {
        match definition {
            Definition::OperationDefinition(operation) => {
                named |= operation.name().is_some_and(|name| Some(name.text().as_str()) == operation_name);
                kinds.push(kind_of_operation(&operation));
            }
            Definition::FragmentDefinition(_) => {}
            _ => return Err(GraphqlError::Syntax("only operations and fragments can be run".to_owned())),
        }
    }
    if !named {
        return Err(GraphqlError::OperationName);
    }
    kinds.into_iter().max().ok_or(GraphqlError::NoOperation)
}

fn kind_of_operation(operation: &OperationDefinition) -> Kind {
    match operation.operation_type() {
        // `{ viewer { login } }` is a query.
        None => Kind::Query,
        Some(word) if word.query_token().is_some() => Kind::Query,
        Some(word) if word.mutation_token().is_some() => Kind::Mutation,
        Some(_) => Kind::Subscription,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(document: &str) -> Result<Kind, GraphqlError> {
        understood(document).map(|understood| understood.kind)
    }

    fn understood(document: &str) -> Result<Understood, GraphqlError> {
        classify(&serde_json::to_vec(&serde_json::json!({ "query": document })).unwrap())
    }

    #[test]
    fn a_cost_is_github_s_only_where_nothing_else_is_called_so() {
        for (document, shown) in [
            ("{ rateLimit { cost } viewer { login } }", true),
            ("{ viewer { login } }", false),
            ("{ rateLimit: viewer { cost: databaseId } }", false),
            ("{ rateLimit { cost: limit } }", false),
            ("{ rateLimit { cost # x\n : nodeCount } }", false),
        ] {
            assert_eq!(understood(document).unwrap().shows_cost, shown, "{document}");
        }
    }

    #[test]
    fn the_strongest_operation_decides() {
        for (document, expected) in [
            ("{ viewer { login } }", Kind::Query),
            ("query Q($n: Int = 3) { a: viewer { ...F } } fragment F on User { login }", Kind::Query),
            ("query { viewer { login } } # mutation { x }", Kind::Query),
            ("query { search(query: \"mutation { mergePullRequest }\") { issueCount } }", Kind::Query),
            ("mutation { mergePullRequest(input: {}) { clientMutationId } }", Kind::Mutation),
            ("query A { viewer { login } } mutation B { x { y } }", Kind::Mutation),
            ("subscription { x }", Kind::Subscription),
            ("\u{feff}query { viewer { login } }", Kind::Query),
        ] {
            assert_eq!(kind(document).unwrap(), expected, "{document}");
        }
    }

    #[test]
    fn what_two_lexers_could_read_differently_is_refused() {
        for document in [
            "{ a(b: \"\"\"b\"\"\"\"\"\" x\") } mutation { c }",
            "{ a(b: \"\"\"\"\"\") }",
            "{ a } #\rmutation { b }",
            "{ a } #\u{2028}mutation { b }",
            "{ a } #\u{b}mutation { b }",
            "{ a }\0",
        ] {
            assert!(matches!(kind(document), Err(GraphqlError::Ambiguous(_))), "{document:?}");
        }
        assert!(matches!(kind("{ a { t: tempCloneToken } }"), Err(GraphqlError::Credential)));
        assert_eq!(kind("{ a(b: \"\"\"text\r\n\"x\" y\"\"\") }").unwrap(), Kind::Query);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for document in
            ["", "{", "query {", "mutation", "{ a } }", "fragment F on User { login }", "type A { b: C }"]
        {
            assert!(kind(document).is_err(), "{document}");
        }
        assert!(kind(&format!("{}a{}", "{ a ".repeat(200), " }".repeat(200))).is_err());
        assert!(kind(&format!("{{ {} }}", "a ".repeat(30_000))).is_err());
        for body in [
            r#"[{"query":"{ viewer { login } }"}]"#,
            r#"{"query":"{ viewer { login } }","query":"mutation { x }"}"#,
            r#"{"query":["{ viewer { login } }"]}"#,
            r#"{"id":"abc"}"#,
            r#"{"query":"{ viewer { login } }","extensions":{"persistedQuery":{"sha256Hash":"x"}}}"#,
            r#"{"query":"query A { viewer { login } }","operationName":"B"}"#,
            r#"{"query":"{ viewer { login } }","variables":[1]}"#,
        ] {
            assert!(classify(body.as_bytes()).is_err(), "{body}");
        }
        assert!(
            classify(br#"{"query":"query A { viewer { login } }","operationName":"A","variables":null}"#)
                .is_ok()
        );
    }
}
