//! Which type each field of GitHub's GraphQL schema leads to: the table `data/graphql-types.tsv`, compiled in.
//!
//! The published schema lags behind the live one, so a field that is not in the table is no error here: it leads
//! to an unknown type, below which only names are judged.

use std::sync::LazyLock;

use rustc_hash::{FxHashMap, FxHashSet};

const TABLE: &str = include_str!("../data/graphql-types.tsv");

/// What a field leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) leads_to: &'static str,
    /// The field lists objects from many repositories, or picks any of an account's.
    pub(super) is_walk: bool,
}

struct Types {
    ways: FxHashMap<(&'static str, &'static str), Way>,
    names: FxHashMap<&'static str, &'static str>,
    /// Fields that are such a walk on some type: refused where the type is unknown.
    walks: FxHashSet<&'static str>,
}

static TYPES: LazyLock<Types> = LazyLock::new(|| {
    let mut types =
        Types { ways: FxHashMap::default(), names: FxHashMap::default(), walks: FxHashSet::default() };
    for line in TABLE.lines().skip(1) {
        let mut columns = line.split('\t');
        let mut next = || columns.next().expect("graphql-types.tsv has four columns");
        let (on, field, leads_to, walk) = (next(), next(), next(), next());
        types.ways.insert((on, field), Way { leads_to, is_walk: walk == "many" });
        types.names.insert(on, on);
        types.names.insert(leads_to, leads_to);
        if walk == "many" {
            types.walks.insert(field);
        }
    }
    types
});

/// The type that a type condition names, if the schema has it.
pub(super) fn known(name: &str) -> Option<&'static str> {
    TYPES.names.get(name).copied()
}

/// What a field of a type leads to; `None` when the schema has no such field, or it is a scalar.
pub(super) fn way(on: &'static str, field: &str) -> Option<Way> {
    // The map's keys are `'static` and the field is not; they compare by content.
    TYPES.ways.get(&(on, field) as &(&str, &str)).copied()
}

/// Whether a field of this name is a walk on some type.
pub(super) fn is_walk_somewhere(field: &str) -> bool {
    TYPES.walks.contains(field)
}
