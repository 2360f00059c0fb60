//! The machine of one register: reads a request, says what to save and what to answer.

use std::collections::BTreeMap;

use super::amnesia::Reported;
use super::configuration::{Incarnation, Lineage, Position, WitnessId};
use super::message::{Ask, WitnessAnswer, WitnessRefusal, WitnessRequest};
use super::record::WitnessRecord;

/// A compare-and-set register with one answer for everything: what holds now.
///
/// It has no clock. Two facts that need one come with the request.
///
/// | ask | does | saves |
/// |---|---|---|
/// | beat of a member | remembers how far its log is | with the next save |
/// | report | cancels proposals up to its number | if there is news |
/// | first report of a process | compares its log, too | |
/// | report, nothing known | collects; adopts the highest once nobody knows more | if it adopts |
/// | report of a later epoch | forgets its outdated record, takes another name | that |
/// | report for another witness | nothing: the answer says who this one is | |
/// | proposal for another witness | nothing: the member must report first | |
/// | proposal, number decided | nothing | |
/// | any other proposal | decides, for good | refusals, too |
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Witness {
    pub(super) record: WitnessRecord,
    /// Never used by a witness that knew something; a new name is made of it if the record turns
    /// out to be outdated.
    pub(super) spare: WitnessId,
    /// Who has told of a configuration while nothing was known.
    pub(super) reports: BTreeMap<Incarnation, Reported>,
}

/// A request, with what the loop knows about the processes that it heard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WitnessInput {
    /// The request.
    pub request: WitnessRequest,
    /// The leader of what holds was heard within the lease.
    pub leader_heard: bool,
    /// A process that was here before the asking one, of the same incarnation, was heard within
    /// the lease.
    pub other_process: bool,
}

/// What to do, in order. What follows a [`WitnessOutput::Save`] happens once that is durable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WitnessOutput {
    /// Make the record durable.
    Save(WitnessRecord),
    /// Answer the asker; it may get lost.
    Answer(WitnessAnswer),
}

impl Witness {
    /// A witness of one pair. `fresh` is an id that was never used; it counts if there is no
    /// record, or if the record turns out to be outdated.
    #[must_use]
    pub fn new(lineage: Lineage, fresh: WitnessId, record: Option<WitnessRecord>) -> Witness {
        let record = record
            .filter(|record| record.lineage == lineage && !record.history.is_empty())
            .unwrap_or_else(|| WitnessRecord::unknown(fresh, lineage));
        Witness { record, spare: fresh, reports: BTreeMap::new() }
    }

    /// What is known; [`WitnessRecord::history`] is empty while nothing is.
    #[must_use]
    pub fn record(&self) -> &WitnessRecord {
        &self.record
    }

    /// Whether it may be dropped and made anew with the same `fresh` id without a loss.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.record.history.is_empty() && self.reports.is_empty()
    }

    /// Deals with one request. A malformed one changes nothing and is not answered.
    pub fn handle(&mut self, input: WitnessInput, outputs: &mut Vec<WitnessOutput>) {
        let WitnessInput { request, leader_heard, other_process } = input;
        if request.lineage != self.record.lineage || !request.is_sound() {
            return;
        }
        let (member, process) = (request.member, request.process);
        let tells_history = !matches!(request.ask, Ask::Beat);
        let refusal = if other_process {
            Some(WitnessRefusal::SecondProcess)
        } else if matches!(request.ask, Ask::Propose { .. }) {
            self.propose(request, leader_heard, outputs)
        } else if matches!(request.ask, Ask::Report { .. }) {
            self.report(request, outputs)
        } else {
            self.beat(request)
        };
        let history = if tells_history { self.record.history.clone() } else { Vec::new() };
        outputs.push(WitnessOutput::Answer(WitnessAnswer {
            witness: self.record.witness,
            member,
            process,
            configuration: self.record.configuration().cloned(),
            history,
            answered: self.record.answered(member),
            refusal,
        }));
    }

    /// Only of a member, present or former, it matters how far it once was. A process whose report
    /// was not taken, e.g. while the one before it counted as alive, has to repeat it: no beat
    /// tells whether its log was put back.
    fn beat(&mut self, request: WitnessRequest) -> Option<WitnessRefusal> {
        let is_member = self.record.history.iter().any(|kept| kept.has(request.member));
        if is_member {
            let node = self.record.node(request.member);
            let is_newest = node.processes.last() == Some(&request.process);
            let says_much = request.position != Position::default();
            if is_newest && says_much && request.position.reaches(&node.known) {
                node.put_back = false;
            }
            let has_reported = node.processes.contains(&request.process);
            node.known.raise(&request.position);
            if !has_reported {
                return Some(WitnessRefusal::Missing { node: request.member });
            }
        }
        self.waits_for()
    }
}
