//! Handles one request: identity, faults, limits, route, access, handler, headers.
//!
//! All of it happens under the state's lock, so limits are exact and answers consistent. Anything that takes time
//! (slow faults, sending) is left to the server.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::json;

use crate::access;
use crate::auth::{self, Caller, Identity};
use crate::books::Charge;
use crate::context::Cx;
use crate::exchange::{Answer, Reply, Request, decode};
use crate::faults::{FaultKind, LimitForm, Plan};
use crate::graphql;
use crate::headers::{self, Stamp};
use crate::limits::SecondaryUse;
use crate::routes::{self, Route};
use crate::server::{Listener, Shared, State};

/// An answer ready to be sent.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    pub(crate) plan: Plan,
}

/// Answers a request. By then the books contain everything that it did.
pub(crate) fn answer(
    shared: &Shared,
    listener: Listener,
    seq: u64,
    in_flight: u64,
    request: &Request,
) -> Outcome {
    let mut guard = shared.state();
    let state = &mut *guard;
    let true_ms = shared.clock.now_epoch_ms();
    let now_ms = true_ms + state.faults.clock_offset_seconds(true_ms) * 1000;
    let identity = auth::identify(shared, state, request, seq, now_ms.div_euclid(1000));
    let target = request
        .raw_query
        .as_ref()
        .map_or_else(|| request.path.clone(), |query| format!("{}?{query}", request.path));
    let plan = state.faults.take(&request.method, &target, &identity.label, true_ms);
    let account = match &identity.caller {
        Ok(caller) => caller.account(&shared.config),
        Err(_) => "anonymous".to_owned(),
    };
    let resource = plan
        .find(|kind| match kind {
            FaultKind::ChargeOther { resource } => Some(resource.clone()),
            _ => None,
        })
        .unwrap_or_else(|| routes::resource(&request.path).to_owned());
    let mut course = Course {
        shared,
        state,
        request,
        listener,
        plan,
        account,
        resource,
        now_ms,
        in_flight,
        charge: 0,
        refused_for: None,
        route: None,
    };
    let reply = course.run(&identity);
    course.finish(seq, &identity, &reply)
}

/// The state of one request while it is handled.
struct Course<'a> {
    shared: &'a Shared,
    state: &'a mut State,
    request: &'a Request,
    listener: Listener,
    plan: Plan,
    account: String,
    resource: String,
    now_ms: i64,
    in_flight: u64,
    /// What the request costs, once it is past the limits.
    charge: u64,
    /// The limit that refused it.
    refused_for: Option<&'static str>,
    route: Option<&'static Route>,
}

impl Course<'_> {
    fn now(&self) -> i64 {
        self.now_ms.div_euclid(1000)
    }

    fn run(&mut self, identity: &Identity) -> Reply {
        let done = match self.faulty_reply(false) {
            Some(reply) => Err(reply),
            None => self.carry_out(identity),
        };
        let reply = done.unwrap_or_else(|reply| reply);
        self.faulty_reply(true).unwrap_or(reply)
    }

    fn carry_out(&mut self, identity: &Identity) -> Answer {
        if self.request.header("user-agent").is_none_or(str::is_empty) {
            return Err(Reply::error(
                403,
                "Request forbidden by administrative rules. Please make sure your request has a \
                 User-Agent header (https://docs.github.com/en/rest/overview/resources-in-the-rest-api#user-agent-required). \
                 Check https://developer.github.com for other possible causes.",
            ));
        }
        let version = headers::api_version(self.request)?;
        let caller = identity.caller.clone().map_err(|refusal| *refusal)?;
        self.refuse_young_token(&caller)?;
        let path = canonical_path(self.state, &self.request.path);
        let method = if self.request.method == "HEAD" { "GET" } else { &self.request.method };
        let found = routes::find(self.listener, method, &path);
        self.route = found.as_ref().map(|(route, _)| *route);
        self.pass_limits()?;
        let Some((route, params)) = found else {
            return Err(match caller {
                Caller::Anonymous => Reply::error(401, "Requires authentication"),
                Caller::App(_) | Caller::Installation { .. } | Caller::Personal => {
                    access::unknown_path(self.shared, self.state, self.request, &path, &caller)
                }
            });
        };
        let params: BTreeMap<String, String> =
            params.into_iter().map(|(name, value)| (name, decode(&value))).collect();
        let mut cx = Cx {
            shared: self.shared,
            state: self.state,
            request: self.request,
            path,
            route,
            params,
            caller,
            repository_id: 0,
            now: self.now_ms.div_euclid(1000),
            now_ms: self.now_ms,
            version,
        };
        access::check(&mut cx)?;
        let is_installation = matches!(cx.caller, Caller::Installation { .. });
        let done = (route.handler)(&mut cx);
        if let Some(repository) = cx.state.world.repositories.get_mut(&cx.repository_id) {
            cx.state.books.merges.append(&mut repository.auto_merged);
        }
        let reply = done?;
        Ok(match route.need {
            routes::Need::Repo(wanted) if is_installation => {
                reply.header("x-accepted-github-permissions", wanted)
            }
            _ => reply,
        })
    }

    fn refuse_young_token(&self, caller: &Caller) -> Result<(), Reply> {
        let Caller::Installation { grant, .. } = caller else { return Ok(()) };
        let lag = self.plan.find(|kind| match kind {
            FaultKind::ReplicationLag { ms, status } => Some((*ms, *status)),
            _ => None,
        });
        match lag {
            Some((ms, 404)) if self.now_ms - grant.minted_at_ms < ms => Err(Reply::not_found()),
            Some((ms, _)) if self.now_ms - grant.minted_at_ms < ms => Err(auth::bad_credentials()),
            _ => Ok(()),
        }
    }

    /// Checks the primary and secondary limits and notes what to charge.
    fn pass_limits(&mut self) -> Result<(), Reply> {
        if self.route.is_some_and(|route| route.template == "/rate_limit") {
            return Ok(());
        }
        let is_graphql = self.request.path == "/graphql";
        let profile = if is_graphql { graphql::profile(self.request) } else { Default::default() };
        let cost = if is_graphql { profile.cost } else { 1 };
        if !self.state.limits.has_room(&self.account, &self.resource, cost, self.now()) {
            self.state.books.violation("primary");
            self.refused_for = Some("primary");
            let form = if is_graphql { LimitForm::GraphqlRateLimited } else { LimitForm::Primary403 };
            return Err(limited(form, &self.account, None));
        }
        let is_read = matches!(self.request.method.as_str(), "GET" | "HEAD" | "OPTIONS");
        let is_write = if is_graphql { profile.is_mutation } else { !is_read };
        let is_token = self.route.is_some_and(|route| route.template.ends_with("_tokens"));
        let secondary = SecondaryUse {
            points: if is_write { 5 } else { 1 },
            is_content: is_write && !is_token,
            is_graphql,
        };
        let endpoint = self.route.map_or("unmatched".to_owned(), Route::name);
        let limits = &mut self.state.limits;
        let passed = limits.use_secondary(&self.account, &endpoint, secondary, self.in_flight, self.now_ms);
        match passed {
            Ok(points) => {
                let key = format!("{} {endpoint}", self.account);
                let peak = self.state.books.peak_points_per_minute.entry(key).or_default();
                *peak = points.max(*peak);
                self.charge = cost;
                Ok(())
            }
            Err(kind) => {
                self.state.books.violation(kind);
                self.refused_for = Some(kind);
                let form = if kind.starts_with("content") {
                    LimitForm::ContentCreation403
                } else {
                    LimitForm::Secondary403
                };
                let retry_after = self.shared.config.secondary.retry_after_seconds.unwrap_or(60);
                Err(limited(form, &self.account, Some(retry_after)))
            }
        }
    }

    /// The reply that a fault gives in place of GitHub's, before or after the request took effect.
    fn faulty_reply(&self, is_after: bool) -> Option<Reply> {
        let is_mint = self.request.path.ends_with("/access_tokens");
        self.plan.find(|kind| match kind {
            FaultKind::Status { status, body, headers, takes_effect } if *takes_effect == is_after => {
                let mut reply = match body {
                    Some(serde_json::Value::String(text)) => {
                        let mut reply = Reply::raw("text/html; charset=utf-8", text.clone());
                        reply.status = *status;
                        reply
                    }
                    Some(body) => Reply::json(*status, body.clone()),
                    None => Reply::error(*status, default_message(*status)),
                };
                for (name, value) in headers {
                    reply = reply.header(name, value);
                }
                Some(reply)
            }
            // Never sent: the connection is cut instead.
            FaultKind::ResetBeforeAnswer { takes_effect: false } if !is_after => Some(Reply::error(500, "")),
            FaultKind::Limit { form, retry_after } if !is_after => {
                Some(limited(*form, &self.account, *retry_after))
            }
            FaultKind::MintFails { status } if is_mint && !is_after => {
                Some(Reply::error(*status, default_message(*status)))
            }
            _ => None,
        })
    }

    /// What a lagging GitHub cache shows for a read: for a while, what it showed before.
    fn shown(&mut self, reply: &Reply) -> Reply {
        let lag_ms = self.plan.find(|kind| match kind {
            FaultKind::StaleReads { ms } => Some(*ms),
            _ => None,
        });
        let is_read = self.request.method == "GET" && reply.status == 200;
        let Some(lag_ms) = lag_ms.filter(|_| is_read) else { return reply.clone() };
        let key = format!("{}?{:?}", self.request.path, self.request.query);
        self.state.shown.show(key, reply, self.now_ms, lag_ms)
    }

    /// Settles the charge, adds the headers and records the request in the books.
    fn finish(mut self, seq: u64, identity: &Identity, reply: &Reply) -> Outcome {
        let now = self.now();
        let shown = self.shown(reply);
        let reply = &shown;
        let (mut status, body, content_type) = headers::encode(self.request, reply);
        let salt = self.plan.find(|kind| match kind {
            FaultKind::EtagRule { salt } => Some(salt.clone()),
            _ => None,
        });
        let etag = headers::etag(self.request, reply, &body, salt.as_deref());
        let is_free = identity.caller.is_ok() && self.account != "anonymous";
        if let Some(etag) = &etag
            && headers::is_unchanged(self.request, etag, reply.last_modified)
        {
            status = 304;
            if is_free {
                self.charge = 0;
            }
        }
        let window = if self.charge > 0 {
            let key = format!("{}/{}", self.account, self.resource);
            *self.state.books.used.entry(key).or_default() += self.charge;
            self.state.limits.charge(&self.account, &self.resource, self.charge, now)
        } else {
            self.state.limits.window(&self.account, &self.resource, now)
        };
        let stamp = Stamp { status, content_type, etag, window: &window, resource: &self.resource };
        let mut sent = headers::all(self.shared, self.request, reply, &stamp, now, seq);
        for kind in &self.plan.kinds {
            headers::falsify(&mut sent, kind);
        }
        let charge = (self.charge > 0).then(|| Charge {
            account: self.account.clone(),
            resource: self.resource.clone(),
            points: self.charge,
            window_ends_at: window.reset_at,
        });
        self.write_books(seq, identity, status, reply, charge);
        let body = if status == 304 { Bytes::new() } else { body };
        Outcome { status, headers: sent, body, plan: self.plan }
    }

    fn write_books(
        &mut self,
        seq: u64,
        identity: &Identity,
        status: u16,
        reply: &Reply,
        charge: Option<Charge>,
    ) {
        let is_read = matches!(self.request.method.as_str(), "GET" | "HEAD");
        let route = self.route.map(Route::name);
        let template = self.route.map_or("", |route| route.template);
        let is_cut = self.plan.kinds.iter().any(|kind| matches!(kind, FaultKind::ResetBeforeAnswer { .. }));
        let books = &mut self.state.books;
        books.answered += u64::from(!is_cut);
        books.faulted += u64::from(!self.plan.kinds.is_empty());
        books.not_modified += u64::from(status == 304);
        *books.by_status.entry(status).or_default() += u64::from(!is_cut);
        let key = route.clone().unwrap_or_else(|| "unmatched".to_owned());
        *books.by_route.entry(key).or_default() += 1;
        *books.by_credential.entry(identity.label.clone()).or_default() += 1;
        let is_token = template.ends_with("_tokens") || template == "/installation/token";
        let is_mutation = template != "/graphql" || graphql::profile(self.request).is_mutation;
        if !is_read && reply.is_success() && !is_token && is_mutation {
            books.writes += 1;
            books.content_creations += 1;
        }
        if let Some(recorded) = self.state.ring.find_mut(seq) {
            recorded.status = (!is_cut).then_some(status);
            recorded.route = route;
            recorded.charge = charge;
            recorded.refused_for = self.refused_for.map(str::to_owned);
            recorded.credential.clone_from(&identity.label);
            recorded.authorization_sha256.clone_from(&identity.credential_sha256);
        }
    }
}

/// Replaces ids with names: `/repositories/{id}/…` and `/organizations/{id}/…` are other spellings of
/// `/repos/{owner}/{repo}/…` and `/orgs/{org}/…`.
fn canonical_path(state: &State, path: &str) -> String {
    let split = |rest: &str| {
        let (id, tail) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        Some((id.parse::<u64>().ok()?, tail.to_owned()))
    };
    if let Some((id, tail)) = path.strip_prefix("/repositories/").and_then(split)
        && let Some(repository) = state.world.repositories.get(&id)
    {
        return format!("/repos/{}/{}{tail}", repository.owner, repository.name);
    }
    if let Some((id, tail)) = path.strip_prefix("/organizations/").and_then(split)
        && let Some(owner) = state.world.owners.iter().find(|owner| owner.id == id)
    {
        return format!("/orgs/{}{tail}", owner.login);
    }
    path.to_owned()
}

/// GitHub's answer to a request over a limit, in one of its forms.
pub(crate) fn limited(form: LimitForm, account: &str, retry_after: Option<u64>) -> Reply {
    let who = account.split_once(':').map_or("1.2.3.4".to_owned(), |(kind, id)| match kind {
        "user" => format!("user ID {id}"),
        _ => format!("installation ID {id}"),
    });
    let primary = format!("API rate limit exceeded for {who}.");
    let secondary = "You have exceeded a secondary rate limit. Please wait a few minutes before \
                     you try again.";
    let content = "You have exceeded a secondary rate limit and have been temporarily blocked \
                   from content creation. Please retry your request again later.";
    let docs = "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api";
    let rest = |status: u16, message: &str, anchor: &str| {
        let url = format!("{docs}{anchor}");
        Reply::json(status, json!({"message": message, "documentation_url": url}))
    };
    let graphql = |error| Reply::ok(json!({"data": null, "errors": [error]}));
    let about_secondary = "#about-secondary-rate-limits";
    let reply = match form {
        LimitForm::Primary403 => rest(403, &primary, "").header(SPENT, "0"),
        LimitForm::Primary429 => rest(429, &primary, "").header(SPENT, "0"),
        LimitForm::Secondary403 => rest(403, secondary, about_secondary),
        LimitForm::Secondary429 => rest(429, secondary, about_secondary),
        LimitForm::ContentCreation403 => rest(403, content, about_secondary),
        LimitForm::GraphqlRateLimited => {
            graphql(json!({"type": "RATE_LIMITED", "message": primary})).header(SPENT, "0")
        }
        LimitForm::GraphqlRateLimit => graphql(json!({
            "type": "RATE_LIMIT",
            "code": "graphql_rate_limit",
            "message": format!("API rate limit already exceeded for {who}."),
        })),
        LimitForm::GraphqlSecondary => graphql(json!({"message": secondary})),
    };
    match retry_after {
        Some(seconds) => reply.header("retry-after", &seconds.to_string()),
        None => reply,
    }
}

/// The header by which a refusal says that nothing is left, whatever the window says.
pub(crate) const SPENT: &str = "x-ratelimit-remaining";

fn default_message(status: u16) -> &'static str {
    match status {
        401 => "Bad credentials",
        403 => access::NOT_ACCESSIBLE,
        404 => "Not Found",
        422 => "Validation Failed",
        503 => "Service unavailable",
        _ => "Server Error",
    }
}
