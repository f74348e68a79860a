//! Signed identities that stand for agents: whose word counts, and for whom.

use std::collections::BTreeMap;

use http::Uri;

use super::upstream::{authorities, is_address, is_loopback};
use super::{Check, raw};
use crate::config::{IdentityIssuer, IssuerKeys};
use crate::identity::keys::KeySet;
use crate::identity::pattern::SubjectPattern;

pub(super) fn identities(check: &mut Check<'_>, file: &raw::File) -> Vec<IdentityIssuer> {
    let mut seen = BTreeMap::new();
    let identities = file.identities.iter().enumerate().filter_map(|(i, raw)| {
        let section = format!("identities[{i}]");
        let issuer = check.text(&format!("{section}.issuer"), raw.issuer.as_deref());
        if let Some(first) = issuer.and_then(|issuer| seen.insert(issuer, i)) {
            // Else which keys prove a token would depend on more than its issuer.
            check.error(&format!("{section}.issuer"), format!("is the issuer of identities[{first}], too"));
        }
        let audience = check.text(&format!("{section}.audience"), raw.audience.as_deref());
        let keys = keys(check, &section, raw);
        let rules = rules(check, &section, raw, &file.agents);
        Some(IdentityIssuer {
            issuer: issuer?.to_owned(),
            audience: audience?.to_owned(),
            keys: keys?,
            rules,
        })
    });
    identities.collect()
}

fn keys(check: &mut Check<'_>, section: &str, raw: &raw::Identity) -> Option<IssuerKeys> {
    let ways = [("jwks_file", raw.jwks_file.is_some()), ("jwks_url", raw.jwks_url.is_some())];
    check.exactly_one(section, &ways);
    let ca_path = format!("{section}.ca_file");
    let ca_pem = raw.ca_file.as_deref().map(|name| authorities(check, &ca_path, name));
    if let Some(name) = &raw.jwks_file {
        check.rule(&ca_path, raw.ca_file.is_none(), || "is for `jwks_url`".to_owned());
        return key_set(check, &format!("{section}.jwks_file"), name);
    }
    let url = url(check, &format!("{section}.jwks_url"), raw.jwks_url.as_deref()?)?;
    Some(IssuerKeys::Url { url, ca_pem: ca_pem.flatten() })
}

/// Who can change the keys on their way can be any agent.
fn url(check: &mut Check<'_>, path: &str, text: &str) -> Option<Uri> {
    let uri: Option<Uri> = text.parse().ok().filter(|_| is_address(text, &["https", "http"]));
    let Some(uri) = uri else {
        check.error(path, "expected an address such as https://issuer.example/jwks");
        return None;
    };
    let is_safe = uri.scheme_str() == Some("https") || is_loopback(&uri);
    check.rule(path, is_safe, || "must begin with https://; plain http is for this machine alone".to_owned());
    Some(uri)
}

fn key_set(check: &mut Check<'_>, path: &str, name: &str) -> Option<IssuerKeys> {
    let file = check.file(path, name)?;
    let json = check.read(path, &file)?;
    match KeySet::parse(&json) {
        Err(why) => check.error(path, format!("`{}` {why}", file.display())),
        Ok(set) if set.is_empty() => {
            let message =
                format!("`{}` holds no key that signs: no token of this issuer is accepted", file.display());
            check.warning(path, message);
        }
        Ok(_) => {}
    }
    Some(IssuerKeys::File(file))
}

fn rules(
    check: &mut Check<'_>,
    section: &str,
    raw: &raw::Identity,
    agents: &[raw::Agent],
) -> Vec<(SubjectPattern, String)> {
    check.not_empty(&format!("{section}.rules"), raw.rules.is_empty(), "names no agent");
    let rules = raw.rules.iter().enumerate().filter_map(|(j, rule)| {
        let path = format!("{section}.rules[{j}]");
        let subject = check.text(&format!("{path}.subject"), rule.subject.as_deref());
        let pattern = subject.map(SubjectPattern::new);
        if pattern.as_ref().is_some_and(SubjectPattern::is_open) {
            let message = "begins with `*`: whoever the issuer gives a token to may choose such a subject";
            check.warning(&format!("{path}.subject"), message);
        }
        let agent = check.text(&format!("{path}.agent"), rule.agent.as_deref());
        let is_known =
            agent.is_none_or(|name| agents.iter().any(|agent| agent.name.as_deref() == Some(name)));
        check.rule(&format!("{path}.agent"), is_known, || "is no agent of this file".to_owned());
        Some((pattern?, agent?.to_owned()))
    });
    rules.collect()
}
