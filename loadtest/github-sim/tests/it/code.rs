//! Files, refs, trees, commits, comparisons, search and archives.

use serde_json::json;

use crate::client::{call, config, start, to};

#[tokio::test]
async fn a_branch_is_built_from_blobs_trees_and_commits() {
    let sim = start(config()).await;
    let token = sim.mint("acme");
    let path = |rest: &str| format!("/repos/acme/widgets{rest}");
    let get = |rest: &str| call(&sim, "GET", &path(rest)).token(&token).send();
    let post = |rest: &str, body| call(&sim, "POST", &path(rest)).token(&token).json(&body).send();
    let main = get("/git/ref/heads/main").await.json()["object"]["sha"].clone();
    let blob = post("/git/blobs", json!({"content": "hello"})).await.json()["sha"].clone();
    let entry = json!({"path": "src/new.rs", "mode": "100644", "type": "blob", "sha": blob});
    let tree = post("/git/trees", json!({"base_tree": main, "tree": [entry]})).await;
    assert_eq!(tree.status, 201);
    let tree = tree.json()["sha"].clone();
    let commit = json!({"message": "new", "tree": tree, "parents": [main]});
    let commit = post("/git/commits", commit).await.json()["sha"].clone();
    let made = post("/git/refs", json!({"ref": "refs/heads/topic/y", "sha": commit})).await;
    assert_eq!(made.status, 201);
    assert_eq!(get("/branches/topic%2Fy").await.json()["commit"]["sha"], commit);
    assert_eq!(get("/branches/topic/y").await.status, 404, "a slash must be encoded");
    assert_eq!(get("/contents/src/new.rs?ref=topic/y").await.json()["content"], "aGVsbG8=\n");
    let compare = get("/compare/main...topic%2Fy").await.json();
    assert_eq!((&compare["status"], &compare["ahead_by"]), (&json!("ahead"), &json!(1)));
    assert_eq!(compare["files"][0]["filename"], "src/new.rs");
    let back = json!({"sha": main});
    let refused = call(&sim, "PATCH", &path("/git/refs/heads/topic/y")).token(&token).json(&back);
    assert_eq!(refused.send().await.status, 422, "not a fast forward");
    let forced = json!({"sha": main, "force": true});
    let forced = call(&sim, "PATCH", &path("/git/refs/heads/topic/y")).token(&token).json(&forced);
    assert_eq!(forced.send().await.status, 200);
    let removed = call(&sim, "DELETE", &path("/git/refs/heads/topic/y")).token(&token).send().await;
    assert_eq!(removed.status, 204);
    assert_eq!(get("/git/ref/heads/topic/y").await.status, 404);
    assert_eq!(get("/git/matching-refs/tags/v1").await.json().as_array().unwrap().len(), 2);
    let tree = get("/git/trees/main?recursive=1").await.json();
    let paths = tree["tree"].as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap());
    assert!(paths.into_iter().any(|path| path == "src/deep/inner.rs"));
}

#[tokio::test]
async fn files_are_written_with_the_blob_they_replace() {
    let sim = start(config()).await;
    let token = sim.mint("acme");
    let path = "/repos/acme/widgets/contents/docs/new.txt";
    let put = |body| call(&sim, "PUT", path).token(&token).json(&body).send();
    let first = put(json!({"message": "m", "content": "eA=="})).await;
    assert_eq!(first.status, 201);
    assert_eq!(put(json!({"message": "m", "content": "eQ=="})).await.status, 422, "no sha");
    let wrong = json!({"message": "m", "content": "eQ==", "sha": "0".repeat(40)});
    assert_eq!(put(wrong).await.status, 409);
    let sha = first.json()["content"]["sha"].clone();
    let second = put(json!({"message": "m", "content": "eQ==", "sha": sha})).await;
    assert_eq!(second.status, 200);
    let sha = second.json()["content"]["sha"].clone();
    let body = json!({"message": "m", "sha": sha});
    assert_eq!(call(&sim, "DELETE", path).token(&token).json(&body).send().await.status, 200);
    assert_eq!(call(&sim, "GET", path).token(&token).send().await.status, 404);
    let folder = call(&sim, "GET", "/repos/acme/widgets/contents/").token(&token).send().await;
    let names: Vec<String> = folder
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, [".github", "CHANGELOG.md", "README.md", "docs", "src"]);
    assert_eq!(sim.books().writes, 3);
}

#[tokio::test]
async fn files_go_to_the_branch_that_is_named_or_to_the_default_one() {
    let sim = start(config()).await;
    let token = sim.mint("acme");
    let path = "/repos/acme/widgets/contents/where.txt";
    let tip = |branch: &'static str| sim.edit(|world| world.branch_tip("acme/widgets", branch)).unwrap();
    let send =
        |method: &'static str, path: &str, body| call(&sim, method, path).token(&token).json(&body).send();
    for (branch, lands_on, others) in [
        (Some("refs/heads/feature/x"), "feature/x", ["main", "release"]),
        (Some("release"), "release", ["main", "feature/x"]),
        (None, "main", ["release", "feature/x"]),
    ] {
        let before = others.map(tip);
        let mut body = json!({"message": "m", "content": "eA=="});
        if let Some(branch) = branch {
            body["branch"] = json!(branch);
        }
        let written = send("PUT", path, body).await;
        assert_eq!(written.status, 201, "{branch:?}");
        assert_eq!(written.json()["commit"]["sha"], tip(lands_on));
        let query = branch.map(|branch| format!("?ref={branch}")).unwrap_or_default();
        let read = send("GET", &format!("{path}{query}"), json!({})).await.json();
        assert_eq!(read["sha"], written.json()["content"]["sha"]);
        let mut body = json!({"message": "m", "sha": read["sha"]});
        if let Some(branch) = branch {
            body["branch"] = json!(branch);
        }
        let removed = send("DELETE", path, body).await;
        assert_eq!(removed.status, 200, "{branch:?}");
        assert_eq!(removed.json()["commit"]["sha"], tip(lands_on));
        assert_eq!(others.map(tip), before, "{branch:?}");
    }
    assert!(sim.edit(|world| world.set_default_branch("acme/widgets", "release")));
    let written = send("PUT", path, json!({"message": "m", "content": "eA=="})).await;
    assert_eq!(written.json()["commit"]["sha"], tip("release"));
    let unknown = json!({"message": "m", "content": "eA==", "branch": "refs/heads/none"});
    assert_eq!(send("PUT", path, unknown).await.status, 404);
}

#[tokio::test]
async fn search_stays_within_its_qualifiers_and_the_token() {
    let sim = start(config()).await;
    let token = sim.mint("acme");
    for (path, count) in [
        ("/search/issues?q=repo:acme/gadgets", 3),
        ("/search/issues?q=org:acme+is:pr", 2),
        ("/search/issues?q=repo:other/tool", 0),
        ("/search/repositories?q=widgets", 1),
        ("/search/code?q=widget+repo:acme/widgets", 3),
        ("/search/commits?q=change+log+repo:acme/widgets", 1),
    ] {
        let answer = call(&sim, "GET", path).token(&token).send().await;
        assert_eq!(answer.json()["total_count"], count, "{path}");
        assert_eq!(answer.json()["incomplete_results"], false);
    }
    assert_eq!(call(&sim, "GET", "/search/issues").token(&token).send().await.status, 422);
    let used = sim.books().used;
    assert_eq!((used["installation:1001/search"], used["installation:1001/code_search"]), (6, 1));
}

#[tokio::test]
async fn releases_are_uploaded_and_fetched_elsewhere() {
    let sim = start(config()).await;
    let token = sim.mint("acme");
    let body = json!({"tag_name": "v9", "name": "nine"});
    let path = "/repos/acme/widgets/releases";
    let release = call(&sim, "POST", path).token(&token).json(&body).send().await.json();
    let upload = release["upload_url"].as_str().unwrap().replace("{?name,label}", "?name=a.bin");
    assert!(upload.starts_with(&sim.uploads_url()));
    let sent = to("POST", &upload).token(&token).text("contents").send().await;
    assert_eq!(sent.status, 201);
    let large = "x".repeat(2 * 1024 * 1024);
    let second = to("POST", &upload.replace("a.bin", "b.bin")).token(&token).text(&large);
    assert_eq!(second.send().await.json()["size"], 2 * 1024 * 1024);
    let asset = sent.json()["url"].as_str().unwrap().to_owned();
    let bytes = to("GET", &asset).token(&token).header("accept", "application/octet-stream");
    let redirect = bytes.send().await;
    assert_eq!(redirect.status, 302);
    let target = redirect.header("location").to_owned();
    assert!(target.starts_with(&sim.storage_url()));
    assert_eq!(to("GET", &target).send().await.body, "contents");
    assert!(sim.books().leaked_credentials.is_empty());
    to("GET", &target).token(&token).send().await;
    assert_eq!(sim.books().leaked_credentials[0].kind, "storage");
    let archive = call(&sim, "GET", "/repos/acme/widgets/tarball/main").token(&token).send().await;
    assert_eq!(archive.status, 302);
    assert!(archive.header("location").starts_with(&sim.storage_url()));
}
