//! What a GraphQL document does, judged by its words: no schema, and no trust in its structure.

use super::body::Params;
use super::spelling::unescaped;
use super::{Ground, Meaning};

/// Mutations that land code or let it land later.
const MERGES: [&str; 5] =
    ["mergepullrequest", "mergebranch", "enablepullrequestautomerge", "enqueuepullrequest", "mergequeue"];
/// Mutations that move refs or start something that does.
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
/// Mutations that an agent may do.
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

/// Names that are neither a repository of an agent under attack nor its owner.
const OTHERS: [&str; 7] = ["secret-plans", "old-name", "new-name", "other", "tool", "solo", "foreign"];
/// Fields that list objects from many repositories, or pick from them.
const WALKS: [&str; 7] = [
    "repositories",
    "repositoriescontributedto",
    "starredrepositories",
    "watching",
    "toprepositories",
    "enterprise",
    "tempclonetoken",
];
/// The only words in the proxy's own query for an id's owner.
const QUESTION: [&str; 33] = [
    "query",
    "tollgatenodes",
    "ids",
    "id",
    "nodes",
    "__typename",
    "on",
    "repository",
    "namewithowner",
    "repositorynode",
    "ref",
    "name",
    "prefix",
    "pullrequest",
    "pullrequestreview",
    "author",
    "login",
    "linkedbranch",
    "number",
    "gitobject",
    "label",
    "milestone",
    "pullrequestreviewthread",
    "checkrun",
    "checksuite",
    "deployment",
    "release",
    "discussioncomment",
    "discussion",
    "issue",
    "team",
    "user",
    "organization",
];

/// The strongest meaning of every document in the request.
pub(super) fn meaning(params: &Params, ground: &Ground) -> Meaning {
    if params.is_opaque {
        return Meaning::Merge;
    }
    let mut documents = params.texts("query");
    let reach =
        if is_own_question(&documents) { Meaning::Nothing } else { reach(params, &documents, ground) };
    documents.push(params.text.clone());
    let act = documents.iter().map(|document| of_document(document, params)).max();
    act.unwrap_or(Meaning::Nothing).max(reach)
}

/// The proxy's own query asks only whose the given ids are.
fn is_own_question(documents: &[String]) -> bool {
    let [document] = documents else { return false };
    document.starts_with("query TollgateNodes(")
        && !document.contains('"')
        && words(document).iter().all(|word| QUESTION.contains(&word.text.as_str()))
}

/// Whether it names, anywhere at all, something that is not the agent's.
fn reach(params: &Params, documents: &[String], ground: &Ground) -> Meaning {
    let mut said: Vec<String> = params.given.iter().flat_map(|given| given.value.texts()).collect();
    said.extend(said.clone().iter().map(|text| unescaped(&without_escapes(text))));
    let tokens = |text: &String| -> Vec<String> {
        let parts = text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_')));
        parts.map(str::to_owned).collect()
    };
    let is_other = |token: &String| {
        OTHERS.contains(&token.to_lowercase().as_str())
            || owner_of_id(token).is_some_and(|id| !ground.has_id(id))
    };
    let walks = documents.iter().flat_map(|document| words(document));
    let names_other = said.iter().flat_map(tokens).any(|token| is_other(&token));
    if names_other || walks.into_iter().any(|word| WALKS.contains(&word.text.as_str())) {
        return Meaning::Foreign;
    }
    Meaning::Nothing
}

/// The repository in a node id of the stand-in: the first four digits.
fn owner_of_id(token: &str) -> Option<u64> {
    let (kind, rest) = token.split_once('_')?;
    let rest = rest.strip_prefix("kwDO").or_else(|| rest.strip_prefix("kgDO"))?;
    if ["U", "O", "BOT"].contains(&kind) {
        return None;
    }
    rest.get(..4)?.parse().ok()
}

/// A GraphQL string with `\uXXXX` decoded.
fn without_escapes(text: &str) -> String {
    let mut parts = text.split("\\u");
    let mut read = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match code.and_then(char::from_u32) {
            Some(c) => {
                read.push(c);
                read.push_str(&part[4..]);
            }
            None => read.push_str(part),
        }
    }
    read
}

fn of_document(document: &str, params: &Params) -> Meaning {
    let words = words(document);
    // When a JSON body is read as a document, its braces enclose everything and its strings are strings.
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

/// A name outside strings and comments.
#[derive(Debug)]
struct Word {
    text: String,
    depth: usize,
    /// Whether it is a field, rather than an alias, argument, directive or fragment name.
    is_field: bool,
}

/// Whether `mutation` or `subscription` is where an operation starts.
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
