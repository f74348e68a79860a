//! What a write in a repository does.

use super::body::{Given, Loose};
use super::spelling::unescaped;
use super::{Call, Meaning};

impl Call<'_> {
    pub(super) fn write(&self, rest: &[&str]) -> Meaning {
        match rest {
            ["merges" | "merge-upstream" | "merge_upstream", ..] => Meaning::Merge,
            ["pulls", _, act, ..] if act.starts_with("merge") => Meaning::Merge,
            ["pulls", number, "update-branch", ..] => self.update_of(number),
            ["pulls", _, "reviews"] | ["pulls", _, "reviews", _, "events", ..] => self.review(),
            ["pulls", _, "reviews", _] if self.method == "DELETE" || self.method == "PUT" => Meaning::Nothing,
            ["pulls", _] => match self.params.like("base").next() {
                None if !self.params.is_opaque => Meaning::Nothing,
                _ => Meaning::RefWrite,
            },
            ["git", "refs" | "ref"] => self.created_ref(),
            ["git", "refs" | "ref", name @ ..] => self.changed_ref(&name.join("/")),
            ["contents", ..] => self.commit("branch"),
            ["code-scanning", "alerts", _, "autofix", "commits"] => self.commit("target_ref"),
            _ if is_ordinary(rest, self.method) => Meaning::Nothing,
            _ if is_review(rest, self.method) => Meaning::Review,
            _ if moves_refs(rest) => Meaning::RefWrite,
            _ => Meaning::Admin,
        }
    }

    fn is_guarded(&self, branch: &str) -> bool {
        let plain = plain_branch(branch);
        let looks_like_sha = plain.len() >= 7 && plain.bytes().all(|byte| byte.is_ascii_hexdigit());
        plain.is_empty()
            || ["head", "@"].contains(&plain.as_str())
            || looks_like_sha
            || self.ground.guarded.contains(&plain.as_str())
    }

    /// Commits onto the branch named in body or query; if none is named, onto the default branch.
    fn commit(&self, name: &str) -> Meaning {
        // A DELETE takes its parameters from either place.
        let is_named = self.params.has_text(name, self.method == "DELETE");
        let guarded = |given: &Given| match &given.value {
            Loose::Text(branch) => self.is_guarded(branch),
            Loose::Word(_) | Loose::List(_) | Loose::Map(_) => true,
        };
        if self.params.is_opaque || !is_named || self.params.like(name).any(guarded) {
            return Meaning::RefWrite;
        }
        Meaning::Nothing
    }

    fn created_ref(&self) -> Meaning {
        let harmless = |given: &Given| match &given.value {
            Loose::Text(name) => is_branch(name) && !self.is_guarded(name),
            Loose::Word(_) | Loose::List(_) | Loose::Map(_) => false,
        };
        let is_named = self.params.has_text("ref", false);
        if is_named && !self.params.is_opaque && self.params.like("ref").all(harmless) {
            return Meaning::Nothing;
        }
        Meaning::RefWrite
    }

    fn changed_ref(&self, name: &str) -> Meaning {
        let branch = plain_branch(name);
        let has_open_pull = self.ground.heads.iter().any(|(_, head)| *head == branch);
        if !is_branch(name) || self.is_guarded(name) || (self.method == "DELETE" && has_open_pull) {
            return Meaning::RefWrite;
        }
        Meaning::Nothing
    }

    /// Merges the base into the head of a pull request.
    fn update_of(&self, number: &str) -> Meaning {
        let heads = &self.ground.heads;
        let head = heads.iter().find(|(known, _)| super::is_number(number, *known)).map(|(_, head)| *head);
        match head {
            Some(head) if !self.is_guarded(head) => Meaning::Nothing,
            _ => Meaning::RefWrite,
        }
    }

    fn review(&self) -> Meaning {
        let approves = |text: &String| {
            let letters: String = unescaped(text).chars().filter(|c| c.is_alphanumeric()).collect();
            let letters = letters.to_lowercase();
            letters.starts_with("approve") || letters.starts_with("dismiss")
        };
        let approving = self.params.texts("event").iter().any(approves);
        // A key in brackets or in a list is still the key.
        let nested = self.params.like("event").any(|given| match &given.value {
            Loose::Map(entries) => entries.iter().any(|(key, _)| approves(key)),
            Loose::Text(_) | Loose::Word(_) | Loose::List(_) => false,
        });
        if approving || nested || self.params.is_opaque { Meaning::Review } else { Meaning::Nothing }
    }
}

/// A ref's name without escapes, case, text after NUL, surrounding blanks and dot segments.
fn plain_ref(name: &str) -> String {
    let name = unescaped(name).to_lowercase();
    let cut = name.split('\0').next().unwrap_or_default();
    let blank = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '\u{200b}' | '\u{feff}');
    let mut parts: Vec<&str> = Vec::new();
    for part in cut.trim_matches(blank).split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let name = parts.join("/");
    name.strip_prefix("refs/").unwrap_or(&name).to_owned()
}

/// A branch's name without what some readers drop; empty if it names another kind of ref.
fn plain_branch(name: &str) -> String {
    let name = plain_ref(name);
    if name.starts_with("tags/") || name.starts_with("pull/") {
        return String::new();
    }
    let mut plain = name.as_str();
    for prefix in ["remotes/", "origin/", "heads/"] {
        plain = plain.strip_prefix(prefix).unwrap_or(plain);
    }
    let plain = plain.split(['^', '~']).next().unwrap_or_default();
    plain.split("@{").next().unwrap_or_default().to_owned()
}

/// Whether a ref's full or short name is a branch's, not that of a tag, a pull request or the like.
fn is_branch(name: &str) -> bool {
    plain_ref(name).starts_with("heads/")
}

/// The everyday work of agents.
fn is_ordinary(rest: &[&str], method: &str) -> bool {
    match rest {
        ["issues" | "labels" | "milestones" | "comments" | "notifications" | "subscription", ..]
        | ["commits", _, "comments"]
        | ["git", "blobs" | "trees" | "commits" | "tags"]
        | ["pulls"]
        | ["pulls", "comments", ..]
        | ["pulls", _, "comments", ..]
        | ["actions", "runs", _, "cancel" | "force-cancel"]
        | ["releases", "generate-notes"]
        | ["releases", _, "assets" | "reactions", ..]
        | ["security-advisories", "reports"]
        | ["code-scanning", "alerts", _, "autofix"] => true,
        ["pulls", _, "requested_reviewers"] => method != "DELETE",
        _ => false,
    }
}

/// Satisfies or removes a gate that is meant for a person or a check.
fn is_review(rest: &[&str], method: &str) -> bool {
    match rest {
        ["statuses" | "check-runs" | "attestations", ..]
        | ["check-suites"]
        | ["check-suites", _, "rerequest"]
        | ["pulls", _, "reviews", ..]
        | ["deployments", _, "statuses"]
        | ["actions", "runs" | "jobs", ..]
        | ["code-scanning", "alerts" | "sarifs", ..]
        | ["dependabot" | "secret-scanning", "alerts", ..]
        | ["dependency-graph", "snapshots"] => true,
        ["pulls", _, "requested_reviewers"] => method == "DELETE",
        _ => false,
    }
}

fn moves_refs(rest: &[&str]) -> bool {
    matches!(
        rest,
        ["releases" | "deployments" | "dispatches" | "import" | "stacks" | "pages", ..]
            | ["branches", _, "rename"]
            | ["actions", "workflows", _, "dispatches"]
            | ["tasks", ..]
    )
}
