//! What the table knows of the witness in the same process, for those who ask for the topology.

use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::dialect::{PairTopology, WitnessTopology, WitnessedNode};

/// A witness at one moment. Ages are counted from there, so that it need not be made anew only
/// because time goes by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WitnessView {
    /// Where members reach it.
    pub endpoint: String,
    /// Why it decides nothing; nothing if it works.
    pub stopped: Option<String>,
    /// How long a leader keeps its place after its last word.
    pub lease: Duration,
    /// Every pair that it knows, in the order of lineages.
    pub pairs: Vec<PairView>,
}

/// One pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairView {
    /// Its history.
    pub lineage: Uuid,
    /// Epoch of the configuration that holds, 0 if none is known.
    pub epoch: u64,
    /// Who leads.
    pub leader: Option<Uuid>,
    /// Members, and other nodes that were heard lately.
    pub nodes: Vec<NodeView>,
    /// Whether the witness decides.
    pub ready: bool,
}

/// One node of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// Its data.
    pub incarnation: Uuid,
    /// Whether it belongs to the configuration that holds.
    pub member: bool,
    /// When it was last heard, if it was since the witness started.
    pub heard_at: Option<Instant>,
}

impl WitnessView {
    /// The view with ages instead of instants.
    pub(super) fn topology(&self, now: Instant) -> WitnessTopology {
        WitnessTopology {
            endpoint: self.endpoint.clone(),
            stopped: self.stopped.clone(),
            lease_ms: milliseconds(self.lease),
            pairs: self.pairs.iter().map(|pair| pair.topology(now)).collect(),
        }
    }
}

impl PairView {
    fn topology(&self, now: Instant) -> PairTopology {
        let node = |node: &NodeView| WitnessedNode {
            incarnation: node.incarnation,
            member: node.member,
            heard_ms: node.heard_at.map(|at| milliseconds(now.saturating_duration_since(at))),
        };
        PairTopology {
            lineage: self.lineage,
            epoch: self.epoch,
            leader: self.leader,
            nodes: self.nodes.iter().map(node).collect(),
            ready: self.ready,
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
