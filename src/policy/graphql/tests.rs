//! Requests read, confined, and changed.

use serde_json::json;

use super::*;
use crate::policy::Class;
use crate::policy::branch::NamedBranch;
use crate::policy::repositories::RepositorySet;
use mutations::{Branch, Mutation};

fn request(document: &str, variables: &Value) -> Result<Request, GraphqlError> {
    Request::read(json!({ "query": document, "variables": variables }).to_string().as_bytes())
}

fn kind(document: &str) -> Result<Kind, GraphqlError> {
    request(document, &json!({})).map(|request| request.kind())
}

fn set(patterns: &[&str]) -> RepositorySet {
    RepositorySet::new(patterns.iter().map(|text| text.parse().unwrap()).collect())
}

#[test]
fn a_cost_is_github_s_only_where_nothing_else_is_called_so() {
    for (document, shown) in [
        ("{ rateLimit { cost } viewer { login } }", true),
        ("{ viewer { login } }", false),
        ("{ rateLimit: viewer { cost: databaseId } }", false),
        ("{ rateLimit { cost: limit } }", false),
        ("{ rateLimit { cost # x\n : nodeCount } }", false),
    ] {
        assert_eq!(request(document, &json!({})).unwrap().shows_cost, shown, "{document}");
    }
}

#[test]
fn the_strongest_operation_decides() {
    for (document, expected) in [
        ("{ viewer { login } }", Kind::Query),
        ("query Q($n: Int = 3) { a: viewer { ...F } } fragment F on User { login }", Kind::Query),
        ("query { viewer { login } } # mutation { x }", Kind::Query),
        ("query { search(query: \"mutation { mergePullRequest }\") { issueCount } }", Kind::Query),
        ("mutation { mergePullRequest(input: {}) { clientMutationId } }", Kind::Mutation),
        ("query A { viewer { login } } mutation B { x { y } }", Kind::Mutation),
        ("subscription { x }", Kind::Subscription),
        ("\u{feff}query { viewer { login } }", Kind::Query),
    ] {
        assert_eq!(kind(document).unwrap(), expected, "{document}");
    }
}

#[test]
fn what_two_lexers_could_read_differently_is_refused() {
    for document in [
        "{ a(b: \"\"\"b\"\"\"\"\"\" x\") } mutation { c }",
        "{ a(b: \"\"\"\"\"\") }",
        "{ a } #\rmutation { b }",
        "{ a } #\u{2028}mutation { b }",
        "{ a } #\u{b}mutation { b }",
        "{ a }\0",
        "{ a(b: \"\\u{41}\") }",
        // Where a block string ends, and what an escape means.
        r#"{ a(b: """\\""") } mutation { c } #""") }"#,
        r#"{ a(b: """ "\""") } mutation { c } #""") }"#,
        r#"{ a(b: "\\u006dain") }"#,
        "{ a(b: 1, b: 2) }",
        "{ a(b: {c: 1, c: 2}) }",
        "query Q($a: Int, $a: Int) { b }",
        "query A { b } query A { c }",
        "{ a } { b }",
        "{ ...F } fragment F on X { a } fragment F on X { b }",
        "{ ...Missing }",
    ] {
        assert!(matches!(kind(document), Err(GraphqlError::Ambiguous(_))), "{document:?}");
    }
    assert!(matches!(kind("{ a { t: tempCloneToken } }"), Err(GraphqlError::Credential)));
    assert_eq!(kind("{ a(b: \"\"\"text\r\n\"x\" y\"\"\") }").unwrap(), Kind::Query);
}

#[test]
fn what_cannot_be_read_is_refused() {
    for document in [
        "",
        "{",
        "query {",
        "mutation",
        "{ a } }",
        "fragment F on User { login }",
        "type A { b: C }",
        "{ ...A } fragment A on X { ...B } fragment B on X { ...A }",
    ] {
        assert!(kind(document).is_err(), "{document}");
    }
    let nested = |levels: usize| format!("{{ a(b: {}{}) }}", "[".repeat(levels), "]".repeat(levels));
    assert!(kind(&nested(60)).is_ok());
    assert!(kind(&nested(70)).is_err());
    assert!(kind(&nested(9_000)).is_err());
    assert!(kind(&format!("query($v: {}A{}) {{ a }}", "[".repeat(9_000), "]".repeat(9_000))).is_err());
    assert!(kind(&format!("{}a{}", "{ a ".repeat(200), " }".repeat(200))).is_err());
    assert!(kind(&format!("{{ {} }}", "a ".repeat(30_000))).is_err());
    // Each fragment spreads the next one twice.
    let bomb: String =
        (0..40).map(|n| format!("fragment F{n} on X {{ ...F{m} ...F{m} }} ", m = n + 1)).collect();
    assert!(kind(&format!("{{ ...F0 }} {bomb} fragment F40 on X {{ a }}")).is_err());
    for body in [
        r#"[{"query":"{ viewer { login } }"}]"#,
        r#"{"query":"{ viewer { login } }","query":"mutation { x }"}"#,
        r#"{"query":["{ viewer { login } }"]}"#,
        r#"{"id":"abc"}"#,
        r#"{"query":"{ viewer { login } }","extensions":{"persistedQuery":{"sha256Hash":"x"}}}"#,
        r#"{"query":"{ viewer { login } }","extensions":{"clientLibrary":{},"persistedQuery":{"sha256Hash":"x"}}}"#,
        r#"{"query":"query A { viewer { login } }","operationName":"B"}"#,
        r#"{"query":"{ viewer { login } }","variables":[1]}"#,
    ] {
        assert!(Request::read(body.as_bytes()).is_err(), "{body}");
    }
    for body in [
        r#"{"query":"query A { viewer { login } }","operationName":"A","variables":null}"#,
        r#"{"query":"{ viewer { login } }","extensions":{}}"#,
        // Apollo Client 4 sends its name with every request.
        r#"{"query":"{ viewer { login } }","extensions":{"clientLibrary":{"name":"@apollo/client","version":"4.3.8"}}}"#,
    ] {
        assert!(Request::read(body.as_bytes()).is_ok(), "{body}");
    }
}

#[test]
fn what_breaks_a_rule_of_the_grammar_is_refused() {
    for document in [
        // Empty lists that must not be empty.
        "{ a { } }",
        "{ a() }",
        "{ a @b() }",
        "query Q() { a }",
        "{ ... on T { } }",
        // Missing or misplaced words and punctuation.
        "{ a: }",
        "{ a(b) }",
        "{ a(: 1) }",
        "{ a(b: [1 }) }",
        "{ ...on }",
        "{ ... on { a } }",
        "{ a ...F F } fragment F { b }",
        "{ ...F } fragment on on T { a }",
        "{ ...F } fragment F on { a }",
        "query A B { a }",
        "{ a @ }",
        "{ a @b(c) }",
        "mutate { a }",
        // Defaults are constants, and types are well-formed.
        "query Q($a: Int, $b: Int = $a) { a }",
        "query Q($a: Int @x(y: $a)) { a }",
        "query Q($a: [Int String]) { a }",
        "query Q($a: []) { a }",
        "query Q($a) { a }",
        "query Q($a: Int!!) { a }",
        // Tokens that run on or do not end.
        "{ a(b: \"\n\") }",
        "{ a(b: \"x\ny\") }",
        "{ a(b: \"x) }",
        "{ a(b: \"\"\"x) }",
        "{ a(b: 01) }",
        "{ a(b: 1x) }",
        "{ a(b: 1.) }",
        "{ a(b: 1e999) }",
        "{ a .. b }",
        "{ a(b: \"\\x\") }",
        "{ a(b: \"\\ud800\") }",
        // From other editions of the specification, or not executable.
        "\"described\" query { a }",
        "fragment F($a: Int) on T { a } { ...F }",
        "extend type A { b: C }",
        "{ a } schema { query: Q }",
    ] {
        assert!(kind(document).is_err(), "{document}");
    }
}

#[test]
fn an_error_says_what_stands_where() {
    let said = |document: &str| kind(document).unwrap_err().to_string();
    assert_eq!(
        said("query { a( }"),
        "the document does not parse: `}` stands at byte 11 where a name was expected"
    );
    assert_eq!(said("query { a"), "the document does not parse: it ends where a name was expected");
    assert!(
        said("mutate { a }")
            .ends_with("`mutate` stands at byte 0 where an operation or a fragment was expected")
    );
    assert!(said("{ a() }").ends_with("the parentheses of arguments must hold something"));
}

#[test]
fn words_of_the_grammar_are_names_where_names_stand() {
    for document in [
        "{ query mutation fragment on true null }",
        "query query { on: on ... on on { on } ...fragment } fragment fragment on query { true: false }",
        "{ a(on: on, query: {mutation: fragment}) }",
        "query Q($on: [on!]! = [] @on(on: {}), $query: query) { a @on @query(on: $on) { b } }",
        "{ a,b:,c,(d,:,1,) , }",
        "\u{feff}query{a}",
    ] {
        assert_eq!(kind(document).unwrap(), Kind::Query, "{document}");
    }
}

#[test]
fn strings_stand_for_what_the_specification_says() {
    for (token, text) in [
        (r#""""#, ""),
        (r#""plain \\ \" \/ \t""#, "plain \\ \" / \t"),
        (r#""\u006d\u0065 \ud83d\ude00""#, "me \u{1f600}"),
        ("\"\"\"\n    a\n      b\n  \"\"\"", "a\n  b"),
        ("\"\"\" \\\"\"\" \\n \"\"\"", " \"\"\" \\n "),
        (r#""C:\\users \\n""#, r"C:\users \n"),
        ("\"tab\there\"", "tab\there"),
    ] {
        let document = Document::parse(&format!("{{ a(b: {token}) }}")).unwrap();
        let document::Selection::Field(field) = &document.operations[0].selections[0] else {
            panic!("{token} is the argument of a field")
        };
        let value = field.argument("b", &Variables::default()).unwrap().into_owned();
        assert_eq!(value, json!(text), "{token}");
    }
}

#[test]
fn reads_stay_with_the_agent_s_repositories() {
    let repositories = set(&["acme/widgets", "other/*"]);
    for (document, variables, owner, ids) in [
        (
            "{ repository(owner: \"Acme\", name: \"widgets\") { issues(first: 5) { nodes { title } } } }",
            json!({}),
            Some("acme"),
            0,
        ),
        (
            "query($o: String!, $n: String = \"tool\") { repository(owner: $o, name: $n) { id } }",
            json!({"o": "other"}),
            Some("other"),
            0,
        ),
        ("{ viewer { login projectsV2(first: 3) { nodes { id title } } } }", json!({}), None, 0),
        ("{ rateLimit { cost } __schema { types { name } } relay { viewer { login } } }", json!({}), None, 0),
        (
            "{ repository(owner: \"acme\", name: \"widgets\") { parent { nameWithOwner } pullRequest(number: 1) { headRepository { nameWithOwner } author { login } } } }",
            json!({}),
            Some("acme"),
            0,
        ),
        (
            "{ search(query: \"repo:acme/widgets is:open\", type: ISSUE, first: 3) { issueCount } }",
            json!({}),
            Some("acme"),
            0,
        ),
        ("{ node(id: \"PR_1\") { id } nodes(ids: [\"R_1\", \"PR_1\"]) { id } }", json!({}), None, 2),
        ("{ resource(url: \"https://github.com/other/x/issues/1\") { url } }", json!({}), Some("other"), 0),
        (
            "{ organization(login: \"other\") { login teams(first: 3) { nodes { slug } } } }",
            json!({}),
            Some("other"),
            0,
        ),
        // What gh asks for names of reviewers and projects.
        (
            "{ organization(login: \"other\") { id login team(slug: \"core\") { id slug parentTeam { name } organization { login } } projectsV2(first: 100) { nodes { id title owner { ... on User { login } } fields(first: 9) { totalCount } } } projects(first: 100) { nodes { id name } } } }",
            json!({}),
            Some("other"),
            0,
        ),
        (
            "{ repository(owner: \"acme\", name: \"widgets\") { owner { login ... on Organization { name } } assignableUsers(first: 9) { nodes { id login name } } issue(number: 1) { projectItems(first: 9) { nodes { project { title } status: fieldValueByName(name: \"Status\") { ... on ProjectV2ItemFieldSingleSelectValue { name } } } } projectCards(first: 9) { nodes { project { name } column { name } } } } pullRequest(number: 2) { author { ... on User { name } } reviewRequests(first: 9) { nodes { requestedReviewer { ... on Team { slug organization { login } } } } } } rulesets(first: 9) { nodes { name } } } }",
            json!({}),
            Some("acme"),
            0,
        ),
        (
            "{ user(login: \"other\") { id login name email } repositoryOwner(login: \"other\") { id login } }",
            json!({}),
            Some("other"),
            0,
        ),
    ] {
        let reads = reads::judge(&request(document, &variables).unwrap(), &repositories);
        let reads = reads.unwrap_or_else(|error| panic!("{document}: {error}"));
        let of = reads.owners.first().or(reads.account.as_ref());
        assert_eq!((of.map(String::as_str), reads.ids.len()), (owner, ids), "{document}");
    }
}

/// GitHub's schema grows faster than what is published of it.
#[test]
fn what_is_newer_than_the_schema_leads_to_its_repository_and_no_further() {
    let issue = |fields: &str| {
        let document = format!(
            "{{ repository(owner: \"acme\", name: \"widgets\") {{ issue(number: 1) {{ {fields} }} }} }}"
        );
        reads::judge(&request(&document, &json!({})).unwrap(), &set(&["acme/widgets"]))
    };
    for fields in [
        "blockedBy(first: 9) { nodes { number repository { nameWithOwner } } }",
        "duplicateOf { number repository { name owner { login } issue(number: 2) { title } } }",
    ] {
        assert!(issue(fields).is_ok(), "{fields}: {:?}", issue(fields));
    }
    for fields in [
        "blockedBy(first: 9) { nodes { repository(name: \"secret\") { name } } }",
        "blockedBy(first: 9) { nodes { repository { owner { repositories(first: 9) { nodes { name } } } } } }",
        "blockedBy(first: 9) { nodes { author { ... on Organization { repository { name } } } } }",
        "blockedBy(first: 9) { nodes { repository { forks(first: 9) { nodes { name } } } } }",
    ] {
        assert!(issue(fields).is_err(), "{fields}");
    }
}

/// REST refuses `/orgs/acme/members` and the like.
#[test]
fn what_is_an_account_s_own_is_for_agents_with_every_repository() {
    let (named, everything) = (set(&["acme/widgets"]), set(&["*"]));
    for field in [
        "membersWithRole(first: 9) { nodes { login } }",
        "pendingMembers(first: 9) { nodes { login } }",
        "teams(first: 9) { nodes { slug members(first: 9) { nodes { login } } } }",
        "team(slug: \"core\") { childTeams(first: 9) { nodes { invitations(first: 9) { totalCount } } } }",
        "samlIdentityProvider { externalIdentities(first: 9) { totalCount } }",
        "ipAllowListEntries(first: 9) { nodes { allowListValue } }",
        "domains(first: 9) { nodes { domain } }",
        "rulesets(first: 9) { nodes { name } }",
        "memberStatuses(first: 9) { nodes { message } }",
        "... on MemberStatusable { memberStatuses(first: 9) { nodes { message } } }",
        "enterpriseOwners(first: 9) { nodes { login } }",
        "auditLog(first: 9) { totalCount }",
        "projectsV2(first: 9) { nodes { items(first: 9) { totalCount } } }",
        "... on ProjectV2Owner { projectV2(number: 1) { views(first: 1) { nodes { project { items(first: 9) { totalCount } } } } } }",
        "sponsors(first: 9) { totalCount }",
        "somethingNew(first: 9) { totalCount }",
        "... on SomethingNew { membersWithRole(first: 9) { totalCount } }",
    ] {
        for document in [
            format!("{{ organization(login: \"acme\") {{ {field} }} }}"),
            format!(
                "{{ organization(login: \"acme\") {{ ...F }} }} fragment F on Organization {{ {field} }}"
            ),
            format!(
                "{{ repository(owner: \"acme\", name: \"widgets\") {{ owner {{ ... on Organization {{ {field} }} }} }} }}"
            ),
        ] {
            let request = request(&document, &json!({})).unwrap();
            assert!(reads::judge(&request, &named).is_err(), "{document}");
            assert!(reads::judge(&request, &everything).is_ok(), "{document}");
        }
    }
    for document in [
        "{ user(login: \"jane\") { organizations(first: 9) { nodes { login } } } }",
        "{ user(login: \"jane\") { organization(login: \"acme\") { login } } }",
        "{ viewer { enterprises(first: 9) { nodes { slug } } } }",
        "{ repository(owner: \"acme\", name: \"widgets\") { issue(number: 1) { author { ... on User { followers(first: 9) { totalCount } } } } } }",
        "{ repository(owner: \"acme\", name: \"widgets\") { issue(number: 1) { author { ... on EnterpriseUserAccount { organizations(first: 9) { totalCount } } } } } }",
        "{ repository(owner: \"acme\", name: \"widgets\") { issue(number: 1) { projectItems(first: 9) { nodes { project { items(first: 9) { totalCount } } } } } } }",
        "{ repository(owner: \"acme\", name: \"widgets\") { pullRequest(number: 1) { commits(first: 1) { nodes { commit { checkSuites(first: 9) { nodes { app { ipAllowListEntries(first: 9) { totalCount } } } } } } } } } }",
        "{ repository(owner: \"acme\", name: \"widgets\") { somethingNew { membersWithRole(first: 9) { totalCount } } } }",
    ] {
        assert!(reads::judge(&request(document, &json!({})).unwrap(), &named).is_err(), "{document}");
    }
}

#[test]
fn walks_and_other_repositories_are_refused() {
    let repositories = set(&["acme/widgets"]);
    for document in [
        "{ repository(owner: \"acme\", name: \"gadgets\") { id } }",
        "{ a: repository(owner: \"acme\", name: \"widgets\") { id } b: repository(owner: \"acme\", name: \"gadgets\") { id } }",
        "query Q { viewer { login } } query R { repository(owner: \"acme\", name: \"gadgets\") { id } }",
        "{ ...F } fragment F on Query { repository(owner: \"acme\", name: \"gadgets\") { id } }",
        "{ viewer { login } } fragment F on Query { repository(owner: \"acme\", name: \"gadgets\") { id } }",
        "{ relay { repository(owner: \"acme\", name: \"gadgets\") { id } } }",
        "query($n: String!) { repository(owner: \"acme\", name: $n) { id } }",
        "query($n: String = \"gadgets\") { repository(owner: \"acme\", name: $n) { id } }",
        "{ viewer { repositories(first: 5) { nodes { name } } } }",
        "{ viewer { ...F } } fragment F on User { repositories(first: 5) { nodes { name } } }",
        "{ viewer { r: repository(name: \"x\") { id } } }",
        "{ organization(login: \"acme\") { repositories(first: 5) { nodes { name } } } }",
        "{ repositoryOwner(login: \"acme\") { ... on Organization { repositories(first: 5) { nodes { name } } } } }",
        "{ repository(owner: \"acme\", name: \"widgets\") { owner { repositories(first: 5) { nodes { name } } } } }",
        "{ repository(owner: \"acme\", name: \"widgets\") { owner { ... on User { pullRequests(first: 5) { nodes { id } } } } } }",
        "{ repository(owner: \"acme\", name: \"widgets\") { forks(first: 5) { nodes { name } } } }",
        "{ repository(owner: \"acme\", name: \"widgets\") { issues(first: 1) { nodes { author { ... on User { starredRepositories(first: 9) { nodes { name } } } } } } } }",
        "{ repository(owner: \"acme\", name: \"widgets\") { somethingNew { repositories(first: 5) { nodes { name } } } } }",
        "{ search(query: \"is:open\", type: ISSUE, first: 3) { issueCount } }",
        "{ search(query: \"repo:acme/widgets OR repo:acme/gadgets\", type: ISSUE, first: 3) { issueCount } }",
        "{ search(query: \"repo:acme/widgets\", type: USER, first: 3) { userCount } }",
        "{ enterprise(slug: \"x\") { id } }",
        "{ somethingNew { id } }",
        "{ repository(owner: \"acme\", name: \"widgets\") { ref(qualifiedName: \"main\") { compare(headRef: \"solo:main\") { aheadBy } } } }",
        "{ resource(url: \"https://github.com/acme/gadgets\") { url } }",
    ] {
        assert!(reads::judge(&request(document, &json!({})).unwrap(), &repositories).is_err(), "{document}");
    }
    let everything = set(&["*"]);
    for document in
        ["{ viewer { repositories(first: 5) { nodes { name } } } }", "{ enterprise(slug: \"x\") { id } }"]
    {
        assert!(reads::judge(&request(document, &json!({})).unwrap(), &everything).is_ok(), "{document}");
    }
}

fn one(document: &str, variables: &Value) -> Result<Mutation, GraphqlError> {
    let mut found = mutations::judge(&request(document, variables).unwrap())?;
    assert_eq!(found.len(), 1, "{document}");
    Ok(found.remove(0))
}

#[test]
fn mutations_have_the_class_of_their_row_and_input() {
    let named = |name: &str| vec![Branch::Named(NamedBranch::Named(name.to_owned()))];
    let guarded = || vec![Branch::Named(NamedBranch::Guarded)];
    for (name, input, class, branches) in [
        ("mergePullRequest", "{pullRequestId: \"PR_1\"}", Class::Merge, vec![]),
        ("enqueuePullRequest", "{pullRequestId: \"PR_1\"}", Class::Merge, vec![]),
        ("mergeBranch", "{repositoryId: \"R_1\", base: \"main\", head: \"x\"}", Class::Merge, vec![]),
        ("addComment", "{subjectId: \"I_1\", body: \"mergePullRequest\"}", Class::Write, vec![]),
        ("addPullRequestReview", "{pullRequestId: \"PR_1\", event: APPROVE}", Class::Review, vec![]),
        ("addPullRequestReview", "{pullRequestId: \"PR_1\", event: COMMENT}", Class::Write, vec![]),
        ("addPullRequestReview", "{pullRequestId: \"PR_1\"}", Class::Write, vec![]),
        ("submitPullRequestReview", "{pullRequestId: \"PR_1\", event: DISMISS}", Class::Review, vec![]),
        ("updatePullRequest", "{pullRequestId: \"PR_1\", title: \"x\"}", Class::Write, vec![]),
        ("updatePullRequest", "{pullRequestId: \"PR_1\", baseRefName: \"x\"}", Class::RefWrite, vec![]),
        (
            "createRef",
            "{repositoryId: \"R_1\", name: \"refs/heads/w\", oid: \"1\"}",
            Class::RefWrite,
            named("w"),
        ),
        (
            "createRef",
            "{repositoryId: \"R_1\", name: \"refs/tags/w\", oid: \"1\"}",
            Class::RefWrite,
            guarded(),
        ),
        ("createRef", "{repositoryId: \"R_1\", oid: \"1\"}", Class::RefWrite, guarded()),
        (
            "updateRef",
            "{refId: \"REF_1\", oid: \"1\"}",
            Class::RefWrite,
            vec![Branch::Ref("REF_1".to_owned())],
        ),
        (
            "updatePullRequestBranch",
            "{pullRequestId: \"PR_1\"}",
            Class::RefWrite,
            vec![Branch::HeadOf("PR_1".to_owned())],
        ),
        (
            "createCommitOnBranch",
            "{branch: {repositoryNameWithOwner: \"a/b\", branchName: \"w\"}, expectedHeadOid: \"1\"}",
            Class::RefWrite,
            named("w"),
        ),
        (
            "createCommitOnBranch",
            "{branch: {id: \"REF_1\"}, expectedHeadOid: \"1\"}",
            Class::RefWrite,
            vec![Branch::Ref("REF_1".to_owned())],
        ),
        (
            "updateRefs",
            "{repositoryId: \"R_1\", refUpdates: [{name: \"refs/heads/w\", afterOid: \"1\"}]}",
            Class::RefWrite,
            named("w"),
        ),
        ("deleteRepositoryRuleset", "{repositoryRulesetId: \"RRS_1\"}", Class::Protection, vec![]),
    ] {
        let literal =
            one(&format!("mutation {{ x: {name}(input: {input}) {{ clientMutationId }} }}"), &json!({}))
                .unwrap();
        assert_eq!((literal.class, &literal.branches), (class, &branches), "{name} {input}");
    }
}

#[test]
fn mutations_have_the_class_of_what_their_variables_hold() {
    let variable = one(
        "mutation M($i: AddPullRequestReviewInput!) { addPullRequestReview(input: $i) { clientMutationId } }",
        &json!({"i": {"pullRequestId": "PR_1", "event": "APPROVE"}}),
    );
    assert_eq!(variable.unwrap().class, Class::Review);
    let default = one(
        "mutation M($e: PullRequestReviewEvent = APPROVE) { addPullRequestReview(input: {pullRequestId: \"PR_1\", event: $e}) { clientMutationId } }",
        &json!({}),
    );
    assert_eq!(default.unwrap().class, Class::Review);
}

#[test]
fn what_can_t_be_judged_is_refused() {
    for document in [
        "mutation { somethingNew(input: {}) { clientMutationId } }",
        "mutation { mergepullrequest(input: {}) { clientMutationId } }",
        "mutation { mergePullRequest { clientMutationId } }",
        "mutation { mergePullRequest(input: {}) { clientMutationId } }",
        "mutation { addComment(input: {subjectId: 7, body: \"x\"}) { clientMutationId } }",
        "mutation { addComment(input: \"x\") { clientMutationId } }",
        "mutation M($i: X) { addComment(input: $i) { clientMutationId } }",
        "mutation { addComment(input: {subjectId: \"I_1\", body: \"x\"}, more: 1) { clientMutationId } }",
        "mutation { createCommitOnBranch(input: {branch: {id: \"REF_1\", repositoryNameWithOwner: \"a/b\", branchName: \"w\"}}) { clientMutationId } }",
        "mutation { a: createRef(input: {repositoryId: \"R_1\", name: \"refs/heads/a\"}) { clientMutationId } b: createRef(input: {repositoryId: \"R_1\", name: \"refs/heads/main\"}) { clientMutationId } }",
        "mutation { ...F } fragment F on Mutation { somethingNew(input: {}) { clientMutationId } }",
        "query { viewer { login } } fragment F on Mutation { somethingNew(input: {}) { clientMutationId } }",
    ] {
        assert!(mutations::judge(&request(document, &json!({})).unwrap()).is_err(), "{document}");
    }
}

#[test]
fn ids_are_found_wherever_they_stand() {
    let found = one(
        "mutation M($i: X!) { createIssue(input: $i) { clientMutationId } }",
        &json!({"i": {"repositoryId": "R_1", "assigneeIds": ["U_1", "U_2"], "title": "R_9", "clientMutationId": "R_8", "nested": {"milestoneId": "M_1", "list": [{"id": "X_1"}]}}}),
    )
    .unwrap();
    let mut ids = found.ids;
    ids.sort();
    assert_eq!(ids, ["M_1", "R_1", "U_1", "U_2", "X_1"]);
}

#[test]
fn a_member_is_put_into_the_input_wherever_it_stands() {
    let sha = json!("abc");
    for (document, variables, text, variables_after) in [
        (
            "mutation { mergePullRequest(input: {pullRequestId: \"PR_1\"}) { clientMutationId } }",
            json!({}),
            "mutation { mergePullRequest(input: {expectedHeadOid: \"abc\" pullRequestId: \"PR_1\"}) { clientMutationId } }",
            json!({}),
        ),
        (
            "mutation { mergePullRequest(input: {pullRequestId: \"ü\", expectedHeadOid: \"old\"}) { clientMutationId } }",
            json!({}),
            "mutation { mergePullRequest(input: {pullRequestId: \"ü\", expectedHeadOid: \"abc\"}) { clientMutationId } }",
            json!({}),
        ),
        (
            "mutation($i: X!) { mergePullRequest(input: $i) { clientMutationId } }",
            json!({"i": {"pullRequestId": "PR_1"}}),
            "mutation($i: X!) { mergePullRequest(input: $i) { clientMutationId } }",
            json!({"i": {"pullRequestId": "PR_1", "expectedHeadOid": "abc"}}),
        ),
        (
            "mutation($p: ID!, $o: GitObjectID) { mergePullRequest(input: {pullRequestId: $p, expectedHeadOid: $o}) { clientMutationId } }",
            json!({"p": "PR_1"}),
            "mutation($p: ID!, $o: GitObjectID) { mergePullRequest(input: {pullRequestId: $p, expectedHeadOid: $o}) { clientMutationId } }",
            json!({"p": "PR_1", "o": "abc"}),
        ),
    ] {
        let body = json!({ "query": document, "variables": variables }).to_string();
        let read = Request::read(body.as_bytes()).unwrap();
        let changed = edit::with_input(&read, body.as_bytes(), "expectedHeadOid", &sha).unwrap();
        let changed: Value = serde_json::from_slice(&changed).unwrap();
        assert_eq!((changed["query"].as_str().unwrap(), &changed["variables"]), (text, &variables_after));
        let again = mutations::judge(&Request::read(changed.to_string().as_bytes()).unwrap()).unwrap();
        assert_eq!(again[0].input["expectedHeadOid"], sha);
    }
}

#[test]
fn what_is_put_into_an_object_leaves_no_variable_unused() {
    let message = json!({"headline": "title", "body": "Agent: a"});
    for (written, sent, text, variables) in [
        ("{headline: $h}", json!({"h": "title"}), "{body: \"Agent: a\" headline: $h}", json!({"h": "title"})),
        (
            "{headline: \"title\", body: $h}",
            json!({"h": "x"}),
            "{headline: \"title\", body: $h}",
            json!({"h": "Agent: a"}),
        ),
        (
            "{headline: \"title\", body: \"\"}",
            json!({}),
            "{headline: \"title\", body: \"Agent: a\"}",
            json!({}),
        ),
    ] {
        let document = |message: &str| {
            format!(
                "mutation($h: String) {{ createCommitOnBranch(input: {{expectedHeadOid: \"1\", message: {message}}}) {{ \
                 clientMutationId }} }}"
            )
        };
        let body = json!({ "query": document(written), "variables": sent }).to_string();
        let read = Request::read(body.as_bytes()).unwrap();
        let changed = edit::with_input(&read, body.as_bytes(), "message", &message).unwrap();
        let changed: Value = serde_json::from_slice(&changed).unwrap();
        assert_eq!(
            (changed["query"].as_str().unwrap(), &changed["variables"]),
            (&*document(text), &variables)
        );
    }
}

#[test]
fn whatever_text_is_put_in_is_read_back() {
    let document = "mutation { mergeBranch(input: {commitMessage: \"x\"}) { clientMutationId } }";
    let body = json!({ "query": document }).to_string();
    let read = Request::read(body.as_bytes()).unwrap();
    for text in
        ["", "a \"quoted\" \"\"\"\" text", "\\u0041 \\\\ C:\\u{e9}", "\0\t\r\n\u{7f}\u{85}\u{2028}\u{1f600}"]
    {
        let changed = edit::with_input(&read, body.as_bytes(), "commitMessage", &json!(text)).unwrap();
        let again = Request::read(&changed).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        let document::Selection::Field(field) = &again.document.operations[0].selections[0] else {
            panic!("the mutation is a field")
        };
        let input = field.argument("input", &Variables::default()).unwrap().into_owned();
        assert_eq!(input, json!({ "commitMessage": text }));
    }
}

#[test]
fn more_nodes_than_github_takes_are_refused() {
    let query = "{ repository(owner: \"a\", name: \"b\") { issues(first: 100) { nodes { comments(first: 100) { nodes { reactions(first: 100) { nodes { id } } } } } } } }";
    let error = request(query, &json!({})).unwrap().price().unwrap_err().to_string();
    assert!(error.contains("1010100 nodes") && error.contains("500000"), "{error}");
}

#[test]
fn one_class_never_hides_another() {
    for (merge, beside) in [
        (
            "mergePullRequest(input: {pullRequestId: $p})",
            "dismissPullRequestReview(input: {pullRequestReviewId: $p})",
        ),
        ("mergePullRequest(input: {pullRequestId: $p})", "createCheckRun(input: {repositoryId: $p})"),
        ("mergePullRequest(input: {pullRequestId: $p})", "addComment(input: {subjectId: $p})"),
        ("deleteRef(input: {refId: $p})", "addComment(input: {subjectId: $p})"),
    ] {
        for document in [
            format!("mutation A($p: ID!) {{ {merge} {{ x }} }} mutation B($p: ID!) {{ {beside} {{ x }} }}"),
            format!("mutation A($p: ID!) {{ {merge} {{ x }} {beside} {{ x }} }}"),
            format!(
                "mutation A($p: ID!) {{ {beside} {{ x }} ...F }} fragment F on Mutation {{ {merge} {{ x }} }}"
            ),
        ] {
            let body =
                json!({"query": document, "operationName": "A", "variables": {"p": "X_1"}}).to_string();
            let judged = mutations::judge(&Request::read(body.as_bytes()).unwrap());
            assert!(matches!(judged, Err(GraphqlError::Mutation(_))), "{document}: {judged:?}");
        }
    }
    let plain = "mutation { a: addComment(input: {subjectId: \"I_1\"}) { x } b: closeIssue(input: {issueId: \"I_1\"}) { x } }";
    assert_eq!(mutations::judge(&request(plain, &json!({})).unwrap()).unwrap().len(), 2);
}

#[test]
fn what_is_short_does_not_come_to_much() {
    let long = "x".repeat(900_000);
    let ids: Vec<String> = (0..19_000).map(|id| format!("I_{id}")).collect();
    let operations: String = (0..60).map(|at| format!("query Q{at} {{ a }} ")).collect();
    for (document, variables) in [
        (
            format!("query($v: String) {{ a(first: [{}]) {{ b }} }}", "$v ".repeat(9_000)),
            json!({ "v": long }),
        ),
        (format!("query($v: String) {{ {} }}", "a(first: $v) { b } ".repeat(1_500)), json!({ "v": long })),
        (
            format!(
                "query($v: String) {{ {} }} fragment F on Query {{ a(first: [$v]) {{ b }} }}",
                "...F ".repeat(1_500)
            ),
            json!({ "v": long }),
        ),
        (
            format!("mutation($v: X) {{ {} }}", "addStar(input: $v) ".repeat(2_000)),
            json!({"v": {"ids": ids}}),
        ),
        (format!("query($v: [ID!]!) {{ {} }}", "nodes(ids: $v) { id } ".repeat(1_500)), json!({ "v": ids })),
        (operations, json!({})),
    ] {
        let read = request(&document, &variables);
        assert!(matches!(read, Err(GraphqlError::Syntax(_))), "{document:.60}: {read:?}");
    }
    for document in ["mutation($v: X) { addStar(input: $v) { x } }", "query($v: X) { nodes(ids: $v) { id } }"]
    {
        let read = request(
            document,
            &json!({"v": if document.starts_with('m') { json!({"ids": ids}) } else { json!(ids) }}),
        )
        .unwrap();
        let judged =
            mutations::judge(&read).map(drop).and_then(|()| reads::judge(&read, &set(&["a/b"])).map(drop));
        assert!(matches!(judged, Err(GraphqlError::TooManyIds(_))), "{judged:?}");
    }
    assert!(request("query($v: String) { a(b: $v) { c } }", &json!({ "v": long })).is_ok());
}

#[test]
fn a_fragment_has_the_variables_of_who_spreads_it() {
    let document = "query($o: String!, $n: String!) { ...F } fragment F on Query { repository(owner: $o, name: $n) { id } }";
    let read = |owner| {
        let request = request(document, &json!({"o": owner, "n": "widgets"})).unwrap();
        reads::judge(&request, &set(&["acme/widgets"])).map(|reads| reads.owners)
    };
    assert_eq!(read("acme").unwrap(), ["acme"]);
    assert!(matches!(read("other"), Err(GraphqlError::Outside(_))));
    let undone = "mutation($e: PullRequestReviewEvent = APPROVE) { addPullRequestReview(input: {pullRequestId: \"P\", event: $e}) { x } }";
    let undone = mutations::judge(&request(undone, &json!({"e": null})).unwrap());
    assert!(matches!(undone, Err(GraphqlError::Ambiguous(_))), "{undone:?}");
    for url in [
        "https://github.com/acme/widgets/../../other/x",
        "https://x@github.com/acme/widgets",
        "https://github.com/acme/%2e",
        "https://github.com/acme/widgets/..%2Fsecret-plans",
        "https://github.com/acme/widgets/%5c..%5csecret-plans",
        "https://github.com/acme/widgets/%252e%252e/secret-plans",
    ] {
        let request = request("query($u: URI!) { resource(url: $u) { url } }", &json!({ "u": url })).unwrap();
        assert!(reads::judge(&request, &set(&["acme/widgets"])).is_err(), "{url}");
    }
}

mod properties;
