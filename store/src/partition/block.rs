//! What a read asks for and gives.

use bytes::Bytes;

use crate::event::{Direction, Epoch, Sequence, Version};
use crate::filter::Filter;
use crate::names::StreamName;
use crate::record::{Records, iterate};

/// Committed records as they stand on disk, whole and back to back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The records.
    pub records: Bytes,
    /// How many there are.
    pub count: u32,
    /// Sequence of the first record in `records`; 0 when there is none.
    pub first: Sequence,
    /// Sequence of the last record in `records`, below `first` in a backward read; 0 when there is
    /// none.
    pub last: Sequence,
    /// Newest committed sequence when the block was read, inclusive.
    pub head: Sequence,
    /// Epoch of the last record; the node's own when there is none.
    pub epoch: Epoch,
    /// Whether there was nothing more in this direction.
    pub at_end: bool,
}

impl Block {
    /// A block without records, at the end of what there is.
    pub(crate) const fn empty(head: Sequence, epoch: Epoch) -> Self {
        Self {
            records: Bytes::new(),
            count: 0,
            first: Sequence::ZERO,
            last: Sequence::ZERO,
            head,
            epoch,
            at_end: true,
        }
    }

    /// Its events, sharing the memory of the block.
    #[must_use]
    pub fn events(&self) -> Records {
        iterate(&self.records)
    }
}

/// Part of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamQuery {
    /// The stream.
    pub stream: StreamName,
    /// Where to start, inclusive. A backward read from beyond the end starts with the newest.
    pub from: Version,
    /// Which way.
    pub direction: Direction,
    /// Most events.
    pub count_max: u32,
    /// Most record bytes; a single larger record is read all the same.
    pub bytes_max: usize,
}

impl StreamQuery {
    /// The whole stream, oldest first, in blocks of a mebibyte.
    #[must_use]
    pub const fn all(stream: StreamName) -> Self {
        Self {
            stream,
            from: Version(1),
            direction: Direction::Forward,
            count_max: u32::MAX,
            bytes_max: 1024 * 1024,
        }
    }

    /// The newest event of the stream.
    #[must_use]
    pub const fn last(stream: StreamName) -> Self {
        Self {
            stream,
            from: Version(u64::MAX),
            direction: Direction::Backward,
            count_max: 1,
            bytes_max: 1024 * 1024,
        }
    }
}

/// Some of a partition's events, by their places in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilteredQuery {
    /// Which events.
    pub filter: Filter,
    /// Where to start, inclusive; 0 for the oldest. A backward read from beyond the head starts
    /// there.
    pub from: Sequence,
    /// Where to end, inclusive; 0 for as far as there is.
    pub to: Sequence,
    /// Which way.
    pub direction: Direction,
    /// Most events.
    pub count_max: u32,
    /// Most record bytes; a single larger record is read all the same.
    pub bytes_max: usize,
}

impl FilteredQuery {
    /// All of them, oldest first, in blocks of a mebibyte.
    #[must_use]
    pub const fn all(filter: Filter) -> Self {
        Self {
            filter,
            from: Sequence::ZERO,
            to: Sequence::ZERO,
            direction: Direction::Forward,
            count_max: u32::MAX,
            bytes_max: 1024 * 1024,
        }
    }
}
