//! Confines a search by its own qualifiers, as far as they can be read without doubt.
//!
//! An agent without access to every repository may search if at least one positive `repo:`, `org:` or `user:`
//! qualifier confines the search, all of them lie within its list, and the text holds nothing that could widen
//! the search again: boolean operators, parentheses, quotes around qualifiers. Source: GitHub Docs,
//! "Understanding the search syntax" and "Searching code".

use thiserror::Error;

use super::repositories::{RepositoryName, RepositorySet, is_account};
use super::target::Target;

/// Searches whose results the qualifiers confine; other searches (users, topics, labels) ignore them.
const CONFINED: [&str; 4] = ["/search/code", "/search/commits", "/search/issues", "/search/repositories"];

/// The parameters of the search endpoints.
const PARAMETERS: [&str; 7] = ["q", "sort", "order", "per_page", "page", "advanced_search", "search_type"];

/// Owners of which it is asked whether one installation serves them all.
const OWNERS_MAX: usize = 20;

/// Why a search is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SearchError {
    #[error("this search is not confined to repositories; it is for agents with every repository")]
    Unconfined,
    #[error("the query must say `q` exactly once")]
    NotOneQuery,
    #[error("the query string holds a parameter that search does not have, or a `;`")]
    Parameter,
    #[error("name your repositories with `repo:`, `org:` or `user:`")]
    NoQualifier,
    #[error("`{0}` is not among your repositories")]
    Outside(String),
    #[error("boolean operators, parentheses and quoted qualifiers can't be judged; leave them out")]
    Ambiguous,
}

/// Judges a REST search; returns the owners named, whose installations can serve the search.
///
/// # Errors
/// When the search is not confined to the repositories, or can't be judged.
pub fn judge(
    template: &str,
    target: &Target,
    repositories: &RepositorySet,
) -> Result<Vec<String>, SearchError> {
    let queries = target.query_values("q");
    if repositories.is_everything() {
        return Ok(owners(queries.iter().flat_map(|query| qualifiers(query))));
    }
    if !CONFINED.contains(&template) {
        return Err(SearchError::Unconfined);
    }
    let [query] = queries.as_slice() else {
        return Err(SearchError::NotOneQuery);
    };
    // Some servers read `[q]`, or what follows a `;`, as another `q`.
    let known = |name: &str| PARAMETERS.contains(&name);
    if !target.query_names().iter().all(|name| known(name))
        || target.query().is_some_and(|raw| raw.contains(';'))
    {
        return Err(SearchError::Parameter);
    }
    confine(query, repositories)
}

/// Judges the text of a GraphQL search, whose `type` says what is searched; returns the owners named.
///
/// # Errors
/// When the search is not confined to the repositories, or can't be judged.
pub fn judge_text(kind: &str, query: &str, repositories: &RepositorySet) -> Result<Vec<String>, SearchError> {
    if repositories.is_everything() {
        return Ok(owners(qualifiers(query)));
    }
    // Searches for users have other qualifiers.
    match kind {
        "ISSUE" | "ISSUE_ADVANCED" | "REPOSITORY" | "DISCUSSION" => confine(query, repositories),
        _ => Err(SearchError::Unconfined),
    }
}

fn confine(query: &str, repositories: &RepositorySet) -> Result<Vec<String>, SearchError> {
    let (words, query) = bracketed(query)?;
    check_plain(&[words, query].join(" "))?;
    for (key, value) in qualifiers(query) {
        let inside = match key {
            Key::Repository => RepositoryName::parse(&value).is_some_and(|name| repositories.contains(&name)),
            Key::Account => repositories.contains_owner(&value),
        };
        if !inside {
            return Err(SearchError::Outside(value));
        }
    }
    let owners = owners(qualifiers(query));
    if owners.is_empty() { Err(SearchError::NoQualifier) } else { Ok(owners) }
}

/// Splits `( WORDS ) QUALIFIERS`, as the GitHub CLI writes it. With nothing in the brackets that confines or
/// operates, they mean the same as no brackets, also to a search that does not know them.
fn bracketed(query: &str) -> Result<(&str, &str), SearchError> {
    let Some((words, rest)) = query.strip_prefix("( ").and_then(|rest| rest.split_once(" ) ")) else {
        return Ok(("", query));
    };
    let lower = words.to_ascii_lowercase();
    let is_whole = words.matches('"').count() % 2 == 0;
    match is_whole && !CONFINING.iter().any(|key| lower.contains(key)) {
        true => Ok((words, rest)),
        false => Err(SearchError::Ambiguous),
    }
}

/// Qualifiers that say whose content is searched.
const CONFINING: [&str; 5] = ["repo:", "org:", "user:", "owner:", "enterprise:"];

/// Whether a confining qualifier, or one that can't be identified, takes the text after `part` as its value.
fn opens_confining(part: &str) -> bool {
    let word = part.rsplit(' ').next().unwrap_or_default().to_ascii_lowercase();
    let Some(key) = word.strip_suffix(':') else { return false };
    let key = key.strip_prefix('-').unwrap_or(key);
    let is_plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    !is_plain || CONFINING.contains(&format!("{key}:").as_str())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Repository,
    Account,
}

/// The positive confining qualifiers.
fn qualifiers(query: &str) -> impl Iterator<Item = (Key, String)> {
    query.split_whitespace().filter_map(|word| {
        let (key, value) = word.split_once(':')?;
        let key = match key.to_ascii_lowercase().as_str() {
            "repo" => Key::Repository,
            "org" | "user" => Key::Account,
            _ => return None,
        };
        Some((key, value.to_ascii_lowercase()))
    })
}

/// The owners that qualifiers name, each once; more than a few matter to nobody.
fn owners(qualifiers: impl Iterator<Item = (Key, String)>) -> Vec<String> {
    let mut owners = Vec::new();
    for (_, value) in qualifiers {
        let owner = value.split('/').next().unwrap_or_default().to_owned();
        if owners.len() < OWNERS_MAX && is_account(&owner) && !owners.contains(&owner) {
            owners.push(owner);
        }
    }
    owners
}

/// Refuses anything that could change a qualifier's meaning.
fn check_plain(query: &str) -> Result<(), SearchError> {
    if query
        .chars()
        .any(|c| matches!(c, '(' | ')' | '|' | '\\') || (c.is_control() || (c.is_whitespace() && c != ' ')))
    {
        return Err(SearchError::Ambiguous);
    }
    // A confining qualifier must be at the start of its own word, and be one that is judged.
    for word in query.split(' ').map(str::to_ascii_lowercase) {
        let word = word.strip_prefix('-').unwrap_or(&word);
        let judged = ["repo:", "org:", "user:"].iter().find(|key| word.starts_with(**key));
        let rest = judged.map_or(word, |key| &word[key.len()..]);
        let reaches = CONFINING.iter().any(|key| rest.contains(key));
        let operates = ["or\"", "and\"", "not\""].iter().any(|start| word.starts_with(start));
        if reaches || operates {
            return Err(SearchError::Ambiguous);
        }
    }
    // A qualifier without a value may take the next word as its value; typographic quotes may be read as quotes.
    let unquoted = query.split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
    if unquoted.split(' ').any(|word| word.ends_with(':'))
        || query.contains(['“', '”', '„', '«', '»', '‘', '’'])
    {
        return Err(SearchError::Ambiguous);
    }
    if query.split(' ').any(|word| matches!(word.to_ascii_uppercase().as_str(), "OR" | "AND" | "NOT")) {
        return Err(SearchError::Ambiguous);
    }
    // A quoted phrase is free text, or the value of a qualifier that does not confine, such as `label:"a b"`. No
    // confining qualifier may be in it or touch it.
    let mut quoted = false;
    for (index, part) in query.split('"').enumerate() {
        quoted = index % 2 == 1;
        let touches =
            !quoted && (opens_confining(part) || (index > 0 && !part.is_empty() && !part.starts_with(' ')));
        if (quoted && CONFINING.iter().any(|key| part.to_ascii_lowercase().contains(key))) || touches {
            return Err(SearchError::Ambiguous);
        }
    }
    if quoted {
        return Err(SearchError::Ambiguous);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(template: &str, query: &str) -> Result<Vec<String>, SearchError> {
        let patterns = ["acme/tool", "other/*"].iter().map(|text| text.parse().unwrap()).collect();
        let target = Target::parse(template, Some(query)).unwrap();
        judge(template, &target, &RepositorySet::new(patterns))
    }

    #[test]
    fn passes_what_its_qualifiers_confine() {
        for (query, owners) in [
            ("q=repo:acme/tool+is:open", &["acme"][..]),
            ("q=bug+repo%3AAcme%2FTool", &["acme"]),
            ("q=org:other+repo:acme/tool", &["other", "acme"]),
            ("q=user:OTHER+%22two+words%22", &["other"]),
            ("q=repo:acme/tool+-label:x&sort=created", &["acme"]),
            ("q=repo:acme/tool+-label:%22don't+merge%22", &["acme"]),
            ("q=repo:acme/tool+label:%22area:+x%22+author:%22octocat%22", &["acme"]),
            // As `gh issue list --search` and `gh search issues` write it.
            ("q=(+crash+)+repo:acme/tool+type:issue", &["acme"]),
            ("q=(+%22two+words%22+in:title+)+repo:acme/tool+type:issue", &["acme"]),
        ] {
            assert_eq!(judged("/search/issues", query).unwrap(), owners, "{query}");
        }
    }

    /// A hundred thousand of them took 18 s, each being compared with all before it.
    #[test]
    fn a_few_of_many_owners_are_enough() {
        let everything = RepositorySet::new(vec!["*".parse().unwrap()]);
        let query = (0..1_000).map(|number| format!("org:o{number} ")).collect::<String>();
        assert_eq!(judge_text("ISSUE", &query, &everything).unwrap().len(), OWNERS_MAX);
    }

    #[test]
    fn refuses_what_could_reach_further() {
        for query in [
            "q=bug",
            "",
            "q=repo:acme/tool&q=bug",
            "q=repo:acme/tool&[q]=bug",
            "q=repo:acme/tool&%5Bq=bug",
            "q=repo:acme/tool;q=bug",
            "q=repo:acme/tool&x=bug",
            "q=repo:acme/tool+OR+bug",
            "q=repo:acme/tool+or+bug",
            "q=repo:acme/tool+NOT+bug",
            "q=(repo:acme/tool)",
            "q=(+repo:acme/tool+)+bug",
            "q=(+crash+)+bug",
            "q=(+crash+OR+bug+)+repo:acme/tool",
            "q=(+repo:acme/secret+)+repo:acme/tool",
            "q=(+label:%22repo:acme/secret+)+x%22+repo:acme/tool",
            "q=(+label:+)+repo:acme/tool",
            "q=(+%22x+)+repo:acme/tool+y%22",
            "q=(+x+)+repo:acme/tool+(+y+)",
            "q=(+(+x+)+)+repo:acme/tool",
            "q=-(+x+)+repo:acme/tool",
            "q=(+NOT+)+repo:acme/tool",
            "q=(+x+)+OR+repo:acme/tool",
            "q=(+x+)repo:acme/tool",
            "q=repo:acme/tool+repo:acme/secret",
            "q=repo:acme/tool+org:acme",
            "q=-repo:acme/tool",
            "q=%22repo:acme/tool%22",
            "q=repo:%22acme/tool%22",
            "q=repo:acme/tool+org:%22acme%22",
            "q=repo:acme/tool+label:%22x+repo:acme/secret%22",
            "q=repo:acme/tool+label:%22x%22repo:acme/secret",
            "q=%22x+repo:acme/tool",
            "q=repo:acme/tool%09OR%09bug",
            "q=repo:acme/tool%0AOR%0Abug",
            "q=repo:acme/tool|bug",
            "q=repo:acme/*",
            "q=repo:",
            "q=label:+repo:acme/tool",
            "q=%22x%22+label:+repo:acme/tool",
            "q=repo:acme/tool+%2Brepo:acme/secret",
            "q=repo:acme/tool+,repo:acme/secret",
            "q=repo:acme/tool+owner:acme",
            "q=repo:acme/tool+enterprise:acme",
            "q=repo:acme/tool+OR%22x%22",
            "q=%E2%80%9Cx+repo:acme/tool+y%E2%80%9D",
        ] {
            assert!(judged("/search/issues", query).is_err(), "{query}");
        }
        assert_eq!(judged("/search/users", "q=user:other"), Err(SearchError::Unconfined));
    }
}
