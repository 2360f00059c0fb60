//! Figures of a partition.

use uuid::Uuid;

use super::Shared;
use crate::event::{Epoch, Sequence};
use crate::slot::PartitionNumber;

/// How a partition is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Its number.
    pub number: PartitionNumber,
    /// Its own id.
    pub id: Uuid,
    /// Epoch under which it appends, or follows.
    pub epoch: Epoch,
    /// Oldest sequence that is kept.
    pub first: Sequence,
    /// Handed to the operating system, inclusive.
    pub written: Sequence,
    /// Synced here, inclusive.
    pub durable: Sequence,
    /// Newest committed sequence, inclusive.
    pub head: Sequence,
    /// Newest sequence known to be committed and with every node that must have it, inclusive.
    pub held: Sequence,
    /// Newest sequence that another node is known to have, inclusive; 0 where there is none.
    pub copied: Sequence,
    /// Segment files, the open one included.
    pub segments: usize,
    /// Submissions that wait for the writer.
    pub queued_messages: usize,
    /// Their record bytes.
    pub queued_bytes: usize,
    /// Bytes of a torn tail that were cut off and kept aside when it was opened.
    pub torn_bytes: u64,
    /// Files of records that a cut has set aside.
    pub parked_files: u64,
    /// Records in them.
    pub parked_records: u64,
    /// A failed write or sync has stopped it.
    pub poisoned: bool,
    /// The next segment could not be made for lack of space.
    pub disk_full: bool,
}

impl PartitionStatus {
    pub(super) fn of(shared: &Shared) -> Self {
        let watermarks = &shared.read.watermarks;
        let (queued_messages, queued_bytes) = shared.queue.waiting();
        // From the smallest mark to the largest, so that they stand in order although they move.
        let (head, durable) = (watermarks.committed(), watermarks.durable());
        Self {
            number: shared.number,
            id: shared.id,
            epoch: shared.read.epoch(),
            first: watermarks.first(),
            written: watermarks.written(),
            durable,
            head,
            held: watermarks.held(),
            copied: watermarks.copied(),
            segments: shared.read.segments.count(),
            queued_messages,
            queued_bytes,
            torn_bytes: shared.torn_bytes,
            parked_files: shared.parked.files,
            parked_records: shared.parked.records,
            poisoned: shared.poison.is_set(),
            disk_full: shared.shelf.is_full(),
        }
    }
}
