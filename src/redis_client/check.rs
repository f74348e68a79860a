//! Whether a server can hold the budget: what its `INFO` must say before it is used.
//!
//! `CONFIG` would say the same, but managed services forbid it.

use thiserror::Error;

use super::settings::{RedisAddress, RedisPlace};

/// The minimum version; scripts that read the server's clock and then write need it.
const VERSION_MIN: (u32, u32) = (6, 2);

/// What has to be changed before Redis can be used; each text names the configuration key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RedisStartError {
    #[error(
        "budget.redis: {address} refuses the user name or the password: look at `username` and at what \
         `password_env` or `password_file` names"
    )]
    Credentials { address: String },
    #[error("budget.redis: {address} asks for a password: name one with `password_env` or `password_file`")]
    NoPassword { address: String },
    #[error(
        "budget.redis: {address} lets nobody in from another machine without a password: set one there \
         (`requirepass`, or a user) and name it with `password_env` or `password_file`"
    )]
    Protected { address: String },
    #[error(
        "budget.redis.username: the user may not do what tollgate needs at {address} ({reply}): allow its keys, \
         channels and commands, such as `ACL SETUSER tollgate on >PASSWORD ~tollgate* &tollgate* +@all \
         -@dangerous +info`"
    )]
    NotPermitted { address: String, reply: String },
    #[error("budget.redis.url: {address} has no database {database}: use one that is there, such as /0")]
    Database { address: String, database: u32 },
    #[error(
        "budget.redis: what answers at {address} is not Redis: look at host and port{}",
        if *is_tls { "" } else { ", and whether it wants TLS (rediss://)" }
    )]
    NotRedis { address: String, is_tls: bool },
    #[error(
        "budget.redis: no TLS with {address}: {why}. If it uses a certificate authority of your own, name that \
         with `budget.redis.ca_file`; if it speaks plain text, write redis:// in place of rediss://"
    )]
    Tls { address: String, why: String },
    #[error("budget.redis: {address} runs Redis {version}: 6.2 or newer is needed (or any Valkey)")]
    TooOld { address: String, version: String },
    #[error(
        "budget.redis: {address} may throw out keys of the budget when its memory is full (maxmemory-policy \
         {policy}): set `maxmemory-policy noeviction` there, or give tollgate a Redis of its own"
    )]
    Evicts { address: String, policy: String },
    #[error(
        "budget.redis.url: {address} is a read-only replica: name its primary, or use `budget.redis.sentinel`"
    )]
    Replica { address: String },
    #[error("budget.redis.url: {address} is a node of a cluster: name it under `budget.redis.nodes` instead")]
    IsCluster { address: String },
    #[error("budget.redis.nodes: {address} is no node of a cluster: name it with `budget.redis.url` instead")]
    IsNoCluster { address: String },
    #[error("budget.redis: {address} is a sentinel: name it under `budget.redis.sentinel` instead")]
    IsSentinel { address: String },
    #[error("budget.redis.sentinel.nodes: {address} is no sentinel: their usual port is 26379")]
    IsNoSentinel { address: String },
    #[error(
        "budget.redis.sentinel.service: the sentinel at {address} knows no service `{service}`: see SENTINEL MASTERS"
    )]
    NoService { address: String, service: String },
    #[error("budget.redis: {0}")]
    Unusable(String),
}

/// Why a connection can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It may go away by itself.
    Away(String),
    /// Somebody has to change something.
    Wrong(RedisStartError),
}

/// What a server reports about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisServer {
    pub address: String,
    pub version: String,
    /// `maxmemory-policy`.
    pub policy: String,
}

/// Judges the `INFO` reply of a server that is to be used as part of `place`.
pub(super) fn judge(info: &str, place: &RedisPlace, address: &str) -> Result<RedisServer, Trouble> {
    let wrong = |error| Err(Trouble::Wrong(error));
    let address = address.to_owned();
    let field = |name: &str| {
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
    };
    let Some(version) = field("redis_version") else {
        return wrong(RedisStartError::NotRedis { address, is_tls: true });
    };
    if field("loading").is_some_and(|loading| loading != "0") {
        return Err(Trouble::Away(format!("{address} is reading its data from disk")));
    }
    if version_of(version) < VERSION_MIN {
        return wrong(RedisStartError::TooOld { address, version: version.to_owned() });
    }
    let is_cluster_place = matches!(place, RedisPlace::Cluster { .. });
    match field("redis_mode").or_else(|| field("server_mode")) {
        Some("sentinel") => return wrong(RedisStartError::IsSentinel { address }),
        Some("cluster") if !is_cluster_place => return wrong(RedisStartError::IsCluster { address }),
        Some("standalone") if is_cluster_place => return wrong(RedisStartError::IsNoCluster { address }),
        _ => {}
    }
    let is_replica = field("role").is_some_and(|role| role != "master");
    match place {
        RedisPlace::Standalone { .. } if is_replica => return wrong(RedisStartError::Replica { address }),
        // The sentinel's knowledge may be older than the server's.
        RedisPlace::Sentinel { .. } if is_replica => {
            return Err(Trouble::Away(format!("{address} is no primary any more")));
        }
        _ => {}
    }
    let policy = field("maxmemory_policy").unwrap_or("unknown");
    let is_bounded = field("maxmemory").is_some_and(|bytes| bytes != "0");
    // Every key of the budget has a TTL, so `volatile-*` could evict it.
    if policy.starts_with("allkeys-") || (policy.starts_with("volatile-") && is_bounded) {
        return wrong(RedisStartError::Evicts { address, policy: policy.to_owned() });
    }
    Ok(RedisServer { address, version: version.to_owned(), policy: policy.to_owned() })
}

fn version_of(text: &str) -> (u32, u32) {
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// What a server's refusal of the first commands means.
pub(super) fn refused(code: &str, detail: &str, address: &RedisAddress) -> Trouble {
    let reply = super::fault::shortened(&format!("{code} {detail}"));
    let address = address.to_string();
    match code {
        "WRONGPASS" => Trouble::Wrong(RedisStartError::Credentials { address }),
        "ERR"
            if detail.contains("without any password configured") || detail.contains("invalid password") =>
        {
            Trouble::Wrong(RedisStartError::Credentials { address })
        }
        "NOAUTH" => Trouble::Wrong(RedisStartError::NoPassword { address }),
        "DENIED" => Trouble::Wrong(RedisStartError::Protected { address }),
        "NOPERM" => Trouble::Wrong(RedisStartError::NotPermitted { address, reply }),
        // A command within a script, by Redis 7 and by 6.2.
        "ERR" if detail.contains("ACL failure in script") || detail.contains("user executing the script") => {
            Trouble::Wrong(RedisStartError::NotPermitted { address, reply })
        }
        // For example LOADING, or `ERR max number of clients reached`.
        _ => Trouble::Away(format!("{address} answers: {reply}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standalone() -> RedisPlace {
        let address = RedisAddress { host: "a".to_owned(), port: 1, is_tls: false };
        RedisPlace::Standalone { address, database: 0 }
    }

    fn judged(info: &str) -> Result<RedisServer, Trouble> {
        judge(&info.replace(' ', "\r\n"), &standalone(), "a:1")
    }

    #[test]
    fn evicting_servers_are_refused() {
        for (policy, maxmemory, is_taken) in [
            ("noeviction", "0", true),
            ("noeviction", "1000", true),
            ("allkeys-lru", "0", false),
            ("allkeys-lfu", "1000", false),
            ("allkeys-random", "1000", false),
            ("volatile-lru", "0", true),
            ("volatile-lru", "1000", false),
            ("volatile-ttl", "1000", false),
            ("volatile-random", "1000", false),
        ] {
            let info =
                format!("redis_version:7.0.15 role:master maxmemory:{maxmemory} maxmemory_policy:{policy}");
            let judged = judged(&info);
            assert_eq!(judged.is_ok(), is_taken, "{policy} {maxmemory}: {judged:?}");
            if let Err(trouble) = judged {
                let Trouble::Wrong(error) = trouble else { panic!("{trouble:?}") };
                assert!(error.to_string().contains("set `maxmemory-policy noeviction`"), "{error}");
            }
        }
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, is_taken) in [
            ("5.0.7", false),
            ("6.0.16", false),
            ("6.2.0", true),
            ("6.10.1", true),
            ("7.2.4", true),
            ("10.0", true),
        ] {
            assert_eq!(
                judged(&format!("redis_version:{version} role:master")).is_ok(),
                is_taken,
                "{version}"
            );
        }
    }

    #[test]
    fn the_place_must_fit() {
        for (info, expected) in [
            ("role:slave", "read-only replica"),
            ("redis_mode:cluster role:master", "under `budget.redis.nodes`"),
            ("redis_mode:sentinel", "is a sentinel"),
        ] {
            let Err(Trouble::Wrong(error)) = judged(&format!("redis_version:7.0.0 {info}")) else {
                panic!("{info} is taken")
            };
            assert!(error.to_string().contains(expected), "{error}");
        }
        assert!(matches!(judged("redis_version:7.0.0 loading:1"), Err(Trouble::Away(_))));
        let none = judged("hello:world");
        assert!(matches!(none, Err(Trouble::Wrong(RedisStartError::NotRedis { .. }))), "{none:?}");
    }
}
