//! Who may acknowledge: the small record on which a pair's safety rests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Most members of a configuration.
pub const MEMBERS_MAX: usize = 2;
/// Most partitions of a pair: each has a thread of its own, so that no node hosts so many.
pub const PARTITIONS_MAX: usize = 4096;
/// Longest name of a partition in bytes.
pub const PARTITION_NAME_BYTES_MAX: usize = 128;

/// One history of a pair. Drawn when a data directory is made, and anew when an operator accepts
/// that acknowledged events may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lineage(pub Uuid);

/// The data of one node: another one after its directory was made anew, restored or repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub Uuid);

/// One run of a process; two live ones with one incarnation are a copied directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProcessId(pub Uuid);

/// One memory of a witness; another one after it lost its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WitnessId(pub Uuid);

/// Number of a proposal of one member, from 1 and rising; durable at the member before it is sent.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ProposalNumber(pub u64);

/// A partition of a store, `STORE/NUMBER`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartitionName(pub String);

/// Sequences by partition. What they mean, and that they are inclusive, says the field.
pub type Sequences = BTreeMap<PartitionName, u64>;

/// Who leads, and who must have an event before it is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Configuration {
    /// The history that it belongs to.
    pub lineage: Lineage,
    /// Number of the reign; the next configuration has the next number.
    pub epoch: u64,
    /// The only member that numbers events.
    pub leader: Incarnation,
    /// One or two members, the leader among them, in ascending order.
    pub members: Vec<Incarnation>,
    /// Committed sequence (inclusive) of each partition when the change was proposed. Whoever's log
    /// ends below it never leads.
    pub floor: Sequences,
}

impl Configuration {
    /// Whether a node must have an event before it is acknowledged, and may come to lead.
    #[must_use]
    pub fn has(&self, node: Incarnation) -> bool {
        self.members.contains(&node)
    }

    /// Whether its parts go together and stay within the limits.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        (1..=MEMBERS_MAX).contains(&self.members.len())
            && self.members.is_sorted()
            && self.members.first() != self.members.get(1)
            && self.has(self.leader)
            && self.epoch > 0
            && are_bounded(&self.floor)
    }

    /// The member that does not lead, if there are two.
    #[must_use]
    pub fn follower(&self) -> Option<Incarnation> {
        self.members.iter().copied().find(|member| *member != self.leader)
    }
}

/// How far a node's log is. Without an aligned epoch and without partitions it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Epoch under which the log was last found, or made, to agree with the leader's. It rises
    /// before `durable` may fall.
    pub aligned: u64,
    /// Newest synced sequence of each partition (inclusive).
    pub durable: Sequences,
}

impl Position {
    /// Whether a node that once was at `known` can be here without having lost something.
    #[must_use]
    pub fn reaches(&self, known: &Position) -> bool {
        if self.aligned != known.aligned {
            return self.aligned > known.aligned;
        }
        covers(&self.durable, &known.durable)
    }

    /// Takes in what a node says of itself; it never goes back.
    pub fn raise(&mut self, told: &Position) {
        if told.aligned > self.aligned {
            *self = told.clone();
        } else if told.aligned == self.aligned {
            for (name, sequence) in &told.durable {
                let known = self.durable.entry(name.clone()).or_default();
                *known = (*known).max(*sequence);
            }
        }
    }
}

/// Whether sequences of a peer stay within the limits.
#[must_use]
pub fn are_bounded(sequences: &Sequences) -> bool {
    sequences.len() <= PARTITIONS_MAX
        && sequences.keys().all(|name| name.0.len() <= PARTITION_NAME_BYTES_MAX)
}

/// Whether a log with these ends holds everything up to these marks (both inclusive).
#[must_use]
pub fn covers(durable: &Sequences, marks: &Sequences) -> bool {
    marks.iter().all(|(name, mark)| durable.get(name).copied().unwrap_or_default() >= *mark)
}
