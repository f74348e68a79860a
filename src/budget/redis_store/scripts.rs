//! The scripts as Redis gets them: what all steps share, then the steps, then the code that runs them.

use redis::Script;

use super::super::command::Command;

macro_rules! lua {
    ($($name:literal),+) => { concat!($(include_str!(concat!("scripts/", $name, ".lua"))),+) };
}

/// What every step needs.
const BASE: &str =
    lua!("lib/units", "lib/hash", "lib/ring", "lib/gate", "lib/pool", "lib/lease", "lib/ledger");
/// The steps of calls. One script runs many of them.
const CALLS: &str = lua!(
    "lib/cooldown",
    "lib/book",
    "lib/correct",
    "admit",
    "settle",
    "book",
    "withdraw",
    "cancel",
    "renew",
    "look",
    "run"
);
const HEARTBEAT: &str = lua!("lib/cooldown", "lib/keep", "heartbeat", "run");
const LEAVE: &str = lua!("lib/keep", "leave", "run");
const ADOPT: &str = lua!("adopt", "run");

/// The scripts, by the steps they run.
#[derive(Debug)]
pub struct Scripts {
    calls: Script,
    heartbeat: Script,
    leave: Script,
    adopt: Script,
}

impl Default for Scripts {
    fn default() -> Scripts {
        let script = |steps: &str| Script::new(&format!("{BASE}{steps}"));
        Scripts {
            calls: script(CALLS),
            heartbeat: script(HEARTBEAT),
            leave: script(LEAVE),
            adopt: script(ADOPT),
        }
    }
}

impl Scripts {
    /// The script that runs any number of steps of calls.
    pub fn calls(&self) -> &Script {
        &self.calls
    }

    /// The script of a step that runs alone; none for a step of a call.
    pub fn alone(&self, command: &Command) -> Option<&Script> {
        match command {
            Command::Admit(_)
            | Command::Settle(_)
            | Command::Book(_)
            | Command::Withdraw(_)
            | Command::Cancel(_)
            | Command::Renew(_)
            | Command::Look(_) => None,
            Command::Heartbeat(_) => Some(&self.heartbeat),
            Command::Leave(_) => Some(&self.leave),
            Command::Adopt(_) => Some(&self.adopt),
        }
    }

    /// The script that runs a step.
    pub fn of(&self, command: &Command) -> &Script {
        self.alone(command).unwrap_or(&self.calls)
    }
}
