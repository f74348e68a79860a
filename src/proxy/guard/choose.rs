//! Which of several installations a call goes by: the one with most quota left.
//!
//! Each of several Apps on one account has a quota of its own. A call goes where its agent is
//! served soonest; among equals, where most points are left, as far as this replica knows. While
//! they have about the same, each path sticks to one of them, so that the cache stays useful. An
//! App with fewer rights than the first in the file never stands in for it. Operations that GitHub
//! ties to whoever made a thing always go by the first.

use std::cmp::Reverse;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustc_hash::FxHasher;

use crate::budget::Room;
use crate::config::Agent;
use crate::github::installations::{Installation, Kind};
use crate::github::tokens::{Access, may_as_much};
use crate::policy::authorship::is_of_one_identity;
use crate::proxy::Proxy;
use crate::proxy::classify::Call;
use crate::proxy::guard::access_of;

/// In percent: with less than this part of the best one's points, a place is not about as good.
const ABOUT_THE_SAME: i64 = 95;

impl Proxy {
    /// None if there are no candidates.
    pub(super) fn choose(
        &self,
        candidates: &[Arc<Installation>],
        agent: &Agent,
        call: &Call,
    ) -> Option<Arc<Installation>> {
        let first = candidates.first()?;
        if candidates.len() < 2 || stays(call) {
            return Some(Arc::clone(first));
        }
        let access = access_of(call);
        let candidates: Vec<&Arc<Installation>> =
            candidates.iter().filter(|one| may_stand_in(one, first, access)).collect();
        let resource = call.route.operation.resource;
        let is_write = call.is_write();
        let room = |one: &&Arc<Installation>| self.budget.room(&one.label, resource, &agent.name, is_write);
        let rooms: Vec<Room> = candidates.iter().map(room).collect();
        let best = (0..rooms.len()).min_by_key(|&place| (rooms[place].wait, Reverse(rooms[place].points)))?;
        let own = place_of(call, rooms.len());
        let is_as_good = rooms[own].wait == rooms[best].wait
            && rooms[own].points * 100 >= rooms[best].points * ABOUT_THE_SAME;
        Some(Arc::clone(candidates[if is_as_good { own } else { best }]))
    }
}

/// If it had fewer rights than the first, GitHub would refuse what the first may do.
fn may_stand_in(one: &Installation, first: &Installation, access: Access) -> bool {
    match (&one.kind, &first.kind) {
        (Kind::App(one), Kind::App(first)) => may_as_much(one, first, access),
        _ => true,
    }
}

/// The place, among `count`, that a path sticks to.
fn place_of(call: &Call, count: usize) -> usize {
    let mut hasher = FxHasher::default();
    (call.target.path(), call.target.query()).hash(&mut hasher);
    usize::try_from(hasher.finish() % count as u64).unwrap_or_default()
}

/// Whether the call has to go by the same App each time.
fn stays(call: &Call) -> bool {
    let mutations = call.graphql.as_ref().map(|graphql| graphql.mutations.as_slice()).unwrap_or_default();
    is_of_one_identity(call.route.operation)
        || mutations.iter().any(|mutation| is_of_one_identity(mutation.operation))
}
