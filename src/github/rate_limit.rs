//! What an answer says of GitHub's limits.
//!
//! Source: GitHub Docs, "Rate limits for the REST API". Header values are whole numbers; `reset` is
//! UTC epoch seconds. The set of resources is open: a new one is no error.

use http::{HeaderMap, StatusCode};

/// The five `x-ratelimit-*` headers of one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    pub limit: u64,
    pub remaining: u64,
    pub used: u64,
    /// UTC epoch seconds.
    pub reset: u64,
    pub resource: String,
}

impl RateLimit {
    /// Reads the headers; none when one is missing or no number.
    pub fn from_headers(headers: &HeaderMap) -> Option<RateLimit> {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
        let resource = headers.get("x-ratelimit-resource")?.to_str().ok()?;
        let sound = !resource.is_empty()
            && resource.len() <= 64
            && resource
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        sound.then_some(RateLimit {
            limit: number("x-ratelimit-limit")?,
            remaining: number("x-ratelimit-remaining")?,
            used: number("x-ratelimit-used")?,
            reset: number("x-ratelimit-reset")?,
            resource: resource.to_owned(),
        })
    }
}

/// Which of GitHub's limits an answer refuses for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    Primary,
    Secondary,
}

impl LimitKind {
    pub fn as_str(self) -> &'static str {
        match self {
            LimitKind::Primary => "primary",
            LimitKind::Secondary => "secondary",
        }
    }

    /// Reads status and headers; a refusal that shows in the body alone is not seen here.
    pub fn of(status: StatusCode, headers: &HeaderMap) -> Option<LimitKind> {
        let spent = headers.get("x-ratelimit-remaining").is_some_and(|value| value == "0");
        let told_to_wait = headers.contains_key("retry-after");
        match status {
            StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS if told_to_wait => {
                Some(LimitKind::Secondary)
            }
            StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS if spent => Some(LimitKind::Primary),
            StatusCode::TOO_MANY_REQUESTS => Some(LimitKind::Secondary),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn reads_whole_headers_only() {
        let whole = [
            ("x-ratelimit-limit", "5000"),
            ("x-ratelimit-remaining", "4999"),
            ("x-ratelimit-used", "1"),
            ("x-ratelimit-reset", "1691591363"),
            ("x-ratelimit-resource", "core"),
        ];
        let read = RateLimit::from_headers(&headers(&whole)).unwrap();
        assert_eq!((read.limit, read.remaining, read.used, read.resource.as_str()), (5000, 4999, 1, "core"));
        for garbled in ["", "-1", "1e3", "99999999999999999999", "x"] {
            let mut map = headers(&whole);
            map.insert("x-ratelimit-used", garbled.parse().unwrap());
            assert_eq!(RateLimit::from_headers(&map), None, "{garbled:?}");
        }
        assert_eq!(RateLimit::from_headers(&headers(&whole[..4])), None);
    }

    #[test]
    fn tells_limits_from_permissions() {
        for (status, pairs, kind) in [
            (403, &[][..], None),
            (403, &[("x-ratelimit-remaining", "12")][..], None),
            (403, &[("x-ratelimit-remaining", "0")][..], Some(LimitKind::Primary)),
            (403, &[("retry-after", "60")][..], Some(LimitKind::Secondary)),
            (429, &[("x-ratelimit-remaining", "0")][..], Some(LimitKind::Primary)),
            (429, &[][..], Some(LimitKind::Secondary)),
            (200, &[("x-ratelimit-remaining", "0")][..], None),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(LimitKind::of(status, &headers(pairs)), kind, "{status} {pairs:?}");
        }
    }
}
