//! A path in every reading that some server might have of it.

/// Decodes percent escapes until there are none, including over-long UTF-8 and `%uXXXX`.
pub(super) fn unescaped(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..6 {
        let decoded = decoded_once(&bytes);
        if decoded == bytes {
            break;
        }
        bytes = decoded;
    }
    String::from_utf8_lossy(&shortened(&bytes)).into_owned()
}

fn decoded_once(bytes: &[u8]) -> Vec<u8> {
    let digits = |from: usize, count: usize| {
        let text = bytes.get(from..from + count).and_then(|digits| std::str::from_utf8(digits).ok())?;
        u32::from_str_radix(text, 16).ok()
    };
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let wide = bytes[at..].starts_with(b"%u") || bytes[at..].starts_with(b"%U");
        if let Some(c) = digits(at + 2, 4).filter(|_| wide).and_then(char::from_u32) {
            out.extend(c.encode_utf8(&mut [0; 4]).bytes());
            at += 6;
        } else if let Some(byte) = digits(at + 1, 2).filter(|_| bytes[at] == b'%') {
            out.push(u8::try_from(byte).unwrap_or(b'?'));
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    out
}

/// Rewrites over-long encodings of ASCII, and full-width letters, as single bytes.
fn shortened(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at..] {
            [first @ 0xc0..=0xc1, second @ 0x80..=0xbf, ..] => {
                out.push((first & 1) << 6 | (second & 0x3f));
                at += 2;
            }
            [0xe0, first @ 0x80..=0x81, second @ 0x80..=0xbf, ..] => {
                out.push((first & 1) << 6 | (second & 0x3f));
                at += 3;
            }
            // U+FF01 to U+FF5E stand for ! to ~.
            [0xef, 0xbc, third @ 0x81..=0xbf, ..] => {
                out.push(third - 0x80 + 0x20);
                at += 3;
            }
            [0xef, 0xbd, third @ 0x80..=0x9e, ..] => {
                out.push(third - 0x80 + 0x60);
                at += 3;
            }
            [byte, ..] => {
                out.push(byte);
                at += 1;
            }
            [] => break,
        }
    }
    out
}

/// The path without scheme, authority, query and fragment; and the query.
pub(super) fn path_and_query(target: &str) -> (String, String) {
    let rest = target.split_once("://").filter(|(scheme, _)| scheme.bytes().all(|b| b.is_ascii_alphabetic()));
    let rest = rest.map_or(target, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
    let rest = rest.split('#').next().unwrap_or_default();
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    (path.to_owned(), query.to_owned())
}

/// The possible path segments: with an escaped slash read as a separator, and not.
pub(super) fn readings(path: &str) -> Vec<Vec<String>> {
    let whole = unescaped(path).replace('\\', "/");
    // An escaped `?` or `#` may end the path, and a NUL ends a C string.
    let cut = |text: &str| text.split(['?', '#', '\0']).next().unwrap_or_default().to_owned();
    let apart: Vec<String> = path.split('/').map(unescaped).collect();
    let split = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
    let mut found = vec![resolve(split(&whole)), resolve(split(&cut(&whole))), resolve(apart)];
    found.dedup();
    found.iter().map(|segments| without_prefix(segments)).collect()
}

fn resolve(segments: Vec<String>) -> Vec<String> {
    let mut resolved: Vec<String> = Vec::new();
    for segment in segments {
        let bare: String = segment.split(';').next().unwrap_or_default().to_lowercase();
        let bare = bare.trim_matches(|c: char| c.is_whitespace() || c.is_control() || c == '\u{200b}');
        match bare {
            "" | "." => {}
            ".." => {
                resolved.pop();
            }
            _ => resolved.push(bare.trim_end_matches('.').to_owned()),
        }
    }
    if let Some(last) = resolved.last_mut() {
        for ending in [".json", ".xml", ".diff", ".patch", ".html"] {
            if let Some(bare) = last
                .strip_suffix(ending)
                .filter(|bare| bare.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'))
            {
                *last = bare.to_owned();
            }
        }
    }
    resolved
}

/// Removes the API's prefixes, however often they are repeated.
fn without_prefix(segments: &[String]) -> Vec<String> {
    let mut rest = segments;
    loop {
        match rest {
            [api, version, ..] if api == "api" && (version == "v3" || version == "uploads") => {
                rest = &rest[2..]
            }
            [api, graphql] if api == "api" && graphql == "graphql" => rest = &rest[1..],
            _ => return rest.to_vec(),
        }
    }
}
