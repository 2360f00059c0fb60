//! A planned handover: nothing is taken in, the follower has everything, then it leads.

use super::super::protocol::{Output, PeerMessage, Standing, Timer};
use super::{Pair, Part};

/// How far a handover is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Handover {
    /// Nobody asked for one.
    #[default]
    No,
    /// No appends are taken; the follower gets the rest.
    Draining,
    /// The next epoch is promised: nothing is acknowledged until it is known who leads in it.
    Promised,
}

impl Handover {
    pub(super) fn is_promised(self) -> bool {
        self == Handover::Promised
    }
}

impl Pair {
    pub(super) fn begin_handover(&mut self, outputs: &mut Vec<Output>) {
        let (Part::Leading(reign), Some(known)) = (self.part, self.record.configuration.clone())
        else {
            return;
        };
        let is_free = reign.handover == Handover::No && self.open.is_none();
        if is_free && known.members.len() > 1 {
            self.change_reign(|reign| reign.handover = Handover::Draining);
            self.become_one(Standing::HandingOver { configuration: known }, outputs);
            outputs.push(Output::Arm(Timer::HandOver));
        }
    }

    pub(super) fn follower_drained(&mut self, outputs: &mut Vec<Output>) {
        let Part::Leading(reign) = self.part else {
            return;
        };
        if reign.handover != Handover::Draining {
            return;
        }
        self.record.promised = self.epoch().saturating_add(1);
        self.save(outputs);
        self.change_reign(|reign| reign.handover = Handover::Promised);
        let rule = self.rule_of_reign();
        self.commit(rule, outputs);
        self.ask_to_take_over(outputs);
    }

    /// Asks the follower; with every beat again, for the question may get lost.
    pub(super) fn ask_to_take_over(&self, outputs: &mut Vec<Output>) {
        if let Part::Leading(reign) = self.part
            && reign.handover.is_promised()
            && self.open.is_none()
        {
            outputs.push(Output::Peer(PeerMessage::TakeOver { epoch: self.epoch() }));
        }
    }

    /// Before the promise the leader goes on. After it the follower may have been granted the next
    /// epoch, so the leader asks for that epoch itself.
    pub(super) fn handover_takes_too_long(&mut self, outputs: &mut Vec<Output>) {
        let (Part::Leading(reign), Some(known)) = (self.part, self.record.configuration.clone())
        else {
            return;
        };
        match reign.handover {
            Handover::No => {}
            Handover::Draining => self.cancel_handover(outputs),
            Handover::Promised if self.open.is_some() => {}
            Handover::Promised => {
                let next = self.successor(&known, true);
                self.propose(known.epoch, next, false, outputs);
                self.ask(outputs);
            }
        }
    }

    pub(super) fn cancel_handover(&mut self, outputs: &mut Vec<Output>) {
        let (Part::Leading(reign), Some(known)) = (self.part, self.record.configuration.clone())
        else {
            return;
        };
        if reign.handover == Handover::Draining {
            self.change_reign(|reign| reign.handover = Handover::No);
            outputs.push(Output::Disarm(Timer::HandOver));
            self.become_one(Standing::Leading { configuration: known }, outputs);
        }
    }
}
