//! Finds the last place in which two logs agree.

use crate::pair::message::Mark;

/// A search over the places of two logs. Equal chains at a place mean equal logs up to it, so the
/// places that agree are all before those that don't.
///
/// Logs part near their ends, if at all. The search therefore begins at the end of the shorter one
/// and goes back in steps that double until both agree, then halves what is left: the number of
/// questions grows with the logarithm of what lies behind the parting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Search {
    /// Newest place that is known to agree.
    agreed: Mark,
    /// Oldest place that is known to disagree, or one behind the end of the shorter log.
    limit: u64,
    /// How far to go back next; `None` once something agreed.
    step: Option<u64>,
    /// The place in question.
    at: u64,
    ours: Known,
    theirs: Known,
}

/// What is known of one log at the place in question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Asked,
    Is(Option<Mark>),
}

/// What follows from an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The other log's mark is still missing.
    Wait,
    /// This is the place in question now: ask both.
    Ask(u64),
    /// The last place in which both logs agree.
    Found(Mark),
}

impl Search {
    /// A search in logs that end with `ours` and `theirs` (both inclusive).
    pub(super) const fn new(ours: u64, theirs: u64) -> Self {
        let end = if ours < theirs { ours } else { theirs };
        let agreed = Mark { sequence: 0, epoch: 0, chain: [0; 16] };
        let (ours, theirs) = (Known::Asked, Known::Asked);
        Self { agreed, limit: end + 1, step: Some(1), at: end, ours, theirs }
    }

    /// The place in question; or that both agree in nothing.
    pub(super) const fn first(&self) -> Step {
        match self.at {
            0 => Step::Found(self.agreed),
            at => Step::Ask(at),
        }
    }

    /// The place in question.
    pub(super) const fn at(&self) -> u64 {
        self.at
    }

    /// What our log has at a place; `None` if it does not reach there.
    pub(super) fn ours(&mut self, at: u64, mark: Option<Mark>) -> Step {
        if at == self.at {
            self.ours = Known::Is(mark);
        }
        self.step()
    }

    /// What the other log has at a place.
    pub(super) fn theirs(&mut self, at: u64, mark: Option<Mark>) -> Step {
        if at == self.at {
            self.theirs = Known::Is(mark);
        }
        self.step()
    }

    fn step(&mut self) -> Step {
        let (Known::Is(ours), Known::Is(theirs)) = (self.ours, self.theirs) else {
            return Step::Wait;
        };
        match ours.filter(|ours| theirs.is_some_and(|theirs| theirs.chain == ours.chain)) {
            Some(mark) => {
                self.agreed = mark;
                self.step = None;
            }
            None => self.limit = self.at,
        }
        let open = self.limit - self.agreed.sequence - 1;
        if open == 0 {
            return Step::Found(self.agreed);
        }
        self.at = match &mut self.step {
            Some(step) => {
                let back = (*step).min(open);
                *step = step.saturating_mul(2);
                self.limit - back
            }
            None => self.agreed.sequence + open.div_ceil(2),
        };
        (self.ours, self.theirs) = (Known::Asked, Known::Asked);
        Step::Ask(self.at)
    }
}
