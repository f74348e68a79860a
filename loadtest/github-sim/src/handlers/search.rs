//! Search: words and the qualifiers `repo:`, `org:`, `user:`, `is:`, `type:`, `state:`, `label:`.

use serde_json::{Value, json};

use crate::access::{Sight, sight};
use crate::context::Cx;
use crate::exchange::{Answer, Reply};
use crate::world::git::Commit;
use crate::world::{Issue, Repository};

/// A parsed query.
#[derive(Debug, Default)]
struct Query {
    words: Vec<String>,
    qualifiers: Vec<(String, String)>,
}

impl Query {
    fn of(cx: &Cx<'_>) -> Result<Self, Reply> {
        let text = cx.request.query("q").filter(|text| !text.trim().is_empty());
        let text = text.ok_or_else(|| Reply::invalid("Search", "q", "missing", "q is missing"))?;
        Ok(Self::parse(text, cx.actor()))
    }

    /// Parses a query; `@me` is the caller.
    fn parse(text: &str, me: &str) -> Self {
        let mut query = Self::default();
        for part in text.split_whitespace() {
            match part.split_once(':') {
                Some((name, value)) if !value.is_empty() => {
                    let value = value.trim_matches('"').to_lowercase().replace("@me", me);
                    query.qualifiers.push((name.to_lowercase(), value));
                }
                _ => query.words.push(part.trim_matches('"').to_lowercase()),
            }
        }
        query
    }

    fn contains_words(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.words.iter().all(|word| text.contains(word))
    }

    /// Whether a repository is in scope; without `repo:`, `org:` or `user:` all are.
    fn covers(&self, repository: &Repository) -> bool {
        let mut scopes = self
            .qualifiers
            .iter()
            .filter(|(name, _)| ["repo", "org", "user"].contains(&name.as_str()))
            .peekable();
        let full_name = repository.full_name().to_lowercase();
        let owner = repository.owner.to_lowercase();
        scopes.peek().is_none()
            || scopes.any(|(name, value)| match name.as_str() {
                "repo" => *value == full_name,
                _ => *value == owner,
            })
    }

    fn admits(&self, issue: &Issue) -> bool {
        let is_pull = issue.pull.is_some();
        let pull = issue.pull.as_ref();
        self.qualifiers.iter().all(|(name, value)| match (name.as_str(), value.as_str()) {
            ("is" | "type", "issue") => !is_pull,
            ("is" | "type", "pr") => is_pull,
            ("is" | "state", "open") => issue.is_open,
            ("is" | "state", "closed") => !issue.is_open,
            ("label", label) => issue.labels.iter().any(|present| present == label),
            ("author", author) => issue.user.eq_ignore_ascii_case(author),
            ("assignee", login) => issue.assignees.iter().any(|user| user.eq_ignore_ascii_case(login)),
            ("is", "merged") => pull.is_some_and(|pull| pull.merged_at.is_some()),
            ("head", branch) => pull.is_some_and(|pull| pull.head_ref.eq_ignore_ascii_case(branch)),
            ("base", branch) => pull.is_some_and(|pull| pull.base_ref.eq_ignore_ascii_case(branch)),
            ("draft", wanted) => pull.is_some_and(|pull| pull.draft == (wanted == "true")),
            ("review-requested", login) => pull.is_some_and(|pull| {
                pull.requested_reviewers.iter().any(|user| user.eq_ignore_ascii_case(login))
            }),
            _ => true,
        })
    }
}

/// The repositories in scope that the caller sees.
fn scope<'a>(cx: &'a Cx<'_>, query: &Query) -> Vec<&'a Repository> {
    let world = &cx.state.world;
    let all = world.repositories.values();
    all.filter(|repository| query.covers(repository))
        .filter(|repository| sight(world, &cx.caller, repository) != Sight::Hidden)
        .collect()
}

fn results<T>(cx: &Cx<'_>, items: &[T], render: impl Fn(&crate::render::View<'_>, &T) -> Value) -> Reply {
    let mut reply = cx.counted_page("items", items, render);
    if let crate::exchange::Body::Json(body) = &mut reply.body {
        body["incomplete_results"] = json!(false);
    }
    reply
}

fn matching_issues<'a>(cx: &'a Cx<'_>, query: &Query) -> Vec<(&'a Repository, &'a Issue)> {
    scope(cx, query)
        .into_iter()
        .flat_map(|repository| repository.issues.values().map(move |issue| (repository, issue)))
        .filter(|(_, issue)| query.admits(issue) && query.contains_words(&issue.title))
        .collect()
}

/// The issues and pull requests that a query finds among what the caller sees.
pub(crate) fn find_issues<'a>(cx: &'a Cx<'_>, text: &str) -> Vec<(&'a Repository, &'a Issue)> {
    matching_issues(cx, &Query::parse(text, cx.actor()))
}

pub(crate) fn issues(cx: &mut Cx<'_>) -> Answer {
    let query = Query::of(cx)?;
    let found = matching_issues(cx, &query);
    Ok(results(cx, &found, |view, (repository, issue)| {
        let mut object = view.issue(repository, issue);
        object["score"] = json!(1.0);
        object
    }))
}

pub(crate) fn repositories(cx: &mut Cx<'_>) -> Answer {
    let query = Query::of(cx)?;
    let mut found = scope(cx, &query);
    found.retain(|repository| query.contains_words(&repository.full_name()));
    Ok(results(cx, &found, |view, repository| {
        let mut object = view.repository(repository);
        object["score"] = json!(1.0);
        object
    }))
}

pub(crate) fn code(cx: &mut Cx<'_>) -> Answer {
    let query = Query::of(cx)?;
    let mut found: Vec<(&Repository, String, String)> = Vec::new();
    for repository in scope(cx, &query) {
        let Some(tip) = repository.git.resolve(&repository.default_branch) else { continue };
        for (path, (_, id)) in repository.git.files(&tip.tree) {
            let blob = repository.git.blob(&id);
            if blob.is_some_and(|blob| query.contains_words(&String::from_utf8_lossy(blob))) {
                found.push((repository, path, id));
            }
        }
    }
    Ok(results(cx, &found, |view, (repository, path, id)| {
        let base = view.repository_url(repository);
        json!({
            "name": path.rsplit('/').next(),
            "path": path,
            "sha": id,
            "url": format!("{base}/contents/{path}"),
            "git_url": format!("{base}/git/blobs/{id}"),
            "html_url": format!("https://github.com/{}/blob/main/{path}", repository.full_name()),
            "repository": view.repository(repository),
            "score": 1.0,
        })
    }))
}

pub(crate) fn commits(cx: &mut Cx<'_>) -> Answer {
    let query = Query::of(cx)?;
    let mut found: Vec<(&Repository, &Commit)> = Vec::new();
    for repository in scope(cx, &query) {
        let Some(tip) = repository.git.resolve(&repository.default_branch) else { continue };
        let log = repository.git.log(&tip.id).into_iter();
        found.extend(
            log.filter(|commit| query.contains_words(&commit.message)).map(|commit| (repository, commit)),
        );
    }
    Ok(results(cx, &found, |view, (repository, commit)| {
        let mut object = view.commit(repository, commit);
        object["repository"] = view.repository(repository);
        object["score"] = json!(1.0);
        object
    }))
}
