//! What `check --online` finds, line by line.
//!
//! What is wrong is said again at the end: with thousands of agents it is one line among thousands.

use std::fmt;
use std::io::{self, Write};

use super::count;

/// The most problems that are named again at the end; where GitHub can't be reached, every line is one.
const SAID_AGAIN_MAX: usize = 100;

pub(super) struct Findings<'a> {
    out: &'a mut dyn Write,
    wrong: Vec<String>,
    not_checked: usize,
}

impl<'a> Findings<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Findings<'a> {
        Findings { out, wrong: Vec::new(), not_checked: 0 }
    }

    pub(super) fn wrong_so_far(&self) -> usize {
        self.wrong.len()
    }

    pub(super) fn say(&mut self, line: impl fmt::Display) -> io::Result<()> {
        writeln!(self.out, "{line}")
    }

    pub(super) fn wrong(&mut self, what: impl fmt::Display) -> io::Result<()> {
        self.say(format_args!("wrong: {what}"))?;
        self.wrong.push(what.to_string());
        Ok(())
    }

    /// Said below the installation's own line.
    pub(super) fn wrong_of(&mut self, label: &str, what: &str) -> io::Result<()> {
        self.wrong.push(format!("{label}: {what}"));
        self.say(format_args!("  wrong: {what}"))
    }

    pub(super) fn not_checked(&mut self, what: impl fmt::Display) -> io::Result<()> {
        self.not_checked += 1;
        self.say(format_args!("not checked: {what}"))
    }

    /// Sums up; gives how many things are wrong.
    pub(super) fn end(mut self, installations: usize, agents: usize) -> io::Result<usize> {
        let wrong = std::mem::take(&mut self.wrong);
        let asked = format!("{}, {}", count(installations, "installation"), count(agents, "agent"));
        let not_checked = match self.not_checked {
            0 => String::new(),
            number => format!(", {number} not checked"),
        };
        if wrong.is_empty() {
            self.say(format_args!("online: {asked}: nothing is wrong{not_checked}"))?;
            return Ok(0);
        }
        self.say(format_args!("online: {asked}: {}{not_checked}", count(wrong.len(), "problem")))?;
        for what in wrong.iter().take(SAID_AGAIN_MAX) {
            self.say(format_args!("wrong: {what}"))?;
        }
        if let Some(more @ 1..) = wrong.len().checked_sub(SAID_AGAIN_MAX) {
            self.say(format_args!("and {more} more, above"))?;
        }
        Ok(wrong.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(find: impl FnOnce(&mut Findings<'_>)) -> (usize, String) {
        let mut out = Vec::new();
        let mut findings = Findings::new(&mut out);
        find(&mut findings);
        let wrong = findings.end(2, 1).unwrap();
        (wrong, String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_is_wrong_is_said_again_at_the_end() {
        let said = said(|findings| {
            findings.say("bot/acme").unwrap();
            findings.wrong_of("bot/acme", "no limits").unwrap();
            findings.not_checked("agent a: acme/x").unwrap();
            findings.wrong("agent a: acme/y").unwrap();
            findings.say("agent b").unwrap();
        });
        let (found, end) = said.1.split_at(said.1.find("online:").unwrap());
        assert_eq!((said.0, found.lines().count()), (2, 5));
        assert_eq!(
            end,
            "online: 2 installations, 1 agent: 2 problems, 1 not checked\nwrong: bot/acme: no limits\n\
             wrong: agent a: acme/y\n"
        );
    }

    #[test]
    fn a_fleet_that_is_all_wrong_is_not_said_twice_over() {
        let said = said(|findings| (0..5_000).for_each(|number| findings.wrong(number).unwrap()));
        assert_eq!((said.0, said.1.lines().count()), (5_000, 5_000 + 1 + 100 + 1));
        assert!(said.1.ends_with("wrong: 99\nand 4900 more, above\n"), "{}", said.1);
    }

    #[test]
    fn that_nothing_is_wrong_is_said() {
        assert_eq!(said(|_| {}), (0, "online: 2 installations, 1 agent: nothing is wrong\n".to_owned()));
    }
}
