//! What a running tollgate keeps until it is started again: its listeners, where GitHub and the store
//! are, and what was made for them.

use std::fmt::Debug;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::Config;

/// The values under these keys, in a form to compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed(Vec<(&'static str, [u8; 32])>);

impl Config {
    /// What takes effect at a start alone.
    pub fn fixed(&self) -> Fixed {
        let Config { server, upstream, budget, cache, policy, webhook, .. } = self;
        let password = budget.redis.as_ref().and_then(|redis| redis.password.as_ref());
        let webhook_secret = webhook.as_ref().map(|webhook| &webhook.secret);
        Fixed(vec![
            ("server.listen", digest(&server.listen, None)),
            ("server.admin_listen", digest(&server.admin_listen, None)),
            ("server.tls", digest(&server.tls, None)),
            ("server.drain_timeout", digest(&server.drain_timeout, None)),
            ("upstream", digest(upstream, None)),
            ("budget.store", digest(&budget.store, None)),
            ("budget.redis", digest(&budget.redis, password)),
            ("budget.on_store_loss", digest(&budget.on_store_loss, None)),
            ("cache.max_size", digest(&cache.max_bytes, None)),
            ("policy.audit_log", digest(&policy.audit_log, None)),
            ("webhook", digest(webhook, webhook_secret)),
        ])
    }
}

impl Fixed {
    /// The keys under which the other has something else.
    pub fn changed(&self, other: &Fixed) -> Vec<&'static str> {
        let pairs = self.0.iter().zip(&other.0);
        pairs.filter(|(one, other)| one != other).map(|((key, _), _)| *key).collect()
    }
}

/// Of what it prints, and a secret, which does not print.
fn digest(value: &impl Debug, secret: Option<&SecretString>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(format!("{value:?}"));
    hash.update([u8::from(secret.is_some())]);
    hash.update(secret.map(|secret| secret.expose_secret()).unwrap_or_default());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::load::from_text;
    use super::super::validate::Sources;
    use super::*;

    fn fixed(sections: &str, secret: &str) -> Fixed {
        let text = format!(
            "tokens: [{{ name: dev, token_env: TOKEN }}]\n\
             agents: [{{ name: a, key_sha256: \"{}\", repositories: [\"*\"] }}]\n{sections}",
            "a".repeat(64)
        );
        let variable = |name: &str| (name == "TOKEN").then_some("ghp_x").or(Some(secret)).map(Into::into);
        let sources = Sources { directory: Path::new(""), variable: &variable, is_running: false };
        from_text(&text, &sources).unwrap_or_else(|problems| panic!("{problems}")).0.fixed()
    }

    const PLAIN: &str = "policy: { approval: { mode: presence } }\n";

    #[test]
    fn names_what_needs_a_start() {
        let redis = "budget: { store: redis, redis: { url: redis://a:1, password_env: P } }\n";
        let webhook = "webhook: { listen: 127.0.0.1:1, secret_env: P }\n";
        for (sections, keys) in [
            ("server: { listen: 127.0.0.1:1 }\n", vec!["server.listen"]),
            ("server: { drain_timeout: 1s }\n", vec!["server.drain_timeout"]),
            ("upstream: { request_timeout: 1s }\n", vec!["upstream"]),
            ("cache: { max_size: 1MiB, fresh_for: 1s }\n", vec!["cache.max_size"]),
            (redis, vec!["budget.store", "budget.redis"]),
            (webhook, vec!["webhook"]),
            ("budget: { headroom: 10%, max_wait: 1s, mode: observe }\nretry: { max_attempts: 1 }\n", vec![]),
            ("server: { public_url: \"https://x.example\", max_body: 1MiB, admin_token_env: P }\n", vec![]),
        ] {
            let changed = fixed(PLAIN, "").changed(&fixed(&format!("{PLAIN}{sections}"), "one"));
            assert_eq!(changed, keys, "{sections}");
        }
        let audit = "policy: { approval: { mode: presence }, mode: observe, audit_log: x }\n";
        assert_eq!(fixed(PLAIN, "").changed(&fixed(audit, "")), ["policy.audit_log"]);
        let both = format!("{PLAIN}{redis}{webhook}");
        assert_eq!(fixed(&both, "one").changed(&fixed(&both, "two")), ["budget.redis", "webhook"]);
        assert!(fixed(&both, "one").changed(&fixed(&both, "one")).is_empty());
    }
}
