//! The witness machine, request by request.

mod codec;
mod decisions;
mod memory;

use uuid::Uuid;

use super::*;

pub(super) const A: u128 = 1;
pub(super) const B: u128 = 2;
pub(super) const C: u128 = 3;

pub(super) fn node(of: u128) -> Incarnation {
    Incarnation(Uuid::from_u128(of))
}

pub(super) fn lineage() -> Lineage {
    Lineage(Uuid::from_u128(100))
}

pub(super) fn witness_id(number: u128) -> WitnessId {
    WitnessId(Uuid::from_u128(1000 + number))
}

pub(super) fn sequences(count: u64) -> Sequences {
    Sequences::from([(PartitionName("orders/0".into()), count)])
}

pub(super) fn position(aligned: u64, count: u64) -> Position {
    Position { aligned, durable: sequences(count) }
}

/// Led by the first of the members.
pub(super) fn configuration(epoch: u64, members: &[u128], floor: u64) -> Configuration {
    let leader = node(members[0]);
    let mut members: Vec<Incarnation> = members.iter().map(|of| node(*of)).collect();
    members.sort_unstable();
    Configuration { lineage: lineage(), epoch, leader, members, floor: sequences(floor) }
}

pub(super) fn request(of: u128, position: Position, ask: Ask) -> WitnessRequest {
    let process = ProcessId(Uuid::from_u128(of + 50));
    WitnessRequest { lineage: lineage(), member: node(of), process, position, ask }
}

/// A proposal by the leader of `next`, with ten events synced.
pub(super) fn proposal(number: u64, base: u64, next: Configuration) -> WitnessRequest {
    let by = next.leader;
    let number = ProposalNumber(number);
    let ask = Ask::Propose { witness: witness_id(0), number, base, next, cosigned: false };
    WitnessRequest { member: by, ..request(A, position(0, 10), ask) }
}

pub(super) fn report(
    of: u128,
    witness: u128,
    number: u64,
    known: Option<Configuration>,
) -> WitnessRequest {
    let ask = Ask::Report {
        witness: Some(witness_id(witness)),
        configuration: known,
        number: ProposalNumber(number),
        peer: None,
    };
    request(of, position(1, 10), ask)
}

/// A witness, and everything that it has saved and answered.
pub(super) struct Desk {
    pub(super) witness: Witness,
    pub(super) saved: Option<WitnessRecord>,
}

impl Desk {
    pub(super) fn blank() -> Desk {
        Desk { witness: Witness::new(lineage(), witness_id(0), None), saved: None }
    }

    /// A leads in this configuration.
    pub(super) fn holding(holds: Configuration) -> Desk {
        let mut record = WitnessRecord::unknown(witness_id(0), lineage());
        record.push(holds);
        let witness = Witness::new(lineage(), witness_id(9), Some(record.clone()));
        Desk { witness, saved: Some(record) }
    }

    pub(super) fn ask(&mut self, request: WitnessRequest) -> WitnessAnswer {
        self.hear(WitnessInput { request, leader_heard: false, other_process: false })
    }

    pub(super) fn hear(&mut self, input: WitnessInput) -> WitnessAnswer {
        let mut outputs = Vec::new();
        self.witness.handle(input, &mut outputs);
        let Some(WitnessOutput::Answer(answer)) = outputs.pop() else {
            panic!("the answer comes last");
        };
        for output in outputs {
            let WitnessOutput::Save(record) = output else {
                panic!("one answer");
            };
            self.saved = Some(record);
        }
        let told = self.witness.record().configuration();
        let saved = self.saved.as_ref().and_then(WitnessRecord::configuration);
        assert_eq!(told, saved, "what is told is durable");
        answer
    }

    pub(super) fn epoch(&self) -> u64 {
        self.witness.record().configuration().map_or(0, |holds| holds.epoch)
    }
}
