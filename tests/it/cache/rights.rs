//! No agent is ever served what its own rights could not fetch: random agents and paths, compared with the same
//! tollgate without a cache.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::support::{Setup, Tollgate, UNCACHED, agent};

const LISTS: [&str; 6] = [
    "[acme/*]",
    "[acme/widgets]",
    "[acme/widgets, acme/tools]",
    "[acme/tools]",
    "[other/*]",
    "[acme/widgets, other/tool]",
];
const PATHS: [&str; 12] = [
    "/repos/acme/widgets",
    "/repos/acme/tools",
    "/repos/other/tool",
    "/repos/acme/widgets/issues/1",
    "/repos/ACME/Widgets/issues/1",
    "/repositories/2001/issues/1",
    "/repos/acme/widgets/pulls?state=open",
    "/search/issues?q=repo:acme/widgets",
    "/installation/repositories",
    "/users/sim-user",
    "/rate_limit",
    "/orgs/acme/repos",
];

fn setup(cache: &'static str, lists: &[&str]) -> Setup {
    let agents = lists
        .iter()
        .enumerate()
        .map(|(place, list)| agent(&format!("agent-{place}"), &[&format!("repositories: {list}")]));
    Setup { cache, ..Setup::with(agents.collect()) }
}

async fn told(tollgate: &Tollgate, agent: usize, path: &str, media: &str) -> (String, String) {
    let answer = tollgate.ask("GET", path).by(agent).header("accept", media).send().await;
    let text = answer.text().replace(&tollgate.base, "BASE").replace(&tollgate.sim.api_url(), "GITHUB");
    // Figures and request ids differ each time.
    let is_own = path == "/rate_limit" || answer.headers.contains_key("x-tollgate-error");
    (answer.verdict(), if is_own { String::new() } else { text })
}

#[tokio::test]
async fn the_cache_gives_nobody_more_than_he_has() {
    let seed: u64 = 8;
    let mut random = StdRng::seed_from_u64(seed);
    let lists: Vec<&str> = (0..8).map(|_| *LISTS.choose(&mut random).unwrap()).collect();
    let kept = setup("cache: { fresh_for: 60s }\n", &lists).start().await;
    let plain = setup(UNCACHED, &lists).start().await;
    let mut hits = 0;
    for step in 0..500 {
        let (place, path) = (random.random_range(0..lists.len()), *PATHS.choose(&mut random).unwrap());
        let media = *["application/json", "application/vnd.github+json"].choose(&mut random).unwrap();
        let expected = told(&plain, place, path, media).await;
        let got = told(&kept, place, path, media).await;
        assert_eq!(got, expected, "step {step}: agent of {} asks for {path}", lists[place]);
        hits += usize::from(expected.0 == "200");
    }
    assert!(hits > 100, "{hits}");
    let metrics = kept.metrics().await;
    assert!(metrics.contains("tollgate_cache_requests_total{result=\"hit\"}"), "the cache had a part in it");
}
