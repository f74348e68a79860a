//! What is wrong with a configuration: every problem at once, each with the place it stands at.
//!
//! Messages name keys, files and variables but never repeat a value that could be a secret: they
//! end up in logs and in terminals that others see.

use std::fmt;

/// Whether a problem keeps the configuration from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

/// One thing to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `agents[1].weight`; the name of a file or variable when it is not about a key of the file.
    pub path: String,
    /// Counted from 1; none without a file.
    pub line: Option<u32>,
    pub message: String,
    pub severity: Severity,
}

impl Problem {
    pub(super) fn error(path: impl Into<String>, line: Option<u32>, message: impl Into<String>) -> Problem {
        Problem { path: path.into(), line, message: message.into(), severity: Severity::Error }
    }
}

impl Problem {
    /// Without its severity, for a log that has a level.
    pub fn plain(&self) -> String {
        Problem { severity: Severity::Error, ..self.clone() }.to_string()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        match (Escaped(&self.path), self.line) {
            (Escaped(""), None) => {}
            (Escaped(""), Some(line)) => write!(f, "line {line}: ")?,
            (path, None) => write!(f, "{path}: ")?,
            (path, Some(line)) => write!(f, "{path}, line {line}: ")?,
        }
        write!(f, "{}", Escaped(&self.message))
    }
}

/// Text of the file or the environment, which must not steer a terminal.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.split_inclusive(char::is_control) {
            let plain = part.trim_end_matches(char::is_control);
            write!(f, "{plain}{}", part[plain.len()..].escape_debug())?;
        }
        Ok(())
    }
}

/// Nobody mends more at once, and a list that grows without bound would be slow to keep in order.
const PROBLEMS_MAX: usize = 500;

/// All that was found in one configuration, in the order of its lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|problem| problem.severity == Severity::Error)
    }

    pub fn count(&self, severity: Severity) -> usize {
        self.list.iter().filter(|problem| problem.severity == severity).count()
    }

    /// Keeps the list sorted by line; of two problems at one line the first found stays first.
    pub(super) fn push(&mut self, problem: Problem) {
        if self.list.len() > PROBLEMS_MAX || self.list.contains(&problem) {
            return;
        }
        // An error even where all before it are warnings: one that is dropped here must not pass.
        let problem = if self.list.len() == PROBLEMS_MAX {
            Problem::error("", None, format!("more than {PROBLEMS_MAX} problems; the rest is not shown"))
        } else {
            problem
        };
        let place = self.list.partition_point(|other| other.line <= problem.line);
        self.list.insert(place, problem);
    }

    /// Says the same of other names: what a file calls a key has another name without one.
    pub(super) fn rename_paths(&mut self, name: impl Fn(&str) -> String) {
        for problem in &mut self.list {
            problem.path = name(&problem.path);
        }
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Problems {
        Problems { list: vec![problem] }
    }
}

/// One problem a line.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.list.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_bounded_and_then_an_error() {
        let mut problems = Problems::default();
        for line in 0..1000 {
            problems.push(Problem {
                severity: Severity::Warning,
                ..Problem::error("retry", Some(line), "is idle")
            });
        }
        assert_eq!(problems.iter().count(), PROBLEMS_MAX + 1);
        assert!(problems.has_errors());
    }

    #[test]
    fn nothing_in_it_steers_a_terminal() {
        let problem = Problem::error("a\u{1b}[2J", None, "`x\r\ny\u{9b}` \u{7f}can't be read \u{7}");
        let shown = r"a\u{1b}[2J: `x\r\ny\u{9b}` \u{7f}can't be read \u{7}";
        assert_eq!(problem.to_string(), shown);
        let warning = Problem { severity: Severity::Warning, ..problem };
        assert_eq!(warning.to_string(), format!("warning: {shown}"));
        assert_eq!(warning.plain(), shown, "a log has the level");
    }

    #[test]
    fn prints_one_line_each_in_the_order_of_the_file() {
        let mut problems = Problems::default();
        problems.push(Problem::error("agents[1].weight", Some(8), "is too much"));
        problems.push(Problem { severity: Severity::Warning, ..Problem::error("retry", Some(3), "is idle") });
        problems.push(Problem::error("", Some(8), "ends early"));
        problems.push(Problem::error("GITHUB_TOKEN", None, "is not set"));
        assert_eq!(
            problems.to_string(),
            "GITHUB_TOKEN: is not set\n\
             warning: retry, line 3: is idle\n\
             agents[1].weight, line 8: is too much\n\
             line 8: ends early"
        );
        assert!(problems.has_errors());
        assert_eq!(problems.count(Severity::Warning), 1);
    }
}
