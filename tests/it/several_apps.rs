//! Several Apps on one account, each with its own quota.

use std::collections::BTreeMap;

use github_sim::{Fault, FaultKind, FurtherApp, INSTALLATION_STEP, LimitForm, PrimaryLimits, SimConfig};
use serde_json::json;
use tokio::time::Instant;

use crate::support::{Setup, Tollgate, UNCACHED, agent};

const WIDGETS: &str = "/repos/acme/widgets";

fn setup(repositories: Option<&[&str]>) -> Setup {
    let repositories =
        repositories.map(|names| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let sim = SimConfig {
        further_apps: vec![FurtherApp { app_id: 4343, repositories }],
        limits: PrimaryLimits { core: 1000, ..PrimaryLimits::default() },
        ..SimConfig::default()
    };
    let worker = agent(
        "worker",
        &[
            "repositories: [acme/*, other/*]",
            "require_approval: [merge]",
            "allow: [read, write, review, merge]",
        ],
    );
    Setup { sim, cache: UNCACHED, ..Setup::with(vec![worker]) }
}

impl Tollgate {
    /// Calls that arrived, by the index of their installation's App.
    fn by_app(&self) -> BTreeMap<u64, usize> {
        let mut counts = BTreeMap::new();
        for request in self.arrived() {
            let id: u64 = request.credential.strip_prefix("installation:").unwrap().parse().unwrap();
            *counts.entry(id / INSTALLATION_STEP).or_default() += 1;
        }
        counts
    }
}

#[tokio::test]
async fn both_quotas_are_used_and_evenly() {
    let tollgate = setup(None).start().await;
    for call in 0..20 {
        let answer = tollgate.ask("GET", WIDGETS).header("prefer", "wait=5").send().await;
        assert_eq!(answer.verdict(), "200", "{call}: {}", answer.text());
    }
    let counts = tollgate.by_app();
    assert!(counts.values().all(|count| (8..=12).contains(count)), "{counts:?}");
    let me = tollgate.get("/tollgate/me").await.json();
    let pools = me["pools"].as_array().unwrap();
    let core =
        |label: &str| pools.iter().any(|pool| pool["installation"] == label && pool["resource"] == "core");
    assert!(core("bot/acme") && core("bot2/acme"), "{pools:?}");
    tollgate.assert_clean();
}

/// What is cached under one installation is useless under another.
#[tokio::test]
async fn a_path_has_its_own_place_while_both_have_about_the_same() {
    let tollgate = Setup { cache: "", ..setup(None) }.start().await;
    for _ in 0..5 {
        for number in 1..=10 {
            let path = format!("{WIDGETS}/issues/{number}");
            assert_eq!(tollgate.get(&path).await.verdict(), "200");
        }
    }
    assert!(tollgate.by_app().len() == 2, "{:?}", tollgate.by_app());
    let charged = tollgate.arrived().into_iter().filter(|request| request.status == Some(200)).count();
    assert!((10..=14).contains(&charged), "{charged} of 50 reads were charged");
}

#[tokio::test]
async fn check_runs_stay_with_the_app_that_makes_them() {
    let tollgate = setup(None).start().await;
    let head = tollgate.get("/repos/acme/widgets/commits/main").await.json()["sha"].clone();
    let runs = "/repos/acme/widgets/check-runs";
    for _ in 0..2 {
        for _ in 0..2 {
            tollgate.get(WIDGETS).await;
        }
        let body = json!({"name": "lint", "head_sha": head});
        let made = tollgate.ask("POST", runs).json(&body).send().await;
        assert_eq!(made.verdict(), "201", "{}", made.text());
        let path = format!("{runs}/{}", made.json()["id"]);
        let ended = tollgate.ask("PATCH", &path).json(&json!({"conclusion": "success"})).send().await;
        assert_eq!(ended.verdict(), "200", "{}", ended.text());
        assert_eq!(ended.json()["app"]["id"], 4242);
    }
    assert!(tollgate.by_app().len() == 2, "reads went by both");
    tollgate.assert_clean();
}

#[tokio::test]
async fn an_app_serves_what_was_selected_for_it() {
    let tollgate = setup(Some(&["acme/gadgets"])).start().await;
    for _ in 0..3 {
        assert_eq!(tollgate.get(WIDGETS).await.verdict(), "200");
        assert_eq!(tollgate.get("/repos/acme/gadgets").await.verdict(), "200");
        assert_eq!(tollgate.get("/repos/other/tool").await.verdict(), "200");
    }
    let of_second: Vec<String> = tollgate
        .arrived()
        .into_iter()
        .filter(|request| request.credential == format!("installation:{}", INSTALLATION_STEP + 1001))
        .map(|request| request.target)
        .collect();
    assert!(
        !of_second.is_empty() && of_second.iter().all(|target| target == "/repos/acme/gadgets"),
        "{of_second:?}"
    );
    // GitHub is asked once, not for every call.
    let asked =
        tollgate.sim.requests().into_iter().filter(|request| request.target.ends_with("/installation"));
    assert!(asked.count() <= 12);
    tollgate.assert_clean();
}

#[tokio::test]
async fn one_app_that_fails_leaves_the_other() {
    let mut setup = setup(None);
    setup.sim.further_apps[0].app_id = 4343;
    let tollgate = setup.start().await;
    // An App that GitHub does not know.
    tollgate.reload("app_id: 4343", "app_id: 5555", "ok").await;
    for _ in 0..3 {
        assert_eq!(tollgate.get(WIDGETS).await.verdict(), "200");
    }
    assert_eq!(tollgate.by_app().keys().copied().collect::<Vec<_>>(), [0]);
    tollgate.reload("app_id: 5555", "app_id: 4343", "ok").await;
    for _ in 0..6 {
        assert_eq!(tollgate.get(WIDGETS).await.verdict(), "200");
    }
    assert_eq!(tollgate.by_app().len(), 2, "it is taken up again");
}

/// The other one has its whole quota, but is slower than calls come.
#[tokio::test]
async fn one_app_on_hold_leaves_the_other() {
    let tollgate = setup(None).start().await;
    for _ in 0..2 {
        assert_eq!(tollgate.get(WIDGETS).await.verdict(), "200");
    }
    let form = LimitForm::Secondary403;
    let fault =
        Fault::new(FaultKind::Limit { form, retry_after: Some(600) }).on("GET", "/repos/acme").times(1);
    tollgate.sim.faults().add(fault);
    assert_eq!(tollgate.get(WIDGETS).await.verdict(), "403 upstream_limited", "the one that GitHub refused");
    for call in 0..14 {
        let answer = tollgate.ask("GET", WIDGETS).header("prefer", "wait=20").send().await;
        assert_eq!(answer.verdict(), "200", "{call}: {}", answer.text());
    }
}

/// Whoever does not wait is refused by the App whose turn it is not; the other one serves the next call.
#[tokio::test]
async fn who_does_not_wait_is_served_by_both() {
    let tollgate = setup(None).start().await;
    let mut served = 0;
    for _ in 0..60 {
        let answer = tollgate.ask("GET", WIDGETS).header("prefer", "wait=0").send().await;
        served += usize::from(answer.verdict() == "200");
    }
    let counts = tollgate.by_app();
    // The bucket of each holds ten at the start.
    assert!(served >= 18 && counts.values().all(|count| *count >= 8), "{served}: {counts:?}");
}

#[tokio::test]
async fn an_app_with_fewer_rights_never_stands_in() {
    let tollgate = setup(None).start().await;
    let line = "app_id: 4343, private_key_file: app.pem";
    tollgate.reload(line, &format!("{line}, write_permissions: {{ metadata: read }}"), "ok").await;
    for number in 1..=6 {
        let path = format!("{WIDGETS}/issues/{number}/comments");
        assert_eq!(tollgate.get(&path).await.verdict(), "200");
        let made = tollgate.ask("POST", &path).json(&json!({"body": "hello"})).send().await;
        assert_eq!(made.verdict(), "201");
    }
    let mut writes = tollgate.arrived();
    writes.retain(|request| request.method == "POST");
    assert!(writes.iter().all(|request| request.credential == "installation:1001"), "{writes:?}");
    assert_eq!(tollgate.by_app().len(), 2, "reads go by both");
}

/// With access to every repository and no default, a call that names none goes to the only account.
#[tokio::test]
async fn two_apps_on_the_only_account_are_no_question() {
    let mut setup = setup(None);
    setup.sim.seed.owners.retain(|owner| owner.login == "acme");
    setup.sim.seed.repositories.retain(|repository| repository.full_name.starts_with("acme/"));
    setup.agents = vec![agent("worker", &["repositories: [\"*\"]"])];
    let tollgate = setup.start().await;
    assert_eq!(tollgate.get("/installation/repositories").await.verdict(), "200");
}

/// `everything` may use all repositories and names no installation; `worker` has `acme`'s. The second App is one that
/// GitHub does not know.
async fn with_a_refused_app() -> Tollgate {
    let mut setup = setup(None);
    setup.sim.seed.owners.retain(|owner| ["acme", "other"].contains(&owner.login.as_str()));
    setup.sim.seed.repositories.retain(|repository| !repository.full_name.starts_with("solo/"));
    setup.agents = vec![
        agent("everything", &["repositories: [\"*\"]"]),
        agent("worker", &["repositories: [acme/*]", "require_approval: [merge]"]),
    ];
    let tollgate = setup.start().await;
    tollgate.reload("app_id: 4343", "app_id: 5555", "ok").await;
    tollgate
}

#[tokio::test]
async fn a_refused_app_fails_no_call_that_others_serve() {
    let tollgate = with_a_refused_app().await;
    for round in 0..2 {
        for path in ["/meta", "/users/acme", "/repositories/2001"] {
            assert_eq!(tollgate.get(path).await.verdict(), "200", "{path} in round {round}");
        }
        let query = json!({"query": "{ viewer { login } }"});
        let answer = tollgate.ask("POST", "/graphql").json(&query).send().await;
        assert_ne!(answer.status, 502, "{}", answer.text());
        // The failure just met says nothing about owners that the other App serves.
        for owner in ["acme/widgets", "other/tool"] {
            assert_eq!(tollgate.get(&format!("/repos/{owner}")).await.verdict(), "200", "{owner}");
        }
        assert_eq!(tollgate.ask("GET", WIDGETS).by(1).send().await.verdict(), "200");
    }
    tollgate.reload("app_id: 5555", "app_id: 4343", "ok").await;
    assert_eq!(tollgate.get("/meta").await.verdict(), "200");
}

/// Nobody knows what the refused App would show.
#[tokio::test]
async fn what_no_other_app_covers_gets_the_failure_of_the_one_that_could() {
    let tollgate = with_a_refused_app().await;
    // A token that has worked is not doubted when GitHub does not show something.
    for repository in ["acme/widgets", "other/tool"] {
        assert_eq!(tollgate.get(&format!("/repos/{repository}")).await.verdict(), "200");
    }
    for path in ["/repos/nobody/nothing", "/repositories/999999"] {
        assert_eq!(tollgate.get(path).await.verdict(), "502 upstream_unreachable", "{path}");
    }
    tollgate.reload("app_id: 5555", "app_id: 4343", "ok").await;
    assert_eq!(tollgate.get("/repos/nobody/nothing").await.verdict(), "404 no_installation");
}

/// A refused App is asked again every two seconds at most, whatever is called meanwhile.
#[tokio::test]
async fn a_refused_app_is_not_asked_at_every_call() {
    let tollgate = with_a_refused_app().await;
    let begun = Instant::now();
    for _ in 0..10 {
        tollgate.get("/meta").await;
        tollgate.get("/repos/other/tool").await;
        tollgate.ask("GET", WIDGETS).by(1).send().await;
    }
    let refused = tollgate.sim.requests().into_iter().filter(|request| request.status == Some(401)).count();
    let most = begun.elapsed().as_secs() / 2 + 2;
    assert!((1..=most).contains(&(refused as u64)), "{refused}");
}
