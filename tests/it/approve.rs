//! `tollgate approve`, as a person or a job uses it: from a refusal to a merge.

use std::path::Path;
use std::process::{Command, Output};

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Answer, Setup, Tollgate, agent};

const MERGE: &str = "/repos/acme/widgets/pulls/76/merge";
const RSA_PUBLIC: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/loadtest/github-sim/keys/pkcs1.pub.pem"));

fn approve(keys: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.arg("approve").args(args).current_dir(keys).env("USER", "jane");
    command.output().unwrap()
}

/// Compose and CI pass a variable that is not set as an empty one.
#[tokio::test]
async fn an_empty_user_is_none() {
    let (_tollgate, keys) = start().await;
    let sha = "a".repeat(40);
    let args = ["approve", "--key-file", "ci.pem", "--repo", "acme/widgets", "--pull", "76", "--sha", &sha];
    let run = |further: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.args(args).args(further).current_dir(keys.path()).env("USER", "").output().unwrap()
    };
    let system = Command::new("id").arg("-un").output().unwrap();
    let system = String::from_utf8(system.stdout).unwrap();
    let output = run(&[]);
    value(&output);
    let shown = String::from_utf8(output.stderr).unwrap();
    assert!(shown.contains(&format!("approved by  {} for ci", system.trim())), "{shown}");
    assert!(complaint(&run(&["--sub", " "])).contains("--sub: say who approves"));
}

/// The header's value, the only text on standard output.
fn value(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).strip_suffix('\n').unwrap().to_owned()
}

fn complaint(output: &Output) -> String {
    assert!(!output.status.success() && output.stdout.is_empty());
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Keys of three kinds, and a tollgate that knows their public halves.
async fn start() -> (Tollgate, TempDir) {
    let keys = TempDir::new().unwrap();
    let (ed25519, p256) = (
        KeyPair::generate_for(&PKCS_ED25519).unwrap(),
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
    );
    for (name, pem) in [
        ("release-team.pem", ed25519.serialize_pem()),
        ("ci.pem", p256.serialize_pem()),
        ("bot.pem", github_sim::PRIVATE_KEY_PKCS1.to_owned()),
        ("team", crate::support::approvals::SECRET.to_owned()),
        ("public.pem", ed25519.public_key_pem()),
        ("short", "secret".to_owned()),
    ] {
        std::fs::write(keys.path().join(name), pem).unwrap();
    }
    let issuers = vec![
        ("release-team", ed25519.public_key_pem()),
        ("ci", p256.public_key_pem()),
        ("bot", RSA_PUBLIC.to_owned()),
    ];
    let agents = vec![agent("worker", &["repositories: [acme/*]"])];
    let setup = Setup { approval_mode: "signed", issuers, ..Setup::with(agents) };
    (setup.start().await, keys)
}

async fn merge(tollgate: &Tollgate, path: &str, approval: Option<&str>) -> Answer {
    let ask = tollgate.ask("PUT", path).json(&json!({}));
    match approval {
        Some(approval) => ask.header("x-merge-approval", approval).send().await,
        None => ask.send().await,
    }
}

#[tokio::test]
async fn what_was_refused_is_shown_and_signed() {
    let (tollgate, keys) = start().await;
    let refusal = merge(&tollgate, MERGE, None).await;
    std::fs::write(keys.path().join("refusal.json"), &refusal.body).unwrap();
    let output = approve(keys.path(), &["--key-file", "release-team.pem", "--from", "refusal.json"]);
    let head = refusal.json()["tollgate"]["approval"]["head_sha"].as_str().unwrap().to_owned();
    let shown = String::from_utf8(output.stderr.clone()).unwrap();
    for part in
        ["one merge operation in acme/widgets", "#76", &head, "jane for release-team", "15 minutes, once"]
    {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    let merged = merge(&tollgate, MERGE, Some(&value(&output))).await;
    assert_eq!(merged.verdict(), "200", "{}", merged.text());
}

#[tokio::test]
async fn every_kind_of_key_signs_what_its_issuer_may() {
    let (tollgate, keys) = start().await;
    let sha = tollgate.sim.edit(|world| world.head_of("acme/widgets", 76)).unwrap();
    let pull = ["--repo", "acme/widgets", "--pull", "76", "--sha", &sha];
    for key in ["ci.pem", "bot.pem", "team"] {
        let output = approve(keys.path(), &[&["--key-file", key][..], &pull].concat());
        // A draft can't be merged, so each of them arrives and is refused there.
        let arrived = merge(&tollgate, "/repos/acme/gadgets/pulls/76/merge", Some(&value(&output))).await;
        assert_eq!(arrived.verdict(), "403 approval_invalid", "for another repository: {}", arrived.text());
        let taken = merge(&tollgate, MERGE, Some(&value(&output))).await;
        assert!(taken.headers.get("x-tollgate-error").is_none(), "{key}: {}", taken.text());
    }
    let other =
        approve(keys.path(), &[&["--key-file", "ci.pem", "--issuer", "release-team"][..], &pull].concat());
    assert_eq!(merge(&tollgate, MERGE, Some(&value(&other))).await.verdict(), "403 approval_invalid");
}

#[tokio::test]
async fn a_request_is_approved_as_it_was_sent() {
    let (tollgate, keys) = start().await;
    let body = json!({"message": "Fix", "content": "aGVsbG8=", "branch": "main"});
    let put = |approval: Option<String>| {
        let ask = tollgate.ask("PUT", "/repos/acme/widgets/contents/new.txt").json(&body);
        match approval {
            Some(approval) => ask.header("x-merge-approval", &approval),
            None => ask,
        }
    };
    let refusal = put(None).send().await;
    std::fs::write(keys.path().join("refusal.json"), &refusal.body).unwrap();
    let output = approve(keys.path(), &["--key-file", "team", "--from", "refusal.json", "--expires", "5m"]);
    let shown = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(
        shown.contains("PUT /repos/acme/widgets/contents/new.txt") && shown.contains("    hello"),
        "{shown}"
    );
    let written = put(Some(value(&output))).send().await;
    assert_eq!(written.verdict(), "201", "{}", written.text());
    // If the agent changes the refusal on its way, nothing gets signed.
    let changed = refusal.text().replace("new.txt", "old.txt");
    std::fs::write(keys.path().join("changed.json"), changed).unwrap();
    let refused = approve(keys.path(), &["--key-file", "team", "--from", "changed.json"]);
    assert!(complaint(&refused).contains("was changed"), "{refused:?}");
}

/// The code block of the page that contains a text.
fn block(holds: &str) -> String {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/approvals.md")).unwrap();
    let mut blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    blocks.find(|block| block.contains(holds)).unwrap_or_else(|| panic!("no block holds {holds}")).to_owned()
}

fn shell(directory: &Path, script: &str, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new("sh");
    command.args(["-euc", script]).current_dir(directory).envs(variables.iter().copied());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn the_page_s_shell_and_openssl_commands_work() {
    let (tollgate, keys) = start().await;
    let sha = tollgate.sim.edit(|world| world.head_of("acme/widgets", 76)).unwrap();
    // A key made with the page's commands can sign.
    let made = TempDir::new().unwrap();
    shell(made.path(), &block("-algorithm ed25519"), &[]);
    let pull = ["--repo", "acme/widgets", "--pull", "76", "--sha", &sha];
    value(&approve(made.path(), &[&["--key-file", "release-team.pem"][..], &pull].concat()));
    let approval = shell(keys.path(), &block("-sign bot.pem"), &[("SHA", &sha)]);
    let merged = merge(&tollgate, MERGE, Some(&approval)).await;
    assert_eq!(merged.verdict(), "200", "{}", merged.text());
    // The hash of a request, as the page computes it.
    let body = r#"{"sha":"1"}"#;
    let path = "/repos/acme/widgets/git/refs/heads/main";
    let refusal = tollgate.ask("PATCH", path).body(body).send().await;
    let hash = shell(keys.path(), &block("printf 'PATCH"), &[("BODY", body)]);
    let expected = refusal.json()["tollgate"]["approval"]["request_sha256"].as_str().unwrap().to_owned();
    assert!(hash.ends_with(&expected), "{hash} {expected}");
}

#[test]
fn says_what_is_wrong() {
    let keys = TempDir::new().unwrap();
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    for (name, text) in [
        ("key.pem", ed25519.serialize_pem()),
        ("public.pem", ed25519.public_key_pem()),
        ("short", "x".to_owned()),
        (
            "merge.json",
            r#"{"tollgate":{"approval":{"aud":"tollgate","action":"merge","repo":"a/b","pull_number":1}}}"#
                .to_owned(),
        ),
    ] {
        std::fs::write(keys.path().join(name), text).unwrap();
    }
    let sha = "1".repeat(40);
    let pull = ["--repo", "a/b", "--pull", "1", "--sha", sha.as_str()];
    for (args, expected) in [
        (vec!["--key-file", "none.pem", "--repo", "a/b", "--pull", "1", "--sha", &sha], "does not exist"),
        ([&["--key-file", "public.pem"][..], &pull].concat(), "is no private key"),
        ([&["--key-file", "short"][..], &pull].concat(), "32 bytes"),
        (vec!["--key-file", "key.pem", "--repo", "a/b", "--pull", "1", "--sha", "1111111"], "--sha"),
        (vec!["--key-file", "key.pem", "--repo", "a", "--pull", "1", "--sha", &sha], "--repo"),
        (vec!["--key-file", "key.pem", "--repo", "a/b", "--pull", "0", "--sha", &sha], "--pull"),
        ([&["--key-file", "key.pem", "--base", "refs/heads/main"][..], &pull].concat(), "--base"),
        ([&["--key-file", "key.pem", "--base", ""][..], &pull].concat(), "--base"),
        (vec!["--key-file", "key.pem"], "--from"),
        ([&["--key-file", "key.pem", "--expires", "25h"][..], &pull].concat(), "24h"),
        (vec!["--key-file", "key.pem", "--from", "merge.json"], "names no commit"),
    ] {
        let text = complaint(&approve(keys.path(), &args));
        assert!(text.contains(expected), "{args:?}: {text}");
    }
}
