//! Stacks: ordered pull requests, each based on the branch of the one below it.
//!
//! Sources: docs.github.com, "REST API endpoints for pull request stacks"; github/gh-stack, "FAQ"
//! and "Merge API".

use crate::world::Repository;

/// A stack of pull requests.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    pub(crate) id: u64,
    /// Counts from 1 in each repository.
    pub(crate) number: u64,
    /// The branch into which the whole stack is finally merged.
    pub(crate) base_ref: String,
    /// The numbers of its pull requests, bottom first; merged ones stay.
    pub(crate) pulls: Vec<u64>,
    pub(crate) created_at: i64,
}

/// Why pull requests can't form a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StackRefusal {
    /// No pull requests have these numbers.
    Missing(Vec<u64>),
    /// It is in a stack already, or is named twice.
    Taken(u64),
}

impl Repository {
    /// The stack of a pull request and its position in it; 1 is the bottom.
    pub(crate) fn stack_of(&self, number: u64) -> Option<(&Stack, usize)> {
        self.stacks.iter().find_map(|stack| {
            let place = stack.pulls.iter().position(|member| *member == number)?;
            Some((stack, place + 1))
        })
    }

    /// Checks that these pull requests exist and are free to become a stack.
    pub(crate) fn check_stack(&self, numbers: &[u64]) -> Result<(), StackRefusal> {
        let missing: Vec<u64> =
            numbers.iter().copied().filter(|number| self.pull(*number).is_none()).collect();
        if !missing.is_empty() {
            return Err(StackRefusal::Missing(missing));
        }
        let is_taken = |(at, number): &(usize, &u64)| {
            numbers[..*at].contains(number) || self.stack_of(**number).is_some()
        };
        match numbers.iter().enumerate().find(is_taken) {
            Some((_, number)) => Err(StackRefusal::Taken(*number)),
            None => Ok(()),
        }
    }

    /// Whether each pull request is based on the head of the one before it.
    pub(crate) fn is_linear(&self, numbers: &[u64]) -> bool {
        let pull = |number: u64| self.pull(number).map(|(_, pull)| pull);
        numbers.windows(2).all(|pair| match (pull(pair[0]), pull(pair[1])) {
            (Some(below), Some(above)) => above.base_ref == below.head_ref,
            _ => false,
        })
    }

    /// Makes a stack of pull requests that were checked; returns its number.
    pub(crate) fn add_stack(&mut self, numbers: &[u64], at: i64) -> u64 {
        let bottom = numbers.first().and_then(|number| self.pull(*number));
        let base_ref = bottom.map(|(_, pull)| pull.base_ref.clone()).unwrap_or_default();
        let number = self.stacks.len() as u64 + 1;
        let stack = Stack { id: self.next_id(), number, base_ref, pulls: numbers.to_vec(), created_at: at };
        self.stacks.push(stack);
        for number in numbers {
            if let Some(issue) = self.issues.get_mut(number) {
                // A pull request shows its stack, so this changes it.
                issue.updated_at = at;
            }
        }
        number
    }

    /// The unmerged pull requests below one in its stack, bottom first.
    pub(crate) fn unmerged_below(&self, number: u64) -> Vec<u64> {
        let Some((stack, place)) = self.stack_of(number) else { return Vec::new() };
        let is_unmerged = |number: &u64| self.pull(*number).is_some_and(|(_, pull)| pull.merged_at.is_none());
        stack.pulls[..place - 1].iter().copied().filter(is_unmerged).collect()
    }

    /// Points the lowest open pull request of a stack at the stack's base, after one of the stack was merged.
    /// GitHub also rebases those above; nothing here does.
    pub(crate) fn retarget_stack(&mut self, merged: u64, at: i64) {
        let Some((stack, _)) = self.stack_of(merged) else { return };
        let base_ref = stack.base_ref.clone();
        let is_open = |number: &u64| self.issues.get(number).is_some_and(|issue| issue.is_open);
        let Some(lowest) = stack.pulls.iter().copied().find(is_open) else { return };
        let Some(issue) = self.issues.get_mut(&lowest) else { return };
        if let Some(pull) = issue.pull.as_mut().filter(|pull| pull.base_ref != base_ref) {
            pull.base_ref = base_ref;
            issue.updated_at = at;
        }
    }
}
