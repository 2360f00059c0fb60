//! What the node asks of the witness, and which answers it believes.

use broker::witness::{
    Ask, Configuration, Position, ProposalNumber, Sequences, WitnessAnswer, WitnessId,
    WitnessRefusal, WitnessRequest,
};

use super::super::protocol::{Halt, Output, Stall, Standing, Timer};
use super::{Pair, Part, Proposal};

/// A process that was started again is told of its former self until the witness's lease on that
/// one is over; after so many answers it is a copied directory.
const SECOND_PROCESSES_MAX: u8 = 20;

impl Pair {
    /// An answer counts only if it is for this process and comes from the witness last reported
    /// to, after it read that report: then nothing that was asked for earlier can be granted any
    /// more, and nothing that a witness granted before it lost its record is taken for a grant.
    pub(super) fn witness_says(&mut self, answer: WitnessAnswer, outputs: &mut Vec<Output>) {
        if answer.member != self.setup.me || answer.process != self.setup.process {
            return;
        }
        if answer.refusal == Some(WitnessRefusal::SecondProcess) {
            return self.second_process(outputs);
        }
        self.second_processes = 0;
        if self.record.witness != Some(answer.witness) {
            return self.report_to(answer.witness, outputs);
        }
        if answer.answered < self.record.reported {
            return;
        }
        let me = self.setup.me;
        let is_unknown = answer.refusal == Some(WitnessRefusal::Missing { node: me });
        if is_unknown && answer.configuration.is_some() {
            return self.must_report(outputs);
        }
        let put_back = answer.refusal == Some(WitnessRefusal::PutBack { node: me });
        if put_back && !self.is_known {
            return self.halt(Halt::PutBack, outputs);
        }
        self.is_known = true;
        // A directory that was put back, with nothing lost, has used higher numbers before.
        self.record.number = self.record.number.max(answer.answered);
        self.learn_history(&answer);
        self.somebody_is_heard(outputs);
        match answer.configuration {
            Some(told) => self.witness_tells(told, answer.answered, answer.refusal, outputs),
            None => self.witness_knows_nothing(answer.answered, outputs),
        }
        self.stop_asking(outputs);
    }

    /// Nothing is asked that an answer is missing to: neither a report nor a proposal.
    pub(super) fn stop_asking(&self, outputs: &mut Vec<Output>) {
        let has_settled = !matches!(self.part, Part::Joining | Part::Halted);
        if has_settled && self.is_known && self.open.is_none() {
            outputs.push(Output::Disarm(Timer::Ask));
        }
    }

    fn witness_tells(
        &mut self,
        told: Configuration,
        answered: ProposalNumber,
        refusal: Option<WitnessRefusal>,
        outputs: &mut Vec<Output>,
    ) {
        if told.lineage != self.lineage() || !told.is_sound() {
            return;
        }
        let known = self.record.configuration.as_ref().map_or(0, |known| known.epoch);
        if told.epoch > known {
            return self.adopt(told, outputs);
        }
        if told.epoch < known {
            // A witness whose record is behind ours was put back to an earlier state, unless the
            // answer is old itself. A report makes it forget.
            if answered >= self.record.number {
                self.report_anew(outputs);
            }
            return;
        }
        let is_other = self.record.configuration.as_ref().is_some_and(|known| *known != told);
        if is_other && told.leader != self.setup.me && !self.leads() {
            // Ours was granted by a witness that lost its record before any member of it knew.
            return self.adopt(told, outputs);
        }
        if self.open.as_ref().is_some_and(|open| answered >= open.number) {
            self.open = None;
            self.refused(refusal, outputs);
        } else if self.part == Part::Joining && self.open.is_none() {
            self.settle(outputs);
        }
    }

    fn witness_knows_nothing(&mut self, answered: ProposalNumber, outputs: &mut Vec<Output>) {
        if self.part != Part::Joining {
            return;
        }
        if self.record.configuration.is_some() {
            return self.become_one(Standing::Stalled(Stall::WitnessWaits), outputs);
        }
        if self.open.as_ref().is_some_and(|open| answered >= open.number) {
            self.open = None;
        }
        self.try_to_begin(outputs);
    }

    fn second_process(&mut self, outputs: &mut Vec<Output>) {
        self.second_processes = self.second_processes.saturating_add(1);
        if self.second_processes >= SECOND_PROCESSES_MAX && self.part == Part::Joining {
            self.halt(Halt::SecondProcess, outputs);
        }
    }

    /// Nothing of what was asked for can be granted; the log may be behind what it was.
    fn refused(&mut self, refusal: Option<WitnessRefusal>, outputs: &mut Vec<Output>) {
        let me = self.setup.me;
        let put_back = refusal == Some(WitnessRefusal::PutBack { node: me })
            || refusal == Some(WitnessRefusal::BelowFloor);
        match self.part {
            Part::Candidate => self.candidacy_refused(refusal, outputs),
            Part::Leading(_) => self.change_refused(outputs),
            Part::Joining | Part::Following { .. } | Part::Halted => {}
        }
        if put_back && let Some(witness) = self.record.witness {
            // A proposal may have been overtaken by a beat; the answer to a report is certain.
            self.report_to(witness, outputs);
        }
    }

    /// The witness knows the pair, and has not taken a report of this process: a number that it has
    /// answered was another's, who used this directory before.
    fn must_report(&mut self, outputs: &mut Vec<Output>) {
        if self.is_known {
            self.report_anew(outputs);
        }
        // Else the report is repeated by the timer that was armed with it.
    }

    /// Makes the node known to a witness, which cancels all that it has asked for.
    pub(super) fn report_to(&mut self, witness: WitnessId, outputs: &mut Vec<Output>) {
        self.record.witness = Some(witness);
        self.report_anew(outputs);
    }

    pub(super) fn report_anew(&mut self, outputs: &mut Vec<Output>) {
        self.record.number = self.next_number();
        self.record.reported = self.record.number;
        self.is_known = false;
        self.save(outputs);
        self.send_report(outputs);
        outputs.push(Output::Arm(Timer::Ask));
    }

    fn next_number(&self) -> ProposalNumber {
        ProposalNumber(self.record.number.0.saturating_add(1))
    }

    /// Asks for a change; the number is durable before the question is sent. A follower promises
    /// the next epoch first.
    pub(super) fn propose(
        &mut self,
        base: u64,
        next: Configuration,
        cosigned: bool,
        outputs: &mut Vec<Output>,
    ) {
        self.record.number = self.next_number();
        let number = self.record.number;
        self.open = Some(Proposal { number, base, next, cosigned });
        self.save(outputs);
    }

    /// Sends what is open.
    pub(super) fn ask(&self, outputs: &mut Vec<Output>) {
        outputs.push(Output::Arm(Timer::Ask));
        if !self.is_known {
            return self.send_report(outputs);
        }
        let (Some(open), Some(witness)) = (&self.open, self.record.witness) else {
            return;
        };
        let ask = Ask::Propose {
            witness,
            number: open.number,
            base: open.base,
            next: open.next.clone(),
            cosigned: open.cosigned,
        };
        self.send(self.position(), ask, outputs);
    }

    pub(super) fn ask_again(&mut self, outputs: &mut Vec<Output>) {
        if self.part == Part::Joining {
            if self.standing == Standing::Joining && !self.is_known {
                self.become_one(Standing::Stalled(Stall::Witness), outputs);
            }
            if self.is_known && self.open.is_none() {
                return self.settle(outputs);
            }
        }
        if self.open.is_some() || !self.is_known {
            self.ask(outputs);
        }
    }

    fn send_report(&self, outputs: &mut Vec<Output>) {
        let ask = Ask::Report {
            witness: self.record.witness,
            configuration: self.record.configuration.clone(),
            number: self.record.reported,
            peer: self.record.peer,
        };
        self.send(self.position(), ask, outputs);
    }

    /// Says how far the log is only where that can't fall any more: a tail that disagrees with the
    /// leader's log will be cut.
    pub(super) fn beat_to_witness(&self, outputs: &mut Vec<Output>) {
        if !self.is_known {
            return;
        }
        let agrees = self.agreed > 0 && self.agreed == self.epoch();
        let position = if agrees { self.position() } else { Position::default() };
        self.send(position, Ask::Beat, outputs);
    }

    fn send(&self, position: Position, ask: Ask, outputs: &mut Vec<Output>) {
        outputs.push(Output::Witness(WitnessRequest {
            lineage: self.lineage(),
            member: self.setup.me,
            process: self.setup.process,
            position,
            ask,
        }));
    }

    /// The configuration after `known` with this node as its leader.
    pub(super) fn successor(&self, known: &Configuration, both: bool) -> Configuration {
        let me = self.setup.me;
        let members = if both { known.members.clone() } else { vec![me] };
        Configuration {
            lineage: known.lineage,
            epoch: known.epoch.saturating_add(1),
            leader: me,
            members,
            floor: self.floor_above(&known.floor),
        }
    }

    /// What every member holds, and at least what held before.
    pub(super) fn floor_above(&self, former: &Sequences) -> Sequences {
        let mut floor = former.clone();
        for (name, held) in &self.held {
            let mark = floor.entry(name.clone()).or_default();
            *mark = (*mark).max(*held);
        }
        floor
    }
}
