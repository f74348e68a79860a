//! The setting of the attacks: two agents, the bytes that they send, and the judgement afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use github_sim::{RecordedRequest, Seed, SimConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::oracle::{Ground, Meaning, judge};
use crate::support::{Setup, Tollgate, agent, roomy};

/// The pull request that nobody approved.
pub(super) const MERGE: &str = "/repos/acme/widgets/pulls/76/merge";
/// How long to wait for an answer, and how long for more of it: a connection that is closed loses its request.
const PATIENCE: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_millis(150);

/// A running tollgate, and what attacks on it achieved.
pub(super) struct Run {
    pub(super) tollgate: Tollgate,
    pub(super) ground: Ground,
    /// The sequence number of the last arrival that was judged.
    seen: u64,
    guarded_refs: BTreeMap<String, String>,
    breaches: Vec<String>,
    attacks: usize,
}

/// `acme/widgets` with a protected branch `locked` beside `main`, from which pull request 78 comes.
fn world() -> SimConfig {
    let mut seed = Seed::default();
    let widgets = &mut seed.repositories[0];
    widgets.branches = ["feature/x", "release", "locked", "100%done", "spare"].map(str::to_owned).to_vec();
    widgets.protected = vec!["main".to_owned(), "locked".to_owned()];
    widgets.pulls = 3;
    SimConfig { seed, ..roomy() }
}

/// Two agents with the default classes, whose repositories don't overlap.
pub(super) fn setup(approval_mode: &'static str) -> Setup {
    let agents = vec![
        agent("worker", &["repositories: [acme/widgets, acme/gadgets]"]),
        agent("other", &["repositories: [other/tool]"]),
    ];
    let mut setup = Setup::with(agents);
    setup.sim = world();
    setup.approval_mode = approval_mode;
    // A request that the budget holds and then gives up would not arrive, so nothing is held.
    setup.further = "budget: { mode: observe }\n".to_owned();
    setup
}

impl Run {
    pub(super) async fn start(approval_mode: &'static str) -> Run {
        Run::on(setup(approval_mode)).await
    }

    pub(super) async fn on(setup: Setup) -> Run {
        let tollgate = setup.start().await;
        // A pull request that would bring `main` to `release`, so that updating it moves `main`.
        tollgate.sim.edit(|world| world.push_commit("acme/widgets", "main", "ahead.txt", "ahead\n")).unwrap();
        let backwards = json!({"title": "Back", "head": "main", "base": "release", "draft": true});
        let opened = tollgate.ask("POST", "/repos/acme/widgets/pulls").json(&backwards).send().await;
        assert_eq!(opened.verdict(), "201", "{}", opened.text());
        assert_eq!(opened.json()["number"], 79);
        let ground = Ground {
            own: vec![("acme/widgets", 2001), ("acme/gadgets", 2002)],
            guarded: vec!["main", "locked"],
            heads: vec![(76, "feature/x"), (77, "release"), (78, "locked"), (79, "main")],
        };
        let guarded_refs = guarded_refs(&tollgate).await;
        let seen = tollgate.sim.requests().last().map_or(0, |request| request.seq);
        Run { tollgate, ground, seen, guarded_refs, breaches: Vec::new(), attacks: 0 }
    }

    /// A complete request of the worker; its body is framed by its length.
    pub(super) fn request(&self, line: &str, fields: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
        let mut bytes = self.head(line, &format!("Content-Length: {}\r\n{fields}", body.as_ref().len()));
        bytes.extend(body.as_ref());
        bytes
    }

    /// Only the head; it says nothing about a body except what `fields` says. `fields` replace the usual ones.
    pub(super) fn head(&self, line: &str, fields: &str) -> Vec<u8> {
        let says = |name: &str| fields.to_lowercase().lines().any(|field| field.starts_with(name));
        let connection = if says("connection:") { "" } else { "Connection: close\r\n" };
        let content_type = if says("content-type:") { "" } else { "Content-Type: application/json\r\n" };
        let key = self.tollgate.key(0);
        let usual = format!("Host: x\r\n{connection}Authorization: token {key}\r\n{content_type}");
        format!("{line} HTTP/1.1\r\n{usual}{fields}\r\n").into_bytes()
    }

    /// Sends the bytes and judges what arrived because of them.
    pub(super) async fn attack(&mut self, name: &str, bytes: &[u8]) -> String {
        self.attack_in_pieces(name, &[bytes]).await
    }

    /// The same with several writes, a moment apart.
    pub(super) async fn attack_in_pieces(&mut self, name: &str, writes: &[&[u8]]) -> String {
        let answer = self.deliver(writes).await;
        if answer.contains("HTTP/1.1 101") {
            self.breaches.push(format!("{name}: the connection was switched to another protocol"));
        }
        self.judge_arrivals(name);
        self.attacks += 1;
        answer
    }

    /// The same for a request of which nothing at all may arrive.
    pub(super) async fn intrusion(&mut self, name: &str, bytes: &[u8]) {
        self.deliver(&[bytes]).await;
        for request in self.arrivals() {
            self.breaches.push(format!("{name}: {} {} arrived", request.method, request.target));
        }
        self.attacks += 1;
    }

    /// Sends the bytes on a connection of their own; returns the answer.
    pub(super) async fn deliver(&self, writes: &[&[u8]]) -> String {
        let mut socket = TcpStream::connect(self.tollgate.base.trim_start_matches("http://")).await.unwrap();
        for (index, bytes) in writes.iter().enumerate() {
            if index > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // An early refusal may have closed the connection.
            let _ = socket.write_all(bytes).await;
        }
        let (mut answer, mut buffer) = (Vec::new(), vec![0; 16 * 1024]);
        let mut patience = PATIENCE;
        while let Ok(Ok(read)) = tokio::time::timeout(patience, socket.read(&mut buffer)).await {
            if read == 0 {
                break;
            }
            answer.extend(&buffer[..read]);
            // An interim response is not the answer.
            patience = if answer.ends_with(b"HTTP/1.1 100 Continue\r\n\r\n") { PATIENCE } else { SILENCE };
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// What arrived since the last check, without the proxy's own calls as an App.
    pub(super) fn arrivals(&mut self) -> Vec<RecordedRequest> {
        let new = self.tollgate.sim.requests_since(self.seen);
        self.seen = new.last().map_or(self.seen, |request| request.seq);
        new.into_iter().filter(|request| request.credential != "app-jwt").collect()
    }

    /// Judges what arrived since the last check; returns its strongest meaning.
    pub(super) fn judge_arrivals(&mut self, name: &str) -> Meaning {
        let mut strongest = Meaning::Nothing;
        for request in self.arrivals() {
            let meaning = judge(&request, &self.ground);
            if meaning > Meaning::Nothing {
                let body = request.body.as_deref().unwrap_or_default();
                let body: String = body.chars().take(200).collect();
                self.breaches
                    .push(format!("{name}: {meaning:?} by {} {} {body}", request.method, request.target));
            }
            strongest = strongest.max(meaning);
        }
        strongest
    }

    /// Clears the list of breaches after a control caused them on purpose.
    pub(super) fn forgive(&mut self) {
        self.breaches.clear();
    }

    /// Fails with the whole list of breaches.
    pub(super) async fn finish(mut self, at_least: usize) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.judge_arrivals("something late");
        let books = self.tollgate.sim.books();
        assert!(
            self.breaches.is_empty(),
            "{} got through:\n{}",
            self.breaches.len(),
            self.breaches.join("\n")
        );
        assert!(books.merges.is_empty(), "{:?}", books.merges);
        assert!(books.mutations.is_empty(), "{:?}", books.mutations);
        assert_eq!(guarded_refs(&self.tollgate).await, self.guarded_refs);
        self.tollgate.assert_clean();
        assert!(self.attacks >= at_least, "only {} attacks were made", self.attacks);
    }
}

/// Where the guarded branches and all tags point.
async fn guarded_refs(tollgate: &Tollgate) -> BTreeMap<String, String> {
    let mut refs = BTreeMap::new();
    for (repository, kind) in [("widgets", "heads"), ("widgets", "tags"), ("gadgets", "heads")] {
        let path = format!("/repos/acme/{repository}/git/matching-refs/{kind}?per_page=100");
        let answer = tollgate.get(&path).await;
        assert_eq!(answer.verdict(), "200", "{}", answer.text());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        for one in answer.json().as_array().unwrap() {
            let name = text(&one["ref"]);
            if ["refs/heads/main", "refs/heads/locked"].contains(&name.as_str()) || kind == "tags" {
                refs.insert(format!("{repository} {name}"), text(&one["object"]["sha"]));
            }
        }
    }
    assert_eq!(refs.len(), 5, "{refs:?}");
    refs
}
