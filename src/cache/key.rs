//! The key of an entry: everything that GitHub's answer depends on.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, LazyLock};

use http::header::{ACCEPT, ACCEPT_LANGUAGE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};

use super::owned;

/// Caller headers that an answer may depend on; they are forwarded and are part of the key.
pub static VARIED_BY: [HeaderName; 5] = [
    ACCEPT,
    ACCEPT_LANGUAGE,
    HeaderName::from_static("x-github-next-global-id"),
    HeaderName::from_static("graphql-features"),
    HeaderName::from_static("time-zone"),
];
static API_VERSION: HeaderName = HeaderName::from_static("x-github-api-version");

/// User agents for which GitHub indents its JSON. Observed by clients, not documented.
const PRETTY: [&str; 4] = ["curl", "Wget", "Safari", "Firefox"];

/// The key of an entry. Callers with different rights never share a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Hash of the parts, keyed with a secret because agents choose their content. Kept because a key is looked
    /// up several times.
    hash: u64,
    parts: Arc<Parts>,
}

static HASHED_WITH: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Parts {
    installation: Arc<str>,
    /// What the credential may do; see [`crate::github::installations::Installation::rights`].
    rights: u64,
    /// Repositories that the token is narrowed to; `None`: all of the installation's.
    repositories: Option<Vec<String>>,
    /// The path and query sent to GitHub.
    target: String,
    /// The values of [`VARIED_BY`] and of `X-GitHub-Api-Version`, as sent to GitHub.
    varied: Vec<(HeaderName, HeaderValue)>,
    is_pretty: bool,
}

impl Key {
    /// The key of a GET of `target` with these headers, using a token that can read.
    pub fn new(
        (installation, rights): (Arc<str>, u64),
        repositories: Option<Vec<String>>,
        target: String,
        headers_up: &HeaderMap,
    ) -> Key {
        let names = VARIED_BY.iter().chain([&API_VERSION]);
        let varied = names.flat_map(|name| {
            let values = headers_up.get_all(name).iter();
            // Copied, because the original value keeps its request's whole head alive.
            values.map(move |value| (name.clone(), owned(value)))
        });
        let mut agents = headers_up.get_all(USER_AGENT).iter();
        let is_pretty = agents.any(|agent| {
            let agent = String::from_utf8_lossy(agent.as_bytes());
            PRETTY.iter().any(|name| agent.contains(name))
        });
        Key::of(Parts { installation, rights, repositories, target, varied: varied.collect(), is_pretty })
    }

    fn of(parts: Parts) -> Key {
        Key { hash: HASHED_WITH.hash_one(&parts), parts: Arc::new(parts) }
    }

    /// Repositories that the token is narrowed to; `None`: all of the installation's.
    pub fn repositories(&self) -> Option<&Vec<String>> {
        self.parts.repositories.as_ref()
    }

    /// The rights of the installation's credential.
    pub fn rights(&self) -> u64 {
        self.parts.rights
    }

    /// The key of the same read by another token.
    pub fn by_token_for(&self, rights: u64, repositories: Option<Vec<String>>) -> Key {
        let Parts { installation, target, varied, is_pretty, .. } = &*self.parts;
        let (installation, target, varied) = (Arc::clone(installation), target.clone(), varied.clone());
        Key::of(Parts { installation, rights, repositories, target, varied, is_pretty: *is_pretty })
    }

    /// The `Accept` that is sent, if there is exactly one.
    pub fn accept(&self) -> Option<&HeaderValue> {
        let mut accepts = self.parts.varied.iter().filter(|(name, _)| *name == ACCEPT);
        accepts.next().filter(|_| accepts.next().is_none()).map(|(_, value)| value)
    }

    /// Whether GitHub's tag can be predicted: how several `Accept` headers count is unknown.
    pub fn has_one_accept(&self) -> bool {
        self.parts.varied.iter().filter(|(name, _)| *name == ACCEPT).count() <= 1
    }

    /// Approximate size in bytes.
    pub fn size(&self) -> usize {
        const FIXED: usize = 160;
        let repositories = self.parts.repositories.iter().flatten().map(|name| name.len() + 24);
        let varied = self.parts.varied.iter().map(|(_, value)| value.len() + 72);
        FIXED + self.parts.target.len() + repositories.sum::<usize>() + varied.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(repositories: &[&str], target: &str, headers: &[(&'static str, &'static str)]) -> Key {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let repositories = repositories.iter().map(|name| (*name).to_owned()).collect();
        Key::new(("app/acme".into(), 1), Some(repositories), target.to_owned(), &map)
    }

    #[test]
    fn what_an_answer_hangs_on_tells_keys_apart() {
        let plain = key(&["widgets"], "/repos/acme/widgets", &[("accept", "application/json")]);
        assert_eq!(
            plain,
            key(
                &["widgets"],
                "/repos/acme/widgets",
                &[("accept", "application/json"), ("user-agent", "octokit"), ("traceparent", "00-1-2-01")]
            )
        );
        for other in [
            key(&["tools"], "/repos/acme/widgets", &[("accept", "application/json")]),
            key(&["widgets"], "/repos/acme/widgets?page=2", &[("accept", "application/json")]),
            key(&["widgets"], "/repos/acme/widgets", &[("accept", "application/vnd.github.raw+json")]),
            key(&["widgets"], "/repos/acme/widgets", &[]),
            key(
                &["widgets"],
                "/repos/acme/widgets",
                &[("accept", "application/json"), ("user-agent", "curl/8")],
            ),
            key(
                &["widgets"],
                "/repos/acme/widgets",
                &[("accept", "application/json"), ("x-github-api-version", "2026-03-10")],
            ),
            key(
                &["widgets"],
                "/repos/acme/widgets",
                &[("accept", "application/json"), ("accept", "text/html")],
            ),
            key(
                &["widgets"],
                "/repos/acme/widgets",
                &[("accept", "application/json"), ("user-agent", "octokit"), ("user-agent", "curl/8")],
            ),
            plain.by_token_for(plain.rights(), Some(vec!["tools".to_owned()])),
            plain.by_token_for(plain.rights() + 1, plain.repositories().cloned()),
        ] {
            assert_ne!(plain, other);
        }
    }

    #[test]
    fn a_key_holds_nothing_of_the_request_alive() {
        let head = bytes::Bytes::from(vec![b'a'; 30_000]);
        let value = HeaderValue::from_maybe_shared(head.slice(..16)).unwrap();
        let headers = HeaderMap::from_iter([(HeaderName::from_static("accept"), value)]);
        let key = Key::new(("app/acme".into(), 1), None, "/x".to_owned(), &headers);
        drop(headers);
        assert!(head.is_unique());
        assert_eq!(key.accept().unwrap(), "aaaaaaaaaaaaaaaa");
    }
}
