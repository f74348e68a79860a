//! Agents: who they are, which repositories and classes are theirs, what the file promises them.

use std::collections::BTreeMap;

use super::{Check, raw};
use crate::agent::NOBODY;
use crate::config::{Agent, DraftRule};
use crate::policy::Class;
use crate::policy::repositories::{RepositoryPattern, RepositorySet, is_account};
use crate::secret;

/// Points an hour of `core` that the largest installation has.
const POINTS_PER_HOUR_MAX: u64 = 15_000;

pub(super) fn agents(check: &mut Check<'_>, file: &raw::File) -> Vec<Agent> {
    let raw = &file.agents;
    check.not_empty("agents", raw.is_empty(), "names nobody: nobody could use tollgate");
    check.names("agents", raw.iter().map(|agent| agent.name.as_deref()));
    let is_nobody = |agent: &raw::Agent| agent.name.as_deref() == Some(NOBODY);
    for (i, _) in raw.iter().enumerate().filter(|(_, agent)| is_nobody(agent)) {
        check.error(&format!("agents[{i}].name"), "is what metrics and logs call callers that are no agent");
    }
    guarantees(check, file);
    let mut owners = BTreeMap::new();
    let agents = raw.iter().enumerate().filter_map(|(i, raw)| {
        let section = format!("agents[{i}]");
        let is_shut_out = raw.key_sha256.0.is_empty() && !is_identified(file, raw);
        let message = "is required: `tollgate key new` makes a key and prints what stands here";
        check.not_empty(&format!("{section}.key_sha256"), is_shut_out, message);
        let keys = keys(check, &section, raw, &mut owners);
        agent(check, &section, raw, keys, file.policy.draft_pull_requests)
    });
    agents.collect()
}

fn agent(
    check: &mut Check<'_>,
    section: &str,
    raw: &raw::Agent,
    key_sha256: Vec<[u8; 32]>,
    drafts: DraftRule,
) -> Option<Agent> {
    check.rule(&format!("{section}.weight"), (1..=1000).contains(&raw.weight), || {
        "must be 1 to 1000".to_owned()
    });
    if let (Some(guarantee), Some(ceiling)) = (raw.guarantee, raw.ceiling) {
        check.rule(&format!("{section}.ceiling"), ceiling >= guarantee, || {
            format!("{ceiling} is less than the agent's guarantee, {guarantee}")
        });
    }
    let repositories = repositories(check, section, raw);
    let installation = installation(check, section, raw, &repositories);
    let allow = allow(check, section, raw);
    let require_approval = require_approval(check, section, raw, &allow);
    Some(Agent {
        name: raw.name.clone()?,
        key_sha256,
        weight: raw.weight,
        guarantee: raw.guarantee,
        ceiling: raw.ceiling,
        repositories,
        installation,
        allow,
        require_approval,
        draft_pull_requests: raw.draft_pull_requests.unwrap_or(drafts),
        disabled: raw.disabled,
    })
}

/// Whether a signed identity can stand for the agent, so that it needs no key.
fn is_identified(file: &raw::File, agent: &raw::Agent) -> bool {
    let mut rules = file.identities.iter().flat_map(|identity| &identity.rules);
    agent.name.is_some() && rules.any(|rule| rule.agent == agent.name)
}

/// A key must tell who calls, so no two agents share one.
fn keys(
    check: &mut Check<'_>,
    section: &str,
    raw: &raw::Agent,
    owners: &mut BTreeMap<[u8; 32], String>,
) -> Vec<[u8; 32]> {
    let list = format!("{section}.key_sha256");
    let is_list = check.document.is_said(&format!("{list}[0]"));
    let mut keys = Vec::new();
    for (i, text) in raw.key_sha256.0.iter().enumerate() {
        let path = if is_list { check.document.element(&list, i) } else { list.clone() };
        // The messages don't repeat what stands there: it may be a key instead of its hash.
        let Some(hash) = secret::sha256_from_hex(text) else {
            let message = match text.starts_with("tg_") {
                true => {
                    "is a key itself, and whoever reads the file has it: make another with `tollgate key new`, which \
                     also prints what stands here"
                }
                false => "expected the SHA-256 of a key: 64 hex digits",
            };
            check.error(&path, message);
            continue;
        };
        if let Some(other) = owners.insert(hash, path.clone()) {
            check.error(&path, format!("is the same key as {other}"));
        }
        keys.push(hash);
    }
    keys
}

fn repositories(check: &mut Check<'_>, section: &str, raw: &raw::Agent) -> RepositorySet {
    let path = format!("{section}.repositories");
    check.not_empty(&path, raw.repositories.is_empty(), "is required: OWNER/NAME, OWNER/* or \"*\" for all");
    let mut patterns = Vec::new();
    for (i, text) in raw.repositories.iter().enumerate() {
        let path = check.document.element(&path, i);
        if text.starts_with("OWNER/") {
            check.warning(
                &path,
                format!("`{text}` is what `tollgate key new` prints: put the agent's repositories there"),
            );
        }
        patterns.extend(check.accept(&path, text.parse::<RepositoryPattern>()));
    }
    RepositorySet::new(patterns)
}

/// Whether all of an agent's repositories could be read, so that others can be missing among them.
fn are_sound(check: &Check<'_>, section: &str, raw: &raw::Agent) -> bool {
    let path = format!("{section}.repositories");
    !raw.repositories.is_empty()
        && raw.repositories.iter().all(|text| text.parse::<RepositoryPattern>().is_ok())
        && !check.document.is_flawed_within(&path)
}

/// Owner whose installation serves calls that name no repository.
fn installation(
    check: &mut Check<'_>,
    section: &str,
    raw: &raw::Agent,
    repositories: &RepositorySet,
) -> Option<String> {
    let said = raw.installation.as_ref()?;
    let path = format!("{section}.installation");
    let owner = said.to_ascii_lowercase();
    if !is_account(&owner) {
        check.error(&path, "expected the name of an account, such as acme");
    } else if are_sound(check, section, raw)
        && !repositories.is_everything()
        && !repositories.owners().contains(&owner.as_str())
    {
        check.error(&path, format!("`{owner}` owns none of the agent's repositories"));
    }
    Some(owner)
}

fn allow(check: &mut Check<'_>, section: &str, raw: &raw::Agent) -> Vec<Class> {
    let Some(said) = &raw.allow else { return Class::ALLOWED_BY_DEFAULT.to_vec() };
    let path = format!("{section}.allow");
    check.not_empty(&path, said.is_empty(), "names no class; `disabled: true` shuts an agent out");
    if let Some(index) = said.iter().position(|class| *class == Class::Token) {
        let path = check.document.element(&path, index);
        check.error(&path, "`token` is never open: agents get no credential of GitHub's");
    }
    distinct(said)
}

/// Merge is always among them; leaving it out of the file opens nothing.
fn require_approval(check: &mut Check<'_>, section: &str, raw: &raw::Agent, allow: &[Class]) -> Vec<Class> {
    let Some(said) = &raw.require_approval else {
        let mut gated: Vec<Class> = Class::APPROVED_BY_DEFAULT.to_vec();
        gated.retain(|class| allow.contains(class) || *class == Class::Merge);
        return gated;
    };
    let path = format!("{section}.allow");
    let is_allow_read = !check.document.is_flawed(&path) && !check.document.is_flawed_within(&path);
    for (i, class) in said.iter().enumerate() {
        let path = check.document.element(&format!("{section}.require_approval"), i);
        if *class == Class::Read {
            check.error(&path, "`read` can't wait for an approval");
        } else if is_allow_read && !allow.contains(class) {
            check.error(&path, format!("`{class}` is not open to this agent; `allow` would have to name it"));
        }
    }
    let mut gated = distinct(said);
    // What waits on an ordinary branch waits on a guarded one, too.
    let implied = [Class::RefWrite, Class::Review].into_iter().filter(|_| said.contains(&Class::Write));
    for class in implied.filter(|class| allow.contains(class)).chain([Class::Merge]) {
        if !gated.contains(&class) {
            gated.push(class);
        }
    }
    gated
}

fn distinct(classes: &[Class]) -> Vec<Class> {
    let mut distinct = Vec::new();
    for class in classes {
        if !distinct.contains(class) {
            distinct.push(*class);
        }
    }
    distinct
}

/// What is promised to all who share an installation must be there. Told for one owner, if it is not.
fn guarantees(check: &mut Check<'_>, file: &raw::File) {
    let mut everywhere = Vec::new();
    let mut of_owners = BTreeMap::<String, Vec<u64>>::new();
    for agent in file.agents.iter().filter(|agent| !agent.disabled) {
        let Some(guarantee) = agent.guarantee.map(u64::from) else { continue };
        let patterns = agent.repositories.iter().filter_map(|text| text.parse().ok());
        let repositories = RepositorySet::new(patterns.collect());
        // Without Apps, one personal token serves everybody.
        if file.apps.is_empty() || repositories.is_everything() {
            everywhere.push(guarantee);
            continue;
        }
        for owner in repositories.owners() {
            of_owners.entry(owner.to_owned()).or_default().push(guarantee);
        }
    }
    let sum = |own: &[u64]| own.iter().chain(&everywhere).sum::<u64>();
    let places = of_owners.iter().map(|(owner, own)| (Some(owner), own.as_slice()));
    let mut places = std::iter::once((None, &[][..])).chain(places);
    let Some((owner, own)) = places.find(|(_, own)| sum(own) > POINTS_PER_HOUR_MAX) else { return };
    let place = owner.map(|owner| format!(" for `{owner}`")).unwrap_or_default();
    let shown: Vec<String> = own.iter().chain(&everywhere).take(10).map(u64::to_string).collect();
    let rest = if everywhere.len() + own.len() > shown.len() { " + …" } else { "" };
    let guarantees = match shown.as_slice() {
        [one] => format!("guarantee{place} is {one}"),
        _ => format!("guarantees{place} are {}{rest} = {}", shown.join(" + "), sum(own)),
    };
    let message = format!(
        "the {guarantees} points an hour, more than the {POINTS_PER_HOUR_MAX} the largest installation has"
    );
    check.error("agents", message);
}
