//! Listeners: addresses, bounds, the admin token.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::upstream::base_url;
use super::{Check, raw};
use crate::clock::{Clock, SystemClock};
use crate::config::{Server, Webhook};
use crate::tls::{TlsError, TlsFiles};

pub(super) fn server(check: &mut Check<'_>, raw: &raw::Server) -> Option<Server> {
    let listen = address(check, "server.listen", &raw.listen);
    let admin_listen = address(check, "server.admin_listen", &raw.admin_listen);
    if let (Some(listen), Some(admin_listen)) = (listen, admin_listen)
        && collide(listen, admin_listen)
    {
        check.error(
            "server.admin_listen",
            "is the address of `server.listen`; agents must not reach the admin listener",
        );
    }
    let public_url = raw.public_url.as_deref().map(|url| check.accept("server.public_url", base_url(url)));
    let trusted_proxies = networks(check, &raw.trusted_proxies);
    for (path, size) in [("server.max_body", raw.max_body), ("server.max_upload", raw.max_upload)] {
        check.rule(path, size.0 > 0, || "must be more than 0".to_owned());
    }
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    check.rule("server.drain_timeout", raw.drain_timeout.0 <= day, || "must be 24h at most".to_owned());
    let (env, file) = (raw.admin_token_env.as_deref(), raw.admin_token_file.as_deref());
    let admin_token =
        (env.is_some() || file.is_some()).then(|| check.own_secret("server", "admin_token", env, file));
    let tls = raw.tls.as_ref().map(|tls| certificate(check, tls));
    Some(Server {
        tls: tls.unwrap_or_default(),
        listen: listen?,
        admin_listen: admin_listen?,
        public_url: public_url.map(|url| url.map(|url| url.text)).unwrap_or_default(),
        trusted_proxies,
        drain_timeout: raw.drain_timeout.0,
        admin_token: admin_token.unwrap_or_default(),
        max_body_bytes: raw.max_body.0,
        max_upload_bytes: raw.max_upload.0,
    })
}

pub(super) fn webhook(check: &mut Check<'_>, raw: &raw::Webhook, server: &raw::Server) -> Option<Webhook> {
    let text = check.text("webhook.listen", raw.listen.as_deref());
    let listen = text.and_then(|text| address(check, "webhook.listen", text));
    if let Some(listen) = listen {
        for (path, other) in
            [("server.listen", &server.listen), ("server.admin_listen", &server.admin_listen)]
        {
            // One that is no address has its own message.
            let free = !other.parse().is_ok_and(|other| collide(listen, other));
            check.rule("webhook.listen", free, || format!("is the address of `{path}`"));
        }
    }
    let (env, file) = (raw.secret_env.as_deref(), raw.secret_file.as_deref());
    let secret = check.own_secret("webhook", "secret", env, file);
    Some(Webhook { listen: listen?, secret: secret? })
}

/// The certificate and its key, which must fit and, at the start, still be valid.
fn certificate(check: &mut Check<'_>, raw: &raw::Tls) -> Option<TlsFiles> {
    let cert_file = check.text("server.tls.cert_file", raw.cert_file.as_deref());
    let key_file = check.text("server.tls.key_file", raw.key_file.as_deref());
    let cert_file = check.file("server.tls.cert_file", cert_file?)?;
    let key_file = check.file("server.tls.key_file", key_file?)?;
    // Looked at before they are checked: what changes in between is found by the next look.
    check.read("server.tls.cert_file", &cert_file)?;
    check.read("server.tls.key_file", &key_file)?;
    let files = TlsFiles { cert_file, key_file };
    match files.check(SystemClock.now_seconds()) {
        Ok(()) => Some(files),
        Err(error @ TlsError::Ended { .. }) if check.sources.is_running => {
            check.warning("server.tls", format!("{error}; it has to be renewed before the next start"));
            Some(files)
        }
        Err(error) => check.accept("server.tls", Err(error.to_string())),
    }
}

fn address(check: &mut Check<'_>, path: &str, text: &str) -> Option<SocketAddr> {
    let address = text.parse();
    check.accept(
        path,
        address.map_err(|_| "expected an address and port such as 127.0.0.1:8080 or [::1]:8080".to_owned()),
    )
}

/// Whether two listeners can't both be had; port 0 is always a free one.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let same_ip = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    same_ip && a.port() == b.port() && a.port() != 0
}

fn networks(check: &mut Check<'_>, texts: &[String]) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for (i, text) in texts.iter().enumerate() {
        let path = check.document.element("server.trusted_proxies", i);
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let network = check.accept(
            &path,
            network.map_err(|_| "expected a network such as 10.0.0.0/8, or an address".to_owned()),
        );
        if network.is_some_and(|network| network.prefix_len() == 0) {
            check.warning(&path, "trusts everyone: any client can then say what address and scheme it has");
        }
        networks.extend(network);
    }
    networks
}
