//! GitHub's addresses: what is said, what follows from it, and which bases answers are rewritten from.

use http::Uri;
use jiff::civil::Date;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{Check, raw};
use crate::config::{LinkBase, Upstream};

const PUBLIC_API: &str = "https://api.github.com";
const PUBLIC_UPLOADS: &str = "https://uploads.github.com";

/// How the base of GitHub Enterprise Server's REST API ends.
const ENTERPRISE_API: &str = "/api/v3";

/// An address of the form `scheme://authority[/path]`, without a trailing slash.
#[derive(Debug, Clone)]
pub(super) struct BaseUrl {
    pub(super) text: String,
    pub(super) uri: Uri,
}

impl BaseUrl {
    /// Whether bytes to there stay on this machine.
    fn is_loopback(&self) -> bool {
        is_loopback(&self.uri)
    }
}

pub(super) fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// No call to GitHub takes longer; a timer can't count further than some centuries.
const TIMEOUT_MAX: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

pub(super) fn upstream(check: &mut Check<'_>, raw: &raw::Upstream) -> Option<Upstream> {
    let api_url = check.accept("upstream.api_url", base_url(&raw.api_url));
    let said = [("upstream.uploads_url", &raw.uploads_url), ("upstream.graphql_url", &raw.graphql_url)];
    let [uploads_url, graphql_url] =
        said.map(|(path, url)| url.as_deref().and_then(|url| check.accept(path, base_url(url))));
    let link_bases = raw.link_bases.as_ref().map(|bases| said_bases(check, bases));
    check.rule("upstream.api_version", is_date(&raw.api_version), || {
        "expected a date such as \"2022-11-28\"".to_owned()
    });
    for (path, period) in [
        ("upstream.connect_timeout", raw.connect_timeout),
        ("upstream.request_timeout", raw.request_timeout),
        ("upstream.idle_timeout", raw.idle_timeout),
    ] {
        check.rule(path, !period.0.is_zero(), || "must be more than 0s".to_owned());
        check.rule(path, period.0 <= TIMEOUT_MAX, || "must be 24h at most".to_owned());
    }
    let ca_pem = raw.ca_file.as_deref().map(|name| authorities(check, "upstream.ca_file", name));

    let api_url = api_url?;
    let uploads_url = uploads_url.or_else(|| base_url(&default_uploads(&api_url)).ok())?;
    let graphql_url = graphql_url.or_else(|| base_url(&default_graphql(&api_url)).ok())?;
    for (path, url) in [
        ("upstream.api_url", &api_url),
        ("upstream.uploads_url", &uploads_url),
        ("upstream.graphql_url", &graphql_url),
    ] {
        if url.uri.scheme_str() == Some("http") && !url.is_loopback() && raw_says(raw, path) {
            check.warning(path, "is plain http: tokens and answers can be read on the way");
        }
    }
    if api_url.uri.host() == Some("github.com") {
        check.warning("upstream.api_url", "is GitHub's web site; its API is at https://api.github.com");
    }
    let link_bases = link_bases.unwrap_or_else(|| default_bases(&api_url, &uploads_url));
    Some(Upstream {
        link_bases: distinct_longest_first(link_bases, &api_url, &uploads_url),
        api_url: api_url.uri,
        uploads_url: uploads_url.uri,
        graphql_url: graphql_url.uri,
        api_version: raw.api_version.clone(),
        connect_timeout: raw.connect_timeout.0,
        request_timeout: raw.request_timeout.0,
        idle_timeout: raw.idle_timeout.0,
        ca_pem: ca_pem.flatten(),
    })
}

/// Whether an address was written down rather than derived from another one.
fn raw_says(raw: &raw::Upstream, path: &str) -> bool {
    match path {
        "upstream.uploads_url" => raw.uploads_url.is_some(),
        "upstream.graphql_url" => raw.graphql_url.is_some(),
        _ => true,
    }
}

/// Reads an http(s) address; scheme and host in lower case, default port and trailing slash left out.
///
/// No message repeats the address: it could hold a password.
pub(super) fn base_url(text: &str) -> Result<BaseUrl, String> {
    const EXPECTED: &str = "expected an address such as https://api.github.com";
    let uri: Uri = text.trim().parse().map_err(|_| EXPECTED.to_owned())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(EXPECTED.to_owned());
    };
    if scheme != "http" && scheme != "https" {
        return Err("expected an address that begins with https:// or http://".to_owned());
    }
    if authority.as_str().contains('@') {
        return Err("must not hold a user name or password".to_owned());
    }
    // `http::Uri` drops a fragment without a word.
    if text.contains('#') || uri.query().is_some() {
        return Err("must end with its path: no `?` or `#`".to_owned());
    }
    let path = uri.path().trim_end_matches('/');
    if path.split('/').skip(1).any(|segment| matches!(segment, "" | "." | "..")) {
        return Err("has an empty or dotted segment in its path".to_owned());
    }
    let host = authority.host().to_ascii_lowercase();
    // `host:` and a port beyond 65535 have no port for `http::Uri`, yet more than a host.
    if host.is_empty() || (authority.port().is_none() && authority.as_str().len() > host.len()) {
        return Err(EXPECTED.to_owned());
    }
    let port = match (scheme, authority.port_u16()) {
        (_, None) | ("http", Some(80)) | ("https", Some(443)) => String::new(),
        (_, Some(port)) => format!(":{port}"),
    };
    let text = format!("{scheme}://{host}{port}{path}");
    let uri = text.parse().map_err(|_| EXPECTED.to_owned())?;
    Ok(BaseUrl { text, uri })
}

/// Whether a text is an address of one of some schemes, without user name and password.
pub(super) fn is_address(text: &str, schemes: &[&str]) -> bool {
    let uri: Option<Uri> = text.parse().ok();
    uri.is_some_and(|uri| {
        let has_host = uri.authority().is_some_and(|a| !a.host().is_empty() && !a.as_str().contains('@'));
        has_host && uri.scheme_str().is_some_and(|scheme| schemes.contains(&scheme))
    })
}

fn default_graphql(api: &BaseUrl) -> String {
    match api.text.strip_suffix(ENTERPRISE_API) {
        Some(host) => format!("{host}/api/graphql"),
        None => format!("{}/graphql", api.text),
    }
}

/// An uploads host of its own has only github.com and, likewise named, each `SUBDOMAIN.ghe.com`.
fn default_uploads(api: &BaseUrl) -> String {
    if let Some(host) = api.text.strip_suffix(ENTERPRISE_API) {
        return format!("{host}/api/uploads");
    }
    match api.text.strip_prefix("https://api.") {
        Some(rest) if rest == "github.com" || rest.ends_with(".ghe.com") => format!("https://uploads.{rest}"),
        _ => api.text.clone(),
    }
}

fn default_bases(api: &BaseUrl, uploads: &BaseUrl) -> Vec<String> {
    [api.text.as_str(), &uploads.text, PUBLIC_API, PUBLIC_UPLOADS].map(str::to_owned).to_vec()
}

fn said_bases(check: &mut Check<'_>, texts: &[String]) -> Vec<String> {
    let bases = texts.iter().enumerate().filter_map(|(i, text)| {
        let path = check.document.element("upstream.link_bases", i);
        let base = check.accept(&path, base_url(text));
        base.map(|base| base.text)
    });
    bases.collect()
}

/// Longest first, so that a base within another one is found before it.
fn distinct_longest_first(bases: Vec<String>, api: &BaseUrl, uploads: &BaseUrl) -> Vec<LinkBase> {
    let mut list: Vec<LinkBase> = Vec::new();
    for base in bases {
        if list.iter().all(|other| other.base != base) {
            let uploads = base.starts_with("https://uploads.")
                || base.ends_with("/api/uploads")
                || (base == uploads.text && base != api.text);
            list.push(LinkBase::new(base, uploads));
        }
    }
    list.sort_by_key(|base| std::cmp::Reverse(base.base.len()));
    list
}

fn is_date(text: &str) -> bool {
    let has_form =
        text.len() == 10 && text.bytes().enumerate().all(|(i, b)| (b == b'-') == (i == 4 || i == 7));
    has_form && text.parse::<Date>().is_ok()
}

/// The certificates of a file that `path` names.
pub(super) fn authorities(check: &mut Check<'_>, path: &str, name: &str) -> Option<Vec<u8>> {
    let file = check.file(path, name)?;
    let pem = check.read(path, &file)?;
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        count += 1;
        let is_sound = certificate.is_ok_and(|certificate| RootCertStore::empty().add(certificate).is_ok());
        check.rule(path, is_sound, || format!("`{}` holds a damaged certificate", file.display()));
    }
    check.rule(path, count > 0, || format!("`{}` holds no certificate (PEM)", file.display()));
    Some(pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_addresses() {
        for (text, expected) in [
            ("https://api.github.com", Some("https://api.github.com")),
            ("HTTPS://API.github.com:443/", Some("https://api.github.com")),
            ("http://127.0.0.1:9000//", Some("http://127.0.0.1:9000")),
            ("http://[::1]:80/base/", Some("http://[::1]/base")),
            ("https://ghe.acme.com/api/v3/", Some("https://ghe.acme.com/api/v3")),
            ("ftp://api.github.com", None),
            ("api.github.com", None),
            ("/api", None),
            ("", None),
            ("https://", None),
            ("https://host:", None),
            ("https://host:99999", None),
            ("https://user:pass@host", None),
            ("https://host/?q=1", None),
            ("https://host/#part", None),
            ("https://host/a/../b", None),
            ("https://host/a//b", None),
        ] {
            assert_eq!(base_url(text).ok().map(|url| url.text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn derives_the_other_addresses() {
        for (api, graphql, uploads) in [
            ("https://api.github.com", "https://api.github.com/graphql", "https://uploads.github.com"),
            (
                "https://ghe.acme.com/api/v3",
                "https://ghe.acme.com/api/graphql",
                "https://ghe.acme.com/api/uploads",
            ),
            ("https://api.acme.ghe.com", "https://api.acme.ghe.com/graphql", "https://uploads.acme.ghe.com"),
            ("http://127.0.0.1:9", "http://127.0.0.1:9/graphql", "http://127.0.0.1:9"),
        ] {
            let api = base_url(api).unwrap();
            assert_eq!(default_graphql(&api), graphql);
            assert_eq!(default_uploads(&api), uploads);
        }
    }

    #[test]
    fn rewrites_the_longest_base_first() {
        let (api, uploads) = ("https://ghe.acme.com/api/v3", "https://ghe.acme.com/api/uploads");
        let [api, uploads] = [api, uploads].map(|url| base_url(url).unwrap());
        let bases = distinct_longest_first(default_bases(&api, &uploads), &api, &uploads);
        let bases: Vec<(&str, bool)> = bases.iter().map(|base| (base.base.as_str(), base.uploads)).collect();
        assert_eq!(
            bases,
            [
                ("https://ghe.acme.com/api/uploads", true),
                ("https://ghe.acme.com/api/v3", false),
                ("https://uploads.github.com", true),
                ("https://api.github.com", false),
            ]
        );
    }

    #[test]
    fn an_api_version_is_a_date() {
        for (text, expected) in [
            ("2022-11-28", true),
            ("2022-13-28", false),
            ("20221128", false),
            ("2022-11-28T00:00", false),
            ("", false),
        ] {
            assert_eq!(is_date(text), expected, "{text}");
        }
    }
}
