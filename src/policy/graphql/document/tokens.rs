//! A document's tokens: `apollo-parser`'s, without those that the specification ignores.
//!
//! Enforces what holds for every token: how many there may be, how deep brackets nest, and which spellings are
//! refused because two lexers could continue at different positions after them.

use std::ops::Range;

use apollo_parser::cst::{Argument, CstNode, StringValue};
use apollo_parser::{Lexer, Parser, Token, TokenKind};

use super::DEPTH_MAX;
use crate::policy::graphql::GraphqlError;

/// Most lexical tokens, including blanks; a page-long query of `gh` has a few hundred.
const TOKENS_MAX: usize = 20_000;
/// Most characters of a document that an error message repeats.
const SHOWN_CHARS: usize = 40;

/// A document, token by token.
pub(super) struct Tokens<'a> {
    lexer: Lexer<'a>,
    next: Token<'a>,
    /// Where the last token taken ends, as a byte offset in the document.
    end: usize,
    /// Number of open brackets.
    depth: usize,
}

impl<'a> Tokens<'a> {
    /// # Errors
    /// When the document has a spelling that two lexers could read differently, or does not start with a GraphQL token.
    pub(super) fn of(document: &'a str) -> Result<Tokens<'a>, GraphqlError> {
        check_unambiguous(document)?;
        let mut lexer = Lexer::new(document).with_limit(TOKENS_MAX);
        let next = next_of(&mut lexer)?;
        Ok(Tokens { lexer, next, end: 0, depth: 0 })
    }

    /// The kind of the next token.
    pub(super) fn kind(&self) -> TokenKind {
        self.next.kind()
    }

    /// Whether the next token is the name or keyword `word`.
    pub(super) fn is_word(&self, word: &str) -> bool {
        self.kind() == TokenKind::Name && self.next.data() == word
    }

    /// Takes the next token and returns its text.
    pub(super) fn take(&mut self) -> Result<&'a str, GraphqlError> {
        let next = next_of(&mut self.lexer)?;
        let token = std::mem::replace(&mut self.next, next);
        self.end = token.index() + token.data().len();
        Ok(token.data())
    }

    /// Takes the next token if it is of this kind; returns whether it was.
    pub(super) fn takes(&mut self, kind: TokenKind) -> Result<bool, GraphqlError> {
        let is_next = self.kind() == kind;
        if is_next {
            self.take()?;
        }
        Ok(is_next)
    }

    /// Takes the next token, which must be of this kind, and returns its text.
    pub(super) fn expect(&mut self, kind: TokenKind, called: &str) -> Result<&'a str, GraphqlError> {
        if self.kind() == kind { self.take() } else { Err(self.unexpected(called)) }
    }

    /// Takes a name; keywords are names too.
    pub(super) fn name(&mut self) -> Result<&'a str, GraphqlError> {
        self.expect(TokenKind::Name, "a name")
    }

    /// Takes the items between two brackets, of which there may be none.
    ///
    /// All nesting goes through here, so this is where its depth is limited.
    pub(super) fn bracketed<T>(
        &mut self,
        [open, close]: [TokenKind; 2],
        mut item: impl FnMut(&mut Self) -> Result<T, GraphqlError>,
    ) -> Result<Vec<T>, GraphqlError> {
        self.expect(open, "an opening bracket")?;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(GraphqlError::Syntax(format!("its brackets are nested more than {DEPTH_MAX} deep")));
        }
        let mut items = Vec::new();
        while !self.takes(close)? {
            items.push(item(self)?);
        }
        self.depth -= 1;
        Ok(items)
    }

    /// What `read` takes, and its byte range in the document.
    pub(super) fn spanned<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, GraphqlError>,
    ) -> Result<(T, Range<usize>), GraphqlError> {
        let start = self.next.index();
        let taken = read(self)?;
        Ok((taken, start..self.end))
    }

    /// The error for a token that is not allowed here.
    pub(super) fn unexpected(&self, wanted: &str) -> GraphqlError {
        let found = match self.kind() {
            TokenKind::Eof => "it ends".to_owned(),
            _ => {
                let shown: String = self.next.data().chars().take(SHOWN_CHARS).collect();
                format!("`{shown}` stands at byte {}", self.next.index())
            }
        };
        GraphqlError::Syntax(format!("{found} where {wanted} was expected"))
    }
}

fn next_of<'a>(lexer: &mut Lexer<'a>) -> Result<Token<'a>, GraphqlError> {
    loop {
        match lexer.next() {
            Some(Ok(token)) if is_ignored(token.kind()) => {}
            Some(Ok(token)) => return Ok(token),
            Some(Err(error)) => return Err(GraphqlError::Syntax(error.message().to_owned())),
            None => return Err(GraphqlError::Syntax("it ends too early".to_owned())),
        }
    }
}

fn is_ignored(kind: TokenKind) -> bool {
    matches!(kind, TokenKind::Whitespace | TokenKind::Comment | TokenKind::Comma)
}

/// The value of a string token, without quotes, escapes and indentation.
pub(super) fn text_of_string(token: &str) -> Result<String, GraphqlError> {
    let is_block = token.starts_with("\"\"\"");
    // The lexer accepts a string that starts with a line end.
    if !is_block && token.contains('\n') {
        return Err(GraphqlError::Syntax("a string goes on in another line".to_owned()));
    }
    // After `\\"""` or `"\"""` some lexers end the string and some continue.
    let is_torn = |token: &str| [r#"\\""#, r#""\""#].into_iter().any(|pair| token.contains(pair));
    if is_block && token.get(3..).is_some_and(is_torn) {
        return Err(GraphqlError::Ambiguous("a backslash between quotes or backslashes in a block string"));
    }
    // Some readers unescape twice.
    let is_hex = |digits: &str| digits.len() > 3 && digits.bytes().take(4).all(|b| b.is_ascii_hexdigit());
    if token.match_indices(r"\\u").any(|(at, escape)| is_hex(&token[at + escape.len()..])) {
        return Err(GraphqlError::Ambiguous("an escaped backslash before what looks like an escape"));
    }
    match token.strip_prefix('"').and_then(|token| token.strip_suffix('"')) {
        Some(text) if !text.contains(['"', '\\']) => Ok(text.to_owned()),
        _ => {
            // The library only unescapes what it has parsed itself.
            let tree = Parser::new(&format!("{{ f(a: {token}) }}")).parse();
            let found = tree.document().syntax().descendants().filter_map(Argument::cast);
            let mut found =
                found.filter_map(|argument| StringValue::cast(argument.value()?.syntax().clone()));
            let text = found.next().map(|text| String::from(&text));
            text.ok_or_else(|| GraphqlError::Syntax("a string can't be read".to_owned()))
        }
    }
}

/// Whether `data.rateLimit.cost`, if the answer has it, can only be GitHub's own figure: no alias has one of
/// these names. An argument with such a name counts as an alias too.
pub(in crate::policy::graphql) fn shows_cost(document: &str) -> bool {
    if !document.contains("rateLimit") {
        return false;
    }
    let tokens: Vec<_> = Lexer::new(document).flatten().filter(|token| !is_ignored(token.kind())).collect();
    let is_figure = |name: &str| matches!(name, "rateLimit" | "cost" | "data");
    let is_alias = |pair: &[Token<'_>]| is_figure(pair[0].data()) && pair[1].kind() == TokenKind::Colon;
    !tokens.windows(2).any(is_alias)
}

/// Refuses spellings after which two lexers can be at different positions.
///
/// A block string that ends in more than three quotes: some end it at the first three, some at the last, so what
/// is text to one is an operation to the other. A CR without LF, or a control character, may or may not end a
/// comment. Only the newest specification has the escape `\u{…}`.
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
