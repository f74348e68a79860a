//! Steps as a script takes them: the keys they may touch, and MessagePack.

use std::collections::BTreeSet;

use serde::Serialize;

use super::super::command::{Admit, Call, Command, Handover, Settle, Stamp};

/// The keys that every script takes, in this order.
const COMMON: [&str; 6] = ["i", "l", "b", "x", "r", "s"];

/// Enough bytes for most steps.
const PACKED_BYTES: usize = 768;

/// The keys and arguments of one script.
#[derive(Debug)]
pub struct Request {
    pub keys: Vec<String>,
    /// What applies to all steps, then each step.
    pub arguments: Vec<Vec<u8>>,
}

/// One step of a script, and what it touches.
#[derive(Debug)]
pub struct Part {
    resources: Vec<String>,
    gates: Vec<String>,
    argument: Vec<u8>,
}

/// What a ledger can't know by itself.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// The pause of a ledger that begins with these steps, in milliseconds.
    pub pause_ms: i64,
    /// The time of the steps in epoch milliseconds, for runs in virtual time. None for the server's
    /// own time, which is the same for all replicas.
    pub now_ms: Option<i64>,
}

#[derive(Debug, Serialize)]
struct Head<'a> {
    pause_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    now_ms: Option<i64>,
    /// The resources of the `n:…` keys, in order.
    resources: &'a BTreeSet<&'a str>,
    /// The gates of the `o:…` and `e:…` keys, in order.
    gates: &'a BTreeSet<&'a str>,
}

#[derive(Debug, Serialize)]
struct Argument<'a> {
    stamp: &'a Stamp,
    command: &'a Command,
}

impl Part {
    pub fn new(call: &Call) -> Part {
        let (resources, gates) = touched(&call.command);
        let argument = Argument { stamp: &call.stamp, command: &call.command };
        Part {
            resources: resources.into_iter().map(str::to_owned).collect(),
            gates,
            argument: packed(&argument),
        }
    }
}

impl Request {
    /// A request for several steps of one installation's ledger, in their order.
    pub fn new(installation: &str, parts: Vec<Part>, frame: Frame) -> Request {
        let resources = names(parts.iter().flat_map(|part| &part.resources));
        let gates = names(parts.iter().flat_map(|part| &part.gates));
        let prefix = format!("tollgate:1:{{{installation}}}:");
        let mut keys = Vec::with_capacity(COMMON.len() + resources.len() + 2 * gates.len());
        keys.extend(COMMON.iter().map(|name| format!("{prefix}{name}")));
        keys.extend(resources.iter().map(|resource| format!("{prefix}n:{resource}")));
        for gate in &gates {
            keys.push(format!("{prefix}o:{gate}"));
            keys.push(format!("{prefix}e:{gate}"));
        }
        let Frame { pause_ms, now_ms } = frame;
        let head = packed(&Head { pause_ms, now_ms, resources: &resources, gates: &gates });
        let calls = parts.into_iter().map(|part| part.argument);
        Request { keys, arguments: std::iter::once(head).chain(calls).collect() }
    }
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> BTreeSet<&'a str> {
    names.map(String::as_str).collect()
}

/// Writes structs with field names, which the scripts rely on.
fn packed(value: &impl Serialize) -> Vec<u8> {
    let mut packed = Vec::with_capacity(PACKED_BYTES);
    let mut writer = rmp_serde::Serializer::new(&mut packed).with_struct_map();
    value.serialize(&mut writer).expect("texts and numbers can be written as MessagePack");
    packed
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
        Command::Admit(admit) => {
            let Admit { place, left_route, .. } = &**admit;
            let mut gates = fixed().to_vec();
            gates.extend([route_gate(&place.route), pool_gate(&place.resource)]);
            gates.extend(left_route.as_deref().map(route_gate));
            (vec![&*place.resource], gates)
        }
        Command::Settle(settle) => {
            let Settle { resource, figures, .. } = &**settle;
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
