//! Whether a gated operation came with its approval.
//!
//! What the approval must name is found out first, since a refusal states it. Whether a signed one
//! was used before is asked last, when the call is about to go up (`forward/commit.rs`).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use serde_json::{Value, json};

use super::facts::{Fact, Question};
use super::pulls::Landing;
use super::{Asker, Permitted};
use crate::audit::Approver;
use crate::config::{Agent, ApprovalMode};
use crate::error::{ProxyError, Wanted};
use crate::policy::approval::covered::uncovered;
use crate::policy::approval::moving::{Moving, review_key};
use crate::policy::approval::{Approval, Binding, PullAt, Requirement, request_sha256};
use crate::policy::routes::Scope;
use crate::policy::{Class, json};
use crate::proxy::Proxy;
use crate::proxy::classify::Call;
use crate::proxy::context::Context;

/// The longest body shown in a refusal, in bytes; for a longer one the approver sees only the length.
const SHOWN_BYTES_MAX: usize = 64 * 1024;

/// Who let a gated call through.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Sanction {
    /// The header held something; nothing more is checked.
    Presence,
    Signed {
        approval: Approval,
        /// What another approval would have to name, if this one turns out to be used.
        wanted: Box<Wanted>,
        /// The pull requests that land together, as they were approved.
        stack: Vec<PullAt>,
    },
}

impl Sanction {
    pub(super) fn approver(&self) -> Option<Approver> {
        match self {
            Sanction::Presence => None,
            Sanction::Signed { approval, .. } => Some(Approver {
                issuer: approval.issuer.clone(),
                subject: approval.subject.clone(),
                jti: approval.jti.clone(),
            }),
        }
    }

    /// What the approval is for, as far as it says so.
    pub(super) fn approved(&self, call: &Call) -> Option<Value> {
        match self {
            Sanction::Presence => call.lands.map(|number| json!({ "pull_number": number })),
            Sanction::Signed { approval, wanted, .. } => {
                let mut claims = wanted.claims.as_object().cloned()?;
                // They stand in the line already.
                claims.remove("aud");
                claims.remove("repo");
                // What is wanted is the state of now. The approval may name another, or none.
                for (claim, stated) in [("head_sha", &approval.head_sha), ("base", &approval.base)] {
                    match stated {
                        Some(stated) => claims.insert(claim.to_owned(), json!(stated)),
                        None => claims.remove(claim),
                    };
                }
                let stack = claims.get_mut("stack").and_then(Value::as_array_mut);
                if let Some(top) = stack.and_then(|stack| stack.last_mut()) {
                    top["head_sha"] = json!(approval.head_sha);
                }
                Some(Value::Object(claims))
            }
        }
    }
}

impl Proxy {
    /// Checks the approval if the agent's policy wants one; none if it doesn't.
    ///
    /// `organization` is the login behind an organization's id.
    pub(super) async fn check_approval(
        &self,
        asker: &Asker,
        call: &Call,
        organization: Option<&str>,
        ctx: &mut Context,
    ) -> Result<Option<Sanction>, ProxyError> {
        let class = call.class;
        // A merge needs an approval whatever the configuration says.
        if class != Class::Merge && !asker.agent.require_approval.contains(&class) {
            return Ok(None);
        }
        check_readable(call)?;
        if call.graphql.as_ref().is_some_and(|graphql| {
            graphql.mutations.len() != 1 || graphql.request.document.operations.len() != 1
        }) {
            return Err(ProxyError::BadRequest(
                "What waits for an approval stands alone: send one mutation in the document, and nothing else.".to_owned(),
            ));
        }
        if call.route.operation.id == "submitPullRequestReview" {
            return Err(ProxyError::BadRequest(
                "A pending review may be exchanged after its approval; approve by `addPullRequestReview` with `event: APPROVE`."
                    .to_owned(),
            ));
        }
        let checked = match self.rules.policy.approval_mode {
            ApprovalMode::Presence => self.check_presence(asker, call, organization),
            ApprovalMode::Signed => Box::pin(self.check_signed(asker, call, organization, ctx)).await,
        };
        let result = match &checked {
            // Counted when it is used.
            Ok(Sanction::Signed { .. }) => None,
            Ok(Sanction::Presence) => Some("accepted"),
            Err(ProxyError::ApprovalRequired { .. }) => Some("missing"),
            Err(ProxyError::ApprovalInvalid { .. }) => Some("refused"),
            Err(ProxyError::ApprovalUnsure) => Some("unsure"),
            Err(_) => None,
        };
        if let Some(result) = result {
            self.metrics.approvals.with_label_values(&[result]).inc();
        }
        match checked {
            Ok(sanction) => Ok(Some(sanction)),
            // Landing or vouching for code always waits. Plain writes are policy, which may only observe.
            Err(refused) if class == Class::Write => {
                self.tolerate(&asker.agent, ctx, Err(refused)).map(|()| None)
            }
            Err(refused) => Err(refused),
        }
    }

    fn check_presence(
        &self,
        asker: &Asker,
        call: &Call,
        organization: Option<&str>,
    ) -> Result<Sanction, ProxyError> {
        let binding = match call.lands {
            Some(number) => Binding::Pull { number, head_sha: None, base: None, stack: Vec::new() },
            None => request_binding(asker, call, organization),
        };
        let wanted = || Box::new(wanted(asker, call, binding, organization));
        match self.header_of(call) {
            Header::One(value) if is_visible(value) => match check_covered(call) {
                Ok(()) => Ok(Sanction::Presence),
                Err(reason) => Err(not_used(reason, wanted())),
            },
            Header::One(_) | Header::None => Err(self.required(call, false, wanted())),
            Header::More => Err(twice(wanted())),
        }
    }

    async fn check_signed(
        &self,
        asker: &Asker,
        call: &Call,
        organization: Option<&str>,
        ctx: &mut Context,
    ) -> Result<Sanction, ProxyError> {
        let mut is_draft = false;
        let binding = match call.lands {
            Some(number) => {
                let landing = self.landing(asker, number, ctx).await?;
                is_draft = landing.is_draft;
                let Landing { head_sha, base, stack, .. } = landing;
                Binding::Pull { number, head_sha, base, stack }
            }
            None => self.with_commit(asker, call, request_binding(asker, call, organization), ctx).await?,
        };
        let required = Requirement { repository: asker.repository.clone(), action: action_of(call), binding };
        let is_draft = is_draft && required.action == Class::Merge.as_str();
        let wanted = || Box::new(wanted(asker, call, required.binding.clone(), organization));
        let token = match self.header_of(call) {
            Header::One(value) if is_visible(value) => value.as_bytes(),
            Header::One(_) | Header::None => return Err(self.required(call, is_draft, wanted())),
            Header::More => return Err(twice(wanted())),
        };
        if matches!(required.binding, Binding::Pull { head_sha: None, .. }) {
            return Err(not_used("GitHub shows no such pull request".to_owned(), wanted()));
        }
        let invalid = |reason: String| ProxyError::ApprovalInvalid {
            reason,
            is_another_needed: true,
            wanted: wanted(),
        };
        let approval = self
            .rules
            .policy
            .verifier
            .verify(token, &required, self.clock.now_seconds())
            .map_err(|rejected| invalid(rejected.to_string()))?;
        if is_draft {
            // GitHub would refuse the merge, and the approval would be used up.
            let reason = "the pull request is a draft, which GitHub does not merge: a person has to mark it ready for \
                          review first";
            return Err(not_used(reason.to_owned(), wanted()));
        }
        if !self.spent.is_up() {
            return Err(ProxyError::ApprovalUnsure);
        }
        check_covered(call).map_err(|reason| not_used(reason, wanted()))?;
        if let Some(head_sha) = &approval.head_sha {
            check_commit(call, head_sha).map_err(|reason| invalid(reason.to_owned()))?;
        }
        self.until_issued(&approval, &asker.agent, ctx).await?;
        let stack = match required.binding {
            Binding::Pull { ref stack, .. } => stack.clone(),
            Binding::Request { .. } => Vec::new(),
        };
        Ok(Sanction::Signed { approval, wanted: wanted(), stack })
    }

    /// Holds a call until its approval's `iat`, if the issuer's clock is ahead of ours. So no
    /// approval is used before it was issued: if it was used before a memory of uses began, its
    /// `iat` is older, too.
    async fn until_issued(
        &self,
        approval: &Approval,
        agent: &Agent,
        ctx: &mut Context,
    ) -> Result<(), ProxyError> {
        let ahead = approval.issued_at - self.clock.now_seconds();
        if ahead > 0 {
            self.hold_off(agent, Duration::from_secs(ahead.unsigned_abs()), ctx).await?;
        }
        self.check_open()
    }

    /// A request that names a branch can mean another commit tomorrow. The claims name the commit
    /// it means now, and an approval with that commit is pinned to it.
    async fn with_commit(
        &self,
        asker: &Asker,
        call: &Call,
        binding: Binding,
        ctx: &mut Context,
    ) -> Result<Binding, ProxyError> {
        let (Some(moving), Some(repository)) = (moving(call)?, asker.repository.clone()) else {
            return Ok(binding);
        };
        let question = match (moving, call.reviews) {
            (Moving::Head(head), _) => Question::Commit(repository, head),
            (Moving::Review | Moving::Submitted, Some(number)) => Question::Pull(repository, number),
            (Moving::Review | Moving::Submitted, None) => return Ok(binding),
        };
        let now = match self.fact(asker, &question, ctx).await? {
            Some(Fact::Commit { sha }) => Some(sha),
            Some(Fact::Pull { head_sha, .. }) => Some(head_sha),
            _ => None,
        };
        Ok(match binding {
            Binding::Request { sha256, ids, .. } => Binding::Request { sha256, head_sha: now, ids },
            Binding::Pull { .. } => binding,
        })
    }

    /// Whether a call that can't name the approved commit still means it. If a call can, GitHub compares.
    pub(in crate::proxy) async fn means_approved(
        &self,
        permitted: &Permitted,
        approval: &Approval,
        ctx: &mut Context,
    ) -> Result<bool, ProxyError> {
        let call = permitted.call();
        let (Some(Moving::Submitted), Some(approved)) = (moving(call)?, &approval.head_sha) else {
            return Ok(true);
        };
        let question = permitted.repository().cloned().zip(call.reviews);
        let Some((repository, number)) = question else { return Ok(false) };
        let fact = self.fact(&permitted.asker(), &Question::Pull(repository, number), ctx).await?;
        Ok(matches!(fact, Some(Fact::Pull { head_sha, .. }) if head_sha == *approved))
    }

    fn header_of<'a>(&self, call: &'a Call) -> Header<'a> {
        let mut values = call.headers.get_all(&self.rules.policy.approval_header).iter();
        match (values.next(), values.next()) {
            (None, _) => Header::None,
            (Some(value), None) => Header::One(value),
            (Some(_), Some(_)) => Header::More,
        }
    }

    fn required(&self, call: &Call, is_draft: bool, wanted: Box<Wanted>) -> ProxyError {
        let header = self.rules.policy.approval_header.to_string();
        let what_to_sign = match self.rules.policy.approval_mode {
            ApprovalMode::Signed => {
                " (what to sign is in `tollgate.approval` of this answer; `tollgate approve --from` takes the answer as it is)"
            }
            ApprovalMode::Presence => "",
        };
        ProxyError::ApprovalRequired { class: call.class, header, what_to_sign, is_draft, wanted }
    }
}

/// The approver and GitHub must not read a body in different ways.
fn check_readable(call: &Call) -> Result<(), ProxyError> {
    let body = call.body.held();
    if body.is_empty() || call.route.operation.uploads || call.route.scope == Scope::Everyone {
        return Ok(());
    }
    json::is_object(body)
        .map_err(|error| ProxyError::BadRequest(format!("The request is ambiguous: {error}.")))
}

/// A merge is approved by the commit it lands; whoever approves it sees nothing of the request.
fn check_covered(call: &Call) -> Result<(), String> {
    if call.lands.is_none() {
        return Ok(());
    }
    if call.target.query().is_some() {
        return Err("a merge takes its parameters in the body; leave the query string out".to_owned());
    }
    let members = match call.members() {
        Some(members) => members,
        None if call.body.held().is_empty() => return Ok(()),
        None => return Err("the merge's body is not one plain JSON object".to_owned()),
    };
    let Some(member) = uncovered(&members) else { return Ok(()) };
    let member = json::shown(member);
    Err(format!("an approval of a merge covers its commit and not `{member}`; leave that out"))
}

/// How often the approval header came.
enum Header<'a> {
    None,
    One(&'a HeaderValue),
    More,
}

fn twice(wanted: Box<Wanted>) -> ProxyError {
    not_used("the header came more than once".to_owned(), wanted)
}

/// The approval was not taken, and may yet be.
fn not_used(reason: String, wanted: Box<Wanted>) -> ProxyError {
    ProxyError::ApprovalInvalid { reason, is_another_needed: false, wanted }
}

/// A header of blanks approves nothing.
fn is_visible(value: &HeaderValue) -> bool {
    value.as_bytes().iter().any(u8::is_ascii_graphic)
}

fn canonical_path(asker: &Asker, call: &Call, organization: Option<&str>) -> String {
    let organization = organization.filter(|_| matches!(call.route.scope, Scope::OrganizationId(_)));
    call.target.canonical(asker.repository.as_ref(), organization)
}

fn request_binding(asker: &Asker, call: &Call, organization: Option<&str>) -> Binding {
    let path = canonical_path(asker, call, organization);
    let sha256 = request_sha256(call.method.as_str(), &path, call.body.held());
    Binding::Request { sha256, head_sha: None, ids: call.ids.clone() }
}

fn wanted(asker: &Asker, call: &Call, binding: Binding, organization: Option<&str>) -> Wanted {
    let request = matches!(binding, Binding::Request { .. }).then(|| shown(asker, call, organization));
    let required = Requirement { repository: asker.repository.clone(), action: action_of(call), binding };
    Wanted { claims: required.claims(), request }
}

/// The request in a form that an approver can look at and hash again.
fn shown(asker: &Asker, call: &Call, organization: Option<&str>) -> Value {
    let body = call.body.held();
    let mut shown = json!({
        "method": call.method.as_str(),
        "path": canonical_path(asker, call, organization),
        "body_bytes": body.len(),
    });
    match std::str::from_utf8(body) {
        _ if body.len() > SHOWN_BYTES_MAX => {}
        Ok(text) => shown["body"] = json!(text),
        Err(_) => shown["body_base64"] = json!(STANDARD.encode(body)),
    }
    shown
}

/// If the body names a commit, it must be the approved one.
fn check_commit(call: &Call, head_sha: &str) -> Result<(), &'static str> {
    if call.lands.is_none() {
        // The approval covers the whole request; the commit only says what its names mean.
        return Ok(());
    }
    match call.member(commit_key(call)) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(sha)) if sha.eq_ignore_ascii_case(head_sha) => Ok(()),
        Some(_) => Err("the request names another commit than the approved one"),
    }
}

/// What the call names that may move to another commit.
fn moving(call: &Call) -> Result<Option<Moving>, ProxyError> {
    Moving::of(call.route.operation, call.class, |key| call.member(key))
        .map_err(|message| ProxyError::BadRequest(message.to_owned()))
}

/// Puts the approved commit into the call, so that GitHub accepts no other.
pub(super) fn pin_commit(call: &mut Call, sanction: Option<&Sanction>) -> Result<(), ProxyError> {
    let Some(Sanction::Signed { approval: Approval { head_sha: Some(head_sha), .. }, .. }) = sanction else {
        return Ok(());
    };
    let key = match moving(call)? {
        Some(Moving::Head(_)) => "head",
        Some(Moving::Review) => review_key(call.route.operation),
        Some(Moving::Submitted) => return Ok(()),
        None if call.lands.is_none() => return Ok(()),
        None => commit_key(call),
    };
    call.set_member(key, &json!(head_sha))
}

/// The key under which a merge names its commit.
fn commit_key(call: &Call) -> &'static str {
    if call.graphql.is_some() { "expectedHeadOid" } else { "sha" }
}

/// What an approval calls the operation.
fn action_of(call: &Call) -> &'static str {
    call.action.unwrap_or(call.class.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_approve_nothing() {
        for (value, visible) in [("", false), (" ", false), ("\t", false), ("yes", true), (" x ", true)] {
            assert_eq!(is_visible(&HeaderValue::from_str(value).unwrap()), visible, "{value:?}");
        }
        assert!(!is_visible(&HeaderValue::from_bytes(b"\xc2\xa0").unwrap()));
    }
}
