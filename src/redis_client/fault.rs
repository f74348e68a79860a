//! Why a call failed: how the failure is counted, and what it says about the store.

use redis::{ErrorKind, RedisError};

/// Error codes of a server that serves nobody at the moment.
const AWAY: &[&str] = &[
    "ASK",
    "BUSY",
    "CLUSTERDOWN",
    "LOADING",
    "MISCONF",
    "MOVED",
    "NOPERM",
    "NOREPLICAS",
    "OOM",
    "TRYAGAIN",
    "UNKILLABLE",
];

/// Error codes that require another connection: to another server, or with other credentials.
const ELSEWHERE: &[&str] = &["DENIED", "MASTERDOWN", "NOAUTH", "READONLY", "WRONGPASS"];

/// Longest server text that is repeated, in characters.
const TEXT_CHARS_MAX: usize = 300;

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// No reply in time.
    Timeout,
    /// No connection, or it broke.
    Connection(String),
    /// The server says that it serves nobody at the moment.
    Away { code: String, needs_reconnect: bool },
    /// The server says that something is wrong with the command or its keys.
    Server(String),
}

impl Fault {
    /// See [`Fault::kind`].
    pub(super) const KINDS: [&'static str; 3] = ["timeout", "connection", "server"];

    pub(super) fn of(error: &RedisError) -> Fault {
        match error.kind() {
            ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::UnexpectedReturnType => {
                Fault::of_reply(error.code().unwrap_or("ERR"), error.detail().unwrap_or_default())
            }
            ErrorKind::Io if error.is_timeout() => Fault::Timeout,
            _ => Fault::Connection(shortened(&error.to_string())),
        }
    }

    /// Redis 6.2 wraps the error of a command within a script: `ERR Error running script …: -OOM …`.
    fn of_reply(code: &str, detail: &str) -> Fault {
        let is =
            |known: &&&str| **known == code || (code == "ERR" && detail.contains(&format!(": -{known} ")));
        if let Some(code) = ELSEWHERE.iter().find(is) {
            return Fault::Away { code: (*code).to_owned(), needs_reconnect: true };
        }
        match AWAY.iter().find(is) {
            Some(code) => Fault::Away { code: (*code).to_owned(), needs_reconnect: false },
            None => Fault::Server(shortened(&format!("{code} {detail}"))),
        }
    }

    /// The metric label.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Fault::Timeout => "timeout",
            Fault::Connection(_) => "connection",
            Fault::Away { .. } | Fault::Server(_) => "server",
        }
    }

    /// Whether the store is away, as opposed to a single request being wrong.
    pub(super) fn is_away(&self) -> bool {
        !matches!(self, Fault::Server(_))
    }

    /// Logs the failure, with advice. The first key of a script names its installation.
    pub(super) fn log(&self, key: Option<&str>) {
        match self {
            Fault::Timeout => tracing::warn!(
                "Redis did not answer within 100 ms; look at its load (SLOWLOG GET, LATENCY DOCTOR) and at the \
                 network to it"
            ),
            Fault::Connection(why) => {
                tracing::warn!(
                    why,
                    "the connection to Redis broke; it is made anew as soon as Redis is there"
                );
            }
            Fault::Away { code, .. } => {
                tracing::warn!(code, "Redis takes no calls now; {}", advice(code));
            }
            Fault::Server(reply) => tracing::error!(
                reply,
                key,
                "Redis answered a call with an error, so the budget of this key's installation is not shared; if \
                 something else writes to keys below `tollgate`, stop it and delete those of the installation"
            ),
        }
    }
}

fn advice(code: &str) -> &'static str {
    match code {
        "LOADING" => "it is reading its data from disk and will be back by itself",
        "OOM" => "its memory is full: raise `maxmemory`, or give tollgate a Redis of its own",
        "BUSY" | "UNKILLABLE" => "a script of somebody else runs for too long: see SCRIPT KILL",
        "READONLY" | "MASTERDOWN" => "it is no primary any more; the primary is looked for",
        "MISCONF" => "it can't save its data: see its log",
        "NOREPLICAS" => "it has fewer replicas than `min-replicas-to-write`",
        "NOAUTH" | "WRONGPASS" | "DENIED" => {
            "it does not let tollgate in any more: has its password changed?"
        }
        "NOPERM" => {
            "the ACL of tollgate's user is too narrow: it needs ~tollgate* &tollgate* +@all -@dangerous +info"
        }
        _ => "its cluster is being changed, or a part of it is down: see CLUSTER INFO",
    }
}

pub(super) fn shortened(text: &str) -> String {
    text.trim().chars().take(TEXT_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(reply: &str) -> Fault {
        let value = redis::parse_redis_value(format!("-{reply}\r\n").as_bytes()).unwrap();
        Fault::of(&value.extract_error().unwrap_err())
    }

    #[test]
    fn knows_who_is_concerned() {
        for (reply, is_away, needs_reconnect) in [
            ("LOADING Redis is loading the dataset in memory", true, false),
            ("CLUSTERDOWN Hash slot not served", true, false),
            ("OOM command not allowed when used memory > 'maxmemory'.", true, false),
            ("BUSY Redis is busy running a script.", true, false),
            ("READONLY You can't write against a read only replica.", true, true),
            ("MASTERDOWN Link with MASTER is down", true, true),
            ("NOAUTH Authentication required.", true, true),
            ("ERR Error running script (call to f_1): @user_script:1: -OOM command not allowed", true, false),
            ("WRONGTYPE Operation against a key holding the wrong kind of value", false, false),
            ("ERR user_script:3: attempt to compare nil with number", false, false),
            ("ERR the word OOM alone says nothing", false, false),
        ] {
            let fault = of(reply);
            assert_eq!(fault.is_away(), is_away, "{reply}: {fault:?}");
            assert_eq!(fault.kind(), "server");
            let reconnects = matches!(fault, Fault::Away { needs_reconnect: true, .. });
            assert_eq!(reconnects, needs_reconnect, "{reply}");
        }
    }

    #[test]
    fn repeats_no_control_characters_and_no_novels() {
        assert_eq!(shortened("a\r\nb"), "a  b");
        assert_eq!(shortened(&"x".repeat(1000)).len(), TEXT_CHARS_MAX);
    }
}
