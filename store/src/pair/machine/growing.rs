//! How a leader takes a node in: it waits for the node's acknowledgements first, then asks.

use super::super::protocol::{Output, Timer};
use super::{Pair, Part};

/// Seven doublings of one second are more than the minute that is the most.
const ATTEMPT_MAX: u8 = 7;

/// How long a leader waits before it takes a node in again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Backoff {
    attempt: u8,
    /// The pair has been whole for a minute.
    is_settled: bool,
    /// The timer has run out.
    has_elapsed: bool,
}

impl Backoff {
    pub(super) fn settle(&mut self) {
        self.attempt = 0;
        self.is_settled = true;
    }

    /// The follower was given up.
    pub(super) fn membership_ended(&mut self) {
        if !self.is_settled {
            self.failed();
        }
        self.is_settled = false;
    }

    fn failed(&mut self) {
        self.attempt = (self.attempt + 1).min(ATTEMPT_MAX);
    }
}

impl Pair {
    pub(super) fn wait_to_grow(&mut self, outputs: &mut Vec<Output>) {
        self.patience.has_elapsed = false;
        outputs.push(Output::Arm(Timer::Grow { attempt: self.patience.attempt }));
    }

    pub(super) fn may_grow(&mut self) {
        self.patience.has_elapsed = self.leads();
    }

    /// The peer's log agrees and lacks little: from now on commits wait for it.
    pub(super) fn joiner_is_near(&mut self, outputs: &mut Vec<Output>) {
        let (Part::Leading(reign), Some(peer)) = (self.part, self.peer) else {
            return;
        };
        let is_alone = self.configuration().is_some_and(|known| known.members.len() == 1);
        let is_free = reign.growing.is_none() && self.open.is_none();
        // Of one that is gone it is still true that it was near.
        if is_alone && is_free && reign.hears && self.patience.has_elapsed {
            self.change_reign(|reign| reign.growing = Some(peer));
            outputs.push(Output::Arm(Timer::Silence));
            if reign.owes {
                outputs.push(Output::Arm(Timer::Patience));
            }
            let rule = self.rule_of_reign();
            self.commit(rule, outputs);
        }
    }

    /// The peer has all that was committed without it, and everything since waits for it. Its name
    /// is saved first, so that a witness without a record knows whom to ask.
    pub(super) fn joiner_caught_up(&mut self, outputs: &mut Vec<Output>) {
        let Part::Leading(reign) = self.part else {
            return;
        };
        let (Some(joiner), Some(known)) = (reign.growing, self.record.configuration.clone()) else {
            return;
        };
        if self.open.is_some() {
            return;
        }
        let mut next = self.successor(&known, false);
        next.members.push(joiner);
        next.members.sort_unstable();
        self.record.peer = Some(joiner);
        self.propose(known.epoch, next, false, outputs);
        self.ask(outputs);
    }

    /// Another peer was accepted; the old one cannot catch up any more. Once it was asked for, the
    /// leader stays bound.
    pub(super) fn joiner_is_gone(&mut self, outputs: &mut Vec<Output>) {
        if let Part::Leading(reign) = self.part
            && reign.growing.is_some_and(|joiner| self.peer != Some(joiner))
            && self.open.is_none()
        {
            self.give_up_growing(outputs);
        }
    }

    pub(super) fn give_up_growing(&mut self, outputs: &mut Vec<Output>) {
        self.change_reign(|reign| reign.growing = None);
        self.patience.failed();
        if self.record.peer.take().is_some() {
            self.save(outputs);
        }
        outputs.push(Output::Disarm(Timer::Patience));
        let rule = self.rule_of_reign();
        self.commit(rule, outputs);
        self.wait_to_grow(outputs);
    }
}
