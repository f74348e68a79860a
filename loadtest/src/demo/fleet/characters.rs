//! What each kind of agent does, and how often. Every deed is a few requests in a row.
//!
//! All but the rogue keep to what they may do: a refusal of theirs would be a defect. The rogue
//! does nothing else than what must be refused.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use super::agent::Deed;
use super::client::Call;
use crate::demo::world::{APPROVAL_HEADER, INSTALLATION_ID, OUTSIDE, OUTSIDE_ID, PULL, REPOSITORY};

/// The kinds, in the order they are hired.
pub(crate) const CHARACTERS: [Character; 5] =
    [Character::Reviewer, Character::Triage, Character::Builder, Character::Poller, Character::Rogue];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Character {
    /// Reads pull requests and comments on them.
    Reviewer,
    /// Reads issues page by page, labels and comments.
    Triage,
    /// Reads files, and opens draft pull requests.
    Builder,
    /// Asks for the same thing over and over.
    Poller,
    /// Tries what it may not do.
    Rogue,
}

impl Character {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Character::Reviewer => "reviewer",
            Character::Triage => "triage",
            Character::Builder => "builder",
            Character::Poller => "poller",
            Character::Rogue => "rogue",
        }
    }

    pub(crate) fn weight(self) -> u32 {
        match self {
            Character::Reviewer => 3,
            Character::Builder => 2,
            Character::Triage | Character::Poller | Character::Rogue => 1,
        }
    }

    /// Whether it makes branches and commits of its own without a person's approval.
    pub(crate) fn builds(self) -> bool {
        self == Character::Builder
    }

    /// Whether everything it does is allowed.
    pub(crate) fn keeps_the_rules(self) -> bool {
        self != Character::Rogue
    }

    /// The mean time between two deeds. Together the kinds write some 30 times a minute, far below
    /// the 80 GitHub allows.
    pub(super) fn pace(self) -> Duration {
        Duration::from_millis(match self {
            Character::Reviewer => 350,
            Character::Triage => 300,
            Character::Builder => 600,
            Character::Poller => 150,
            Character::Rogue => 600,
        })
    }

    pub(super) async fn act(self, mut deed: Deed) {
        // One that ends early said why where it ended.
        let _: Option<()> = match self {
            Character::Reviewer => review(&mut deed).await,
            Character::Triage => triage(&mut deed).await,
            Character::Builder => build(&mut deed).await,
            Character::Poller => poll(&mut deed).await,
            Character::Rogue => misbehave(&mut deed).await,
        };
    }
}

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
    if deed.turn % 32 == 6 {
        deed.says(format!("comments on pull request {number}"));
        let review = json!({ "event": "COMMENT", "body": "Read it; a person decides." });
        deed.call(Call::with_body(Method::POST, repo(&format!("/pulls/{number}/reviews")), review)).await?;
    }
    Some(())
}

async fn triage(deed: &mut Deed) -> Option<()> {
    let (page, target) = {
        let mut memory = deed.agent.memory();
        memory.page += 1;
        (memory.page, memory.next_page.take())
    };
    deed.says(format!("reads issues, page {page}"));
    let target = target.unwrap_or_else(|| repo("/issues?state=open&per_page=10"));
    let reply = deed.call(Call::get(target)).await?;
    {
        let mut memory = deed.agent.memory();
        memory.next_page = reply.next_page();
        if memory.next_page.is_none() {
            memory.page = 0;
        }
    }
    let issues = reply.json();
    let number = chosen(&issues, deed.turn / 12)?["number"].as_u64()?;
    if deed.turn % 48 == 4 {
        deed.says(format!("labels issue {number}"));
        let labels = json!({ "labels": ["triage"] });
        deed.call(Call::with_body(Method::POST, repo(&format!("/issues/{number}/labels")), labels)).await?;
    } else if deed.turn % 48 == 28 {
        deed.says(format!("comments on issue {number}"));
        let comment = json!({ "body": "Can you say which version this is?" });
        deed.call(Call::with_body(Method::POST, repo(&format!("/issues/{number}/comments")), comment))
            .await?;
    }
    Some(())
}

async fn build(deed: &mut Deed) -> Option<()> {
    if deed.turn % 20 != 2 {
        let file = ["src/lib.rs", "README.md", "src/deep/inner.rs", "CHANGELOG.md"]
            [usize::try_from(deed.turn % 4).ok()?];
        deed.says(format!("reads {file}"));
        deed.call(Call::get(repo(&format!("/contents/{file}")))).await?;
        return Some(());
    }
    let branch = format!("{}/{}", deed.agent.name, deed.turn / 20 + 1);
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
