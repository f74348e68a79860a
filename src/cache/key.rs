//! What an entry is kept under: everything that GitHub's answer hangs on.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};

/// Headers of the caller on which an answer may hang; they go up, and are part of the key.
pub const VARIED_BY: [&str; 5] =
    ["accept", "accept-language", "x-github-next-global-id", "graphql-features", "time-zone"];

/// User agents for which GitHub indents its JSON. Observed by clients, not documented.
const PRETTY: [&str; 4] = ["curl", "Wget", "Safari", "Firefox"];

/// The key of an entry. Those whose rights differ never have one in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(Arc<Parts>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Parts {
    installation: Arc<str>,
    /// What the token is narrowed to; none: all of the installation's.
    repositories: Option<Vec<String>>,
    /// As it goes up, with its query.
    target: String,
    /// The values of [`VARIED_BY`] and of `X-GitHub-Api-Version`, as they go up.
    varied: Vec<(HeaderName, HeaderValue)>,
    is_pretty: bool,
}

impl Key {
    /// For a GET of `target` with these headers, by a token that can read.
    pub fn new(
        installation: Arc<str>,
        repositories: Option<Vec<String>>,
        target: String,
        headers_up: &HeaderMap,
    ) -> Key {
        let names = VARIED_BY.into_iter().chain(["x-github-api-version"]);
        let varied = names.flat_map(|name| {
            let values = headers_up.get_all(name).iter();
            values.map(move |value| (HeaderName::from_static(name), value.clone()))
        });
        let agent = headers_up.get(USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes()));
        let is_pretty = agent.is_some_and(|agent| PRETTY.iter().any(|name| agent.contains(name)));
        Key(Arc::new(Parts { installation, repositories, target, varied: varied.collect(), is_pretty }))
    }

    /// The one `Accept` that goes up, if it is one.
    pub fn accept(&self) -> Option<&HeaderValue> {
        let mut accepts = self.0.varied.iter().filter(|(name, _)| name == "accept");
        accepts.next().filter(|_| accepts.next().is_none()).map(|(_, value)| value)
    }

    /// Whether GitHub's tag can be foretold: it is not known how several `Accept`s count.
    pub fn has_one_accept(&self) -> bool {
        self.0.varied.iter().filter(|(name, _)| name == "accept").count() <= 1
    }

    /// Bytes it takes, about.
    pub fn size(&self) -> usize {
        const FIXED: usize = 160;
        let repositories = self.0.repositories.iter().flatten().map(|name| name.len() + 24);
        let varied = self.0.varied.iter().map(|(_, value)| value.len() + 72);
        FIXED + self.0.target.len() + repositories.sum::<usize>() + varied.sum::<usize>()
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
        Key::new("app/acme".into(), Some(repositories), target.to_owned(), &map)
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
        ] {
            assert_ne!(plain, other);
        }
    }
}
