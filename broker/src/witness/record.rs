//! What a witness must not forget of one pair.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::configuration::{
    Configuration, Incarnation, Lineage, Position, ProcessId, ProposalNumber, WitnessId,
};

/// Most configurations that are kept, the one that holds among them.
pub const HISTORY_MAX: usize = 16;
/// Most nodes that are remembered in one register; members of what is kept always are.
pub const NODES_MAX: usize = 64;
/// Most processes that are remembered of one node.
pub const PROCESSES_MAX: usize = 4;

/// The register of one pair. It is durable before anybody is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WitnessRecord {
    /// The witness that made it.
    pub witness: WitnessId,
    /// The history of the pair.
    pub lineage: Lineage,
    /// Configurations, oldest first; the last one holds. Empty while nothing is known.
    pub history: Vec<Configuration>,
    /// What is known of each node.
    pub nodes: BTreeMap<Incarnation, NodeRecord>,
}

/// What is known of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Highest number that is decided or cancelled (inclusive).
    pub answered: ProposalNumber,
    /// How far its log once was.
    pub known: Position,
    /// The first report of its newest process was behind that, or below the floor.
    pub put_back: bool,
    /// Its newest processes that have reported, newest last. A directory is put back while none
    /// uses it, so only a process's first report can tell; a later one may be a late copy, older
    /// than what the same process said since.
    pub processes: Vec<ProcessId>,
}

impl NodeRecord {
    /// A process reports; whether it does so for the first time.
    pub(super) fn meets(&mut self, process: ProcessId) -> bool {
        if self.processes.contains(&process) {
            return false;
        }
        if self.processes.len() >= PROCESSES_MAX {
            self.processes.remove(0);
        }
        self.processes.push(process);
        true
    }
}

impl WitnessRecord {
    /// A register of which nothing is known.
    #[must_use]
    pub fn unknown(witness: WitnessId, lineage: Lineage) -> WitnessRecord {
        WitnessRecord { witness, lineage, history: Vec::new(), nodes: BTreeMap::new() }
    }

    /// What holds.
    #[must_use]
    pub fn configuration(&self) -> Option<&Configuration> {
        self.history.last()
    }

    /// Lets a configuration hold.
    pub(super) fn push(&mut self, configuration: Configuration) {
        for member in &configuration.members {
            self.node(*member);
        }
        self.history.push(configuration);
        if self.history.len() > HISTORY_MAX {
            self.history.remove(0);
        }
    }

    /// What is known of a node; a new one takes the place of a stranger if there are too many.
    pub(super) fn node(&mut self, node: Incarnation) -> &mut NodeRecord {
        if !self.nodes.contains_key(&node) {
            self.make_room();
        }
        self.nodes.entry(node).or_default()
    }

    /// Highest number of a node that is decided.
    pub(super) fn answered(&self, node: Incarnation) -> ProposalNumber {
        self.nodes.get(&node).map(|known| known.answered).unwrap_or_default()
    }

    /// Forgets a stranger if there are too many. What it once asked for cannot be granted any more:
    /// it names an epoch that has passed.
    fn make_room(&mut self) {
        if self.nodes.len() < NODES_MAX {
            return;
        }
        let is_member = |node: &Incarnation| self.history.iter().any(|kept| kept.has(*node));
        if let Some(stranger) = self.nodes.keys().copied().find(|node| !is_member(node)) {
            self.nodes.remove(&stranger);
        }
    }
}
