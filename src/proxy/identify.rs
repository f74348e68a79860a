//! Stage 2, who is calling: takes the request's head, gives the agent.
//!
//! The key comes as `Bearer`, `token` or Basic (as user or password), schemes in any case. A second
//! `Authorization` header is refused, and a key in the query or in a cookie identifies nobody. A
//! signed identity token may stand in for a key; its form tells the two apart.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, request};

use super::Proxy;
use super::context::{Context, Credential};
use crate::agent::roster::Standing;
use crate::config::Agent;
use crate::error::ProxyError;

impl Proxy {
    pub(super) async fn identify(
        &self,
        headers: &HeaderMap,
        ctx: &mut Context,
    ) -> Result<Arc<Agent>, ProxyError> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = values.next().ok_or(ProxyError::Unauthenticated)?;
        if values.next().is_some() {
            return Err(ProxyError::BadRequest("There is more than one Authorization header.".to_owned()));
        }
        let keys = candidate_keys(value.as_bytes());
        match keys.iter().find_map(|key| self.rules.agents.find(key)) {
            Some((agent, digest)) => {
                ctx.credential = Some(Credential::Key(digest));
                Ok(Arc::clone(agent))
            }
            None => Box::pin(self.identify_by_token(&keys, ctx)).await,
        }
    }

    /// The caller learns no more than with a wrong key; the log says which check failed.
    async fn identify_by_token(
        &self,
        credentials: &[Vec<u8>],
        ctx: &mut Context,
    ) -> Result<Arc<Agent>, ProxyError> {
        let token = credentials.iter().find(|credential| self.rules.identities.takes(credential));
        match self.rules.identities.identify(token.ok_or(ProxyError::BadCredentials)?).await {
            Ok(known) => {
                let (issuer, subject) = (known.issuer, Arc::clone(&known.subject));
                ctx.credential = Some(Credential::Identity { issuer, subject });
                ctx.subject = Some(known.subject);
                Ok(known.agent)
            }
            Err(rejection) => {
                ctx.rejection = Some(rejection);
                Err(ProxyError::BadCredentials)
            }
        }
    }

    /// Refuses an agent that isn't served. A disabled agent's request is still recorded: who it
    /// was, and what it wanted.
    pub(super) fn check_served(
        &self,
        agent: &Arc<Agent>,
        head: &request::Parts,
        ctx: &mut Context,
    ) -> Result<(), ProxyError> {
        let standing = self.roster.standing(&agent.name);
        if standing == Standing::Served {
            return Ok(());
        }
        if standing == Standing::Disabled {
            ctx.agent = Some(Arc::clone(agent));
            Proxy::note_refused(head, ctx);
        }
        Err(unserved(agent, standing))
    }

    /// Refuses an agent that is no longer served: the configuration may have disabled or dropped
    /// it, and an operator can switch it off at any time.
    pub(super) fn refuse_unserved(&self, agent: &Agent) -> Result<(), ProxyError> {
        match self.roster.standing(&agent.name) {
            Standing::Served => Ok(()),
            standing => Err(unserved(agent, standing)),
        }
    }
}

/// What an agent that is not served, or no longer, is told.
pub(super) fn unserved(agent: &Agent, standing: Standing) -> ProxyError {
    match standing {
        Standing::Removed => ProxyError::BadCredentials,
        Standing::Served | Standing::Disabled => {
            ProxyError::OperationForbidden(format!("Agent {} is disabled. Ask its operator.", agent.name))
        }
    }
}

/// What in the header can be a key; Basic has two places for one.
fn candidate_keys(value: &[u8]) -> Vec<Vec<u8>> {
    let Some(space) = value.iter().position(|&byte| byte == b' ') else {
        return Vec::new();
    };
    let (scheme, rest) = (&value[..space], value[space..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"bearer") || scheme.eq_ignore_ascii_case(b"token") {
        return vec![rest.to_vec()];
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return Vec::new();
    }
    let Ok(decoded) = STANDARD.decode(rest) else {
        return Vec::new();
    };
    let colon = decoded.iter().position(|&byte| byte == b':');
    match colon {
        Some(colon) => vec![decoded[colon + 1..].to_vec(), decoded[..colon].to_vec()],
        None => vec![decoded],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_key_wherever_clients_put_it() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for value in [
            "Bearer tg_a_b".to_owned(),
            "bearer tg_a_b".to_owned(),
            "token tg_a_b".to_owned(),
            "TOKEN  tg_a_b ".to_owned(),
            basic("x-access-token:tg_a_b"),
            basic("tg_a_b:"),
            basic("tg_a_b:x-oauth-basic"),
            basic("tg_a_b")
                .to_lowercase()
                .replace("basic", "BASIC")
                .replace(&STANDARD.encode("tg_a_b").to_lowercase(), &STANDARD.encode("tg_a_b")),
        ] {
            assert!(candidate_keys(value.as_bytes()).contains(&b"tg_a_b".to_vec()), "{value}");
        }
        for value in ["tg_a_b", "", "Digest tg_a_b", "Basic !!!"] {
            assert!(!candidate_keys(value.as_bytes()).contains(&b"tg_a_b".to_vec()), "{value}");
        }
    }
}
