//! A call at the gates: content, route, installation, pool, in this order.

use super::super::super::command::{Admit, Caps, GateKind, Reason};
use super::super::Ledger;
use super::super::gate::{Ask, Gate, Test, Window};
use super::super::lease::Asked;
use super::super::units::U;
use super::Held;
use super::weigh::Weighed;

impl Ledger {
    pub(super) fn ask_gates(
        &mut self,
        admit: &Admit,
        weighed: &mut Weighed,
        caps: &Caps,
        now: i64,
    ) -> Result<(), Held> {
        for (place, kind) in GateKind::ORDER.into_iter().enumerate() {
            if !weighed.asked.has(kind) {
                continue;
            }
            let ask = self.ask(kind, admit, weighed);
            let test = self.gate(kind, admit).test(&ask);
            let slots = match kind {
                GateKind::Installation => self.slots_missing(&test, admit, caps, now),
                _ => 0,
            };
            if test.short <= 0 && slots <= 0 {
                continue;
            }
            let mut wait_ms = test.wait_ms.max((slots * 100).min(2_000)).max(1);
            if kind == GateKind::Pool && weighed.guarantee > 0 && !weighed.is_due {
                wait_ms = wait_ms.min(self.member(admit).guaranteed_to - now + 1);
            }
            for later in &GateKind::ORDER[place + 1..] {
                self.gate(*later, admit).leave(&admit.place.head);
            }
            return Err(Held { wait_ms, reason: Reason::Turn(kind), gate: Some(kind) });
        }
        Ok(())
    }

    /// How many slots are missing for this head and those before it. A tenth is left to light heads.
    ///
    /// An agent with less than its share of the slots may use the last tenth, too. So an agent
    /// whose calls take long, or that reads its answers slowly, can hold slots that others need,
    /// but not all of them.
    fn slots_missing(&self, test: &Test, admit: &Admit, caps: &Caps, now: i64) -> i64 {
        let slots = self.slots(caps, now);
        let own = self.leases.of_agent(&admit.share.agent);
        let is_under = own * self.pool_of(admit).weights() < slots * admit.share.weight;
        let usable = if test.is_light || is_under { slots } else { slots - slots / 10 };
        1 + test.ahead - (usable - self.leases.count())
    }

    pub(super) fn ask<'a>(&self, kind: GateKind, admit: &'a Admit, weighed: &Weighed) -> Ask<'a> {
        let weight = admit.share.weight;
        let (charge, need, express) = match kind {
            GateKind::Content => (U / weight, U, 0),
            GateKind::Route | GateKind::Installation => {
                (weighed.units / weight, admit.points * U, self.pool_of(admit).express())
            }
            GateKind::Pool => (weighed.units / weight, weighed.price * U, self.pool_of(admit).express()),
        };
        Ask {
            agent: &admit.share.agent,
            head: &admit.place.head,
            weight,
            charge,
            need,
            is_interactive: admit.is_interactive,
            is_due: weighed.is_due && kind == GateKind::Pool,
            express,
            least_ms: weighed.ceiling_apart_ms(),
            most_ms: match kind {
                GateKind::Pool => weighed.guaranteed_apart_ms(),
                _ => i64::MAX,
            },
            window: match kind {
                GateKind::Pool => self.pool_of(admit).as_window(weighed.now),
                _ => Window::ENDLESS,
            },
            wanting: (kind == GateKind::Pool)
                .then(|| self.pool_of(admit).wanting(&admit.share.agent, weight)),
            now: weighed.now,
        }
    }

    pub(super) fn gate(&mut self, kind: GateKind, admit: &Admit) -> &mut Gate {
        match kind {
            GateKind::Content => &mut self.content,
            GateKind::Installation => &mut self.installation,
            GateKind::Route => {
                &mut self.routes.get_mut(&admit.place.route).expect("the route was prepared").gate
            }
            GateKind::Pool => {
                &mut self.pools.get_mut(&admit.place.resource).expect("the pool was prepared").gate
            }
        }
    }

    /// Leaves every gate.
    pub(super) fn leave_all(&mut self, admit: &Admit) {
        for kind in GateKind::ORDER {
            self.gate(kind, admit).leave(&admit.place.head);
        }
    }
}

impl Asked {
    pub(super) fn has(self, kind: GateKind) -> bool {
        match kind {
            GateKind::Content => self.content,
            GateKind::Route => self.route,
            GateKind::Installation => self.installation,
            GateKind::Pool => self.pool,
        }
    }
}
