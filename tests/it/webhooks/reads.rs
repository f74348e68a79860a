//! Reads that GitHub's webhook covers: no call while nothing changed, and the change at once when it did.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use github_sim::{Fault, FaultKind};
use serde_json::json;
use tollgate::cache::changes::{Area, Reach};
use tollgate::clock::{Clock, SystemClock};

use super::told::{Delivery, Told, delivery, push, section};
use crate::support::{Answer, Setup, agent, eventually};

const ISSUE: &str = "/repos/acme/widgets/issues/1";

fn cache(answer: &Answer) -> &str {
    answer.header("x-tollgate-cache")
}

fn edited(id: &str) -> Delivery {
    let payload = json!({
        "action": "edited",
        "issue": {"number": 1},
        "repository": {"id": 2001, "full_name": "Acme/Widgets"},
    });
    delivery("issues", id, payload.to_string())
}

/// Past the time for which GitHub's own caches may lag.
fn settled(clock: &Ahead) {
    clock.advance(Duration::from_secs(11));
}

/// The machine's clock plus an offset.
#[derive(Debug, Default)]
struct Ahead(AtomicI64);

impl Ahead {
    fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for Ahead {
    fn now_ms(&self) -> i64 {
        SystemClock.now_ms() + self.0.load(Ordering::SeqCst)
    }
}

async fn start() -> (Told, Arc<Ahead>) {
    let clock = Arc::new(Ahead::default());
    let told =
        Told::of(Setup { further: section(), clock: Arc::clone(&clock) as _, ..Setup::worker() }).await;
    // GitHub is asked which events it delivers.
    let reach = Reach { repository: Some("acme/widgets".to_owned()), area: Some(Area::Issues) };
    eventually("the App's events", || told.changes.covers(&reach)).await;
    (told, clock)
}

#[tokio::test]
async fn what_is_told_of_is_not_asked_for() {
    let (told, clock) = start().await;
    let tollgate = &told.tollgate;
    let paths = [ISSUE, "/repos/acme/widgets/pulls", "/repos/acme/widgets/commits", "/repos/acme/widgets"];
    for path in paths {
        assert_eq!(cache(&tollgate.get(path).await), "miss", "{path}");
    }
    let arrived = tollgate.arrived().len();
    for path in paths {
        assert_eq!(cache(&tollgate.get(path).await), "hit", "{path}");
    }
    assert_eq!(tollgate.arrived().len(), arrived);
    // No event covers these.
    for path in ["/repos/acme/widgets/branches/main/protection", "/users/sim-user"] {
        tollgate.get(path).await;
        assert_ne!(cache(&tollgate.get(path).await), "hit", "{path}");
    }
    clock.advance(Duration::from_secs(301));
    assert_eq!(cache(&tollgate.get(ISSUE).await), "revalidated", "a lost delivery costs no more than this");
}

#[tokio::test]
async fn the_next_read_after_an_event_shows_the_change() {
    let (told, clock) = start().await;
    let tollgate = &told.tollgate;
    tollgate.get(ISSUE).await;
    tollgate.get("/repos/acme/widgets/commits").await;
    assert!(tollgate.sim.edit(|world| world.edit_issue("acme/widgets", 1, "changed")));
    assert_eq!(cache(&tollgate.get(ISSUE).await), "hit", "nobody has told yet");
    assert_eq!(told.send(&edited("1")).await.status, 202);
    eventually("the event", || told.feed.is_delivered("1")).await;
    let after = tollgate.get(ISSUE).await;
    assert_eq!((cache(&after), after.json()["title"].as_str()), ("changed", Some("changed")));
    assert_eq!(cache(&tollgate.get(ISSUE).await), "revalidated", "GitHub may still lag");
    assert_eq!(
        cache(&tollgate.get("/repos/acme/widgets/commits").await),
        "hit",
        "it has nothing to do with it"
    );
    settled(&clock);
    assert_eq!(cache(&tollgate.get(ISSUE).await), "revalidated");
    assert_eq!(cache(&tollgate.get(ISSUE).await), "hit");
}

#[tokio::test]
async fn an_event_that_comes_before_the_change_shows_is_not_believed_too_early() {
    let (told, clock) = start().await;
    let tollgate = &told.tollgate;
    tollgate.sim.faults().add(Fault::new(FaultKind::StaleReads { ms: 800 }).on("GET", ISSUE));
    let before = tollgate.get(ISSUE).await.json()["title"].clone();
    assert!(tollgate.sim.edit(|world| world.edit_issue("acme/widgets", 1, "changed")));
    assert_eq!(told.send(&edited("1")).await.status, 202);
    eventually("the event", || told.feed.is_delivered("1")).await;
    let lagging = tollgate.get(ISSUE).await;
    assert_eq!((cache(&lagging), &lagging.json()["title"]), ("revalidated", &before));
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(tollgate.get(ISSUE).await.json()["title"], "changed");
    settled(&clock);
    tollgate.get(ISSUE).await;
    let hit = tollgate.get(ISSUE).await;
    assert_eq!((cache(&hit), hit.json()["title"].as_str()), ("hit", Some("changed")));
}

#[tokio::test]
async fn a_write_through_tollgate_needs_no_event() {
    let (told, _clock) = start().await;
    let tollgate = &told.tollgate;
    let comments = format!("{ISSUE}/comments");
    let before = tollgate.get(&comments).await.json().as_array().unwrap().len();
    assert_eq!(cache(&tollgate.get(&comments).await), "hit");
    let made = tollgate.ask("POST", &comments).json(&json!({"body": "hello"})).send().await;
    assert_eq!(made.verdict(), "201");
    assert_eq!(tollgate.get(&comments).await.json().as_array().unwrap().len(), before + 1);
    assert_eq!(told.send(&push("1")).await.status, 202);
}

#[tokio::test]
async fn a_branch_that_is_protected_from_now_on_is_guarded_from_now_on() {
    let agents = vec![agent("worker", &["repositories: [acme/*]"])];
    let told = Told::of(Setup { further: section(), ..Setup::with(agents) }).await;
    let tollgate = &told.tollgate;
    let branch = tollgate.sim.edit(|world| world.branch_tip("acme/widgets", "main")).unwrap();
    let made = json!({"ref": "refs/heads/release-9", "sha": branch});
    let answer = tollgate.ask("POST", "/repos/acme/widgets/git/refs").json(&made).send().await;
    assert_eq!(answer.verdict(), "201", "{}", answer.text());
    let write = |path: &'static str| {
        let body = json!({"message": "m", "content": "eA==", "branch": "release-9"});
        tollgate.ask("PUT", path).json(&body).send()
    };
    assert_eq!(write("/repos/acme/widgets/contents/a").await.verdict(), "201");
    tollgate.sim.edit(|world| assert!(world.set_protected("acme/widgets", "release-9", true)));
    let payload = json!({"action": "created", "repository": {"id": 2001, "full_name": "Acme/Widgets"}});
    let delivery = delivery("branch_protection_rule", "1", payload.to_string());
    let before = told.last(Area::Guard);
    assert_eq!(told.send(&delivery).await.status.as_u16(), 202);
    eventually("the mark", || told.last(Area::Guard) > before).await;
    let answer = write("/repos/acme/widgets/contents/b").await;
    assert_eq!(answer.verdict(), "403 approval_required", "{}", answer.text());
}

/// The event names the repository as it is called now.
#[tokio::test]
async fn a_new_default_branch_is_guarded_under_the_former_name_too() {
    let agents = vec![agent("worker", &["repositories: [acme/*]"])];
    let told = Told::of(Setup { further: section(), ..Setup::with(agents) }).await;
    let tollgate = &told.tollgate;
    assert!(tollgate.sim.edit(|world| world.add_branch("acme/new-name", "develop")));
    let commit = async |file: &str| {
        let tip = tollgate.sim.edit(|world| world.branch_tip("acme/new-name", "develop")).unwrap();
        let input = json!({
            "branch": {"repositoryNameWithOwner": "acme/old-name", "branchName": "develop"},
            "expectedHeadOid": tip,
            "message": {"headline": "m"},
            "fileChanges": {"additions": [{"path": file, "contents": "eA=="}]},
        });
        let query = "mutation($input: CreateCommitOnBranchInput!) {
            createCommitOnBranch(input: $input) { commit { oid } }
        }";
        let document = json!({"query": query, "variables": {"input": input}});
        tollgate.ask("POST", "/graphql").json(&document).send().await
    };
    // GitHub may take the name or not; it got the write.
    assert_eq!(commit("a").await.verdict(), "200");
    assert!(tollgate.sim.edit(|world| world.set_default_branch("acme/new-name", "develop")));
    let payload = json!({
        "action": "edited",
        "changes": {"default_branch": {"from": "main"}},
        "repository": {"full_name": "acme/new-name"},
    });
    let delivery = delivery("repository", "1", payload.to_string());
    assert_eq!(told.send(&delivery).await.status.as_u16(), 202);
    eventually("the event", || told.feed.is_delivered("1")).await;
    let answer = commit("b").await;
    assert!(answer.text().contains("approval_required"), "{}", answer.text());
}
