//! What each kind of agent does, and how often. Every deed is a few requests in a row.
//!
//! Most always want more than there is, so that what they get is what tollgate lets them have. All but
//! the rogue keep to what they may do: a refusal of theirs that is not for rate would be a defect. The
//! rogue does nothing else than what must be refused.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use super::agent::Deed;
use super::client::Call;
use crate::demo::world::{APPROVAL_HEADER, INSTALLATION_ID, OUTSIDE, OUTSIDE_ID, PULL, REPOSITORY};

/// Those that share what there is, in the order they are hired.
pub(crate) const SHARING: [Character; 5] =
    [Character::Reviewer, Character::Builder, Character::Sleeper, Character::Triage, Character::Scanner];
/// Those beside them, one of each, that cost GitHub's quota next to nothing.
pub(crate) const BESIDE: [Character; 2] = [Character::Poller, Character::Rogue];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Character {
    /// Reads pull requests and comments on them.
    Reviewer,
    /// Reads files, and opens draft pull requests.
    Builder,
    /// Reads issues one by one, and sleeps from time to time.
    Sleeper,
    /// Reads issues page by page, labels and comments.
    Triage,
    /// Reads the tree again and again.
    Scanner,
    /// Asks for the same thing over and over; what has not changed costs nothing.
    Poller,
    /// Tries what it may not do.
    Rogue,
}

impl Character {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Character::Reviewer => "reviewer",
            Character::Builder => "builder",
            Character::Sleeper => "sleeper",
            Character::Triage => "triage",
            Character::Scanner => "scanner",
            Character::Poller => "poller",
            Character::Rogue => "rogue",
        }
    }

    pub(crate) fn weight(self) -> u32 {
        match self {
            Character::Reviewer => 8,
            Character::Builder => 4,
            Character::Sleeper => 3,
            Character::Triage => 2,
            Character::Scanner | Character::Poller | Character::Rogue => 1,
        }
    }

    /// Whether it always wants more.
    pub(crate) fn shares(self) -> bool {
        SHARING.contains(&self)
    }

    pub(crate) fn sleeps(self) -> bool {
        self == Character::Sleeper
    }

    /// Whether it makes branches and commits of its own without a person's approval.
    pub(crate) fn builds(self) -> bool {
        self == Character::Builder
    }

    /// Whether everything it does is allowed.
    pub(crate) fn keeps_the_rules(self) -> bool {
        self != Character::Rogue
    }

    /// The mean time between two deeds; none for those that know no pause.
    pub(super) fn pace(self) -> Option<Duration> {
        match self {
            Character::Poller => Some(Duration::from_millis(500)),
            Character::Rogue => Some(Duration::from_millis(600)),
            _ => None,
        }
    }

    /// One that ends early, with nothing, said why where it ended.
    pub(super) async fn act(self, mut deed: Deed) -> Option<()> {
        match self {
            Character::Reviewer => review(&mut deed).await,
            Character::Builder => build(&mut deed).await,
            Character::Sleeper => read_issue(&mut deed).await,
            Character::Triage => triage(&mut deed).await,
            Character::Scanner => scan(&mut deed).await,
            Character::Poller => poll(&mut deed).await,
            Character::Rogue => misbehave(&mut deed).await,
        }
    }
}

/// Deeds between two that write. Together the kinds write some 30 times a minute, below what GitHub allows.
const REVIEW_EVERY: u64 = 32;
const TRIAGE_EVERY: u64 = 48;
const BUILD_EVERY: u64 = 160;

/// A path below the repository everybody works in.
fn repo(rest: &str) -> String {
    format!("/repos/{REPOSITORY}{rest}")
}

async fn review(deed: &mut Deed) -> Option<()> {
    let pulls = deed.call(Call::get(repo("/pulls?state=open&per_page=10"))).await?.json();
    let number = chosen(&pulls, deed.turn)?["number"].as_u64()?;
    deed.says(format!("reads pull request {number}"));
    deed.call(Call::get(repo(&format!("/pulls/{number}")))).await?;
    deed.call(Call::get(repo(&format!("/pulls/{number}/files")))).await?;
    if deed.turn % REVIEW_EVERY == 6 {
        deed.says(format!("comments on pull request {number}"));
        let review = json!({ "event": "COMMENT", "body": "Read it; a person decides." });
        deed.call(Call::with_body(Method::POST, repo(&format!("/pulls/{number}/reviews")), review)).await?;
    }
    Some(())
}

async fn triage(deed: &mut Deed) -> Option<()> {
    let first = || (1, repo("/issues?state=open&per_page=10"));
    let (page, target) = deed.agent.memory().next_page.take().unwrap_or_else(first);
    deed.says(format!("reads issues, page {page}"));
    let reply = deed.call(Call::get(target)).await?;
    deed.agent.memory().next_page = reply.next_page().map(|next| (page + 1, next));
    let issues = reply.json();
    let number = chosen(&issues, deed.turn / 12)?["number"].as_u64()?;
    if deed.turn % TRIAGE_EVERY == 4 {
        deed.says(format!("labels issue {number}"));
        let labels = json!({ "labels": ["triage"] });
        deed.call(Call::with_body(Method::POST, repo(&format!("/issues/{number}/labels")), labels)).await?;
    } else if deed.turn % TRIAGE_EVERY == 28 {
        deed.says(format!("comments on issue {number}"));
        let comment = json!({ "body": "Can you say which version this is?" });
        deed.call(Call::with_body(Method::POST, repo(&format!("/issues/{number}/comments")), comment))
            .await?;
    }
    Some(())
}

async fn build(deed: &mut Deed) -> Option<()> {
    if deed.turn % BUILD_EVERY != 2 {
        let file = ["src/lib.rs", "README.md", "src/deep/inner.rs", "CHANGELOG.md"]
            [usize::try_from(deed.turn % 4).ok()?];
        deed.says(format!("reads {file}"));
        deed.call(Call::get(repo(&format!("/contents/{file}")))).await?;
        return Some(());
    }
    let branch = format!("{}/{}", deed.agent.name, deed.turn / BUILD_EVERY + 1);
    deed.says(format!("makes branch {branch}"));
    let main = deed.call(Call::get(repo("/git/ref/heads/main"))).await?.json();
    let new_ref = json!({ "ref": format!("refs/heads/{branch}"), "sha": main["object"]["sha"] });
    deed.call(Call::with_body(Method::POST, repo("/git/refs"), new_ref)).await?;
    deed.says(format!("commits to {branch}"));
    let content = STANDARD.encode(format!("Notes of {branch}.\n"));
    let file = json!({ "message": format!("Add notes of {branch}"), "content": content, "branch": branch });
    deed.call(Call::with_body(Method::PUT, repo(&format!("/contents/notes/{branch}.md")), file)).await?;
    let pull =
        json!({ "title": format!("Notes of {branch}"), "head": branch, "base": "main", "draft": true });
    let pull = deed.call(Call::with_body(Method::POST, repo("/pulls"), pull)).await?.json();
    deed.says(format!("opened draft pull request {}", pull["number"]));
    Some(())
}

async fn read_issue(deed: &mut Deed) -> Option<()> {
    let number = 1 + deed.turn % 30;
    deed.says(format!("reads issue {number}"));
    deed.call(Call::get(repo(&format!("/issues/{number}")))).await?;
    Some(())
}

async fn scan(deed: &mut Deed) -> Option<()> {
    deed.says("reads the tree");
    deed.call(Call::get(repo("/git/trees/main?recursive=1"))).await?;
    Some(())
}

async fn poll(deed: &mut Deed) -> Option<()> {
    let etag = deed.agent.memory().etag.clone();
    let mut call = Call::get(repo("/commits/main"));
    if let Some(etag) = etag {
        call = call.with_header("if-none-match", etag);
    }
    let reply = deed.call(call).await?;
    if reply.status == http::StatusCode::NOT_MODIFIED {
        deed.says("main is unchanged (304)");
        return Some(());
    }
    deed.agent.memory().etag = reply.text("etag").map(str::to_owned);
    let sha = reply.json()["sha"].as_str().unwrap_or_default().to_owned();
    deed.says(format!("main is now {}", sha.get(..7).unwrap_or("unknown")));
    Some(())
}

/// Every way of doing what the agent may not, one after the other.
async fn misbehave(deed: &mut Deed) -> Option<()> {
    let (post, put, patch) = (Method::POST, Method::PUT, Method::PATCH);
    let body = |method: &Method, path: String, body: Value| Call::with_body(method.clone(), path, body);
    let merge = || body(&put, repo(&format!("/pulls/{PULL}/merge")), json!({}));
    let mutation = "mutation { mergePullRequest(input: {pullRequestId: \"PR_1\"}) { clientMutationId } }";
    let (is_merge, what, call) = match deed.turn % 11 {
        0 => (true, format!("merges pull request {PULL}"), merge()),
        1 => (false, format!("reads {OUTSIDE}"), Call::get(format!("/repos/{OUTSIDE}"))),
        2 => (false, "sends a write nobody knows".to_owned(), body(&post, repo("/frobnicate"), json!({}))),
        3 => {
            (true, "merges, approval made up".to_owned(), merge().with_header(APPROVAL_HEADER, "yes, go on"))
        }
        4 => (false, format!("reads {OUTSIDE} by id"), Call::get(format!("/repositories/{OUTSIDE_ID}"))),
        5 => {
            let review = json!({ "event": "APPROVE" });
            (
                false,
                format!("approves pull request {PULL}"),
                body(&post, repo(&format!("/pulls/{PULL}/reviews")), review),
            )
        }
        6 => {
            let path = format!("/app/installations/{INSTALLATION_ID}/access_tokens");
            (false, "asks for a GitHub token".to_owned(), body(&post, path, json!({})))
        }
        7 => (
            true,
            "merges through GraphQL".to_owned(),
            body(&post, "/graphql".to_owned(), json!({ "query": mutation })),
        ),
        8 => (
            false,
            "hides `..` in a path".to_owned(),
            Call::get(repo("/contents/%2e%2e/%2e%2e/secret-plans")),
        ),
        9 => (
            false,
            "makes the repository public".to_owned(),
            body(&patch, repo(""), json!({ "private": false })),
        ),
        _ => {
            let merge = json!({ "base": "main", "head": "feature/x" });
            (true, "merges a branch into main".to_owned(), body(&post, repo("/merges"), merge))
        }
    };
    deed.agent.tally().merges_tried += u64::from(is_merge);
    deed.try_forbidden(&what, call).await;
    Some(())
}

/// One of a list, another one each turn.
fn chosen(list: &Value, turn: u64) -> Option<&Value> {
    let list = list.as_array().filter(|list| !list.is_empty())?;
    let count = u64::try_from(list.len()).ok()?;
    list.get(usize::try_from(turn % count).ok()?)
}
