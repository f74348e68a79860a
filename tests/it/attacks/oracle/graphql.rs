//! What a GraphQL document does, by the words in it: no schema, no trust in its structure.

use super::Meaning;
use super::body::Params;

/// Mutations that land code or let it land later.
const MERGES: [&str; 5] =
    ["mergepullrequest", "mergebranch", "enablepullrequestautomerge", "enqueuepullrequest", "mergequeue"];
/// Mutations that move refs or start what does.
const REFS: [&str; 10] = [
    "createcommitonbranch",
    "createref",
    "updateref",
    "updaterefs",
    "deleteref",
    "createlinkedbranch",
    "createdeployment",
    "revertpullrequest",
    "updatepullrequestbranch",
    "updatepullrequest",
];
/// Mutations that satisfy a gate, or remove what holds one.
const REVIEWS: [&str; 8] = [
    "addpullrequestreview",
    "submitpullrequestreview",
    "dismisspullrequestreview",
    "deletepullrequestreview",
    "createcheckrun",
    "updatecheckrun",
    "approvedeployments",
    "resolvereviewthread",
];
/// Mutations that an agent may well do.
const ORDINARY: [&str; 14] = [
    "addcomment",
    "updateissuecomment",
    "createissue",
    "updateissue",
    "closeissue",
    "reopenissue",
    "addlabelstolabelable",
    "removelabelsfromlabelable",
    "addassigneestoassignable",
    "addreaction",
    "createpullrequest",
    "closepullrequest",
    "addpullrequestreviewthread",
    "requestreviews",
];

/// The strongest meaning of every document in the request.
pub(super) fn meaning(params: &Params) -> Meaning {
    if params.is_opaque {
        return Meaning::Merge;
    }
    let mut documents = params.texts("query");
    documents.push(params.text.clone());
    documents.iter().map(|document| of_document(document, params)).max().unwrap_or(Meaning::Nothing)
}

fn of_document(document: &str, params: &Params) -> Meaning {
    let words = words(document);
    // A JSON body read as a document has its braces around everything; its texts are strings.
    if !words.iter().enumerate().any(|(index, word)| starts_a_change(&words, index, word)) {
        return Meaning::Nothing;
    }
    let holds = |names: &[&str]| words.iter().any(|word| names.contains(&word.text.as_str()));
    let approves = || {
        let texts = params.given.iter().flat_map(|given| given.value.texts());
        let said: Vec<String> = texts.chain(words.iter().map(|word| word.text.clone())).collect();
        said.iter().any(|text| {
            let text = text.to_lowercase();
            text.contains("approve") || text.contains("dismiss")
        })
    };
    match () {
        () if holds(&MERGES) => Meaning::Merge,
        () if holds(&REFS) => Meaning::RefWrite,
        () if holds(&REVIEWS) && (approves() || !holds(&REVIEWS[..2])) => Meaning::Review,
        () if words
            .iter()
            .any(|word| word.depth == 1 && word.is_field && !ORDINARY.contains(&word.text.as_str()))
            && !holds(&REVIEWS) =>
        {
            Meaning::Admin
        }
        () => Meaning::Nothing,
    }
}

/// A name outside of strings and comments.
#[derive(Debug)]
struct Word {
    text: String,
    depth: usize,
    /// A field: no alias, no argument, no directive, no fragment's name.
    is_field: bool,
}

/// Whether `mutation` or `subscription` stands where an operation begins.
fn starts_a_change(words: &[Word], index: usize, word: &Word) -> bool {
    let before = index.checked_sub(1).map(|before| &words[before]).filter(|before| before.depth == 0);
    let is_name = before.is_some_and(|before| ["query", "fragment", "on"].contains(&before.text.as_str()));
    word.depth == 0 && !is_name && (word.text == "mutation" || word.text == "subscription")
}

fn words(document: &str) -> Vec<Word> {
    let chars: Vec<char> = document.chars().collect();
    let (mut words, mut depth, mut parens, mut at) = (Vec::<Word>::new(), 0_usize, 0_usize, 0);
    let mut before = ' ';
    while at < chars.len() {
        let c = chars[at];
        match c {
            '#' => at += chars[at..].iter().take_while(|c| !matches!(c, '\n' | '\r')).count(),
            '"' => at = end_of_string(&chars, at),
            '{' | '}' if parens == 0 => {
                depth = if c == '{' { depth + 1 } else { depth.saturating_sub(1) };
                at += 1;
            }
            '(' | ')' => {
                parens = if c == '(' { parens + 1 } else { parens.saturating_sub(1) };
                at += 1;
            }
            _ if c.is_alphabetic() || c == '_' => {
                let length = chars[at..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
                let text: String = chars[at..at + length].iter().collect();
                at += length;
                let next = chars[at..].iter().find(|c| !c.is_whitespace() && **c != ',');
                let is_field = parens == 0 && next != Some(&':') && !matches!(before, '@' | '$' | '.');
                words.push(Word { text: text.to_lowercase(), depth, is_field });
            }
            _ => at += 1,
        }
        if !c.is_whitespace() {
            before = c;
        }
    }
    words
}

fn end_of_string(chars: &[char], start: usize) -> usize {
    let is_block = chars[start..].starts_with(&['"', '"', '"']);
    let mut at = start + if is_block { 3 } else { 1 };
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' if !is_block => return at + 1,
            '"' if chars[at..].starts_with(&['"', '"', '"']) => return at + 3,
            '\n' if !is_block => return at,
            _ => at += 1,
        }
    }
    chars.len()
}
