//! The rules of the protocol, each of which can be undone around the shipped machines.

use broker::witness::{
    Ask, Configuration, Incarnation, ProposalNumber, Witness, WitnessRecord, WitnessRequest,
};

use super::world::{World, sequences};
use crate::pair::protocol::{Input, PeerMessage};

/// Which rule is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// None: the protocol as it is.
    None,
    /// R1: the leader acknowledges what it has synced, whatever its follower has.
    Acknowledge,
    /// R2: events and acknowledgements of another epoch count as if they were of this one.
    Follow,
    /// R3: a leader that has asked for a change commits by the new rule before it is granted.
    Promise,
    /// R4: whoever asks is a member, and everybody is told so.
    Eligibility,
    /// R5: the witness decides from what held before.
    OneSuccessor,
    /// Floor and known positions: whoever asks tells of a longer log than it has.
    Floor,
    /// R3, the other half: a follower that has asked still acknowledges to its former leader.
    Silence,
    /// Proposal numbers: an old proposal has a new number.
    Numbers,
}

impl Rule {
    /// What the witness is given instead: another request, another register.
    pub fn before_witness(
        self,
        request: WitnessRequest,
        witness: &Witness,
        world: &World,
    ) -> (WitnessRequest, Option<WitnessRecord>) {
        let mut request = request;
        let mut register = None;
        match self {
            Rule::Eligibility => register = with_member(&request, witness),
            Rule::OneSuccessor => register = earlier(&request, world),
            Rule::Floor => request.position.durable = sequences(1000),
            Rule::Numbers => {
                let answered = answered(&request, witness);
                if let Ask::Propose { number, .. } = &mut request.ask {
                    *number = ProposalNumber(answered.0 + 1).max(*number);
                }
            }
            Rule::None | Rule::Acknowledge | Rule::Follow | Rule::Promise | Rule::Silence => {}
        }
        (request, register)
    }

    /// What a node is given instead.
    pub fn before_node(self, input: Input, me: Incarnation) -> Input {
        if self == Rule::Eligibility { with_me(input, me) } else { input }
    }
}

/// Tells the node that it is a member of whatever it hears of.
fn with_me(input: Input, me: Incarnation) -> Input {
    let mut input = input;
    let told = match &mut input {
        Input::Witness(answer) => answer.configuration.as_mut(),
        Input::Peer { message: PeerMessage::Beat { configuration, .. }, .. } => {
            configuration.as_mut()
        }
        _ => None,
    };
    if let Some(told) = told {
        join(told, me);
    }
    input
}

fn answered(request: &WitnessRequest, witness: &Witness) -> ProposalNumber {
    let node = witness.record().nodes.get(&request.member);
    node.map(|node| node.answered).unwrap_or_default()
}

/// A register in which the asker is a member, if it asks to replace what holds.
fn with_member(request: &WitnessRequest, witness: &Witness) -> Option<WitnessRecord> {
    let mut record = witness.record().clone();
    let holds = record.history.last_mut()?;
    match &request.ask {
        Ask::Propose { base, .. } if *base == holds.epoch && !holds.has(request.member) => {
            join(holds, request.member);
            Some(record)
        }
        _ => None,
    }
}

fn join(configuration: &mut Configuration, node: Incarnation) {
    if !configuration.has(node) {
        configuration.members.truncate(1);
        configuration.members.push(node);
        configuration.members.sort_unstable();
    }
}

fn earlier(request: &WitnessRequest, world: &World) -> Option<WitnessRecord> {
    let Ask::Propose { base, .. } = &request.ask else {
        return None;
    };
    let former = world.former.as_ref()?;
    (former.configuration()?.epoch == *base).then(|| WitnessRecord::clone(former))
}
