//! `tollgate check --online`: do GitHub and the shared store agree with the file? Reads only.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HeaderValue, USER_AGENT};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use serde_json::Value;

use super::findings::Findings;
use crate::app::install_crypto;
use crate::clock::{Clock, SystemClock};
use crate::config::{Agent, Config};
use crate::error::with_causes;
use crate::github::apps::{App, OWN_USER_AGENT, message_of};
use crate::github::client::{self, HttpClient};
use crate::github::installations::{Installation, Installations, Kind};
use crate::github::rate_limit::RateLimit;
use crate::github::tokens::{Access, Tokens};
use crate::metrics::Metrics;
use crate::policy::repositories::RepositoryName;
use crate::redis_client::{self, RedisSettings};

/// The beginning of the message with which GitHub Enterprise Server answers `/rate_limit` while its limits are off.
const LIMITS_ARE_OFF: &str = "Rate limiting is not enabled";
/// Longest answer read.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Asks GitHub and Redis about everything the file names; gives how many things are wrong.
pub(super) fn run(mut config: Config, out: &mut dyn Write) -> anyhow::Result<usize> {
    install_crypto();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let redis = config.budget.redis.take();
    let online = Online::try_new(config)?;
    runtime.block_on(async {
        let mut findings = Findings::new(out);
        if let Some(redis) = &redis {
            report_redis(redis, &mut findings).await?;
        }
        let installations = online.report(&mut findings).await?;
        Ok(findings.end(installations, online.agents.len())?)
    })
}

/// Whether the shared store can be reached and used.
async fn report_redis(settings: &RedisSettings, findings: &mut Findings<'_>) -> io::Result<()> {
    match redis_client::inspect(settings).await {
        Ok(servers) => {
            for server in servers {
                findings.say(format_args!(
                    "redis {} ({}): version {}, maxmemory-policy {}",
                    server.address,
                    settings.mode(),
                    server.version,
                    server.policy
                ))?;
            }
            Ok(())
        }
        Err(why) => findings.wrong(&why),
    }
}

struct Online {
    client: HttpClient,
    installations: Installations,
    tokens: Arc<Tokens>,
    agents: Vec<Agent>,
    api_url: String,
    api_version: String,
    timeout: std::time::Duration,
}

impl Online {
    fn try_new(config: Config) -> anyhow::Result<Online> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let client = HttpClient::try_new(&config.upstream)?;
        let app = |app| Arc::new(App::new(app, client.clone(), &config.upstream, Arc::clone(&clock)));
        let apps = config.apps.into_iter().map(app).collect();
        Ok(Online {
            installations: Installations::new(apps, config.tokens),
            tokens: Arc::new(Tokens::new(clock, Arc::new(Metrics::new()))),
            agents: config.agents,
            api_url: config.upstream.api_url.to_string().trim_end_matches('/').to_owned(),
            api_version: config.upstream.api_version,
            timeout: config.upstream.request_timeout,
            client,
        })
    }

    /// Gives the number of installations found.
    async fn report(&self, findings: &mut Findings<'_>) -> io::Result<usize> {
        let (mut all, before) = (Vec::new(), findings.wrong_so_far());
        for app in self.installations.apps() {
            match self.installations.of_app(app).await {
                Ok(of_app) => {
                    all.extend(of_app.serving.iter().cloned());
                    for account in &of_app.suspended {
                        findings
                            .wrong(format_args!("the installation {}/{account} is suspended", app.name))?;
                    }
                }
                Err(error) => findings.wrong(format_args!("app {}: {error}", app.name))?,
            }
        }
        all.extend(self.installations.personal().iter().cloned());
        if all.is_empty() && findings.wrong_so_far() == before {
            findings.wrong("no App is installed anywhere, and there is no personal token")?;
        }
        report_doubles(&all, findings)?;
        for installation in &all {
            self.report_installation(installation, findings).await?;
        }
        let mut seen = BTreeMap::new();
        for agent in &self.agents {
            self.report_agent(agent, &mut seen, findings).await?;
            report_default(agent, &all, findings)?;
        }
        if let Some(installation) = all.first() {
            self.report_version(installation, findings).await?;
        }
        Ok(all.len())
    }

    /// What it may do, and the limits it has.
    async fn report_installation(
        &self,
        installation: &Arc<Installation>,
        findings: &mut Findings<'_>,
    ) -> io::Result<()> {
        findings.say(describe(installation))?;
        match self.ask(installation, "/rate_limit").await {
            Ok(Some((headers, body))) => {
                findings.say(format_args!("  limits       {}", limits(&body)))?;
                if RateLimit::from_headers(&headers).is_none() {
                    findings.say(
                        "  note: GitHub sends no x-ratelimit headers here; on GHES limits are off by default",
                    )?;
                }
                Ok(())
            }
            Ok(None) => findings.say(
                "  note: rate limits are off here, as on GHES by default; calls are paced at 5,000 points an hour",
            ),
            Err(why) => findings.wrong_of(&installation.label, &why),
        }
    }

    /// Whether every owner that an agent names, and its `installation`, has an installation.
    async fn report_agent(
        &self,
        agent: &Agent,
        seen: &mut BTreeMap<String, bool>,
        findings: &mut Findings<'_>,
    ) -> io::Result<()> {
        let mut owners = agent.repositories.owners();
        // Without a key of its own, it is one of the owners.
        let is_owner = |name: &&str| owners.iter().any(|owner| owner.eq_ignore_ascii_case(name));
        let default = agent.installation.as_deref().filter(|default| !is_owner(default));
        owners.extend(default);
        for owner in owners {
            match self.installations.of_owner(owner).await {
                Ok(found) if found.is_empty() => {
                    let named = if Some(owner) == default { ", which `installation` names" } else { "" };
                    findings
                        .wrong(format_args!("agent {}: no installation covers {owner}{named}", agent.name))?;
                }
                Ok(found) => {
                    let labels: Vec<&str> = found.iter().map(|one| &*one.label).collect();
                    let labels = labels.join(" and ");
                    findings.say(format_args!("agent {}: {owner} is served by {labels}", agent.name))?;
                    report_names(agent, owner, &found, seen, findings).await?;
                }
                Err(error) => findings.wrong(format_args!("agent {}: {owner}: {error}", agent.name))?,
            }
        }
        Ok(())
    }

    /// Whether GitHub still has the API version that is sent for agents who name none.
    async fn report_version(
        &self,
        installation: &Arc<Installation>,
        findings: &mut Findings<'_>,
    ) -> io::Result<()> {
        // GitHub Enterprise Server has no such list.
        let Ok(Some((_, body))) = self.ask(installation, "/versions").await else { return Ok(()) };
        let known =
            body.as_array().is_some_and(|list| list.iter().any(|one| *one == self.api_version.as_str()));
        if known {
            return Ok(());
        }
        let version = &self.api_version;
        findings.wrong(format_args!("upstream.api_version: GitHub does not list {version} among {body}"))
    }

    /// Asks GitHub; none if it says that it has no rate limits.
    async fn ask(
        &self,
        installation: &Arc<Installation>,
        path: &str,
    ) -> Result<Option<(HeaderMap, Value)>, String> {
        let token =
            self.tokens.token(installation, Access::Read, None).await.map_err(|error| error.to_string())?;
        let mut request = Request::new(Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync());
        *request.uri_mut() =
            format!("{}{path}", self.api_url).parse().map_err(|_| "the address can't be used".to_owned())?;
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, token.authorization());
        headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(OWN_USER_AGENT));
        let exchange = async {
            let answer = self.client.send(request).await.map_err(|error| {
                let causes = with_causes(&error);
                format!("{causes}{}", client::hint(&causes))
            })?;
            let (head, body) = answer.into_parts();
            let body =
                Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
            let body = body.to_bytes();
            if head.status != StatusCode::OK {
                let message = message_of(&body);
                return match message.starts_with(LIMITS_ARE_OFF) {
                    true => Ok(None),
                    false => Err(format!("GitHub answered {} to {path}: {message}", head.status)),
                };
            }
            let body = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
            Ok(Some((head.headers, body)))
        };
        tokio::time::timeout(self.timeout, exchange)
            .await
            .map_err(|_| "GitHub did not answer in time".to_owned())?
    }
}

/// Whether two entries of `apps` are one App, by `app_id` and by `client_id`.
fn report_doubles(all: &[Arc<Installation>], findings: &mut Findings<'_>) -> io::Result<()> {
    let mut by_id = BTreeMap::new();
    for installation in all {
        let Kind::App(on) = &installation.kind else { continue };
        let first = by_id.entry(on.id).or_insert(&installation.label);
        if *first != &installation.label {
            let again =
                format!("{} is {first} again: two entries of `apps` name one App", installation.label);
            findings.wrong(again)?;
        }
    }
    Ok(())
}

/// What serves an agent's calls that name no repository, if neither its repositories nor `installation` name an owner.
fn report_default(agent: &Agent, all: &[Arc<Installation>], findings: &mut Findings<'_>) -> io::Result<()> {
    let is_said = agent.installation.is_some() || !agent.repositories.owners().is_empty();
    let of_apps = || all.iter().filter(|one| matches!(one.kind, Kind::App(_)));
    let (true, Some(first)) = (!is_said, of_apps().next().or(all.first())) else { return Ok(()) };
    if of_apps().all(|one| one.account() == first.account()) {
        let label = &first.label;
        findings.say(format_args!("agent {}: calls that name no repository go by {label}", agent.name))
    } else {
        findings.say(format_args!(
            "note: agent {} has \"*\", and there are {} installations: its calls that name no repository or owner, \
             such as GraphQL's `viewer` and `/user/repos`, get 404 `no_installation` until its `installation` names one",
            agent.name,
            of_apps().count()
        ))
    }
}

fn describe(installation: &Installation) -> String {
    match &installation.kind {
        Kind::Personal(_) => format!("{} (personal access token)", installation.label),
        Kind::App(app) => {
            let permissions: Vec<String> =
                app.permissions.iter().map(|(name, level)| format!("{name} {level}")).collect();
            format!(
                "{} (installation {})\n  permissions  {}",
                installation.label,
                app.id,
                permissions.join(", ")
            )
        }
    }
}

/// `core 4999 of 5000, …`.
fn limits(body: &Value) -> String {
    let resources = body.get("resources").and_then(Value::as_object);
    let one = |(name, pool): (&String, &Value)| format!("{name} {} of {}", pool["remaining"], pool["limit"]);
    resources
        .map_or_else(|| "unknown".to_owned(), |pools| pools.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// Whether each repository that an agent names can be seen; `seen` is what earlier agents found out. GitHub gives no
/// token for names of which it can't see one.
async fn report_names(
    agent: &Agent,
    owner: &str,
    installations: &[Arc<Installation>],
    seen: &mut BTreeMap<String, bool>,
    findings: &mut Findings<'_>,
) -> io::Result<()> {
    for name in agent.repositories.named_of(owner).unwrap_or_default() {
        let Some(repository) = RepositoryName::new(owner, &name) else { continue };
        let key = repository.to_string().to_lowercase();
        let is_seen = match seen.get(&key) {
            Some(is_seen) => *is_seen,
            None => {
                let mut is_seen = false;
                for installation in installations {
                    is_seen |= match Installations::sees(installation, &repository).await {
                        Ok(sees) => sees,
                        Err(error) => {
                            findings
                                .not_checked(format_args!("agent {}: {repository}: {error}", agent.name))?;
                            true
                        }
                    };
                }
                seen.insert(key, is_seen);
                is_seen
            }
        };
        if !is_seen {
            findings.wrong(format_args!(
                "agent {}: {repository} does not exist, or no installation covers it",
                agent.name
            ))?;
        }
    }
    Ok(())
}
