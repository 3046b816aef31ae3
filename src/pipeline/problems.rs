//! All problems of now, each once, however many translations found it.

use std::collections::BTreeMap;

use rpds::HashTrieMapSync;

use crate::problem::{Level, Problem, Reason};

/// A counted set of problems. A copy costs next to nothing and does not change afterwards.
#[derive(Clone, Debug, Default)]
pub struct ProblemBook {
    /// How often each is found.
    found: HashTrieMapSync<Problem, u32>,
    counts: BTreeMap<(Reason, Level), usize>,
}

impl ProblemBook {
    /// All problems, sorted by object and field.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Problem> {
        let mut problems: Vec<_> = self.found.keys().collect();
        problems.sort_unstable();
        problems
    }

    /// How many problems there are of each reason and level; zero where there were some before.
    #[must_use]
    pub fn by_reason(&self) -> &BTreeMap<(Reason, Level), usize> {
        &self.counts
    }

    /// How many problems there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.found.size()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Takes `now` in the place of `former`, which one finder had found before. Says whether the set is another.
    pub(super) fn replace(&mut self, former: &[Problem], now: &[Problem]) -> bool {
        if former == now {
            return false;
        }
        let mut changed = false;
        for problem in now {
            if let Some(finders) = self.found.get_mut(problem) {
                *finders += 1;
                continue;
            }
            self.found.insert_mut(problem.clone(), 1);
            *self.counts.entry((problem.reason, problem.level)).or_default() += 1;
            changed = true;
        }
        for problem in former {
            match self.found.get_mut(problem) {
                Some(finders @ 2..) => *finders -= 1,
                Some(_) => {
                    self.found.remove_mut(problem);
                    if let Some(count) = self.counts.get_mut(&(problem.reason, problem.level)) {
                        *count -= 1;
                    }
                    changed = true;
                }
                None => {}
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{key::ObjectKey, problem::Level};

    fn problem(fault: &str) -> Problem {
        Problem {
            object: ObjectKey::ingress("shop", "web"),
            field: "spec".to_owned(),
            level: Level::Error,
            reason: Reason::InvalidValue,
            fault: fault.to_owned(),
            effect: String::new(),
            mend: String::new(),
        }
    }

    #[test]
    fn a_problem_stays_until_its_last_finder_no_longer_finds_it() {
        let mut book = ProblemBook::default();
        assert!(book.replace(&[], &[problem("a")]));
        assert!(!book.replace(&[], &[problem("a")]), "found twice, it is one problem");
        assert!(!book.replace(&[problem("a")], &[]));
        assert_eq!(book.len(), 1);
        assert!(book.replace(&[problem("a")], &[]));
        assert!(book.is_empty());
    }

    #[test]
    fn copies_do_not_change() {
        let mut book = ProblemBook::default();
        book.replace(&[], &[problem("a")]);
        let copy = book.clone();
        book.replace(&[problem("a")], &[problem("b")]);
        assert_eq!(copy.sorted(), [&problem("a")]);
        assert_eq!(book.sorted(), [&problem("b")]);
    }

    #[test]
    fn problems_are_counted_by_reason_and_level_down_to_zero() {
        let count = |book: &ProblemBook| book.by_reason().get(&(Reason::InvalidValue, Level::Error)).copied();
        let mut book = ProblemBook::default();
        assert_eq!(count(&book), None);
        book.replace(&[], &[problem("a"), problem("b")]);
        book.replace(&[], &[problem("a")]);
        assert_eq!(count(&book), Some(2));
        book.replace(&[problem("a"), problem("b")], &[]);
        assert_eq!(count(&book), Some(1), "the other finder still finds the first");
        book.replace(&[problem("a")], &[]);
        assert_eq!(count(&book), Some(0), "so that what was shown is shown as none");
    }
}
