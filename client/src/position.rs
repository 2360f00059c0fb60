//! Where a reader stands: in one partition, and in all partitions of a store.

use std::collections::BTreeMap;
use std::fmt;

use store::event::{Epoch, Sequence};
use store::slot::PartitionNumber;
use uuid::Uuid;

/// Which history a sequence belongs to: a log that was cut on purpose goes on under a new lineage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lineage(pub Uuid);

impl Lineage {
    /// The lineage written as 16 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in one partition's log, with the reign and the history that it was seen under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// History that the sequence counts in; `None` only before anything was seen.
    pub lineage: Option<Lineage>,
    /// Highest epoch seen.
    pub epoch: Epoch,
    /// Last sequence taken (inclusive); [`Sequence::ZERO`] before the first.
    pub sequence: Sequence,
}

impl Position {
    /// Before the first event of any history.
    pub const START: Self = Self { lineage: None, epoch: Epoch::ZERO, sequence: Sequence::ZERO };

    /// Right after `sequence`, in whatever history the store has.
    #[must_use]
    pub const fn after(sequence: Sequence) -> Self {
        Self { lineage: None, epoch: Epoch::ZERO, sequence }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sequence {} (epoch {})", self.sequence, self.epoch)
    }
}

/// How far a reader of a whole store is: partition → [`Position`]. A partition that is not in the
/// map is read from its start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoint(pub BTreeMap<PartitionNumber, Position>);

impl Checkpoint {
    /// The position in one partition, [`Position::START`] if it is unknown.
    #[must_use]
    pub fn position(&self, partition: PartitionNumber) -> Position {
        self.0.get(&partition).copied().unwrap_or(Position::START)
    }

    /// Notes how far one partition is.
    pub fn set(&mut self, partition: PartitionNumber, position: Position) {
        self.0.insert(partition, position);
    }
}
