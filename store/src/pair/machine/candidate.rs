//! A follower that has promised the next epoch and waits for the witness.

use broker::witness::{Configuration, Incarnation, WitnessRefusal};

use super::super::protocol::{CommitRule, Note, Output, Standing};
use super::{Pair, Part};

impl Pair {
    /// Promises the next epoch durably, then asks for it: from here on nothing of the old one is
    /// acknowledged until the outcome is known.
    pub(super) fn become_candidate(
        &mut self,
        base: u64,
        next: Configuration,
        cosigned: bool,
        outputs: &mut Vec<Output>,
    ) {
        self.stop_timers(outputs);
        self.part = Part::Candidate;
        self.record.promised = next.epoch;
        self.propose(base, next, cosigned, outputs);
        self.commit(CommitRule::Held, outputs);
        self.become_one(Standing::Candidate, outputs);
        self.ask(outputs);
    }

    /// The leader has promised the next epoch and asks this node to take it.
    pub(super) fn take_over(&mut self, from: Incarnation, outputs: &mut Vec<Output>) {
        let Some(known) = self.record.configuration.clone() else {
            return;
        };
        let follows = matches!(self.part, Part::Following { .. });
        if follows && known.leader == from && known.has(self.setup.me) {
            let next = self.successor(&known, true);
            self.become_candidate(known.epoch, next, true, outputs);
        }
    }

    pub(super) fn candidacy_refused(
        &mut self,
        refusal: Option<WitnessRefusal>,
        outputs: &mut Vec<Output>,
    ) {
        let Some(known) = self.record.configuration.clone() else {
            return;
        };
        if refusal == Some(WitnessRefusal::LeaderAlive) {
            outputs.push(Output::Note(Note::LeaderKept));
        }
        self.lift_promise(outputs);
        self.follow(known, outputs);
    }
}
