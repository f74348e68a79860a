//! GraphQL as real clients send it: queries arrive as written, and nothing else arrives.
//!
//! The documents are in `tests/corpus/graphql`. Each is sent as three kinds of client would encode it in JSON;
//! the meaning is the same.

use std::path::Path;

use serde_json::json;
use sha2::{Digest, Sha256};
use tollgate::secret::hex;

use crate::support::{Setup, Tollgate, agent};

/// Which characters of a document a client writes as `\uXXXX`.
type Escapes = fn(char) -> bool;

const WRITINGS: [(&str, Escapes); 3] =
    [("plain", |_| false), ("ASCII only", |symbol| !symbol.is_ascii()), ("all escaped", |_| true)];

/// A document of the corpus.
pub(crate) struct Sent {
    pub(crate) name: String,
    document: String,
    /// Further members of the request, `{…}` as the file has them.
    members: Option<String>,
}

impl Sent {
    fn of(name: String, document: String) -> Sent {
        Sent { name, document, members: None }
    }

    /// The request body.
    pub(crate) fn body(&self, is_escaped: Escapes) -> String {
        let mut query = String::new();
        for symbol in self.document.chars() {
            if is_escaped(symbol) {
                for unit in symbol.encode_utf16(&mut [0; 2]) {
                    query.push_str(&format!("\\u{unit:04x}"));
                }
            } else {
                let quoted = json!(symbol.to_string()).to_string();
                query.push_str(&quoted[1..quoted.len() - 1]);
            }
        }
        match self.members.as_deref().map(str::trim_start) {
            Some(members) => format!("{{\"query\":\"{query}\",{}", members.strip_prefix('{').unwrap()),
            None => format!("{{\"query\":\"{query}\"}}"),
        }
    }
}

/// The documents of a folder, by name.
pub(crate) fn documents(folder: &str) -> Vec<Sent> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/graphql").join(folder);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "graphql") {
            found.push(Sent {
                name: path.file_stem().unwrap().to_string_lossy().into_owned(),
                document: std::fs::read_to_string(&path).unwrap(),
                members: std::fs::read_to_string(path.with_extension("json")).ok(),
            });
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

/// Documents that are refused only for their depth or length.
fn oversized() -> Vec<Sent> {
    let mut found = Vec::new();
    for depth in [100, 20_000] {
        for (what, before, open, core, close, after) in [
            ("selections", "query ", "{ viewer ", "{ login }", " }", ""),
            ("inline fragments", "query { viewer ", "{ ... ", "{ login }", " }", " }"),
            ("lists", "query { nodes(ids: ", "[", "\"x\"", "]", ") { id } }"),
            ("objects", "query { nodes(ids: ", "{ a: ", "\"x\"", "}", ") { id } }"),
            ("types", "query ($ids: ", "[", "ID", "]", ") { nodes(ids: $ids) { id } }"),
            ("opened and not closed", "query ", "{ a ", "", "", ""),
        ] {
            let (open, close) = (open.repeat(depth), close.repeat(depth));
            found.push(Sent::of(format!("{depth} {what}"), [before, &open, core, &close, after].concat()));
        }
    }
    found.push(Sent::of("100,000 fields".to_owned(), format!("{{ {} }}", "a ".repeat(100_000))));
    found
}

async fn start() -> Tollgate {
    let everything = ["repositories: [\"*\"]", "installation: acme", "allow: [read]"];
    Setup::with(vec![
        agent("reader", &everything),
        agent("confined", &["repositories: [acme/*]", "allow: [read]"]),
    ])
    .start()
    .await
}

#[tokio::test]
async fn queries_of_real_clients_arrive_byte_for_byte() {
    let queries = documents("");
    assert!(queries.len() >= 45, "{} queries", queries.len());
    // An editor or Git may have tidied up what makes some of them worth sending.
    for rare in ["\u{feff}", "\r\n", "\t", " \n", "\"\"\"", "\\\"\"\"", "\\u", "🚀"] {
        assert!(queries.iter().any(|query| query.document.contains(rare)), "no query holds {rare:?}");
    }
    let tollgate = start().await;
    let mut sent = Vec::new();
    for query in &queries {
        for (writing, is_escaped) in WRITINGS {
            let body = query.body(is_escaped);
            let what = format!("{}, {writing}", query.name);
            sent.push((what.clone(), body.len() as u64, hex(&Sha256::digest(&body))));
            let ask = tollgate.ask("POST", "/graphql").header("content-type", "application/json");
            let answer = ask.body(body).send().await;
            // GraphQL errors also come with 200: the stand-in only knows the fields that tests need.
            assert_eq!(answer.verdict(), "200", "{what}: {}", answer.text());
        }
    }
    let arrived = tollgate.arrived();
    assert_eq!(arrived.len(), sent.len());
    for (request, (what, length, digest)) in arrived.iter().zip(sent) {
        assert_eq!(request.target, "/graphql", "{what}");
        assert_eq!(
            (request.body_bytes, &request.body_sha256),
            (length, &digest),
            "{what}: {:?}",
            request.body
        );
    }
    tollgate.assert_clean();
}

#[tokio::test]
async fn what_is_no_query_never_arrives() {
    let mut others = documents("not-queries");
    assert!(others.len() >= 15, "{} documents", others.len());
    others.extend(oversized());
    let tollgate = start().await;
    for other in &others {
        for (writing, is_escaped) in WRITINGS {
            let ask = tollgate.ask("POST", "/graphql").header("content-type", "application/json");
            let answer = ask.body(other.body(is_escaped)).send().await;
            let verdict = answer.verdict();
            let what = format!("{}, {writing}: {verdict} {}", other.name, answer.text());
            assert!(answer.headers.contains_key("x-tollgate-error"), "{what}");
            // These are understood and refused for what they do, not as malformed.
            if other.name.starts_with("mutation-") || other.name.starts_with("subscription-") {
                assert!(matches!(verdict.as_str(), "403 operation_forbidden" | "400 bad_request"), "{what}");
            }
            assert_eq!(answer.json()["errors"][0]["type"], "FORBIDDEN", "{what}");
            assert_eq!(tollgate.arrived_lines(), Vec::<String>::new(), "{what}");
        }
    }
}

#[tokio::test]
async fn a_confined_agent_is_refused_only_what_spans_repositories() {
    let tollgate = start().await;
    let mut refused = Vec::new();
    for query in documents("") {
        let ask = tollgate.ask("POST", "/graphql").by(1).header("content-type", "application/json");
        let answer = ask.body(query.body(|_| false)).send().await;
        if answer.verdict() != "200" {
            assert_eq!(answer.verdict(), "403 repository_forbidden", "{}: {}", query.name, answer.text());
            refused.push(query.name);
        }
    }
    // Lists over an account's repositories, its teams' members, a project's items, other repositories, ids of nothing,
    // unconfined searches.
    assert_eq!(
        refused,
        [
            "block-strings",
            "dashboard-contributions",
            "dashboard-languages",
            "decoy-block-string",
            "decoy-strings",
            "decoy-variables",
            "directives",
            "gh-api-paginate",
            "gh-project-fields",
            "gh-project-items",
            "gh-repo-list",
            "gh-repo-network",
            "keyword-names",
            "probot-reviewers",
            "probot-signed-commits",
            "pygithub-discussion-comments",
            "pygithub-nodes",
            "relay-refetch",
            "string-escapes",
            "updater-discovery",
            "values",
        ]
    );
}
