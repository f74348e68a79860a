//! Which subjects a rule matches: a text in which `*` stands for any number of characters, including none.

/// One pattern. Case-sensitive; must match the whole subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectPattern {
    /// The parts between the stars; a single part means no star.
    parts: Vec<String>,
}

impl SubjectPattern {
    pub fn new(text: &str) -> SubjectPattern {
        SubjectPattern { parts: text.split('*').map(str::to_owned).collect() }
    }

    /// Whether the pattern lets a subject begin with anything.
    pub fn is_open(&self) -> bool {
        self.parts.len() > 1 && self.parts[0].is_empty()
    }

    pub fn matches(&self, subject: &str) -> bool {
        let [first, middle @ .., last] = self.parts.as_slice() else {
            return self.parts[0] == subject;
        };
        let Some(mut rest) = subject.strip_prefix(first.as_str()) else { return false };
        // The earliest match of each part leaves the most text for the parts after it.
        for part in middle {
            let Some(at) = rest.find(part.as_str()) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_characters_and_everything_else_is_itself() {
        for (pattern, subject, expected) in [
            ("a", "a", true),
            ("a", "A", false),
            ("a", "ab", false),
            ("a", "", false),
            ("*", "", true),
            ("*", "anything:at/all", true),
            ("a*", "a", true),
            ("a*", "ba", false),
            ("*a", "ba", true),
            ("*a", "ab", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("ab*ba", "aba", false),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*b*b", "ab", false),
            ("a**b", "ab", true),
            ("a*bc*c", "abcc", true),
            ("a*bc*c", "abc", false),
            ("system:serviceaccount:agents:reviewer-*", "system:serviceaccount:agents:reviewer-1", true),
            ("system:serviceaccount:agents:reviewer-*", "system:serviceaccount:other:reviewer-1", false),
            ("a.c", "abc", false),
            ("ü*", "üb", true),
        ] {
            assert_eq!(SubjectPattern::new(pattern).matches(subject), expected, "{pattern} {subject}");
        }
    }

    #[test]
    fn a_pattern_without_a_beginning_is_open() {
        for (pattern, expected) in [("*", true), ("*:main", true), ("a*", false), ("a", false), ("", false)] {
            assert_eq!(SubjectPattern::new(pattern).is_open(), expected, "{pattern}");
        }
    }
}
