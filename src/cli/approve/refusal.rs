//! What a refusal asks for, checked against the request it shows.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::policy::approval::moving::Moving;
use crate::policy::approval::{AUDIENCE, Base, Binding, PullAt, Requirement, is_commit, request_sha256};
use crate::policy::graphql::{self, mutations};
use crate::policy::repositories::RepositoryName;
use crate::policy::target::Target;
use crate::policy::{Class, json, judge, routes};

/// Claims a refusal may carry; more would be signed unseen.
const CLAIMS: [&str; 9] =
    ["aud", "action", "repo", "pull_number", "head_sha", "base", "stack", "request_sha256", "ids"];

/// Something that was refused for want of an approval.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) required: Requirement,
    /// The request, where the approval is for one request.
    pub(super) request: Option<Request>,
}

/// A request as it was sent.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) body: Vec<u8>,
}

/// Reads the body of a refusal, or its `tollgate` object alone; `body` is the request's, where the
/// refusal does not hold it.
pub(super) fn read(refusal: &[u8], body: Option<&[u8]>) -> anyhow::Result<Refused> {
    let whole = json::object(refusal).context("this is no refusal of tollgate's")?;
    let about = whole.get("tollgate").and_then(Value::as_object).unwrap_or(&whole);
    let claims = about
        .get("approval")
        .and_then(Value::as_object)
        .context("there is no `tollgate.approval`: it was not refused for want of an approval")?;
    if let Some(unknown) = claims.keys().find(|key| !CLAIMS.contains(&key.as_str())) {
        bail!("`tollgate.approval` holds {unknown:?}, which no refusal does");
    }
    let text = |key: &str| claims.get(key).and_then(Value::as_str);
    if text("aud") != Some(AUDIENCE) {
        bail!("`tollgate.approval.aud` is not `{AUDIENCE}`");
    }
    let action = match text("action") {
        Some("auto-merge") => "auto-merge",
        name => {
            let class = name.and_then(|name| serde_json::from_value::<Class>(name.into()).ok());
            class.context("`tollgate.approval.action` is no class of operation")?.as_str()
        }
    };
    let repository = match text("repo") {
        Some(name) => Some(RepositoryName::parse(name).context("`tollgate.approval.repo` is no repository")?),
        None => None,
    };
    if claims.contains_key("pull_number") {
        let binding = pull(claims)?;
        return Ok(Refused { required: Requirement { repository, action, binding }, request: None });
    }
    let sha256 =
        text("request_sha256").context("`tollgate.approval` names neither a pull request nor a request")?;
    let request = request(about.get("request"), body)?;
    if request_sha256(&request.method, &request.path, &request.body) != sha256 {
        bail!(
            "`request_sha256` is not that of the request it shows: this refusal was changed, or the body is another"
        );
    }
    let head_sha = match claims.get("head_sha") {
        Some(sha) => Some(commit(Some(sha))?),
        None => None,
    };
    match (names_what_moves(&request), head_sha.is_some()) {
        (true, false) => bail!(
            "the request names what moves with the next push, and the refusal does not say at which commit: that was \
             taken out of it, there is no such branch, or GitHub did not say; ask for the refusal again"
        ),
        (false, true) => bail!(
            "`tollgate.approval` names a commit that the request is not bound to: this refusal was changed"
        ),
        (true, true) | (false, false) => {}
    }
    let ids = match claims.get("ids") {
        Some(ids) => serde_json::from_value(ids.clone()).context("`ids` is not what refusals hold")?,
        None => BTreeMap::new(),
    };
    let binding = Binding::Request { sha256: sha256.to_owned(), head_sha, ids };
    Ok(Refused { required: Requirement { repository, action, binding }, request: Some(request) })
}

/// What tollgate would not make of it names nothing: it would not take an approval for it either.
fn names_what_moves(request: &Request) -> bool {
    moving(request).is_some_and(|moving| moving.is_some())
}

fn moving(request: &Request) -> Option<Option<Moving>> {
    let (bare, query) = match request.path.split_once('?') {
        Some((bare, query)) => (bare, Some(query)),
        None => (request.path.as_str(), None),
    };
    let target = Target::parse(bare, query).ok()?;
    if target.canonical(None, None) == "/graphql" {
        let document = graphql::Request::read(&request.body).ok()?;
        let mutations = mutations::judge(&document).ok()?;
        let mutation = mutations.first()?;
        return Moving::of(mutation.operation, mutation.class, |key| mutation.input.get(key).cloned()).ok();
    }
    let route = routes::find(&request.method.parse().ok()?, &target).ok()?;
    let class = judge::judge(&route, &target, &request.body).ok()?.class;
    let body = json::object(&request.body).ok();
    Moving::of(route.operation, class, |key| body.as_ref()?.get(key).cloned()).ok()
}

fn pull(claims: &Map<String, Value>) -> anyhow::Result<Binding> {
    let number = claims["pull_number"].as_u64().context("`pull_number` is no number")?;
    let head_sha = commit(claims.get("head_sha"))?;
    let stack = claims.get("stack").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let stack = stack.iter().map(|at| {
        let number = at["pull_number"].as_u64().context("`stack` names no pull request")?;
        Ok(PullAt { number, head_sha: commit(at.get("head_sha"))? })
    });
    let stack = stack.collect::<anyhow::Result<Vec<PullAt>>>()?;
    let base = match claims.get("base") {
        Some(base) => Some(Base::named(base.as_str().context("`base` is no branch")?)),
        None => None,
    };
    Ok(Binding::Pull { number, head_sha: Some(head_sha), base, stack })
}

fn commit(value: Option<&Value>) -> anyhow::Result<String> {
    let sha = value.and_then(Value::as_str).filter(|sha| is_commit(sha));
    sha.map(str::to_owned)
        .context("it names no commit; look at the pull request and use --repo, --pull and --sha")
}

/// Methods that change something, and so may wait for an approval.
const METHODS: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];

/// What tollgate itself writes into a refusal: nothing that looks like one request and hashes as another.
fn check_line(method: &str, path: &str) -> anyhow::Result<()> {
    if !METHODS.contains(&method) {
        bail!("`tollgate.request.method` is no method that is approved");
    }
    let (bare, query) = path.split_once('?').map_or((path, None), |(bare, query)| (bare, Some(query)));
    let is_line = path.bytes().all(|byte| byte.is_ascii_graphic());
    let target = Target::parse(bare, query).ok().filter(|_| is_line);
    if target.is_none_or(|target| target.canonical(None, None) != path) {
        bail!("`tollgate.request.path` is not as tollgate writes it: this refusal was changed");
    }
    Ok(())
}

fn request(shown: Option<&Value>, body: Option<&[u8]>) -> anyhow::Result<Request> {
    let shown = shown.and_then(Value::as_object).context("there is no `tollgate.request` to look at")?;
    let text = |key: &str| shown.get(key).and_then(Value::as_str);
    let bytes = match (body, text("body"), text("body_base64")) {
        (Some(body), _, _) => body.to_vec(),
        (None, Some(text), _) => text.as_bytes().to_vec(),
        (None, None, Some(encoded)) => STANDARD.decode(encoded).context("`body_base64` is no base64")?,
        (None, None, None) => {
            let length = shown.get("body_bytes").and_then(Value::as_u64).unwrap_or_default();
            bail!(
                "the request's body of {length} bytes was too long to be shown; name a file with it: --body-file"
            )
        }
    };
    let method = text("method").context("`tollgate.request` has no method")?.to_owned();
    let path = text("path").context("`tollgate.request` has no path")?.to_owned();
    check_line(&method, &path)?;
    Ok(Request { method, path, body: bytes })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(body: &str) -> Value {
        let sha256 = request_sha256("PUT", "/repos/a/b/contents/x", body.as_bytes());
        json!({"message": "…", "tollgate": {
            "code": "approval_required",
            "approval": {"aud": "tollgate", "action": "ref-write", "repo": "a/b", "request_sha256": sha256},
            "request": {"method": "PUT", "path": "/repos/a/b/contents/x", "body": body, "body_bytes": body.len()},
        }})
    }

    fn read_value(value: &Value) -> anyhow::Result<Refused> {
        read(value.to_string().as_bytes(), None)
    }

    #[test]
    fn a_refusal_is_what_it_shows() {
        let refused = read_value(&refusal("{}")).unwrap();
        assert_eq!(refused.required.claims(), refusal("{}")["tollgate"]["approval"]);
        assert_eq!(refused.request.unwrap().body, b"{}");
        let mut with_ids = refusal("{}");
        with_ids["tollgate"]["approval"]["ids"] = json!({"REF_1": "refs/heads/main"});
        assert_eq!(read_value(&with_ids).unwrap().required.claims(), with_ids["tollgate"]["approval"]);
        let about = refusal("{}")["tollgate"].clone();
        assert!(read_value(&about).is_ok());
        let head = "1".repeat(40);
        let merge = json!({"approval": {"aud": "tollgate", "action": "merge", "repo": "a/b", "pull_number": 7,
            "head_sha": head, "stack": [{"pull_number": 6, "head_sha": head}, {"pull_number": 7, "head_sha": head}]}});
        assert_eq!(read_value(&merge).unwrap().required.claims(), merge["approval"]);
    }

    #[test]
    fn what_was_changed_on_its_way_is_not_signed() {
        for (place, value) in [
            ("/tollgate/request/path", json!("/repos/a/b/contents/y")),
            ("/tollgate/request/method", json!("DELETE")),
            ("/tollgate/request/path", json!("/repos/a/b/contents/x\nTo be approved: nothing")),
            ("/tollgate/request/path", json!("/repos/a/b/contents/x y")),
            ("/tollgate/request/body", json!("{\"x\":1}")),
            ("/tollgate/approval/request_sha256", json!("0".repeat(64))),
            ("/tollgate/approval/aud", json!("another")),
            ("/tollgate/approval/action", json!("everything")),
            ("/tollgate/approval/repo", json!("a")),
            ("/tollgate/approval", json!(null)),
            ("/tollgate/request", json!(null)),
        ] {
            let mut changed = refusal("{}");
            *changed.pointer_mut(place).unwrap() = value;
            assert!(read_value(&changed).is_err(), "{place}");
        }
        let mut more = refusal("{}");
        more["tollgate"]["approval"]["exp"] = json!(9_999_999_999_i64);
        assert!(read_value(&more).is_err());
        let doubled =
            refusal("{}").to_string().replacen("\"repo\":\"a/b\"", "\"repo\":\"a/b\",\"repo\":\"c/d\"", 1);
        assert!(read(doubled.as_bytes(), None).is_err());
    }

    #[test]
    fn a_name_that_moves_is_signed_at_a_commit_or_not_at_all() {
        let mutation = r#"{"query":"mutation{addPullRequestReview(input:{pullRequestId:\"PR_1\",event:APPROVE}){clientMutationId}}"}"#;
        let at = |commit| format!(r#"{{"event":"APPROVE","commit_id":{commit}}}"#);
        let whole = at(format!("\"{}\"", "a".repeat(40)));
        for (path, body, is_moving) in [
            ("/repos/a/b/merges", r#"{"base":"main","head":"good"}"#, true),
            ("/repos/a/b/pulls/7/reviews", r#"{"event":"APPROVE"}"#, true),
            ("/repos/a/b/pulls/7/reviews", &at("null".to_owned()), true),
            ("/repos/a/b/pulls/7/reviews", &whole, false),
            ("/repos/a/b/pulls/7/reviews/1/events", r#"{"event":"APPROVE"}"#, true),
            ("/graphql", mutation, true),
            ("/repos/a/b/releases", r#"{"tag_name":"v1"}"#, false),
        ] {
            let sha256 = request_sha256("POST", path, body.as_bytes());
            let mut refusal = json!({
                "approval": {"aud": "tollgate", "action": "merge", "repo": "a/b", "request_sha256": sha256},
                "request": {"method": "POST", "path": path, "body": body, "body_bytes": body.len()},
            });
            assert_eq!(read_value(&refusal).is_err(), is_moving, "{path} {body}");
            refusal["approval"]["head_sha"] = json!("1".repeat(40));
            assert_eq!(read_value(&refusal).is_ok(), is_moving, "{path} {body}");
        }
    }

    #[test]
    fn a_long_body_is_named() {
        let mut long = refusal("{}");
        long["tollgate"]["request"].as_object_mut().unwrap().remove("body");
        let error = read_value(&long).unwrap_err().to_string();
        assert!(error.contains("--body-file"), "{error}");
        assert!(read(long.to_string().as_bytes(), Some(b"{}")).is_ok());
        assert!(read(long.to_string().as_bytes(), Some(b"{} ")).is_err());
    }
}
