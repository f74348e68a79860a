//! A call as its script takes it: the keys it may touch, and one JSON object.

use std::collections::BTreeSet;

use serde::Serialize;

use super::super::command::{Admit, Call, Command, Handover, Settle, Stamp};

/// Keys of every call, in the scripts' order.
const COMMON: [&str; 6] = ["i", "l", "b", "x", "r", "s"];

/// Keys and argument of one step.
#[derive(Debug)]
pub struct Request {
    pub keys: Vec<String>,
    pub argument: String,
}

#[derive(Debug, Serialize)]
struct Argument<'a> {
    stamp: &'a Stamp,
    /// Given to a ledger that begins with this step.
    pause_ms: i64,
    /// Behind the keys `n:…`.
    resources: &'a [&'a str],
    /// Behind the keys `o:…` and `e:…`.
    gates: &'a [String],
    command: &'a Command,
}

impl Request {
    pub fn new(installation: &str, call: &Call, pause_ms: i64) -> Request {
        let (resources, gates) = touched(&call.command);
        let prefix = format!("tollgate:1:{{{installation}}}:");
        let mut keys: Vec<String> = COMMON.iter().map(|name| format!("{prefix}{name}")).collect();
        keys.extend(resources.iter().map(|resource| format!("{prefix}n:{resource}")));
        for gate in &gates {
            keys.push(format!("{prefix}o:{gate}"));
            keys.push(format!("{prefix}e:{gate}"));
        }
        let argument = Argument {
            stamp: &call.stamp,
            pause_ms,
            resources: &resources,
            gates: &gates,
            command: &call.command,
        };
        let argument = serde_json::to_string(&argument).expect("texts and numbers can be written as JSON");
        Request { keys, argument }
    }
}

fn pool_gate(resource: &str) -> String {
    format!("pool:{resource}")
}

fn route_gate(route: &str) -> String {
    format!("route:{route}")
}

/// The resources and gates whose sorted sets a step may touch.
fn touched(command: &Command) -> (Vec<&str>, Vec<String>) {
    let fixed = || ["content".to_owned(), "installation".to_owned()];
    match command {
        Command::Admit(Admit { place, left_route, .. }) => {
            let mut gates = fixed().to_vec();
            gates.extend([route_gate(&place.route), pool_gate(&place.resource)]);
            gates.extend(left_route.as_deref().map(route_gate));
            (vec![&*place.resource], gates)
        }
        Command::Settle(Settle { resource, figures, .. }) => {
            let told = figures.as_ref().map(|figures| &*figures.resource);
            let mut resources = vec![&**resource];
            resources.extend(told.filter(|told| *told != &**resource));
            (resources, vec![pool_gate(resource)])
        }
        Command::Book(book) => (vec![&*book.resource], vec![pool_gate(&book.resource)]),
        Command::Look(look) => (vec![&*look.resource], vec![pool_gate(&look.resource)]),
        Command::Withdraw(place) => {
            let mut gates = fixed().to_vec();
            gates.extend([route_gate(&place.route), pool_gate(&place.resource)]);
            (Vec::new(), gates)
        }
        Command::Cancel(cancel) => (vec![&*cancel.resource], Vec::new()),
        Command::Renew(_) => (Vec::new(), Vec::new()),
        Command::Heartbeat(known) | Command::Leave(known) => {
            (known.resources.iter().map(|resource| &**resource).collect(), Vec::new())
        }
        Command::Adopt(handover) => adopted(handover),
    }
}

fn adopted(handover: &Handover) -> (Vec<&str>, Vec<String>) {
    let resources: BTreeSet<&str> = handover
        .pools
        .iter()
        .map(|pool| &*pool.resource)
        .chain(handover.leases.iter().map(|lease| &*lease.resource))
        .chain(handover.spent.iter().map(|spent| &*spent.resource))
        .collect();
    let gates = handover.sent.routes.iter().map(|(route, _)| route_gate(route)).collect();
    (resources.into_iter().collect(), gates)
}
