//! All registers of one witness, without socket, file or clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::routing::{NodeView, PairView};
use crate::witness::{
    Incarnation, Lineage, Witness, WitnessId, WitnessInput, WitnessOutput, WitnessRecord,
    WitnessRequest,
};

use super::presence::Presence;

/// One [`Witness`] for each pair, and who of the pair was heard.
///
/// What comes together is first heard, all of it, and then decided, one after the other: a leader
/// whose heartbeat stands behind the proposal to replace it was not silent.
#[derive(Debug)]
pub(super) struct Registers {
    started_at: Instant,
    lease: Duration,
    max: usize,
    /// The id under which pairs without a record are looked after.
    fresh: WitnessId,
    by_lineage: BTreeMap<Lineage, Register>,
}

#[derive(Debug)]
struct Register {
    witness: Witness,
    presence: Presence,
    heard_at: Instant,
}

impl Registers {
    /// The registers of these records; `fresh` is an id that was never used.
    pub(super) fn new(
        now: Instant,
        (lease, max): (Duration, usize),
        fresh: WitnessId,
        records: Vec<WitnessRecord>,
    ) -> Registers {
        let mut registers =
            Registers { started_at: now, lease, max, fresh, by_lineage: BTreeMap::new() };
        for record in records {
            registers.add(now, record.lineage, Some(record));
        }
        registers
    }

    fn add(&mut self, now: Instant, lineage: Lineage, record: Option<WitnessRecord>) {
        let register = Register {
            witness: Witness::new(lineage, self.fresh, record),
            presence: Presence::new(self.started_at, self.lease),
            heard_at: now,
        };
        self.by_lineage.insert(lineage, register);
    }

    /// Notes that the sender lives. Says whether there is a register for it; a new one takes the
    /// place of one of which nothing is known.
    pub(super) fn hear(&mut self, now: Instant, request: &WitnessRequest) -> bool {
        if !self.by_lineage.contains_key(&request.lineage) {
            if self.by_lineage.len() >= self.max && !self.forget_a_blank_one() {
                return false;
            }
            self.add(now, request.lineage, None);
        }
        if let Some(register) = self.by_lineage.get_mut(&request.lineage) {
            register.heard_at = now;
            register.presence.hear(now, request.member, request.process);
        }
        true
    }

    fn forget_a_blank_one(&mut self) -> bool {
        let blank = self.by_lineage.iter().filter(|(_, register)| register.witness.is_blank());
        let oldest = blank.min_by_key(|(_, register)| register.heard_at);
        let Some(lineage) = oldest.map(|(lineage, _)| *lineage) else {
            return false;
        };
        self.by_lineage.remove(&lineage);
        true
    }

    /// Deals with a request whose sender was heard; what is to be done is appended to `outputs`.
    pub(super) fn decide(
        &mut self,
        now: Instant,
        request: WitnessRequest,
        outputs: &mut Vec<WitnessOutput>,
    ) {
        let Some(Register { witness, presence, .. }) = self.by_lineage.get_mut(&request.lineage)
        else {
            return;
        };
        let leader = witness.record().configuration().map(|configuration| configuration.leader);
        let input = WitnessInput {
            leader_heard: leader.is_some_and(|leader| presence.is_heard(now, leader)),
            other_process: presence.is_second(now, request.member, request.process),
            request,
        };
        witness.handle(input, outputs);
    }

    /// Every pair of which something is known, for people.
    pub(super) fn view(&self) -> Vec<PairView> {
        let known = self.by_lineage.iter().filter(|(_, register)| !register.witness.is_blank());
        known.map(|(lineage, register)| register.view(*lineage)).collect()
    }
}

impl Register {
    fn view(&self, lineage: Lineage) -> PairView {
        let configuration = self.witness.record().configuration();
        let members = configuration.map(|held| held.members.as_slice()).unwrap_or_default();
        let node = |node: Incarnation, member: bool| NodeView {
            incarnation: node.0,
            member,
            heard_at: self.presence.heard_at(node),
        };
        let others = self.presence.heard().filter(|(heard, _)| !members.contains(heard));
        let nodes = members.iter().map(|member| node(*member, true));
        PairView {
            lineage: lineage.0,
            epoch: configuration.map(|held| held.epoch).unwrap_or_default(),
            leader: configuration.map(|held| held.leader.0),
            nodes: nodes.chain(others.map(|(other, _)| node(other, false))).collect(),
            ready: configuration.is_some(),
        }
    }
}

#[cfg(test)]
mod tests;
