//! GitHub Apps and personal access tokens: each complete, each secret read and tried once.

use std::collections::BTreeMap;

use secrecy::ExposeSecret;

use super::{Check, raw};
use crate::config::document::key_path;
use crate::config::{App, PersonalToken, PrivateKey};
use crate::secret;

pub(super) fn apps(check: &mut Check<'_>, raw: &[raw::App]) -> Vec<App> {
    check.names("apps", raw.iter().map(|app| app.name.as_deref()));
    let ids: Vec<_> = raw.iter().map(|app| (app.app_id, app.client_id.as_deref())).collect();
    for (i, id) in ids.iter().enumerate().filter(|(_, id)| **id != (None, None)) {
        let is_new = !ids[..i].contains(id);
        check.rule(&format!("apps[{i}]"), is_new, || {
            "is the same App as one above: its quota would be counted twice".to_owned()
        });
    }
    raw.iter().enumerate().filter_map(|(i, raw)| app(check, &format!("apps[{i}]"), raw)).collect()
}

fn app(check: &mut Check<'_>, section: &str, raw: &raw::App) -> Option<App> {
    let issuer = issuer(check, section, raw);
    let private_key = private_key(check, section, raw);
    let read_permissions =
        permissions(check, &format!("{section}.read_permissions"), raw.read_permissions.as_ref());
    let write_permissions =
        permissions(check, &format!("{section}.write_permissions"), raw.write_permissions.as_ref());
    for (name, access) in raw.read_permissions.iter().flatten() {
        if *access != raw::Access::Read {
            let path = key_path(&format!("{section}.read_permissions"), name);
            check.warning(&path, format!("is `{}`: tokens that reads carry can then write", access.as_str()));
        }
    }
    Some(App {
        name: raw.name.clone()?,
        issuer: issuer?,
        private_key: private_key?,
        read_permissions,
        write_permissions,
    })
}

/// `iss` of the App JWT.
fn issuer(check: &mut Check<'_>, section: &str, raw: &raw::App) -> Option<String> {
    if !check
        .exactly_one(section, &[("app_id", raw.app_id.is_some()), ("client_id", raw.client_id.is_some())])
    {
        return None;
    }
    if let Some(id) = raw.app_id {
        check.rule(&format!("{section}.app_id"), id > 0, || "must be more than 0".to_owned());
        return Some(id.to_string());
    }
    let id = raw.client_id.as_deref()?;
    let is_sound =
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let path = format!("{section}.client_id");
    check.rule(&path, is_sound, || {
        "expected the client id on the App's settings page, such as Iv23…".to_owned()
    });
    Some(id.to_owned())
}

fn private_key(check: &mut Check<'_>, section: &str, raw: &raw::App) -> Option<PrivateKey> {
    let (env, file) = (raw.private_key_env.as_deref(), raw.private_key_file.as_deref());
    let pem = check.secret(section, "private_key", env, file)?;
    let Some(name) = file else {
        let path = format!("{section}.private_key_env");
        // Where a variable can't hold line ends, they are written as `\n`.
        let text = pem.expose_secret();
        let pem = if text.contains('\n') { pem } else { text.replace("\\n", "\n").into() };
        check.accept(&path, secret::app_key(&pem).map_err(|what| format!("the variable's value {what}")))?;
        return Some(PrivateKey::Pem(pem));
    };
    let path = format!("{section}.private_key_file");
    let file = check.sources.directory.join(name);
    check.accept(&path, secret::app_key(&pem).map_err(|what| format!("`{}` {what}", file.display())))?;
    Some(PrivateKey::File(file))
}

fn permissions(
    check: &mut Check<'_>,
    path: &str,
    raw: Option<&BTreeMap<String, raw::Access>>,
) -> Option<BTreeMap<String, String>> {
    let raw = raw?;
    // GitHub takes an empty set for "all the installation has".
    check.not_empty(path, raw.is_empty(), "names no permission; leave the key out for the default");
    for name in raw.keys() {
        let is_sound = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        check.rule(&key_path(path, name), is_sound, || {
            "expected a permission such as `pull_requests`".to_owned()
        });
    }
    Some(raw.iter().map(|(name, access)| (name.clone(), access.as_str().to_owned())).collect())
}

pub(super) fn tokens(check: &mut Check<'_>, raw: &[raw::PersonalToken]) -> Vec<PersonalToken> {
    check.names("tokens", raw.iter().map(|token| token.name.as_deref()));
    raw.iter().enumerate().filter_map(|(i, raw)| token(check, &format!("tokens[{i}]"), raw)).collect()
}

fn token(check: &mut Check<'_>, section: &str, raw: &raw::PersonalToken) -> Option<PersonalToken> {
    let token = check.secret(section, "token", raw.token_env.as_deref(), raw.token_file.as_deref())?;
    let key = if raw.token_env.is_some() { "token_env" } else { "token_file" };
    let is_sound = token.expose_secret().bytes().all(|b| b.is_ascii_graphic());
    check.rule(&format!("{section}.{key}"), is_sound, || {
        "names a token that holds a space, a line end or another character no token has".to_owned()
    });
    Some(PersonalToken { name: raw.name.clone()?, token })
}
