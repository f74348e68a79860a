//! Whom a pool has seen lately, and who of them wants more than it gets.

use std::sync::Arc;

use super::super::super::command::Share;
use super::super::bookings::turn_ms;
use super::super::units::{EVICTIONS, Micro, SEEN_MS};
use super::Pool;

impl Pool {
    /// Counts an agent as seen for a minute from now, or from its booking if that is later.
    pub(in crate::budget::ledger) fn see(&mut self, share: &Share, now: i64) {
        let member = self.member_mut(&share.agent);
        let forget_at = now.max(member.booked_to) + SEEN_MS;
        let (before, weight, wants) = (member.forget_at, member.weight, member.wants);
        (member.forget_at, member.weight) = (Some(forget_at), share.weight);
        self.wanting += if wants { share.weight - weight } else { 0 };
        match before {
            Some(at) if at == forget_at => self.weights -= weight,
            Some(at) => {
                self.weights -= weight;
                self.seen.remove(&(at, Arc::clone(&share.agent)));
                self.seen.insert((forget_at, Arc::clone(&share.agent)));
            }
            None => {
                self.seen.insert((forget_at, Arc::clone(&share.agent)));
            }
        }
        self.weights += share.weight;
    }

    /// Counts an agent as seen until a minute after a time that was kept for it.
    pub(in crate::budget::ledger) fn expect(&mut self, share: &Share, at: i64, now: i64) {
        let booked_to = &mut self.member_mut(&share.agent).booked_to;
        *booked_to = (*booked_to).max(at);
        self.see(share, now);
    }

    /// Notes whether an agent wants more than it gets. One that was not seen, since its ceiling is 0, gets nothing.
    pub(in crate::budget::ledger) fn set_wants(&mut self, agent: &Arc<str>, wants: bool) {
        let member = self.member_mut(agent);
        if member.forget_at.is_some() && member.wants != wants {
            member.wants = wants;
            let weight = member.weight;
            self.wanting += if wants { weight } else { -weight };
        }
    }

    /// The weights of those who want more than they get, and of who asks. Who is served at once whenever it asks does not
    /// count, or the others would be told to come later than they could be served.
    pub(in crate::budget::ledger) fn wanting(&self, agent: &str, weight: i64) -> i64 {
        let is_among = self.members.get(agent).is_some_and(|member| member.wants);
        self.wanting + if is_among { 0 } else { weight }
    }

    pub(super) fn forget_unseen(&mut self, now: i64) {
        for _ in 0..EVICTIONS {
            match self.seen.first() {
                Some((forget_at, _)) if *forget_at <= now => {}
                _ => break,
            }
            let Some((_, agent)) = self.seen.pop_first() else { break };
            if let Some(member) = self.members.get_mut(&agent) {
                self.weights -= member.weight;
                self.wanting -= if std::mem::take(&mut member.wants) { member.weight } else { 0 };
                member.forget_at = None;
            }
        }
    }

    pub(in crate::budget::ledger) fn weights(&self) -> i64 {
        self.weights.max(1)
    }

    /// Milliseconds between two turns of an agent that need so much, by the weights of those who want turns.
    pub(in crate::budget::ledger) fn turns_apart_ms(&self, agent: &str, weight: i64, need: Micro) -> i64 {
        turn_ms(need, self.gate.rate) * self.wanting(agent, weight) / weight
    }
}
