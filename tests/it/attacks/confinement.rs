//! Repositories that are not the agent's, by every name that they have.

use super::run::Run;

/// Reads that reveal what is not the agent's.
const READS: [(&str, &str); 64] = [
    ("by name", "/repos/acme/secret-plans"),
    ("by name in capitals", "/repos/ACME/Secret-Plans"),
    ("by name below /api/v3", "/api/v3/repos/acme/secret-plans/contents/README.md"),
    ("by a name that begins alike", "/repos/acme/widgets-secret/issues"),
    ("by a name that ends alike", "/repos/acme/my-widgets/issues"),
    ("of another owner", "/repos/other/widgets"),
    ("public, of another owner", "/repos/foreign/lib"),
    ("by a former name", "/repos/acme/old-name"),
    ("by an escaped name", "/repos/acme/%73ecret-plans"),
    ("by a twice escaped name", "/repos/acme/%2573ecret-plans"),
    ("by an escaped slash", "/repos/acme%2Fsecret-plans"),
    ("by a name with .git", "/repos/acme/secret-plans.git"),
    ("by a name with a dot", "/repos/acme/secret-plans."),
    ("by a name with a blank", "/repos/acme/secret-plans%20"),
    ("by a name with NUL", "/repos/acme/widgets%00/../secret-plans"),
    ("by a parameter", "/repos/acme/secret-plans;widgets"),
    ("by a wildcard", "/repos/acme/*"),
    ("by no name", "/repos/acme//secret-plans"),
    ("by dots", "/repos/acme/widgets/../secret-plans"),
    ("by escaped dots", "/repos/acme/widgets/%2e%2e/secret-plans"),
    ("by dots and a parameter", "/repos/acme/widgets/..;/secret-plans"),
    ("by dots and an escaped slash", "/repos/acme/widgets%2F..%2Fsecret-plans"),
    ("by a backslash", "/repos/acme/widgets\\..\\secret-plans"),
    ("by dots in a file's path", "/repos/acme/widgets/contents/../../secret-plans"),
    ("by escaped dots in a file's path", "/repos/acme/widgets/contents/%2e%2e/%2e%2e/secret-plans"),
    ("by escaped slashes in a file's path", "/repos/acme/widgets/contents/..%2F..%2Fsecret-plans"),
    ("by dots in a ref", "/repos/acme/widgets/git/ref/heads/../../../../secret-plans"),
    ("by dots in an archive", "/repos/acme/widgets/tarball/..%2F..%2Fsecret-plans"),
    ("by id", "/repositories/2003"),
    ("by id and route", "/repositories/2003/contents/README.md"),
    ("by id below /api/v3", "/api/v3/repositories/2003/issues"),
    ("by id with a zero", "/repositories/02003/issues"),
    ("by an escaped id", "/repositories/%32003/issues"),
    ("by the id of another owner", "/repositories/2101/issues"),
    ("by id and dots", "/repositories/2001/../2003/issues"),
    ("by a range of ids", "/repositories?since=2000"),
    ("by a comparison across owners", "/repos/acme/widgets/compare/main...solo:main"),
    ("by a comparison across repositories", "/repos/acme/widgets/compare/acme:secret-plans:main...main"),
    ("by an escaped comparison", "/repos/acme/widgets/compare/main...solo%3Amain"),
    ("by a comparison with two dots", "/repos/acme/widgets/compare/solo:main..main"),
    (
        "by a second repository in the path",
        "/repos/acme/widgets/code-scanning/codeql/variant-analyses/1/repos/acme/secret-plans",
    ),
    ("of all", "/search/issues?q=secret"),
    ("by a search in it", "/search/code?q=plan+repo:acme/secret-plans"),
    ("by a search in both", "/search/code?q=plan+repo:acme/widgets+repo:acme/secret-plans"),
    ("by a search in the organization", "/search/issues?q=org:acme"),
    ("by a search of the user", "/search/issues?q=user:acme+repo:acme/widgets"),
    ("by a search or another", "/search/issues?q=repo:acme/widgets+OR+secret"),
    ("by a search in parentheses", "/search/issues?q=(repo:acme/widgets)+OR+(secret)"),
    ("by a search without", "/search/issues?q=-repo:acme/widgets"),
    ("by a quoted search", "/search/issues?q=%22repo:acme/widgets%22+secret"),
    ("by two searches", "/search/issues?q=repo:acme/widgets&q=secret"),
    ("by a search in brackets", "/search/issues?q=repo:acme/widgets&q[]=secret"),
    ("by a search after a semicolon", "/search/issues?q=repo:acme/widgets;q=secret"),
    ("by a search for people", "/search/users?q=repo:acme/widgets"),
    ("the user's repositories", "/user/repos"),
    ("the user's repositories below /api/v3", "/api/v3/user/repos"),
    ("the user's issues", "/user/issues"),
    ("all issues", "/issues"),
    ("the organization's repositories", "/orgs/acme/repos"),
    ("the organization by id", "/organizations/501/repos"),
    ("the organization's audit log", "/orgs/acme/audit-log"),
    ("notifications", "/notifications"),
    ("events of a network", "/networks/acme/secret-plans/events"),
    ("an unlisted read elsewhere", "/repos/acme/secret-plans/some-new-thing"),
];

/// Credentials, in every spelling.
const CREDENTIALS: [(&str, &str); 21] = [
    ("the App", "GET /app"),
    ("the App in capitals", "GET /App"),
    ("the App with a slash", "GET /app/"),
    ("the App's installations", "GET /app/installations"),
    ("the App's installations below /api/v3", "GET /api/v3/app/installations"),
    ("a token", "POST /app/installations/1001/access_tokens"),
    ("a token below /api/v3", "POST /api/v3/app/installations/1001/access_tokens"),
    ("a token, escaped", "POST /%61pp/installations/1001/access%5Ftokens"),
    ("a token by dots", "POST /repos/acme/widgets/../../../app/installations/1001/access_tokens"),
    (
        "a token by twice escaped dots",
        "POST /repos/acme/widgets/%252e%252e/%252e%252e/%252e%252e/app/installations/1001/access_tokens",
    ),
    ("the revocation of the token", "DELETE /installation/token"),
    ("the revocation below /api/v3", "DELETE /api/v3/installation/token"),
    ("the revocation, escaped", "DELETE /installation/%74oken"),
    ("the revocation with a slash", "DELETE /installation/token/"),
    ("the repository's installation", "GET /repos/acme/widgets/installation"),
    ("the repository's installation by id", "GET /repositories/2001/installation"),
    ("the organization's installation", "GET /orgs/acme/installation"),
    ("an application's token", "POST /applications/Iv1/token"),
    ("a manifest", "POST /app-manifests/x/conversions"),
    ("a webhook's secret", "GET /app/hook/config"),
    ("an OAuth token", "POST /login/oauth/access_token"),
];

/// Writes outside the agent's repositories, and writes that the table does not list.
const WRITES: [(&str, &str); 18] = [
    ("an issue elsewhere", "POST /repos/acme/secret-plans/issues"),
    ("an issue elsewhere by id", "POST /repositories/2003/issues"),
    ("an issue of another owner", "POST /repos/other/tool/issues"),
    ("an issue by dots", "POST /repos/acme/widgets/../secret-plans/issues"),
    ("a gist", "POST /gists"),
    ("a repository", "POST /orgs/acme/repos"),
    ("a fork", "POST /repos/acme/widgets/forks"),
    ("a transfer", "POST /repos/acme/widgets/transfer"),
    ("a deletion", "DELETE /repos/acme/widgets"),
    ("settings", "PATCH /repos/acme/widgets"),
    ("a collaborator", "PUT /repos/acme/widgets/collaborators/eve"),
    ("a deploy key", "POST /repos/acme/widgets/keys"),
    ("a webhook", "POST /repos/acme/widgets/hooks"),
    ("a secret", "PUT /repos/acme/widgets/actions/secrets/X"),
    ("a member", "PUT /orgs/acme/memberships/eve"),
    ("what is in no list", "POST /repos/acme/widgets/no-such-thing"),
    ("what is in no list, by PUT", "PUT /repos/acme/widgets/pulls/76/land"),
    ("a file elsewhere", "PUT /repos/acme/secret-plans/contents/x"),
];

#[tokio::test]
async fn no_name_reaches_another_repository() {
    let mut run = Run::start("presence").await;
    for (name, path) in READS {
        for method in ["GET", "HEAD"] {
            let bytes = run.request(&format!("{method} {path}"), "", "");
            run.attack(&format!("{name} by {method}"), &bytes).await;
        }
    }
    for (name, line) in WRITES {
        let bytes =
            run.request(line, "X-Merge-Approval: yes\r\n", r#"{"title":"x","message":"m","content":""}"#);
        run.attack(name, &bytes).await;
    }
    run.finish(2 * READS.len() + WRITES.len()).await;
}

#[tokio::test]
async fn no_path_reaches_a_credential() {
    let mut run = Run::start("presence").await;
    for (name, line) in CREDENTIALS {
        for fields in ["", "X-Merge-Approval: yes\r\n"] {
            let bytes = run.request(line, fields, "{}");
            run.attack(name, &bytes).await;
        }
    }
    run.finish(2 * CREDENTIALS.len()).await;
}
