//! The permissions of a token: the configured ones, or else the installation's, reduced.

use std::collections::BTreeMap;

use super::Access;
use crate::github::installations::AppInstallation;

/// Permissions that have no read level (GitHub's schema of app permissions).
const WITHOUT_READ: [&str; 3] = ["workflows", "profile", "organization_copilot_seat_management"];

/// The permissions a token is minted with.
pub(super) fn permissions_for(installation: &AppInstallation, access: Access) -> BTreeMap<String, String> {
    let levels = names(installation, access).filter_map(|name| {
        let level = level(installation, access, name)?;
        Some((name.clone(), level.to_owned()))
    });
    let mut permissions: BTreeMap<String, String> = levels.collect();
    // GitHub reads an empty set as all permissions.
    if configured(installation, access).is_none() {
        permissions.entry("metadata".to_owned()).or_insert_with(|| "read".to_owned());
    }
    permissions
}

/// What the configuration names that the installation was not granted, each as `name: level`.
pub(super) fn beyond_granted(installation: &AppInstallation, access: Access) -> Vec<String> {
    let wanted = configured(installation, access).into_iter().flatten();
    let beyond = wanted.filter(|(name, level)| {
        let held = installation.permissions.get(*name);
        held.is_none_or(|held| rank(held) < rank(level))
    });
    beyond.map(|(name, level)| format!("{name}: {level}")).collect()
}

fn rank(level: &str) -> Option<usize> {
    ["read", "write", "admin"].iter().position(|known| *known == level)
}

/// Whether tokens of `one` may do everything that tokens of `other` may.
pub fn may_as_much(one: &AppInstallation, other: &AppInstallation, access: Access) -> bool {
    names(other, access).all(|name| match level(other, access, name) {
        None => true,
        Some(wanted) => level(one, access, name).is_some_and(|held| rank(held) >= rank(wanted)),
    })
}

fn configured(installation: &AppInstallation, access: Access) -> Option<&BTreeMap<String, String>> {
    match access {
        Access::Read => installation.app.read_permissions.as_ref(),
        Access::Write => installation.app.write_permissions.as_ref(),
    }
}

fn names(installation: &AppInstallation, access: Access) -> impl Iterator<Item = &String> {
    configured(installation, access).unwrap_or(&installation.permissions).keys()
}

/// The level of one permission.
fn level<'a>(installation: &'a AppInstallation, access: Access, name: &str) -> Option<&'a str> {
    if let Some(configured) = configured(installation, access) {
        return configured.get(name).map(String::as_str);
    }
    let held = installation.permissions.get(name)?;
    match access {
        Access::Read => (!WITHOUT_READ.contains(&name)).then_some("read"),
        Access::Write => (!is_withheld(name)).then_some(held.as_str()),
    }
}

/// Permissions that no agent's write needs unless the operator grants them.
fn is_withheld(name: &str) -> bool {
    name == "administration"
        || name == "workflows"
        || name.starts_with("organization_")
        || name.ends_with("secrets")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_tokens_are_withheld_what_no_agent_needs() {
        for name in ["administration", "workflows", "organization_hooks", "secrets", "dependabot_secrets"] {
            assert!(is_withheld(name), "{name}");
        }
        for name in ["contents", "issues", "secret_scanning_alerts", "actions"] {
            assert!(!is_withheld(name), "{name}");
        }
    }
}
