//! The tokens of GraphQL documents.
//!
//! Source: the GraphQL specification of October 2021, section 2.1. Block strings are only trimmed.

use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    Name(String),
    Value(Value),
    /// One of the punctuators; `.` stands for `...`.
    Mark(char),
}

/// The tokens of a document; `None` when there is something else in it.
pub(crate) fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            ' ' | '\t' | '\n' | '\r' | ',' | '\u{feff}' => first.len_utf8(),
            '#' => rest.find(['\n', '\r']).unwrap_or(rest.len()),
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
        let is_end = |(at, _): &(usize, &str)| !block[..*at].ends_with('\\');
        let (end, _) = block.match_indices("\"\"\"").find(is_end)?;
        return Some((block[..end].trim().replace("\\\"\"\"", "\"\"\""), end + 6));
    }
    let mut is_escaped = false;
    for (at, symbol) in text.char_indices().skip(1) {
        match symbol {
            '"' if !is_escaped => {
                // Escapes are those of JSON.
                return Some((serde_json::from_str(&text[..=at]).ok()?, at + 1));
            }
            '\n' | '\r' => return None,
            _ => is_escaped = symbol == '\\' && !is_escaped,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_end_with_their_line_and_block_strings_may_hold_quotes() {
        let name = |text: &str| Token::Name(text.to_owned());
        let value = |text: &str| Token::Value(Value::from(text));
        assert_eq!(tokens("a # b\rc # d\n# e").unwrap(), [name("a"), name("c")]);
        let text = r#"a """ x \""" { y """ "b\"\u0063" """"""z"#;
        let expected = [name("a"), value("x \"\"\" { y"), value("b\"c"), value(""), name("z")];
        assert_eq!(tokens(text).unwrap(), expected);
        for broken in ["\"a\nb\"", "\"\"\" x", ". .", "?"] {
            assert!(tokens(broken).is_none(), "{broken}");
        }
    }
}
