//! A lenient, independent reader of what reached the stand-in: reports the worst that any server could read into it.
//!
//! It shares no code with the proxy under test. Where two readings are possible it takes the dangerous one; a
//! write that it does not know is dangerous.

mod body;
mod graphql;
mod spelling;
mod writes;

#[cfg(test)]
mod tests;

use github_sim::RecordedRequest;

use body::Params;
use spelling::{path_and_query, readings, unescaped};

/// The possible meanings of a request, the harmless first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Meaning {
    /// A read or an ordinary write in the agent's repositories, or public information.
    Nothing,
    /// Has not the installation's credential, or contains something that is not for GitHub.
    Stray,
    /// Reads or writes outside of the agent's repositories.
    Foreign,
    /// Satisfies or removes a gate: reviews, statuses, checks.
    Review,
    /// Moves, creates or deletes the default branch, a protected one or a tag, or starts something that does.
    RefWrite,
    /// Rules, settings, access, and every unknown write.
    Admin,
    /// Credentials.
    Token,
    /// Lands code.
    Merge,
}

/// What the oracle needs to know about the world.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    /// The repositories the agent may use, with their ids.
    pub(crate) own: Vec<(&'static str, u64)>,
    /// The default branch and the protected ones.
    pub(crate) guarded: Vec<&'static str>,
    /// Open pull requests and the branches they come from.
    pub(crate) heads: Vec<(u64, &'static str)>,
}

impl Ground {
    fn has(&self, owner: &str, name: &str) -> bool {
        let name = name.strip_suffix(".git").unwrap_or(name);
        self.own.iter().any(|(own, _)| own.eq_ignore_ascii_case(&format!("{owner}/{name}")))
    }

    fn has_id(&self, id: u64) -> bool {
        self.own.iter().any(|(_, own)| *own == id)
    }
}

/// The strongest meaning of a request that arrived.
pub(crate) fn judge(request: &RecordedRequest, ground: &Ground) -> Meaning {
    let mut strongest = if is_stray(request) { Meaning::Stray } else { Meaning::Nothing };
    for target in targets(request) {
        let (path, query) = path_and_query(&target);
        let params = Params::read(request, &query);
        for segments in readings(&path) {
            let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
            for method in methods(request, &params) {
                let call = Call { method: &method, params: &params, ground, status: request.status };
                strongest = strongest.max(call.meaning(&segments));
            }
        }
    }
    strongest
}

/// Whether it carries a credential other than the installation's, or something from the agent that should not
/// have been forwarded.
fn is_stray(request: &RecordedRequest) -> bool {
    let leaves = |name: &str| {
        let hop = ["connection", "keep-alive", "te", "trailer", "upgrade", "http2-settings", "expect"];
        name.contains('_')
            || name.contains("approval")
            || name.contains("override")
            || name.starts_with("x-forwarded")
            || name.starts_with("x-original")
            || name.starts_with("x-rewrite")
            || name.starts_with("proxy-")
            || ["cookie", "forwarded", "x-real-ip"].contains(&name)
            || hop.contains(&name)
    };
    !request.credential.starts_with("installation:") || request.headers.keys().any(|name| leaves(name))
}

/// The target, and those that some servers take from headers instead.
fn targets(request: &RecordedRequest) -> Vec<String> {
    let others = ["x-original-url", "x-rewrite-url", "x-forwarded-uri", "x-forwarded-path"];
    let others = others.iter().filter_map(|name| request.headers.get(*name));
    std::iter::once(&request.target).chain(others).cloned().collect()
}

/// The method, and those that could override it.
fn methods(request: &RecordedRequest, params: &Params) -> Vec<String> {
    let names = ["x-http-method-override", "x-method-override", "x-http-method", "x-original-method"];
    let headers = request.headers.iter().filter(|(name, _)| names.contains(&name.replace('_', "-").as_str()));
    let given = params.texts("_method");
    let all = std::iter::once(&request.method).chain(headers.map(|(_, value)| value)).chain(&given);
    all.flat_map(|text| text.split(',')).map(|text| text.trim().to_uppercase()).collect()
}

/// One reading of a request.
struct Call<'a> {
    method: &'a str,
    params: &'a Params,
    ground: &'a Ground,
    status: Option<u16>,
}

impl Call<'_> {
    fn is_read(&self) -> bool {
        ["GET", "HEAD", "OPTIONS"].contains(&self.method)
    }

    fn meaning(&self, segments: &[&str]) -> Meaning {
        match segments {
            [] => Meaning::Nothing,
            ["graphql", ..] => graphql::meaning(self.params, self.ground),
            ["app" | "applications" | "app-manifests" | "login", ..] | ["installation", "token", ..] => {
                Meaning::Token
            }
            ["repos", owner, name, rest @ ..] | ["agents", "repos", owner, name, rest @ ..] => {
                self.in_repository(self.ground.has(owner, name), rest)
            }
            ["repositories", id, rest @ ..] => {
                let is_own = self.ground.own.iter().any(|(_, own)| is_number(id, *own));
                // Asking for the name behind an id is the proxy's own query; without an answer it revealed nothing.
                let told = !rest.is_empty() || self.status.is_none_or(|status| status < 400);
                if is_own || told || !self.is_read() {
                    self.in_repository(is_own, rest)
                } else {
                    Meaning::Nothing
                }
            }
            _ => self.elsewhere(segments),
        }
    }

    fn in_repository(&self, is_own: bool, rest: &[&str]) -> Meaning {
        let place = if is_own && !self.reaches_out(rest) { Meaning::Nothing } else { Meaning::Foreign };
        let act = match rest {
            ["installation", ..] => Meaning::Token,
            _ if self.is_read() => Meaning::Nothing,
            _ => self.write(rest),
        };
        place.max(act)
    }

    /// Whether the path contains a second repository.
    fn reaches_out(&self, rest: &[&str]) -> bool {
        let inner = rest.windows(3).any(|three| three[0] == "repos" && !self.ground.has(three[1], three[2]));
        let range = match rest {
            ["compare", range @ ..] | ["dependency-graph", "compare", range @ ..] => range.join("/"),
            _ => return inner,
        };
        inner
            || range.split("...").flat_map(|part| part.split("..")).any(|end| {
                match end.split(':').collect::<Vec<_>>().as_slice() {
                    [_] => false,
                    [owner, _] => *owner != "acme",
                    [owner, name, ..] => !self.ground.has(owner, name),
                    [] => false,
                }
            })
    }

    fn elsewhere(&self, segments: &[&str]) -> Meaning {
        let is_public = matches!(
            segments,
            ["meta" | "rate_limit" | "zen" | "octocat" | "versions" | "emojis" | "user" | "markdown"]
                | ["markdown", "raw"]
                | ["licenses" | "gitignore", ..]
                | ["users" | "apps", _]
                | ["installation", "repositories"]
        );
        match segments {
            ["search", kind, ..] if self.is_read() => self.search(kind),
            ["markdown", ..] => Meaning::Nothing,
            _ if !self.is_read() => Meaning::Admin,
            _ if is_public => Meaning::Nothing,
            _ => Meaning::Foreign,
        }
    }

    /// A search reveals other repositories unless its words name only the agent's.
    fn search(&self, kind: &str) -> Meaning {
        let queries = self.params.texts("q");
        let confined = ["issues", "code", "commits", "repositories"].contains(&kind)
            && !queries.is_empty()
            && queries.iter().all(|query| self.is_confined(query));
        if confined { Meaning::Nothing } else { Meaning::Foreign }
    }

    fn is_confined(&self, query: &str) -> bool {
        let query = unescaped(query).to_lowercase();
        let mut names_own = false;
        for word in query.split(|c: char| c.is_whitespace() || "(),|\"'+".contains(c)) {
            if ["or", "and", "not"].contains(&word)
                || ["org:", "user:", "owner:", "enterprise:"].iter().any(|key| word.contains(key))
            {
                return false;
            }
            let Some((before, name)) = word.split_once("repo:") else { continue };
            let (owner, name) = name.split_once('/').unwrap_or_default();
            if !self.ground.has(owner, name) {
                return false;
            }
            names_own |= before.is_empty();
        }
        names_own && !query.contains(['(', '|'])
    }
}

/// Whether a text is that number for a reader that ignores signs, zeros, fractions and bases.
fn is_number(text: &str, number: u64) -> bool {
    let hex = text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let plain = text.trim_start_matches('+').split('.').next().unwrap_or_default();
    hex.or_else(|| plain.parse().ok()) == Some(number)
}
