//! Headers that are hop-by-hop, that resemble another header, or that tell who asked.

use super::run::{MERGE, Run};

/// Header fields of an allowed read; none may change what GitHub gets.
const FIELDS: [(&str, &str); 30] = [
    ("Connection takes away the credential", "Connection: authorization\r\n"),
    ("Connection takes away two", "Connection: close, authorization, host\r\n"),
    ("Connection takes away the version", "Connection: x-github-api-version, user-agent, accept\r\n"),
    ("Connection takes away framing", "Connection: content-length, transfer-encoding\r\n"),
    ("Connection names itself", "Connection: connection, x-merge-approval\r\n"),
    ("Connection twice", "Connection: keep-alive\r\nConnection: authorization\r\n"),
    ("Connection in quotes", "Connection: \"authorization\"\r\n"),
    ("Proxy-Connection", "Proxy-Connection: authorization\r\n"),
    ("Keep-Alive", "Keep-Alive: timeout=5, authorization\r\n"),
    ("TE", "TE: trailers\r\nConnection: te\r\n"),
    ("Trailer", "Trailer: authorization, x-merge-approval\r\n"),
    ("an approval on a read", "X-Merge-Approval: yes\r\n"),
    ("a cookie", "Cookie: user_session=x; x-merge-approval=yes\r\n"),
    ("Forwarded", "Forwarded: for=127.0.0.1;host=api.github.com\r\n"),
    ("X-Forwarded-For", "X-Forwarded-For: 127.0.0.1\r\n"),
    ("X-Forwarded-Host", "X-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\n"),
    ("X-Forwarded-Prefix", "X-Forwarded-Prefix: /repos/acme/secret-plans\r\n"),
    ("X-Real-IP", "X-Real-IP: 127.0.0.1\r\n"),
    ("X-Original-URL", "X-Original-URL: /repos/acme/secret-plans\r\n"),
    ("X-Rewrite-URL", "X-Rewrite-URL: /repos/acme/secret-plans\r\n"),
    ("X-Override-URL", "X-Override-URL: /repos/acme/secret-plans\r\n"),
    ("Proxy-Authorization", "Proxy-Authorization: token ghp_githubsimpersonaltoken0000000000000000\r\n"),
    ("X-Authorization", "X-Authorization: token ghp_githubsimpersonaltoken0000000000000000\r\n"),
    ("X-Auth-Token", "X-Auth-Token: ghp_githubsimpersonaltoken0000000000000000\r\n"),
    ("an underscore in Authorization", "AUTHORIZATION_: token x\r\nX_GitHub_Api_Version: 2022-11-28\r\n"),
    ("an underscore in the approval", "X_Merge_Approval: yes\r\n"),
    ("sudo", "Sudo: root\r\nX-GitHub-Sudo: root\r\n"),
    ("the one-time password", "X-GitHub-OTP: 123456\r\n"),
    ("Max-Forwards", "Max-Forwards: 0\r\n"),
    ("Via", "Via: 1.1 evil.example\r\nForwarded: by=_hidden\r\n"),
];

#[tokio::test]
async fn no_field_takes_the_credential_away_or_travels_on() {
    let mut run = Run::start("presence").await;
    for (name, fields) in FIELDS {
        let bytes = run.request("GET /repos/acme/widgets", fields, "");
        run.attack(name, &bytes).await;
    }
    run.finish(FIELDS.len()).await;
}

#[tokio::test]
async fn no_field_for_one_hop_approves_or_identifies() {
    let mut run = Run::start("presence").await;
    let key = run.tollgate.key(0).to_owned();
    for (name, fields) in [
        ("Connection names the approval", "Connection: x-merge-approval\r\n".to_owned()),
        ("Trailer names the approval", "Trailer: x-merge-approval\r\n".to_owned()),
        ("TE names the approval", "TE: x-merge-approval\r\n".to_owned()),
        ("Proxy-Authorization holds the key", format!("Proxy-Authorization: token {key}\r\n")),
        ("the approval behind an underscore", "X_Merge_Approval: yes\r\n".to_owned()),
    ] {
        let bytes = run.request(&format!("PUT {MERGE}"), &fields, "{}");
        run.attack(name, &bytes).await;
    }
    run.finish(5).await;
}
