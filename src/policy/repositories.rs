//! Which repositories an agent may use: `OWNER/NAME`, `OWNER/*` or `*`.
//!
//! Names are compared as whole segments and case-insensitively, as GitHub does. There is no prefix or substring
//! match, so `acme/tool` never opens `acme/tool-secrets` or `acme2/tool`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// `owner/name` of one repository in lower case, since GitHub's names are not case-sensitive. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RepositoryName {
    full: Arc<str>,
    owner_len: usize,
}

impl RepositoryName {
    /// Builds the name; `None` when the owner can't be an account or the name can't be a repository.
    pub fn new(owner: &str, name: &str) -> Option<RepositoryName> {
        let sound = is_account(owner) && is_repository(name);
        sound.then(|| {
            let mut full = [owner, "/", name].concat();
            full.make_ascii_lowercase();
            RepositoryName { full: full.into(), owner_len: owner.len() }
        })
    }

    /// Parses `owner/name`.
    pub fn parse(full_name: &str) -> Option<RepositoryName> {
        let (owner, name) = full_name.split_once('/')?;
        RepositoryName::new(owner, name)
    }

    pub fn owner(&self) -> &str {
        &self.full[..self.owner_len]
    }

    pub fn name(&self) -> &str {
        &self.full[self.owner_len + 1..]
    }

    /// `owner/name`.
    pub fn full(&self) -> &Arc<str> {
        &self.full
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full)
    }
}

/// Whether `text` can be the login of a user, an organization or a bot.
pub fn is_account(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// Whether `text` can be the name of a repository.
fn is_repository(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text != "."
        && text != ".."
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// One entry of an agent's `repositories`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepositoryPattern {
    /// `"*"`: every repository of every installation.
    Any,
    /// `OWNER/*`, the owner in lower case.
    Owner(String),
    /// `OWNER/NAME`.
    Named(RepositoryName),
}

impl fmt::Display for RepositoryPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RepositoryPattern::Any => f.write_str("*"),
            RepositoryPattern::Owner(owner) => write!(f, "{owner}/*"),
            RepositoryPattern::Named(name) => name.fmt(f),
        }
    }
}

impl FromStr for RepositoryPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(RepositoryPattern::Any);
        }
        if let Some(owner) = text.strip_suffix("/*")
            && is_account(owner)
        {
            return Ok(RepositoryPattern::Owner(owner.to_ascii_lowercase()));
        }
        RepositoryName::parse(text)
            .map(RepositoryPattern::Named)
            .ok_or_else(|| format!("`{text}` is not OWNER/NAME, OWNER/* or \"*\""))
    }
}

/// One agent's repositories, in configuration order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositorySet {
    patterns: Vec<RepositoryPattern>,
}

impl RepositorySet {
    pub fn new(patterns: Vec<RepositoryPattern>) -> RepositorySet {
        RepositorySet { patterns }
    }

    /// The entries as the configuration file writes them.
    pub fn patterns(&self) -> Vec<String> {
        self.patterns.iter().map(RepositoryPattern::to_string).collect()
    }

    /// Whether the agent may see and touch this repository.
    pub fn contains(&self, repository: &RepositoryName) -> bool {
        self.patterns.iter().any(|pattern| match pattern {
            RepositoryPattern::Any => true,
            RepositoryPattern::Owner(owner) => owner == repository.owner(),
            RepositoryPattern::Named(named) => named == repository,
        })
    }

    /// Whether every repository of this owner belongs to the agent.
    pub fn contains_owner(&self, owner: &str) -> bool {
        self.patterns.iter().any(|pattern| match pattern {
            RepositoryPattern::Any => true,
            RepositoryPattern::Owner(own) => own.eq_ignore_ascii_case(owner),
            RepositoryPattern::Named(_) => false,
        })
    }

    /// Whether `"*"` is among the entries: only such agents may make calls that span repositories.
    pub fn is_everything(&self) -> bool {
        self.patterns.contains(&RepositoryPattern::Any)
    }

    /// The owners named, in configuration order without duplicates; empty for `"*"` alone.
    pub fn owners(&self) -> Vec<&str> {
        let mut owners = Vec::new();
        for pattern in &self.patterns {
            let owner = match pattern {
                RepositoryPattern::Any => continue,
                RepositoryPattern::Owner(owner) => owner.as_str(),
                RepositoryPattern::Named(named) => named.owner(),
            };
            if !owners.contains(&owner) {
                owners.push(owner);
            }
        }
        owners
    }

    /// The agent's repositories of one owner, sorted, if each is named; `None` if a `*` covers the owner.
    pub fn named_of(&self, owner: &str) -> Option<Vec<String>> {
        if self.contains_owner(owner) {
            return None;
        }
        let mut names: Vec<String> = self
            .patterns
            .iter()
            .filter_map(|pattern| match pattern {
                RepositoryPattern::Named(named) if named.owner().eq_ignore_ascii_case(owner) => {
                    Some(named.name().to_owned())
                }
                RepositoryPattern::Any | RepositoryPattern::Owner(_) | RepositoryPattern::Named(_) => None,
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        Some(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(patterns: &[&str]) -> RepositorySet {
        RepositorySet::new(patterns.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn repository(full_name: &str) -> RepositoryName {
        RepositoryName::parse(full_name).unwrap()
    }

    #[test]
    fn compares_whole_segments_without_case() {
        let set = set(&["Acme/Tool", "other/*"]);
        for (name, contained) in [
            ("acme/tool", true),
            ("ACME/TOOL", true),
            ("acme/tool2", false),
            ("acme/too", false),
            ("acme2/tool", false),
            ("other/anything", true),
            ("other2/anything", false),
        ] {
            assert_eq!(set.contains(&repository(name)), contained, "{name}");
        }
    }

    #[test]
    fn refuses_what_is_no_pattern() {
        for text in [
            "",
            "acme",
            "acme/",
            "/tool",
            "acme/t*",
            "*/tool",
            "**",
            "acme/a/b",
            "acme/..",
            "ac me/tool",
            "acme /x",
        ] {
            assert!(text.parse::<RepositoryPattern>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_repositories_for_a_token_only_when_each_is_named() {
        let set = set(&["acme/b", "acme/a", "acme/B", "other/*", "other/x"]);
        assert_eq!(set.named_of("ACME"), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(set.named_of("other"), None);
        assert_eq!(set.named_of("stranger"), Some(vec![]));
        assert_eq!(set.owners(), ["acme", "other"]);
    }
}
