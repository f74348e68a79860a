//! What a handler works with: the request, the matched route, the caller and the state.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Map, Value};

use crate::access::grant_permits;
use crate::auth::Caller;
use crate::exchange::{Reply, Request};
use crate::render::View;
use crate::routes::Route;
use crate::server::{Links, Shared, State};
use crate::world::git::Person;
use crate::world::{BOT_LOGIN, Issue, PERSONAL_LOGIN, Repository, app_of_installation};

/// One request on its way through a handler.
#[derive(Debug)]
pub(crate) struct Cx<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) state: &'a mut State,
    pub(crate) request: &'a Request,
    /// The path with `/repositories/{id}` and `/organizations/{id}` replaced by names.
    pub(crate) path: String,
    pub(crate) route: &'static Route,
    pub(crate) params: BTreeMap<String, String>,
    pub(crate) caller: Caller,
    /// Set by the access check of routes that name a repository.
    pub(crate) repository_id: u64,
    /// GitHub's time, epoch seconds.
    pub(crate) now: i64,
    pub(crate) now_ms: i64,
    pub(crate) version: &'a str,
}

impl Cx<'_> {
    /// A decoded path parameter; empty when the route has none of that name.
    pub(crate) fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }

    /// A numeric parameter of the path, or 404.
    pub(crate) fn number(&self, name: &str) -> Result<u64, Reply> {
        self.param(name).parse().map_err(|_| Reply::not_found())
    }

    /// The index of the caller's App; the first App's if the caller is not an App.
    pub(crate) fn app(&self) -> usize {
        match &self.caller {
            Caller::App(app) => *app,
            Caller::Installation { grant, .. } => app_of_installation(grant.installation_id).0,
            Caller::Anonymous | Caller::Personal => 0,
        }
    }

    pub(crate) fn links(&self) -> &Links {
        &self.shared.links
    }

    pub(crate) fn view(&self) -> View<'_> {
        View { links: &self.shared.links, world: &self.state.world, version: self.version }
    }

    /// The repository that the access check found.
    pub(crate) fn repository(&self) -> &Repository {
        let found = self.state.world.repositories.get(&self.repository_id);
        found.expect("the access check found the repository, and none is ever removed")
    }

    pub(crate) fn repository_mut(&mut self) -> &mut Repository {
        let found = self.state.world.repositories.get_mut(&self.repository_id);
        found.expect("the access check found the repository, and none is ever removed")
    }

    /// The issue or pull request of the `number` parameter, or 404.
    pub(crate) fn issue(&self) -> Result<&Issue, Reply> {
        let number = self.number("number")?;
        self.repository().issues.get(&number).ok_or_else(Reply::not_found)
    }

    pub(crate) fn issue_mut(&mut self) -> Result<&mut Issue, Reply> {
        let number = self.number("number")?;
        self.repository_mut().issues.get_mut(&number).ok_or_else(Reply::not_found)
    }

    /// The login as which the caller acts.
    pub(crate) fn actor(&self) -> &'static str {
        match self.caller {
            Caller::Personal => PERSONAL_LOGIN,
            Caller::Anonymous | Caller::App(_) | Caller::Installation { .. } => BOT_LOGIN,
        }
    }

    /// The author of commits that the caller makes without naming one.
    pub(crate) fn author(&self) -> Person {
        let name = self.actor();
        Person { name: name.to_owned(), email: format!("{name}@users.noreply.github.com"), at: self.now }
    }

    /// Whether the caller has these permissions; a personal token has all.
    pub(crate) fn permits(&self, wanted: &str) -> bool {
        match &self.caller {
            Caller::Installation { grant, .. } => grant_permits(grant, wanted),
            Caller::Personal => true,
            Caller::Anonymous | Caller::App(_) => false,
        }
    }

    /// The path after `/repos/{owner}/{repo}`.
    pub(crate) fn repository_rest(&self) -> String {
        let mut slashes = self.path.match_indices('/').map(|(at, _)| at);
        slashes.nth(3).map_or_else(String::new, |at| self.path[at..].to_owned())
    }

    /// The path as in `Link` and redirect targets: with ids in place of names.
    fn link_path(&self) -> String {
        if self.path.starts_with("/repos/") && self.repository_id > 0 {
            return format!("/repositories/{}{}", self.repository_id, self.repository_rest());
        }
        if let Some(rest) = self.path.strip_prefix("/orgs/") {
            let (login, rest) = rest.split_once('/').unwrap_or((rest, ""));
            if let Some(owner) = self.state.world.owner(login) {
                return format!("/organizations/{}/{rest}", owner.id);
            }
        }
        self.path.clone()
    }

    /// One page of `items`, with its `Link` header.
    pub(crate) fn page<T>(&self, items: &[T], render: impl Fn(&View<'_>, &T) -> Value) -> Reply {
        let (range, link) = self.page_range(items.len());
        let view = self.view();
        let body = items[range].iter().map(|item| render(&view, item)).collect();
        with_link(Reply::ok(body), link)
    }

    /// One page in the form `{"total_count": …, KEY: […]}`.
    pub(crate) fn counted_page<T>(
        &self,
        key: &str,
        items: &[T],
        render: impl Fn(&View<'_>, &T) -> Value,
    ) -> Reply {
        let (range, link) = self.page_range(items.len());
        let view = self.view();
        let page: Value = items[range].iter().map(|item| render(&view, item)).collect();
        let mut body = Map::new();
        body.insert("total_count".to_owned(), items.len().into());
        body.insert(key.to_owned(), page);
        with_link(Reply::ok(Value::Object(body)), link)
    }

    fn page_range(&self, length: usize) -> (Range<usize>, Option<String>) {
        let number = |name: &str| self.request.query(name).and_then(|text| text.parse().ok());
        let per_page: usize = number("per_page").unwrap_or(30).clamp(1, 100);
        let page: usize = number("page").unwrap_or(1).max(1);
        let last = length.div_ceil(per_page).max(1);
        let start = (page - 1).saturating_mul(per_page).min(length);
        let end = start.saturating_add(per_page).min(length);
        let mut rels = Vec::new();
        if page > 1 {
            rels.push((page.min(last + 1) - 1, "prev"));
        }
        if page < last {
            rels.push((page + 1, "next"));
            rels.push((last, "last"));
        }
        if page > 1 {
            rels.push((1, "first"));
        }
        let link = rels.iter().map(|(page, rel)| self.link(*page, rel)).collect::<Vec<_>>();
        (start..end, (last > 1 && !link.is_empty()).then(|| link.join(", ")))
    }

    fn link(&self, page: usize, rel: &str) -> String {
        let query = self.request.raw_query.as_deref().unwrap_or("");
        let kept = query.split('&').filter(|part| !part.is_empty() && !part.starts_with("page="));
        let mut parts: Vec<String> = kept.map(str::to_owned).collect();
        parts.push(format!("page={page}"));
        let path = self.link_path();
        format!("<{}{path}?{}>; rel=\"{rel}\"", self.links().api, parts.join("&"))
    }
}

fn with_link(reply: Reply, link: Option<String>) -> Reply {
    match link {
        Some(link) => reply.header("link", &link),
        None => reply,
    }
}

/// A string member of a JSON body, if it is one.
pub(crate) fn text(body: &Map<String, Value>, name: &str) -> Option<String> {
    body.get(name).and_then(Value::as_str).map(str::to_owned)
}

/// A string member that must be there, or GitHub's 422.
pub(crate) fn required(body: &Map<String, Value>, name: &str) -> Result<String, Reply> {
    text(body, name)
        .ok_or_else(|| Reply::error(422, &format!("Invalid request.\n\n\"{name}\" wasn't supplied.")))
}

/// The strings in an array member; an object counts by its `name`.
pub(crate) fn texts(body: &Map<String, Value>, name: &str) -> Option<Vec<String>> {
    let array = body.get(name)?.as_array()?;
    let text = |value: &Value| value.as_str().or_else(|| value["name"].as_str()).map(str::to_owned);
    Some(array.iter().filter_map(text).collect())
}

/// A boolean member; false when absent.
pub(crate) fn flag(body: &Map<String, Value>, name: &str) -> bool {
    body.get(name).and_then(Value::as_bool).unwrap_or(false)
}
