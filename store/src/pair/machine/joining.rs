//! A node that does not know yet what holds, and how any node learns of a new configuration.

use broker::witness::Configuration;

use super::super::protocol::{CommitRule, Halt, Note, Output, Role, Stall, Standing, Timer};
use super::{Pair, Part};

impl Pair {
    pub(super) fn start(&mut self, outputs: &mut Vec<Output>) {
        outputs.push(Output::Commit(CommitRule::Held));
        outputs.push(Output::Become(Standing::Joining));
        outputs.push(Output::Arm(Timer::Beat));
        self.report_anew(outputs);
        self.beat_to_peer(outputs);
    }

    /// The witness has told what holds, and this node knew it.
    pub(super) fn settle(&mut self, outputs: &mut Vec<Output>) {
        let Some(known) = self.record.configuration.clone() else {
            return self.try_to_begin(outputs);
        };
        if known.leader != self.setup.me {
            // The report cancelled what was asked for, so the promise is over.
            self.lift_promise(outputs);
            return self.follow(known, outputs);
        }
        let next = self.successor(&known, true);
        self.propose(known.epoch, next, false, outputs);
        self.ask(outputs);
    }

    pub(super) fn lift_promise(&mut self, outputs: &mut Vec<Output>) {
        if self.record.promised > self.epoch() {
            self.record.promised = self.epoch();
            self.save(outputs);
        }
    }

    /// A pair begins when both nodes have met: with the one that has events, else the primary.
    pub(super) fn try_to_begin(&mut self, outputs: &mut Vec<Output>) {
        if self.part != Part::Joining || self.record.configuration.is_some() {
            return;
        }
        let Some(peer_has_data) = self.new_peer_has_data else {
            if self.is_known {
                self.become_one(Standing::Stalled(Stall::Peer), outputs);
            }
            return;
        };
        if self.setup.brings_data && peer_has_data {
            return self.halt(Halt::BothBringData, outputs);
        }
        let begins = self.setup.brings_data || (!peer_has_data && self.setup.role == Role::Primary);
        if !begins || !self.is_known || self.open.is_some() {
            return;
        }
        let next = Configuration {
            lineage: self.setup.lineage,
            epoch: self.setup.epoch.saturating_add(1),
            leader: self.setup.me,
            members: vec![self.setup.me],
            floor: self.held.clone(),
        };
        self.propose(0, next, false, outputs);
        self.ask(outputs);
    }

    /// The peer tells a configuration: a fact, whoever tells it.
    pub(super) fn peer_knows(&mut self, told: Configuration, outputs: &mut Vec<Output>) {
        if !told.is_sound() {
            return;
        }
        let Some(known) = &self.record.configuration else {
            return self.join_pair(told, outputs);
        };
        if told.lineage != known.lineage {
            if self.part == Part::Joining {
                self.halt(Halt::OtherLineage, outputs);
            }
        } else if told.epoch > known.epoch {
            self.adopt(told, outputs);
        }
    }

    /// A new node becomes part of a pair that exists, whose witness has not heard of it.
    fn join_pair(&mut self, told: Configuration, outputs: &mut Vec<Output>) {
        if self.setup.brings_data {
            return self.halt(Halt::BothBringData, outputs);
        }
        self.open = None;
        self.record.promised = told.epoch;
        self.record.configuration = Some(told);
        self.report_anew(outputs);
    }

    /// A configuration of a higher epoch holds.
    pub(super) fn adopt(&mut self, told: Configuration, outputs: &mut Vec<Output>) {
        let open = self.open.take();
        if told.leader == self.setup.me {
            if let Some(open) = open.filter(|open| open.next == told) {
                return self.lead(told, open.cosigned, outputs);
            }
            return self.was_made_leader(told, outputs);
        }
        let note = match self.part {
            Part::Leading(reign) if reign.handover.is_promised() => Some(Note::HandedOver),
            Part::Leading(_) => Some(Note::Deposed),
            Part::Candidate => Some(Note::LostRace),
            Part::Joining | Part::Following { .. } | Part::Halted => None,
        };
        outputs.extend(note.map(Output::Note));
        self.commit(CommitRule::Held, outputs);
        self.keep(told.clone(), outputs);
        // A directory may have been put back; only the witness can tell, so it is heard first.
        if self.is_known || self.part != Part::Joining {
            self.follow(told, outputs);
        }
    }

    /// A proposal of a former run was granted. Whatever that run promised, the next epoch is clean.
    fn was_made_leader(&mut self, told: Configuration, outputs: &mut Vec<Output>) {
        self.commit(CommitRule::Held, outputs);
        self.keep(told, outputs);
        self.stop_timers(outputs);
        self.part = Part::Joining;
        self.become_one(Standing::Joining, outputs);
        if self.is_known {
            self.settle(outputs);
        } else {
            self.ask(outputs);
        }
    }

    fn keep(&mut self, told: Configuration, outputs: &mut Vec<Output>) {
        self.record.promised = self.record.promised.max(told.epoch);
        self.record.peer = None;
        self.record.configuration = Some(told);
        self.save(outputs);
    }

    /// Stops what belongs to the former part.
    pub(super) fn stop_timers(&self, outputs: &mut Vec<Output>) {
        let timers = [
            Timer::Suspect,
            Timer::Abandon,
            Timer::Patience,
            Timer::Silence,
            Timer::Settled,
            Timer::Alone,
            Timer::HandOver,
        ];
        outputs.extend(timers.map(Output::Disarm));
    }
}
