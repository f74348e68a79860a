//! A caller without a key, or with another's, that wants to be taken for the worker.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use sha2::{Digest, Sha256};
use tollgate::secret::hex;

use super::run::{MERGE, Run};

/// The head of a read; `fields` is all that identifies the caller.
fn read(target: &str, fields: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n").into_bytes()
}

/// Values of `Authorization` that let nobody in; `KEY` stands for the worker's key.
const VALUES: [(&str, &str); 34] = [
    ("nothing", ""),
    ("a scheme alone", "token"),
    ("another scheme", "Digest KEY"),
    ("no scheme", "KEY"),
    ("a scheme with a colon", "token: KEY"),
    ("a scheme with an equals sign", "token=KEY"),
    ("two schemes", "token Bearer KEY"),
    ("the key in quotes", "token \"KEY\""),
    ("the key and more", "token KEYx"),
    ("the key cut short", "token tg_worker_"),
    ("the key in capitals", "token UPPER"),
    ("the key twice", "token KEY KEY"),
    ("the key after a comma", "token x, token KEY"),
    ("the key before a comma", "token KEY, token x"),
    ("the key before a semicolon", "token KEY;x"),
    ("the key with a percent escape", "token %74gKEY"),
    ("no secret", "token tg_worker_00000000000000000000000000000000"),
    ("a pattern", "token tg_*"),
    ("a statement", "token ' OR 1=1 --"),
    ("a personal token of GitHub's", "token ghp_githubsimpersonaltoken0000000000000000"),
    ("an installation token of GitHub's", "token ghs_000000000000000000000000000000000000"),
    ("a fine-grained token of GitHub's", "Bearer github_pat_00000000000000000000000000000000"),
    ("a JWT without a signature", "Bearer eyJhbGciOiJub25lIn0.eyJpc3MiOiJ3b3JrZXIifQ."),
    ("Basic without padding and key", "Basic eDp5"),
    ("Basic of nothing", "Basic "),
    ("Basic of a colon", "Basic Og=="),
    ("Basic that is no Base64", "Basic ????"),
    ("Basic with the plain key", "Basic KEY"),
    ("Basic with the name", "Basic d29ya2VyOndvcmtlcg=="),
    ("the hash of the key", "token HASH"),
    ("the name of the agent", "token worker"),
    ("the name and any secret", "token tg_worker_x"),
    ("a tab and no blank", "token\tKEY"),
    ("a no-break space", "token\u{a0}KEY"),
];

#[tokio::test]
async fn nobody_gets_in_without_the_key_in_its_place() {
    let mut run = Run::start("presence").await;
    let key = run.tollgate.key(0).to_owned();
    let hash = hex(&Sha256::digest(&key));
    for (name, value) in VALUES {
        let value = value.replace("KEY", &key).replace("UPPER", &key.to_uppercase()).replace("HASH", &hash);
        run.intrusion(name, &read("/repos/acme/widgets", &format!("Authorization: {value}\r\n"))).await;
    }
    let basic = STANDARD.encode(format!("x:{key}"));
    for (name, fields) in [
        ("no key", String::new()),
        ("two keys", format!("Authorization: token {key}\r\nAuthorization: token {key}\r\n")),
        ("a key after nonsense", format!("Authorization: token x\r\nAuthorization: token {key}\r\n")),
        ("a key before nonsense", format!("Authorization: token {key}\r\nAuthorization: token x\r\n")),
        ("two forms", format!("Authorization: Basic {basic}\r\nauthorization: token {key}\r\n")),
        ("a blank before the colon", format!("Authorization : token {key}\r\n")),
        ("a folded line", format!("Authorization:\r\n token {key}\r\n")),
        ("underscores", format!("Authorization_: token {key}\r\nHTTP_AUTHORIZATION: token {key}\r\n")),
        ("a cookie", format!("Cookie: authorization=token {key}; access_token={key}\r\n")),
        ("a proxy's credential", format!("Proxy-Authorization: token {key}\r\n")),
        (
            "another header",
            format!("X-Authorization: token {key}\r\nX-Api-Key: {key}\r\nPrivate-Token: {key}\r\n"),
        ),
        (
            "a header for the agent",
            "X-Tollgate-Agent: worker\r\nX-Agent: worker\r\nRemote-User: worker\r\n".to_owned(),
        ),
        (
            "a near address",
            "X-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\nForwarded: for=127.0.0.1\r\n".to_owned(),
        ),
        (
            "a certificate",
            "X-Client-Cert: CN=worker\r\nX-Forwarded-Client-Cert: Subject=\"CN=worker\"\r\n".to_owned(),
        ),
        ("a user in the address", format!("Referer: http://{key}@x/\r\n")),
    ] {
        run.intrusion(name, &read("/repos/acme/widgets", &fields)).await;
    }
    for query in [
        "access_token=KEY",
        "token=KEY",
        "Authorization=token+KEY",
        "private_token=KEY",
        "client_secret=KEY&client_id=x",
    ] {
        let target = format!("/repos/acme/widgets?{}", query.replace("KEY", &key));
        run.intrusion(query, &read(&target, "")).await;
    }
    let user = read(
        &format!("http://{key}@{}/repos/acme/widgets", run.tollgate.base.trim_start_matches("http://")),
        "",
    );
    run.intrusion("a key as the user of the address", &user).await;
    run.finish(VALUES.len() + 21).await;
}

#[tokio::test]
async fn another_agents_key_opens_nothing_of_the_workers() {
    let mut run = Run::start("presence").await;
    let (worker, other) = (run.tollgate.key(0).to_owned(), run.tollgate.key(1).to_owned());
    let basic = STANDARD.encode(format!("{worker}:{other}"));
    let as_other = format!("Authorization: token {other}\r\n");
    for (name, target, fields) in [
        ("another's repository", "/repos/acme/widgets", as_other.clone()),
        ("another's repository by id", "/repositories/2001/issues", as_other.clone()),
        ("another's search", "/search/issues?q=repo:acme/widgets", as_other.clone()),
        ("another's name", "/repos/acme/widgets", format!("{as_other}X-Tollgate-Agent: worker\r\n")),
        ("another's key in a cookie", "/repos/acme/widgets", format!("{as_other}Cookie: key={worker}\r\n")),
        (
            "another's key as a second header",
            "/repos/acme/widgets",
            format!("{as_other}Authorization: token {worker}\r\n"),
        ),
        (
            "another's key as the first header",
            "/repos/acme/widgets",
            format!("Authorization: token {worker}\r\n{as_other}"),
        ),
        (
            "another's key for a proxy",
            "/repos/acme/widgets",
            format!("{as_other}Proxy-Authorization: token {worker}\r\n"),
        ),
        (
            "both keys in one header",
            "/repos/acme/widgets",
            format!("Authorization: token {other}, token {worker}\r\n"),
        ),
        (
            "both keys in Basic, in the other's repository's stead",
            "/repos/acme/secret-plans",
            format!("Authorization: Basic {basic}\r\n"),
        ),
    ] {
        // Only the look-up of an id may arrive, and it tells another agent nothing.
        let bytes = read(target, &fields);
        run.deliver(&[&bytes]).await;
        let answered =
            run.arrivals().into_iter().filter(|request| request.status.is_none_or(|status| status < 400));
        let lines: Vec<String> =
            answered.map(|request| format!("{} {}", request.method, request.target)).collect();
        assert!(lines.is_empty(), "{name}: {lines:?}");
    }
    let query = read(&format!("/repos/acme/widgets?access_token={worker}"), &as_other);
    run.intrusion("another's key in the query", &query).await;
    for target in [MERGE, "/repos/acme/widgets/issues"] {
        let bytes = format!(
            "PUT {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{as_other}X-Merge-Approval: yes\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        run.intrusion("an approval does not widen what an agent may reach", bytes.as_bytes()).await;
    }
    run.finish(3).await;
}

#[tokio::test]
async fn keys_in_the_wrong_place_travel_nowhere() {
    let mut run = Run::start("presence").await;
    let key = run.tollgate.key(0).to_owned();
    let escaped = key.replace('_', "%5F");
    let lines = [
        ("in the path", format!("GET /repos/acme/widgets/contents/{key}"), String::new()),
        ("in the path, escaped", format!("GET /repos/acme/widgets/contents/{escaped}"), String::new()),
        ("in a label", format!("GET /repos/acme/widgets/labels/x%2F{key}"), String::new()),
        ("in the query", format!("GET /repos/acme/widgets/issues?labels={key}"), String::new()),
        ("in the query, escaped", format!("GET /repos/acme/widgets/issues?labels={escaped}"), String::new()),
        ("in the query's name", format!("GET /repos/acme/widgets/issues?{key}=1"), String::new()),
        ("in the user agent", "GET /repos/acme/widgets".to_owned(), format!("User-Agent: x/{key}\r\n")),
        ("in a condition", "GET /repos/acme/widgets".to_owned(), format!("If-None-Match: \"{key}\"\r\n")),
        (
            "in what is accepted",
            "GET /repos/acme/widgets".to_owned(),
            format!("Accept: application/{key}\r\n"),
        ),
        ("in the version", "GET /repos/acme/widgets".to_owned(), format!("X-GitHub-Api-Version: {key}\r\n")),
        ("in a trace", "GET /repos/acme/widgets".to_owned(), format!("Tracestate: key={key}\r\n")),
        ("in a cookie", "GET /repos/acme/widgets".to_owned(), format!("Cookie: key={key}\r\n")),
        ("in a header of its own", "GET /repos/acme/widgets".to_owned(), format!("X-Api-Key: {key}\r\n")),
    ];
    for (name, line, fields) in &lines {
        let bytes = run.request(line, fields, "");
        run.attack(name, &bytes).await;
    }
    run.finish(lines.len()).await;
}
