//! The `Link` header (RFC 8288): `<target>; rel="next", <target>; rel="last"`.
//!
//! Clients parse it with regular expressions of their own (one wants `rel` right after the `;`), so
//! only the targets may change: order, spaces and quotes stay.

use http::HeaderValue;

use super::LinkMap;

/// The value with its targets changed; none if no target is GitHub's or it can't be parsed.
pub(super) fn rewrite_link(map: &LinkMap, value: &HeaderValue) -> Option<HeaderValue> {
    let value = value.as_bytes();
    let mut rewritten = Vec::new();
    let mut copied = 0;
    let mut at = 0;
    loop {
        at += blanks(&value[at..]);
        match value.get(at) {
            None => break,
            // Empty list elements are ignored (RFC 9110 §5.6.1).
            Some(b',') => at += 1,
            Some(b'<') => {
                let start = at + 1;
                let end = start + target_len(&value[start..])?;
                if let Some(found) = map.find_plain(&value[start..end]) {
                    rewritten.extend_from_slice(&value[copied..start]);
                    rewritten.extend_from_slice(found.target.plain.as_bytes());
                    copied = start + found.len;
                }
                at = end + 1;
                at += params_len(&value[at..])?;
            }
            Some(_) => return None,
        }
    }
    if copied == 0 {
        return None;
    }
    rewritten.extend_from_slice(&value[copied..]);
    HeaderValue::from_bytes(&rewritten).ok()
}

fn blanks(text: &[u8]) -> usize {
    text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}

/// The length up to the `>`; none if there is no `>` or the target isn't a URL.
fn target_len(text: &[u8]) -> Option<usize> {
    let end = text.iter().position(|byte| matches!(byte, b'<' | b'>' | b'"' | b' ' | b'\t'))?;
    (text[end] == b'>').then_some(end)
}

/// The length of the parameters, up to the next link's comma or the end; none if they aren't parameters.
fn params_len(text: &[u8]) -> Option<usize> {
    let mut at = blanks(text);
    if !matches!(text.get(at), None | Some(b',' | b';')) {
        return None;
    }
    loop {
        match text.get(at) {
            None | Some(b',') => return Some(at),
            Some(b'"') => at += quoted_len(&text[at..])?,
            Some(b'<' | b'>') => return None,
            Some(_) => at += 1,
        }
    }
}

/// The length of a quoted string with both its quotes; none if it has no end.
fn quoted_len(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}
