//! What agents may do, over all of them: how approvals prove themselves, and by whom.

use http::header::HeaderName;
use jsonwebtoken::DecodingKey;
use secrecy::ExposeSecret;

use super::{Check, raw};
use crate::config::{ApprovalMode, Policy};
use crate::secret;

/// Headers that mean something to a client, to us or to GitHub; an approval in one would be lost or leak.
const TAKEN_HEADERS: &[&str] = &[
    "authorization",
    "cache-control",
    "connection",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "from",
    "graphql-features",
    "host",
    "keep-alive",
    "link",
    "location",
    "origin",
    "prefer",
    "priority",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "set-cookie",
    "te",
    "time-zone",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "www-authenticate",
    "x-real-ip",
    "x-request-id",
];

/// Likewise, by how they begin.
const TAKEN_PREFIXES: &[&str] = &[
    "accept",
    "access-control-",
    "content-",
    "if-",
    "sec-",
    "x-forwarded-",
    "x-github-",
    "x-ratelimit-",
    "x-tollgate-",
];

/// A secret shorter than the hash it goes into can be guessed (RFC 7518, 3.2).
const ISSUER_SECRET_BYTES_MIN: usize = 32;

/// DER of the object identifier of the curve P-256.
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

pub(super) fn policy(check: &mut Check<'_>, raw: &raw::Policy) -> Option<Policy> {
    if let Some(trailer) = &raw.commit_trailer {
        let sound = commit_trailer(trailer);
        check.accept("policy.commit_trailer", sound);
    }
    check.text("policy.audit_log", Some(&raw.audit_log));

    let approval = &raw.approval;
    let header = approval_header(&approval.header);
    let header = check.accept("policy.approval.header", header);
    let hours = approval.max_lifetime.0.as_secs_f64() / 3600.0;
    check.rule("policy.approval.max_lifetime", hours > 0.0 && hours <= 24.0, || {
        "must be more than 0s and at most 24h".to_owned()
    });
    issuers(check, &approval.issuers);
    let mode = match approval.mode {
        Some(raw::ApprovalMode::Signed) => {
            let is_reported = check.document.is_flawed("policy.approval.issuers");
            check.rule("policy.approval.mode", !approval.issuers.is_empty() || is_reported, || {
                "`signed` needs `issuers`: nobody could approve".to_owned()
            });
            ApprovalMode::Signed
        }
        Some(raw::ApprovalMode::Presence) => ApprovalMode::Presence,
        None => {
            check.error(
                "policy.approval.mode",
                "must be said: `signed`, or `presence` (which proves nothing about who approved)",
            );
            return None;
        }
    };
    Some(Policy { approval_mode: mode, approval_header: header? })
}

fn approval_header(text: &str) -> Result<HeaderName, String> {
    let name: HeaderName = text.parse().map_err(|_| "is not the name of a header".to_owned())?;
    let lower = name.as_str();
    if TAKEN_HEADERS.contains(&lower) || TAKEN_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
        return Err(format!("`{lower}` has another meaning; choose a header of your own"));
    }
    Ok(name)
}

/// `Key: value` on one line, with no placeholder but those we fill in.
fn commit_trailer(text: &str) -> Result<(), String> {
    let is_trailer = text.split_once(": ").is_some_and(|(key, value)| {
        !key.is_empty()
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !value.trim().is_empty()
    });
    if !is_trailer || text.chars().any(char::is_control) {
        return Err("expected one line such as \"Agent: {agent} ({request_id})\"".to_owned());
    }
    let filled = text.replace("{agent}", "").replace("{request_id}", "");
    if filled.contains(['{', '}']) {
        return Err("has a placeholder other than {agent} and {request_id}".to_owned());
    }
    Ok(())
}

fn issuers(check: &mut Check<'_>, issuers: &[raw::Issuer]) {
    check.names("policy.approval.issuers", issuers.iter().map(|issuer| issuer.name.as_deref()));
    for (i, issuer) in issuers.iter().enumerate() {
        let section = format!("policy.approval.issuers[{i}]");
        let ways = [
            ("public_key_file", issuer.public_key_file.is_some()),
            ("secret_file", issuer.secret_file.is_some()),
        ];
        if !check.exactly_one(&section, &ways) {
            continue;
        }
        if let Some(name) = &issuer.public_key_file {
            let path = format!("{section}.public_key_file");
            let Some(file) = check.file(&path, name) else { continue };
            let Some(pem) = check.accept(&path, secret::read_bytes(&file)) else { continue };
            check.accept(&path, public_key(&pem).map_err(|what| format!("`{}` {what}", file.display())));
        } else if let Some(name) = &issuer.secret_file {
            let path = format!("{section}.secret_file");
            let Some(secret) = check.secret_file(&path, name) else { continue };
            check.rule(&path, secret.expose_secret().len() >= ISSUER_SECRET_BYTES_MIN, || {
                format!("names a secret of less than {ISSUER_SECRET_BYTES_MIN} bytes")
            });
        }
    }
}

/// Whether a PEM file is one of the three kinds of key approvals are checked with.
fn public_key(pem: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(pem);
    if text.contains("PRIVATE KEY-----") {
        return Err(
            "is a private key: it stays with the approver, only its public half belongs here".to_owned()
        );
    }
    let is_p256 = || text.split("-----").nth(2).is_some_and(|body| der_holds(body, &P256));
    let known = DecodingKey::from_ed_pem(pem).is_ok()
        || DecodingKey::from_rsa_pem(pem).is_ok()
        || (DecodingKey::from_ec_pem(pem).is_ok() && is_p256());
    if known { Ok(()) } else { Err("is no public key (PEM) of Ed25519, P-256 or RSA".to_owned()) }
}

fn der_holds(base64_body: &str, bytes: &[u8]) -> bool {
    use base64::Engine as _;
    let body: String = base64_body.split_whitespace().collect();
    let der = base64::engine::general_purpose::STANDARD.decode(body).unwrap_or_default();
    der.windows(bytes.len()).any(|window| window == bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_only_a_header_of_its_own() {
        assert_eq!(approval_header("X-Merge-Approval").unwrap().as_str(), "x-merge-approval");
        for text in [
            "",
            "a b",
            "Authorization",
            "host",
            "Cookie",
            "Accept",
            "accept-encoding",
            "Content-Type",
            "X-GitHub-Api-Version",
        ] {
            assert!(approval_header(text).is_err(), "{text}");
        }
    }

    #[test]
    fn knows_the_placeholders_of_a_trailer() {
        for (text, sound) in [
            ("Agent: {agent} ({request_id})", true),
            ("Agent: robot", true),
            ("Agent: {name}", false),
            ("Agent: {agent", false),
            ("Agent", false),
            ("", false),
            ("Agent: a\nSigned-off-by: b", false),
        ] {
            assert_eq!(commit_trailer(text).is_ok(), sound, "{text}");
        }
    }
}
