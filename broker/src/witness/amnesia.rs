//! How a witness comes to know what holds after it lost its record.
//!
//! Whoever is the leader of the newest configuration saved it before it led; whoever changed it was
//! a member of the one before, or was asked to join it by its leader, who saved that name first.
//! So once every member of the highest configuration that was told, and every node that its members
//! asked to join, have told what they know, nobody can know a later one.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::configuration::{Configuration, Incarnation, WitnessId, covers};
use super::machine::{Witness, WitnessOutput};
use super::message::{Ask, WitnessRefusal, WitnessRequest};
use super::record::WitnessRecord;

/// Most nodes whose reports are collected.
const REPORTS_MAX: usize = 16;

/// What a node told while nothing was known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Reported {
    configuration: Configuration,
    peer: Option<Incarnation>,
}

impl Witness {
    /// Makes a node known, and cancels what it has asked for.
    pub(super) fn report(
        &mut self,
        request: WitnessRequest,
        outputs: &mut Vec<WitnessOutput>,
    ) -> Option<WitnessRefusal> {
        let Ask::Report { witness, configuration, number, peer } = request.ask else {
            return None;
        };
        if witness != Some(self.record.witness) {
            return Some(WitnessRefusal::Missing { node: request.member });
        }
        if let (Some(told), Some(held)) = (&configuration, self.record.configuration())
            && told.epoch > held.epoch
        {
            // Whoever was answered by the outdated record must report to somebody else.
            let anew = Uuid::new_v5(&self.spare.0, &told.epoch.to_le_bytes());
            self.record = WitnessRecord::unknown(WitnessId(anew), request.lineage);
            outputs.push(WitnessOutput::Save(self.record.clone()));
            return Some(WitnessRefusal::Missing { node: request.member });
        }
        // A member holds at least the floor, for ever.
        let held = self.record.configuration();
        let floor = held.filter(|held| held.has(request.member)).map(|held| &held.floor);
        let is_below = floor.is_some_and(|floor| !covers(&request.position.durable, floor));
        let node = self.record.node(request.member);
        let is_first = node.meets(request.process);
        if is_first {
            node.put_back = is_below || !request.position.reaches(&node.known);
        }
        let mut is_news = is_first || number > node.answered;
        node.answered = node.answered.max(number);
        let put_back = node.put_back;
        if self.record.history.is_empty() {
            if let Some(configuration) = configuration {
                self.collect(request.member, Reported { configuration, peer });
            }
            is_news = self.adopt();
        }
        if is_news && !self.record.history.is_empty() {
            outputs.push(WitnessOutput::Save(self.record.clone()));
        }
        if put_back {
            return Some(WitnessRefusal::PutBack { node: request.member });
        }
        self.waits_for()
    }

    fn collect(&mut self, node: Incarnation, reported: Reported) {
        let known = self.reports.get(&node);
        if known.is_some_and(|known| known.configuration.epoch > reported.configuration.epoch) {
            return;
        }
        if self.reports.len() >= REPORTS_MAX && !self.reports.contains_key(&node) {
            let epoch_of = |entry: &(&Incarnation, &Reported)| entry.1.configuration.epoch;
            let lowest = self.reports.iter().min_by_key(epoch_of).map(|(node, _)| *node);
            lowest.and_then(|node| self.reports.remove(&node));
        }
        self.reports.insert(node, reported);
    }

    /// Adopts the highest configuration once nobody can know a later one.
    fn adopt(&mut self) -> bool {
        if self.waits_for().is_some() {
            return false;
        }
        let Some(highest) = self.highest().cloned() else {
            return false;
        };
        self.record.push(highest);
        self.reports.clear();
        true
    }

    /// Why nothing can be decided yet.
    pub(super) fn waits_for(&self) -> Option<WitnessRefusal> {
        if !self.record.history.is_empty() {
            return None;
        }
        let Some(highest) = self.highest() else {
            return Some(WitnessRefusal::Empty);
        };
        let mut needed: BTreeSet<Incarnation> = highest.members.iter().copied().collect();
        for reported in self.reports.values() {
            if reported.configuration.epoch == highest.epoch {
                if reported.configuration != *highest {
                    return Some(WitnessRefusal::Invalid);
                }
                needed.extend(reported.peer);
            }
        }
        let missing = needed.into_iter().find(|node| !self.reports.contains_key(node));
        missing.map(|node| WitnessRefusal::Missing { node })
    }

    fn highest(&self) -> Option<&Configuration> {
        let told = self.reports.values().map(|reported| &reported.configuration);
        told.max_by_key(|configuration| configuration.epoch)
    }
}
