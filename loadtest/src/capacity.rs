//! What the shared store takes: memory, commands and CPU of a real `redis-server`, for fleets of a
//! given shape.
//!
//! Each agent makes a few calls over its routes, some stay in flight; then Redis is asked what it holds
//! and what it did. Time is the server's own, so rates are what they are in service.

use std::io::Write;
use std::sync::Arc;

use anyhow::Context as _;
use comfy_table::Table;
use tollgate::budget::Secondary;
use tollgate::budget::command::{
    Admit, Call, Caps, Command, Figures, Known, LeaseId, Outcome, Place, Settle, Share, Stamp,
};
use tollgate::budget::redis_store::{Frame, Part, Request, Scripts, read, replies};

use crate::scenarios::redis_server::Server;

/// Fleets that are measured: installations, and agents in each.
const FLEETS: [(u64, u64); 3] = [(1_000, 10), (1, 10_000), (100, 10)];
/// Calls of each agent, and how many routes they go over.
const CALLS: u64 = 4;
const ROUTES: u64 = 5;
/// Calls of an installation in flight together.
const IN_FLIGHT: usize = 40;
/// Replicas that send heartbeats.
const REPLICAS: u64 = 3;

/// One fleet's figures.
struct Row {
    installations: u64,
    agents: u64,
    bytes: u64,
    keys: u64,
    commands_per_step: f64,
    admit_us: f64,
    settle_us: f64,
    heartbeat_us: f64,
}

/// Measures and prints a table.
///
/// # Errors
/// When there is no `redis-server`, or it does not do what it should.
pub(crate) fn run(mut out: impl Write) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.set_header([
        "installations",
        "agents each",
        "MiB",
        "KiB an installation",
        "KiB an agent",
        "keys",
        "commands a step",
        "µs of Redis an admit",
        "µs a settle",
        "µs a heartbeat",
    ]);
    for (installations, agents) in FLEETS {
        writeln!(out, "{installations} installations, {agents} agents each …")?;
        let row = Fleet::start(installations, agents)?.measure()?;
        let kib = row.bytes as f64 / 1024.0;
        let all = (row.installations * row.agents) as f64;
        table.add_row([
            row.installations.to_string(),
            row.agents.to_string(),
            format!("{:.1}", kib / 1024.0),
            format!("{:.1}", kib / row.installations as f64),
            format!("{:.2}", kib / all),
            row.keys.to_string(),
            format!("{:.1}", row.commands_per_step),
            format!("{:.0}", row.admit_us),
            format!("{:.0}", row.settle_us),
            format!("{:.0}", row.heartbeat_us),
        ]);
    }
    writeln!(out, "{table}")?;
    Ok(())
}

/// A fleet at a Redis of its own.
struct Fleet {
    _server: Server,
    connection: redis::Connection,
    scripts: Scripts,
    installations: u64,
    agents: u64,
    numbers: u64,
}

impl Fleet {
    fn start(installations: u64, agents: u64) -> anyhow::Result<Fleet> {
        let server = Server::start()?;
        let connection = server.connect()?;
        let scripts = Scripts::default();
        Ok(Fleet { _server: server, connection, scripts, installations, agents, numbers: 0 })
    }

    fn measure(mut self) -> anyhow::Result<Row> {
        let empty = self.info("memory", "used_memory:")?;
        let (mut admit_us, mut settle_us) = (0, 0);
        for round in 0..CALLS {
            for installation in 0..self.installations {
                for first in (0..self.agents).step_by(IN_FLIGHT) {
                    let agents = first..self.agents.min(first + IN_FLIGHT as u64);
                    let from = self.script_us()?;
                    let admitted =
                        agents.map(|agent| self.admit(installation, agent, (agent + round) % ROUTES));
                    let open = admitted.collect::<anyhow::Result<Vec<_>>>()?;
                    let between = self.script_us()?;
                    open.into_iter().try_for_each(|call| self.settle(call))?;
                    admit_us += between - from;
                    settle_us += self.script_us()? - between;
                }
            }
        }
        let admits = (CALLS * self.installations * self.agents) as f64;
        let commands = self.commands()?;
        let beat_from = self.script_us()?;
        for installation in 0..self.installations {
            for replica in 0..REPLICAS {
                let known = Known { resources: vec!["core".into()] };
                self.step(installation, replica, Command::Heartbeat(known))?;
            }
        }
        let beats = (self.installations * REPLICAS) as f64;
        let heartbeat_us = (self.script_us()? - beat_from) as f64 / beats;
        Ok(Row {
            installations: self.installations,
            agents: self.agents,
            bytes: self.info("memory", "used_memory:")? - empty,
            keys: redis::cmd("DBSIZE").query(&mut self.connection)?,
            commands_per_step: commands as f64 / (2.0 * admits),
            admit_us: admit_us as f64 / admits,
            settle_us: settle_us as f64 / admits,
            heartbeat_us,
        })
    }

    fn admit(&mut self, installation: u64, agent: u64, route: u64) -> anyhow::Result<(u64, Admit)> {
        self.numbers += 1;
        let name: Arc<str> = format!("agent-{agent}").into();
        let admit = Admit {
            lease: LeaseId { replica: self.numbers % REPLICAS, number: self.numbers },
            share: Share { agent: name, weight: 1, guarantee: 0, ceiling: None, guarantees: 0 },
            place: Place {
                resource: "core".into(),
                head: format!("agent-{agent}/core/r/0").into(),
                route: format!("GET /repos/{{owner}}/{{repo}}/things/{route}").into(),
            },
            left_route: None,
            is_write: false,
            is_graphql: false,
            price: Some(1),
            points: 1,
            creates_content: false,
            repository: None,
            is_interactive: false,
            patience_ms: 60_000,
            random: 0,
            // So that as many go as are measured, whatever the limits.
            is_observing: true,
        };
        let outcome = self.step(installation, 0, Command::Admit(admit.clone().into()))?;
        anyhow::ensure!(matches!(outcome, Outcome::Granted { .. }), "not granted: {outcome:?}");
        Ok((installation, admit))
    }

    fn settle(&mut self, (installation, admit): (u64, Admit)) -> anyhow::Result<()> {
        let figures = Figures {
            resource: "core".into(),
            limit: 15_000,
            used: i64::try_from(self.numbers % 15_000)?,
            reset_in_ms: 3_000_000,
        };
        let settle = Settle {
            lease: admit.lease,
            share: admit.share,
            resource: admit.place.resource,
            route: admit.place.route,
            cost: Some(1),
            figures: Some(figures),
            is_success: true,
            elapsed_ms: 120,
            refused: None,
            has_ended: true,
        };
        self.step(installation, 0, Command::Settle(settle.into())).map(|_| ())
    }

    fn step(&mut self, installation: u64, replica: u64, command: Command) -> anyhow::Result<Outcome> {
        let caps = Caps::new(0, Secondary::default());
        let stamp = Stamp { replica, last_reply: None, caps, ended: Vec::new() };
        let call = Call { stamp, command };
        let frame = Frame { pause_ms: 0, now_ms: None };
        let request = Request::new(&format!("bot/account-{installation}"), vec![Part::new(&call)], frame);
        let mut invocation = self.scripts.of(&call.command).arg(request.arguments);
        let value: redis::Value = invocation.key(request.keys).invoke(&mut self.connection)?;
        Ok(read(&replies(value, 1)?[0], &call.command)?.outcome)
    }

    fn text(&mut self, section: &str) -> anyhow::Result<String> {
        Ok(redis::cmd("INFO").arg(section).query(&mut self.connection)?)
    }

    fn info(&mut self, section: &str, field: &str) -> anyhow::Result<u64> {
        let text = self.text(section)?;
        let value = text.lines().find_map(|line| line.strip_prefix(field)).context("INFO lacks a field")?;
        Ok(value.trim().parse()?)
    }

    /// Time in scripts, µs, as Redis counts it.
    fn script_us(&mut self) -> anyhow::Result<u64> {
        let text = self.text("commandstats")?;
        let line = text.lines().find(|line| line.starts_with("cmdstat_evalsha:")).unwrap_or_default();
        let used = line.split("usec=").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or("0");
        Ok(used.parse()?)
    }

    /// Commands run so far, those within scripts with them.
    fn commands(&mut self) -> anyhow::Result<u64> {
        let text = self.text("commandstats")?;
        let calls = |line: &str| -> Option<u64> {
            let name = line.strip_prefix("cmdstat_")?.split(':').next()?;
            let is_ours = !matches!(name, "info" | "ping" | "evalsha" | "client|setinfo" | "script|load");
            let count = line.split("calls=").nth(1)?.split(',').next()?.parse().ok()?;
            is_ours.then_some(count)
        };
        Ok(text.lines().filter_map(calls).sum())
    }
}
