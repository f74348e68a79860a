//! The scripts as Redis gets them: what several share, then the step itself.

use redis::Script;

use super::super::command::Command;

/// Where a step's time comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The server's own, one for all replicas.
    Server,
    /// The second argument, epoch milliseconds: a run in virtual time.
    Given,
}

impl Clock {
    /// The first line of every script.
    fn prelude(self) -> &'static str {
        match self {
            Clock::Server => {
                "local time = redis.call('TIME') \
                 local server_ms = time[1] * 1000 + math.floor(time[2] / 1000)\n"
            }
            Clock::Given => "local server_ms = tonumber(ARGV[2])\n",
        }
    }
}

macro_rules! lua {
    ($($name:literal),+) => { concat!($(include_str!(concat!("scripts/", $name, ".lua"))),+) };
}

/// What every step needs.
const BASE: &str =
    lua!("lib/units", "lib/hash", "lib/ring", "lib/gate", "lib/pool", "lib/lease", "lib/ledger");

/// One script for each kind of step.
#[derive(Debug)]
pub struct Scripts {
    admit: Script,
    settle: Script,
    book: Script,
    withdraw: Script,
    cancel: Script,
    renew: Script,
    heartbeat: Script,
    leave: Script,
    adopt: Script,
    look: Script,
}

impl Scripts {
    pub fn new(clock: Clock) -> Scripts {
        let script = |step: &str| Script::new(&format!("{}{BASE}{step}", clock.prelude()));
        Scripts {
            admit: script(lua!("lib/cooldown", "lib/book", "admit")),
            settle: script(lua!("lib/cooldown", "lib/correct", "settle")),
            book: script(lua!("lib/book", "book")),
            withdraw: script(lua!("withdraw")),
            cancel: script(lua!("lib/correct", "cancel")),
            renew: script(lua!("renew")),
            heartbeat: script(lua!("lib/cooldown", "lib/keep", "heartbeat")),
            leave: script(lua!("lib/keep", "leave")),
            adopt: script(lua!("adopt")),
            look: script(lua!("look")),
        }
    }

    /// The name of a step, and its script.
    pub fn of(&self, command: &Command) -> (&'static str, &Script) {
        let script = match command {
            Command::Admit(_) => &self.admit,
            Command::Settle(_) => &self.settle,
            Command::Book(_) => &self.book,
            Command::Withdraw(_) => &self.withdraw,
            Command::Cancel(_) => &self.cancel,
            Command::Renew(_) => &self.renew,
            Command::Heartbeat(_) => &self.heartbeat,
            Command::Leave(_) => &self.leave,
            Command::Adopt(_) => &self.adopt,
            Command::Look(_) => &self.look,
        };
        (command.name(), script)
    }
}
