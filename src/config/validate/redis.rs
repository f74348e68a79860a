//! Where Redis is, and how to be let in.

use http::Uri;

use super::{Check, raw, upstream};
use crate::config::{RedisAddress, RedisPlace, RedisSettings, Store};

const SECTION: &str = "budget.redis";

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// The settings if they are used; none at all if they are wrong. A block that is not used is checked
/// all the same.
pub(super) fn redis(check: &mut Check<'_>, raw: &raw::Budget) -> Option<Option<RedisSettings>> {
    let settings = raw.redis.as_ref().map(|redis| settings(check, redis));
    // Which of the two is meant can't be told from one that could not be read.
    if check.document.is_flawed("budget.store") || check.document.is_flawed(SECTION) {
        return None;
    }
    match (raw.store, settings) {
        (Store::Memory, None) => Some(None),
        (Store::Memory, Some(_)) => {
            check.warning(SECTION, "is not used: `budget.store` is `memory`");
            Some(None)
        }
        (Store::Redis, Some(settings)) => settings.map(Some),
        (Store::Redis, None) => {
            check.error(
                "budget.store",
                "`redis` needs `budget.redis` with `url`, `nodes` or `sentinel`, such as \
                 redis: { url: \"redis://127.0.0.1:6379\" }",
            );
            None
        }
    }
}

fn settings(check: &mut Check<'_>, raw: &raw::Redis) -> Option<RedisSettings> {
    let ways =
        [("url", raw.url.is_some()), ("nodes", raw.nodes.is_some()), ("sentinel", raw.sentinel.is_some())];
    let is_one = check.exactly_one(SECTION, &ways);
    let standalone = raw.url.as_deref().map(|url| standalone(check, url));
    let cluster = raw.nodes.as_deref().map(|nodes| cluster(check, nodes));
    let sentinel = raw.sentinel.as_ref().map(|raw| sentinel(check, raw));
    let password = (raw.password_env.is_some() || raw.password_file.is_some()).then(|| {
        check.secret(SECTION, "password", raw.password_env.as_deref(), raw.password_file.as_deref())
    });
    let has_password = ["password_env", "password_file"]
        .iter()
        .any(|key| check.document.is_said(&format!("{SECTION}.{key}")));
    check.rule("budget.redis.username", raw.username.is_none() || has_password, || {
        "needs a password, too: `password_env` or `password_file`".to_owned()
    });
    let ca_pem =
        raw.ca_file.as_deref().and_then(|name| upstream::authorities(check, "budget.redis.ca_file", name));
    if !is_one {
        return None;
    }
    let place = standalone.or(cluster).or(sentinel)??;
    check.rule("budget.redis.ca_file", ca_pem.is_none() || is_tls(&place), || {
        "is for TLS: write rediss:// in place of redis://".to_owned()
    });
    let password = match password {
        Some(password) => Some(password?),
        None => None,
    };
    Some(RedisSettings { place, username: raw.username.clone(), password, ca_pem })
}

fn is_tls(place: &RedisPlace) -> bool {
    match place {
        RedisPlace::Standalone { address, .. } => address.is_tls,
        RedisPlace::Cluster { nodes } | RedisPlace::Sentinel { nodes, .. } => {
            nodes.iter().any(|node| node.is_tls)
        }
    }
}

fn standalone(check: &mut Check<'_>, url: &str) -> Option<RedisPlace> {
    const PATH: &str = "budget.redis.url";
    let (address, path) = check.accept(PATH, address(url, REDIS_PORT))?;
    let number = path.trim_start_matches('/');
    let database = if number.is_empty() { Ok(0) } else { number.parse::<u16>().map(u32::from) };
    let database = database.map_err(|_| "must end with the number of a database, such as /2".to_owned());
    let database = check.accept(PATH, database)?;
    Some(RedisPlace::Standalone { address, database })
}

fn cluster(check: &mut Check<'_>, raw: &[String]) -> Option<RedisPlace> {
    let nodes = nodes(check, "budget.redis.nodes", raw, REDIS_PORT)?;
    Some(RedisPlace::Cluster { nodes })
}

fn sentinel(check: &mut Check<'_>, raw: &raw::Sentinel) -> Option<RedisPlace> {
    let service = check.text("budget.redis.sentinel.service", raw.service.as_deref());
    let nodes = nodes(check, "budget.redis.sentinel.nodes", &raw.nodes, SENTINEL_PORT);
    Some(RedisPlace::Sentinel { service: service?.to_owned(), nodes: nodes? })
}

/// `HOST:PORT` or an address, all with TLS or none.
fn nodes(check: &mut Check<'_>, list: &str, raw: &[String], port: u16) -> Option<Vec<RedisAddress>> {
    check.not_empty(list, raw.is_empty(), "names no address");
    let mut nodes: Vec<RedisAddress> = Vec::new();
    for (i, text) in raw.iter().enumerate() {
        let path = check.document.element(list, i);
        let text = if text.contains("://") { text.clone() } else { format!("redis://{text}") };
        let Some((node, rest)) = check.accept(&path, address(&text, port)) else { continue };
        check.rule(&path, rest.trim_matches('/').is_empty(), || {
            "must end with the port: there is no choice of a database here".to_owned()
        });
        let is_alike = nodes.first().is_none_or(|first| first.is_tls == node.is_tls);
        check.rule(&path, is_alike, || "either all nodes use TLS (rediss://) or none".to_owned());
        nodes.push(node);
    }
    (!nodes.is_empty() && nodes.len() == raw.len()).then_some(nodes)
}

/// An address and the path behind it. No message repeats it: it could hold a password.
fn address(text: &str, default_port: u16) -> Result<(RedisAddress, String), String> {
    const EXPECTED: &str = "expected an address such as redis://127.0.0.1:6379, or rediss://… for TLS";
    let expected = || EXPECTED.to_owned();
    if text.contains('@') {
        return Err(
            "must hold no user name or password: they go to `username` and `password_env` or `password_file`"
                .to_owned(),
        );
    }
    let uri: Uri = text.trim().parse().map_err(|_| expected())?;
    let authority = uri.authority().ok_or_else(expected)?;
    let is_tls = match uri.scheme_str() {
        Some("redis") => false,
        Some("rediss") => true,
        _ => return Err(expected()),
    };
    // `host:` and a port beyond 65535 have no port for `http::Uri`, yet more than a host.
    let has_rest = authority.port().is_none() && authority.as_str().len() > authority.host().len();
    if authority.host().is_empty() || has_rest || uri.query().is_some() || text.contains('#') {
        return Err(expected());
    }
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    let port = authority.port_u16().unwrap_or(default_port);
    Ok((RedisAddress { host, port, is_tls }, uri.path().to_owned()))
}
