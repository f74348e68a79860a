//! What is about to be approved, for a person to read.
//!
//! The text comes from an agent, so nothing in it may move the cursor, hide itself or read backwards.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::refusal::Request;
use crate::policy::approval::{Base, Binding, Requirement};
use crate::policy::json;

/// Characters of Unicode that take no room, turn the direction of writing, or look like a blank.
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Text without characters that a terminal obeys or that can't be seen.
pub(super) fn safe(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => shown.push(c),
            c if c.is_control() || is_unseen(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

pub(super) fn requirement(required: &Requirement, err: &mut dyn Write) -> io::Result<()> {
    let repository = required.repository.as_ref().map_or("no repository".to_owned(), ToString::to_string);
    writeln!(err, "To be approved: one {} operation in {repository}", required.action)?;
    if required.action == "auto-merge" {
        writeln!(err, "  (when GitHub's conditions are met, and with what is pushed until then)")?;
    }
    let (number, head_sha, base, stack) = match &required.binding {
        Binding::Pull { number, head_sha, base, stack } => (number, head_sha, base, stack),
        Binding::Request { head_sha, ids, .. } => {
            if let Some(head_sha) = head_sha {
                writeln!(err, "  about        commit {head_sha}, whatever its branch holds by then")?;
            }
            for (id, title) in ids {
                writeln!(err, "  in it        {} is {}", safe(id), safe(title))?;
            }
            return Ok(());
        }
    };
    let head_sha = head_sha.as_deref().unwrap_or("unknown");
    if stack.is_empty() {
        writeln!(err, "  merges       pull request #{number} at commit {head_sha}")?;
        return into(base.as_ref(), err);
    }
    for at in stack {
        writeln!(err, "  merges       pull request #{} at commit {}", at.number, at.head_sha)?;
    }
    writeln!(err, "  (a stack: #{number} lands with those below it)")?;
    into(base.as_ref(), err)
}

fn into(base: Option<&Base>, err: &mut dyn Write) -> io::Result<()> {
    match base {
        Some(base) => writeln!(err, "  into         {}, and no other branch", safe(&base.branch)),
        None => writeln!(err, "  into         the default branch, or whichever it is into by then"),
    }
}

pub(super) fn request(request: &Request, err: &mut dyn Write) -> io::Result<()> {
    writeln!(err, "  request      {} {}", safe(&request.method), safe(&request.path))?;
    if request.body.is_empty() {
        return writeln!(err, "  body         none");
    }
    // What has more than one reading is shown as it is.
    let object = json::object(&request.body).ok();
    let text = match &object {
        Some(object) => serde_json::to_string_pretty(object).unwrap_or_default(),
        None => String::from_utf8_lossy(&request.body).into_owned(),
    };
    indented("body", &text, err)?;
    // A file's content travels as base64, which nobody reads.
    let content = object.as_ref().and_then(|object| object.get("content")).and_then(Value::as_str);
    let Some(content) = content else { return Ok(()) };
    match STANDARD.decode(content.replace(['\n', '\r'], "")).map(String::from_utf8) {
        Ok(Ok(text)) => indented("content, decoded", &text, err),
        Ok(Err(error)) => writeln!(err, "  content      {} bytes that are no text", error.as_bytes().len()),
        Err(_) => writeln!(err, "  content      is no plain base64 and can't be shown: read it yourself"),
    }
}

fn indented(title: &str, text: &str, err: &mut dyn Write) -> io::Result<()> {
    writeln!(err, "  {title}:")?;
    for line in safe(text).lines() {
        writeln!(err, "    {line}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor_or_hides() {
        assert_eq!(safe("a\u{1b}[2Kb\rc\u{202e}d\u{200b}é\n"), "a\\u{1b}[2Kb\\u{d}c\\u{202e}d\\u{200b}é\n");
    }

    #[test]
    fn a_file_is_shown_as_text() {
        let body = br#"{"message":"m","content":"aGVsbG8KG1sySg=="}"#.to_vec();
        let mut err = Vec::new();
        let put = Request { method: "PUT".to_owned(), path: "/repos/a/b/contents/x".to_owned(), body };
        request(&put, &mut err).unwrap();
        let text = String::from_utf8(err).unwrap();
        assert!(text.contains("    hello\n    \\u{1b}[2J"), "{text}");
    }
}
