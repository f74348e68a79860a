//! What agents may do, over all of them: how approvals prove themselves, and by whom.

use http::header::HeaderName;
use jsonwebtoken::{Algorithm, DecodingKey};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::{Check, raw};
use crate::config::{ApprovalMode, AuditLog, Policy};
use crate::policy::approval::{Issuer, Verifier};

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

/// DER of an RSA public key takes no less, from 2048 bits on (RFC 7518, 3.3).
const RSA_BYTES_MIN: usize = 256;

/// DER of the object identifier of the curve P-256.
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

pub(super) fn policy(check: &mut Check<'_>, raw: &raw::Policy) -> Option<Policy> {
    if let Some(trailer) = &raw.commit_trailer {
        let sound = commit_trailer(trailer);
        check.accept("policy.commit_trailer", sound);
    }
    let audit_log = audit_log(check, &raw.audit_log);

    let approval = &raw.approval;
    let header = approval_header(&approval.header);
    let header = check.accept("policy.approval.header", header);
    let hours = approval.max_lifetime.0.as_secs_f64() / 3600.0;
    check.rule("policy.approval.max_lifetime", hours > 0.0 && hours <= 24.0, || {
        "must be more than 0s and at most 24h".to_owned()
    });
    let issuers = issuers(check, &approval.issuers);
    match approval.mode {
        Some(ApprovalMode::Signed) => {
            let is_reported = check.document.is_flawed("policy.approval.issuers");
            check.rule("policy.approval.mode", !approval.issuers.is_empty() || is_reported, || {
                "`signed` needs `issuers`: nobody could approve".to_owned()
            });
        }
        Some(ApprovalMode::Presence) => {
            if !approval.issuers.is_empty() {
                let message = "are not used: `mode` is `presence`, which takes any value of the header";
                check.warning("policy.approval.issuers", message);
            }
        }
        None => {
            check.error(
                "policy.approval.mode",
                "is required: `signed`, or `presence` (which proves nothing about who approved)",
            );
        }
    }
    Some(Policy {
        approval_mode: approval.mode?,
        approval_header: header?,
        verifier: Verifier::new(issuers, approval.max_lifetime.0),
        allow_auto_merge: approval.allow_auto_merge,
        commit_trailer: raw.commit_trailer.clone(),
        audit_log: audit_log?,
        is_observing: raw.mode == raw::Mode::Observe,
    })
}

/// Words that are meant for something other than a file.
const NO_AUDIT_FILES: [&str; 11] =
    ["stdout", "stderr", "off", "on", "none", "null", "no", "yes", "true", "false", "-"];

fn audit_log(check: &mut Check<'_>, text: &str) -> Option<AuditLog> {
    let path = "policy.audit_log";
    match check.text(path, Some(text))? {
        "stdout" => Some(AuditLog::Stdout),
        "off" => Some(AuditLog::Off),
        word if NO_AUDIT_FILES.iter().any(|no_file| word.eq_ignore_ascii_case(no_file)) => {
            check.error(
                path,
                format!("expected `stdout`, `off` or a file; a file of that name is `./{word}`"),
            );
            None
        }
        name => {
            let file = check.file(path, name)?;
            let can_be_made = file.is_file()
                || file
                    .parent()
                    .is_some_and(|directory| directory.as_os_str().is_empty() || directory.is_dir())
                    && !file.is_dir();
            check.rule(path, can_be_made, || {
                format!(
                    "`{}` can't be a log file: its directory does not exist, or it is one",
                    file.display()
                )
            });
            Some(AuditLog::File(file))
        }
    }
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

fn issuers(check: &mut Check<'_>, issuers: &[raw::Issuer]) -> Vec<Issuer> {
    check.names("policy.approval.issuers", issuers.iter().map(|issuer| issuer.name.as_deref()));
    let read = issuers.iter().enumerate().filter_map(|(i, issuer)| {
        let (algorithm, key, key_sha256) =
            issuer_key(check, &format!("policy.approval.issuers[{i}]"), issuer)?;
        Some(Issuer { name: issuer.name.clone()?, algorithm, key, key_sha256 })
    });
    read.collect()
}

/// The key of an issuer says which algorithm its approvals are signed with. With the SHA-256 of what it was
/// made from.
fn issuer_key(
    check: &mut Check<'_>,
    section: &str,
    issuer: &raw::Issuer,
) -> Option<(Algorithm, DecodingKey, [u8; 32])> {
    let ways = [
        ("public_key_file", issuer.public_key_file.is_some()),
        ("secret_file", issuer.secret_file.is_some()),
    ];
    if !check.exactly_one(section, &ways) {
        return None;
    }
    if let Some(name) = &issuer.public_key_file {
        let path = format!("{section}.public_key_file");
        let file = check.file(&path, name)?;
        let pem = check.read(&path, &file)?;
        let key = public_key(&pem).map_err(|what| format!("`{}` {what}", file.display()));
        let (algorithm, key) = check.accept(&path, key)?;
        return Some((algorithm, key, Sha256::digest(&pem).into()));
    }
    let path = format!("{section}.secret_file");
    let secret = check.secret_file(&path, issuer.secret_file.as_ref()?)?;
    let secret = secret.expose_secret();
    check.rule(&path, secret.len() >= ISSUER_SECRET_BYTES_MIN, || {
        format!("names a secret of less than {ISSUER_SECRET_BYTES_MIN} bytes")
    });
    // A public key is no secret: whoever has it could sign.
    check.rule(&path, !secret.contains("-----BEGIN"), || {
        "names a PEM file; a public key belongs into `public_key_file`".to_owned()
    });
    let key = DecodingKey::from_secret(secret.as_bytes());
    Some((Algorithm::HS256, key, Sha256::digest(secret.as_bytes()).into()))
}

/// The key of a PEM file, if it is one of the three kinds approvals are checked with.
fn public_key(pem: &[u8]) -> Result<(Algorithm, DecodingKey), String> {
    let text = String::from_utf8_lossy(pem);
    if text.contains("PRIVATE KEY-----") {
        return Err(
            "is a private key: it stays with the approver, only its public half belongs here".to_owned()
        );
    }
    let der = der_of(text.split("-----").nth(2).unwrap_or_default());
    let is_p256 = der.windows(P256.len()).any(|window| window == P256);
    let ed25519 = || DecodingKey::from_ed_pem(pem).ok().map(|key| (Algorithm::EdDSA, key));
    let rsa = || DecodingKey::from_rsa_pem(pem).ok().map(|key| (Algorithm::RS256, key));
    let p256 = || DecodingKey::from_ec_pem(pem).ok().filter(|_| is_p256).map(|key| (Algorithm::ES256, key));
    if rsa().is_some() && der.len() < RSA_BYTES_MIN {
        return Err("is an RSA key of less than 2048 bits, with which nothing verifies".to_owned());
    }
    ed25519().or_else(rsa).or_else(p256).ok_or("is no public key (PEM) of Ed25519, P-256 or RSA".to_owned())
}

fn der_of(base64_body: &str) -> Vec<u8> {
    use base64::Engine as _;
    let body: String = base64_body.split_whitespace().collect();
    base64::engine::general_purpose::STANDARD.decode(body).unwrap_or_default()
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
