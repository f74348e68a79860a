//! With an approval the same requests do arrive, and are judged for what they are.

use super::oracle::Meaning;
use super::run::{MERGE, Run};

#[tokio::test]
async fn what_is_approved_arrives_and_is_judged_dangerous() {
    let mut run = Run::start("presence").await;
    let sha =
        run.tollgate.get("/repos/acme/widgets/git/ref/heads/feature/x").await.json()["object"]["sha"].clone();
    run.judge_arrivals("the start");
    let moved = format!(r#"{{"sha":{sha}}}"#);
    let made = format!(r#"{{"ref":"refs/tags/v9.0.0","sha":{sha}}}"#);
    let file = r#"{"message":"m","content":"eA==","branch":"locked"}"#;
    for (line, body, meaning) in [
        ("POST /repos/acme/widgets/pulls/76/reviews", r#"{"event":"APPROVE"}"#, Meaning::Review),
        ("POST /repos/acme/widgets/check-runs", r#"{"name":"ci","head_sha":"x"}"#, Meaning::Review),
        (
            "PUT /repos/acme/widgets/contents/new.txt",
            r#"{"message":"m","content":"eA=="}"#,
            Meaning::RefWrite,
        ),
        ("PUT /repos/acme/widgets/contents/new.txt", file, Meaning::RefWrite),
        ("PATCH /repos/acme/widgets/git/refs/heads%2Flocked", &moved, Meaning::RefWrite),
        ("POST /repos/acme/widgets/git/refs", &made, Meaning::RefWrite),
        ("PATCH /repos/acme/widgets/pulls/77", r#"{"base":"locked"}"#, Meaning::RefWrite),
        ("PUT /repositories/2001/pulls/78/update-branch", "{}", Meaning::RefWrite),
        ("POST /repos/acme/widgets/releases", r#"{"tag_name":"v9"}"#, Meaning::RefWrite),
        (&format!("PUT {MERGE}"), "{}", Meaning::Merge),
        ("PUT /api/v3/repositories/2001/pulls/77/%6Derge-async", "{}", Meaning::Merge),
        ("POST /repos/acme/widgets/merges", r#"{"base":"main","head":"spare"}"#, Meaning::Merge),
    ] {
        let bytes = run.request(line, "X-Merge-Approval: yes\r\n", body);
        let answer = run.deliver(&[&bytes]).await;
        assert_eq!(run.judge_arrivals(line), meaning, "{line}: {answer}");
        let bytes = run.request(line, "", body);
        let answer = run.deliver(&[&bytes]).await;
        assert!(
            answer.starts_with("HTTP/1.1 403 ") && answer.contains("approval_required"),
            "{line}: {answer}"
        );
        assert_eq!(run.judge_arrivals(line), Meaning::Nothing, "{line} without an approval");
    }
    run.forgive();
    assert_eq!(run.tollgate.sim.books().merges.len(), 3);
}

#[tokio::test]
async fn the_bytes_of_the_attacks_are_those_of_an_agent_who_is_let_in() {
    let mut run = Run::start("presence").await;
    for (line, body) in [
        ("GET /repos/acme/widgets", ""),
        ("GET /api/v3/repositories/2001/issues?page=2", ""),
        ("POST /repos/acme/widgets/issues", r#"{"title":"x"}"#),
        ("POST /repos/acme/widgets/pulls/76/reviews", r#"{"event":"COMMENT","body":"x"}"#),
        ("PATCH /repos/acme/widgets/pulls/76", r#"{"title":"x"}"#),
        ("POST /graphql", r#"{"query":"{ viewer { login } }"}"#),
    ] {
        let bytes = run.request(line, "", body);
        let answer = run.attack(line, &bytes).await;
        assert!(answer.starts_with("HTTP/1.1 20"), "{line}: {answer}");
    }
    let mut chunked = run.head("POST /repos/acme/widgets/issues", "Transfer-Encoding: chunked\r\n");
    chunked.extend(b"d\r\n{\"title\":\"x\"}\r\n0\r\n\r\n");
    let answer = run.attack("in chunks", &chunked).await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let other = String::from_utf8(run.request("GET /repos/other/tool", "", "")).unwrap();
    let other = other.replace(run.tollgate.key(0), run.tollgate.key(1));
    assert!(run.deliver(&[other.as_bytes()]).await.starts_with("HTTP/1.1 200"));
    assert_eq!(run.judge_arrivals("the other agent's own"), Meaning::Foreign);
    run.forgive();
    run.finish(7).await;
}
