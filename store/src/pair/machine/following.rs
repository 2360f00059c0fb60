//! A follower: hears its leader, suspects it, and lets its log be made to agree.

use broker::witness::{Configuration, Incarnation};

use super::super::protocol::{CommitRule, Output, PeerMessage, Stall, Standing, Timer};
use super::{Pair, Part};

impl Pair {
    pub(super) fn follow(&mut self, configuration: Configuration, outputs: &mut Vec<Output>) {
        self.stop_timers(outputs);
        self.part = Part::Following { suspected: false, voted: false };
        self.become_one(Standing::Following { configuration }, outputs);
        self.commit(CommitRule::Told, outputs);
        outputs.push(Output::Arm(Timer::Suspect));
        outputs.push(Output::Arm(Timer::Abandon));
    }

    /// The accepted peer beats in the epoch that this node knows, or told of it just now.
    pub(super) fn peer_is_alive(
        &mut self,
        from: Incarnation,
        leads: bool,
        outputs: &mut Vec<Output>,
    ) {
        match self.part {
            Part::Following { .. } if leads => self.leader_is_heard(from, outputs),
            Part::Leading(_) => self.follower_is_heard(from, outputs),
            Part::Joining | Part::Following { .. } | Part::Candidate | Part::Halted => {}
        }
    }

    fn leader_is_heard(&mut self, from: Incarnation, outputs: &mut Vec<Output>) {
        let Some(configuration) = self.record.configuration.clone() else {
            return;
        };
        if configuration.leader != from {
            return;
        }
        self.part = Part::Following { suspected: false, voted: false };
        self.become_one(Standing::Following { configuration }, outputs);
        outputs.push(Output::Arm(Timer::Suspect));
        outputs.push(Output::Arm(Timer::Abandon));
    }

    pub(super) fn suspect(&mut self, outputs: &mut Vec<Output>) {
        if let Part::Following { voted, .. } = self.part {
            self.part = Part::Following { suspected: true, voted };
            if voted {
                self.stand(outputs);
            }
        }
    }

    pub(super) fn abandon(&mut self, outputs: &mut Vec<Output>) {
        if matches!(self.part, Part::Following { .. }) {
            self.stand(outputs);
        }
    }

    /// A vote says that somebody waits for a leader. It starts an election, never decides one.
    pub(super) fn vote(&mut self, outputs: &mut Vec<Output>) {
        match self.part {
            Part::Following { suspected: true, .. } => self.stand(outputs),
            Part::Following { suspected: false, .. } => {
                self.part = Part::Following { suspected: false, voted: true };
                let epoch = self.epoch();
                outputs.push(Output::Peer(PeerMessage::Unreachable { epoch }));
            }
            Part::Joining | Part::Candidate | Part::Leading(_) | Part::Halted => {}
        }
    }

    /// Stands for leader, if it is a member.
    fn stand(&mut self, outputs: &mut Vec<Output>) {
        let Some(known) = self.record.configuration.clone() else {
            return;
        };
        if known.has(self.setup.me) {
            let next = self.successor(&known, false);
            return self.become_candidate(known.epoch, next, false, outputs);
        }
        self.become_one(Standing::Stalled(Stall::NotMember), outputs);
    }

    /// What was promised as agreeing with the leader's log falls only under a higher epoch, so the
    /// epoch is made durable first.
    pub(super) fn cutting(&mut self, epoch: u64, outputs: &mut Vec<Output>) {
        if self.follows().is_some_and(|(_, followed)| followed == epoch) {
            self.agreed = 0;
            self.raise_aligned(epoch, outputs);
            outputs.push(Output::Cut { epoch });
        }
    }

    pub(super) fn aligned(&mut self, epoch: u64, outputs: &mut Vec<Output>) {
        if self.follows().is_some_and(|(_, followed)| followed == epoch) {
            self.raise_aligned(epoch, outputs);
            self.agreed = epoch;
        }
    }

    fn raise_aligned(&mut self, epoch: u64, outputs: &mut Vec<Output>) {
        if self.record.aligned < epoch {
            self.record.aligned = epoch;
            self.save(outputs);
        }
    }
}
