//! Which type each field of GitHub's GraphQL schema leads to: the table `data/graphql-types.tsv`, compiled in.
//!
//! The published schema lags behind the live one, so a field that is not in the table is no error here: it leads
//! to an unknown type, below which only names are judged.

use std::sync::LazyLock;

use rustc_hash::{FxHashMap, FxHashSet};

const TABLE: &str = include_str!("../data/graphql-types.tsv");

/// What belongs to an account and to no repository. REST shows such things (`/orgs/…`, `/users/…`) only to agents for
/// all repositories. By these fields clients find reviewers and name projects, so all others that are no scalars are
/// walks, also fields that the table does not know.
const ACCOUNTS: [(&str, &[&str]); 22] = [
    ("Actor", &[]),
    ("App", &[]),
    ("Enterprise", &[]),
    ("EnterpriseOwnerInfo", &[]),
    ("EnterpriseUserAccount", &[]),
    ("MemberStatusable", &[]),
    ("Organization", &["project", "projectV2", "projects", "projectsV2", "team", "teams"]),
    ("PackageOwner", &[]),
    ("ProfileOwner", &[]),
    ("Project", &["creator", "owner", "progress"]),
    ("ProjectColumn", &["project"]),
    ("ProjectOwner", &["project", "projects"]),
    ("ProjectV2", &["creator", "field", "fields", "owner", "view", "views"]),
    ("ProjectV2Owner", &["projectV2", "projectsV2"]),
    ("ProjectV2Recent", &[]),
    ("RepositoryDiscussionAuthor", &[]),
    ("RepositoryDiscussionCommentAuthor", &[]),
    ("RepositoryOwner", &[]),
    ("Sponsorable", &[]),
    ("Team", &["ancestors", "childTeams", "organization", "parentTeam"]),
    ("UpdateProjectV2ItemPositionPayload", &[]),
    ("User", &["project", "projectV2", "projects", "projectsV2"]),
];

/// How far a field reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// To a single object, or to a list of what belongs to one repository.
    One,
    /// To objects in many repositories, or to any one of an account's.
    Many,
    /// To what is an account's own.
    Account,
}

/// What a field leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) leads_to: &'static str,
    pub(super) reach: Reach,
}

struct Types {
    ways: FxHashMap<(&'static str, &'static str), Way>,
    names: FxHashMap<&'static str, &'static str>,
    /// How far fields of these names reach where the type is unknown.
    far: FxHashMap<&'static str, Reach>,
}

static TYPES: LazyLock<Types> = LazyLock::new(|| {
    let mut types =
        Types { ways: FxHashMap::default(), names: FxHashMap::default(), far: FxHashMap::default() };
    let mut near = FxHashSet::default();
    for line in TABLE.lines().skip(1) {
        let mut columns = line.split('\t');
        let mut next = || columns.next().expect("graphql-types.tsv has four columns");
        let (on, field, leads_to, walk) = (next(), next(), next(), next());
        let reach = match open_fields(on) {
            _ if walk == "many" => Reach::Many,
            Some(open) if !open.contains(&field) => Reach::Account,
            _ => Reach::One,
        };
        types.ways.insert((on, field), Way { leads_to, reach });
        types.names.insert(on, on);
        types.names.insert(leads_to, leads_to);
        match reach {
            Reach::One => {
                near.insert(field);
            }
            Reach::Many => {
                types.far.insert(field, reach);
            }
            Reach::Account => {
                types.far.entry(field).or_insert(reach);
            }
        }
    }
    // Names such as `organization` and `status` mostly stand for something harmless.
    types.far.retain(|name, reach| *reach == Reach::Many || !near.contains(name));
    types
});

/// The fields of an account that are open to agents without every repository; none for any other type.
fn open_fields(on: &str) -> Option<&'static [&'static str]> {
    ACCOUNTS.iter().find(|(account, _)| *account == on).map(|(_, open)| *open)
}

/// The type that a type condition names, if the schema has it.
pub(super) fn known(name: &str) -> Option<&'static str> {
    TYPES.names.get(name).copied()
}

/// What a field of a type leads to; `None` when the schema has no such field, or it is a scalar.
pub(super) fn way(on: &'static str, field: &str) -> Option<Way> {
    // The map's keys are `'static` and the field is not; they compare by content.
    TYPES.ways.get(&(on, field) as &(&str, &str)).copied()
}

/// Where `repository` without arguments leads from a type that the schema does not have: to the one it belongs to. An
/// account's `repository` picks any of its own by name.
pub(super) fn way_to_its_repository(on: Option<&str>, field: &str, is_bare: bool) -> Option<Way> {
    let is_account = on.is_some_and(|on| open_fields(on).is_some());
    (field == "repository" && is_bare && !is_account)
        .then_some(Way { leads_to: "Repository", reach: Reach::One })
}

/// How far a field may reach that the schema does not have, on a type that it may not have either.
pub(super) fn reach_of_unknown(on: Option<&str>, field: &str) -> Reach {
    match on {
        Some("Repository") => Reach::One,
        Some(on) if open_fields(on).is_some() => Reach::Account,
        _ => TYPES.far.get(field).copied().unwrap_or(Reach::One),
    }
}
