//! Whether a proposal is granted.

use super::configuration::{Configuration, Incarnation, Position, covers};
use super::machine::{Witness, WitnessOutput};
use super::message::{Ask, WitnessRefusal, WitnessRequest};

/// A proposal whose number is new.
struct Proposal<'a> {
    by: Incarnation,
    position: &'a Position,
    base: u64,
    next: &'a Configuration,
    /// The leader agrees, or makes the proposal, or is silent.
    leader_yields: bool,
}

impl Witness {
    /// Decides a proposal, for good, if its number is new.
    pub(super) fn propose(
        &mut self,
        request: WitnessRequest,
        leader_heard: bool,
        outputs: &mut Vec<WitnessOutput>,
    ) -> Option<WitnessRefusal> {
        let Ask::Propose { witness, number, base, next, cosigned } = request.ask else {
            return None;
        };
        let by = request.member;
        if witness != self.record.witness {
            return Some(WitnessRefusal::Missing { node: by });
        }
        if number <= self.record.answered(by) {
            return self.waits_for();
        }
        let position = &request.position;
        let leader_yields = cosigned || !leader_heard;
        let proposal = Proposal { by, position, base, next: &next, leader_yields };
        let refusal = self.refusal(&proposal);
        if refusal.is_none() {
            self.record.push(next);
        }
        let node = self.record.node(by);
        node.answered = number;
        if refusal.is_none() {
            node.known.raise(&request.position);
        }
        if !self.record.history.is_empty() {
            outputs.push(WitnessOutput::Save(self.record.clone()));
        }
        refusal
    }

    fn refusal(&self, proposal: &Proposal) -> Option<WitnessRefusal> {
        let Some(current) = self.record.configuration() else {
            return self.refusal_to_begin(proposal);
        };
        let Proposal { by, position, base, next, leader_yields } = *proposal;
        let leads = by == current.leader;
        let may_join = |member: &Incarnation| leads || current.has(*member);
        if base != current.epoch {
            return Some(WitnessRefusal::Lost);
        }
        if Some(next.epoch) != base.checked_add(1)
            || next.leader != by
            || !covers(&next.floor, &current.floor)
        {
            return Some(WitnessRefusal::Invalid);
        }
        if !current.has(by) {
            return Some(WitnessRefusal::NotMember);
        }
        if !next.members.iter().all(may_join) {
            return Some(WitnessRefusal::Invalid);
        }
        if !leads && !leader_yields {
            return Some(WitnessRefusal::LeaderAlive);
        }
        if !covers(&position.durable, &next.floor) {
            return Some(WitnessRefusal::BelowFloor);
        }
        let nodes = &self.record.nodes;
        if nodes.get(&by).is_some_and(|node| !position.reaches(&node.known)) {
            return Some(WitnessRefusal::PutBack { node: by });
        }
        let joiners = next.members.iter().filter(|member| !current.has(**member));
        let mut put_back = joiners.filter(|node| nodes.get(node).is_some_and(|it| it.put_back));
        put_back.next().map(|node| WitnessRefusal::PutBack { node: *node })
    }

    /// A pair begins with one member that has met the other one. Where a configuration was told
    /// of, the pair has begun long ago.
    fn refusal_to_begin(&self, proposal: &Proposal) -> Option<WitnessRefusal> {
        if proposal.base > 0 || !self.reports.is_empty() {
            return self.waits_for();
        }
        let begins = proposal.next.leader == proposal.by && proposal.next.members.len() == 1;
        (!begins).then_some(WitnessRefusal::Invalid)
    }
}
