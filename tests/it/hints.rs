//! Agents are told about cheaper ways, in the answer and at `/tollgate/me`.

use github_sim::{PrimaryLimits, SimConfig};
use serde_json::json;

use crate::support::{Answer, Setup, Tollgate, agent};

fn hint(answer: &Answer) -> Option<String> {
    answer.headers.get("x-tollgate-hint").map(|hint| hint.to_str().unwrap().to_owned())
}

async fn get(tollgate: &Tollgate, path: &str) -> Option<String> {
    let answer = tollgate.ask("GET", path).send().await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    hint(&answer)
}

async fn told(tollgate: &Tollgate) -> Vec<String> {
    let me = tollgate.ask("GET", "/tollgate/me").send().await;
    serde_json::from_value(me.json()["hints"].clone()).unwrap()
}

#[tokio::test]
async fn small_pages_and_repeats_are_named() {
    let tollgate = Setup::worker().start().await;
    assert_eq!(get(&tollgate, "/repos/acme/widgets/issues?per_page=100").await, None);
    assert_eq!(told(&tollgate).await, Vec::<String>::new());
    let pages = get(&tollgate, "/repos/acme/widgets/issues?per_page=1").await.unwrap();
    assert!(pages.contains("per_page=100"), "{pages}");
    for _ in 0..5 {
        assert_eq!(get(&tollgate, "/repos/acme/widgets/issues/1").await, None);
    }
    let repeats = get(&tollgate, "/repos/acme/widgets/issues/1").await.unwrap();
    assert!(repeats.contains("If-None-Match"), "{repeats}");
    // An unchanged answer cost nothing, so there is no hint.
    let first = tollgate.ask("GET", "/repos/acme/widgets/issues/1").send().await;
    let etag = first.headers["etag"].to_str().unwrap().to_owned();
    let same =
        tollgate.ask("GET", "/repos/acme/widgets/issues/1").header("if-none-match", &etag).send().await;
    assert_eq!((same.status.as_u16(), hint(&same)), (304, None));
    // GraphQL knows no conditions.
    let query = json!({"query": "{ viewer { login } }"});
    for _ in 0..7 {
        let asked = tollgate.ask("POST", "/graphql").json(&query).send().await;
        assert_eq!((asked.status.as_u16(), hint(&asked)), (200, None));
    }
    assert_eq!(told(&tollgate).await, [repeats, pages]);
}

#[tokio::test]
async fn many_single_files_are_a_tree() {
    let tollgate = Setup::worker().start().await;
    let mut last = None;
    for at in 0..21 {
        last = get(&tollgate, &format!("/repos/acme/widgets/contents/README.md?ref=main&n={at}")).await;
        assert_eq!(last.is_some(), at == 20, "{at}: {last:?}");
    }
    assert!(last.unwrap().contains("recursive=1"));
}

#[tokio::test]
async fn rest_is_named_while_graphql_runs_out() {
    // One point every 1.5 s, so that calls are held.
    let limits = PrimaryLimits { graphql: 40, window_seconds: 60, ..PrimaryLimits::default() };
    let sim = SimConfig { limits, ..SimConfig::default() };
    let tollgate = Setup { sim, ..Setup::worker() }.start().await;
    let mut hints = Vec::new();
    for at in 0..30 {
        let query = json!({"query": format!("query Q{at} {{ repository(owner: \"acme\", name: \"widgets\") {{ id }} }}")});
        let answer = tollgate.ask("POST", "/graphql").header("prefer", "wait=5").json(&query).send().await;
        hints.extend(hint(&answer));
        if !hints.is_empty() {
            break;
        }
    }
    assert!(hints.iter().any(|hint| hint.contains("ask by REST")), "{hints:?}");
}

#[tokio::test]
async fn what_the_guard_asks_is_not_held_against_the_agent() {
    let agents = vec![agent("worker", &["repositories: [acme/widgets]", "allow: [read, write]"])];
    let tollgate = Setup::with(agents).start().await;
    let body = json!({"message": "m", "content": "eA==", "branch": "feature/x"});
    let written = tollgate.ask("PUT", "/repos/acme/widgets/contents/h.txt").json(&body).send().await;
    assert_eq!(written.verdict(), "201", "{}", written.text());
    assert!(tollgate.arrived().len() > 1, "the branch was asked for");
    // If the guard's own query counted, it would be the sixth.
    for _ in 0..5 {
        assert_eq!(get(&tollgate, "/repos/acme/widgets").await, None);
    }
    assert_eq!(told(&tollgate).await, Vec::<String>::new());
}
