//! Taking in records that another node has numbered, as they are.

mod check;

use bytes::Bytes;
use thiserror::Error;

use super::append::AppendError;
use super::core::Core;
use crate::event::{Epoch, Sequence};
use crate::index::IndexEntry;
use crate::log::appender::Write;
use check::{Checked, CheckedAppend, check};

/// Records of another node's log, whole appends back to back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replicated {
    /// The records as they stand on that node's disk.
    pub records: Bytes,
    /// Sequence of the record before the first of them; 0 before the first of the log.
    pub previous: Sequence,
}

/// Called exactly once, on any thread, when the records are written, with the last sequence. It
/// must not block.
pub type ReplicateAnswer = Box<dyn FnOnce(Result<Sequence, ReplicateError>) + Send>;

/// Why records were not taken in. Whole appends before the one that failed may have been: ask
/// [`Partition::mark`](super::Partition::mark) where to go on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReplicateError {
    /// They follow another record than the last one here.
    #[error("the records follow sequence {previous}, the log here ends with {last}")]
    Gap {
        /// The sequence before the first of them.
        previous: Sequence,
        /// The last one here.
        last: Sequence,
    },
    /// They continue another history than the one here.
    #[error("record {sequence} continues another history than the log here")]
    OtherHistory {
        /// The first that does.
        sequence: Sequence,
    },
    /// They are not what the other node wrote, or break the rules of a log.
    #[error("record {sequence} can't be taken in: {reason}")]
    Invalid {
        /// The first that is wrong.
        sequence: Sequence,
        /// What is wrong.
        reason: String,
    },
    /// They were numbered by a leader that this node does not know yet.
    #[error("record {sequence} is of epoch {found}, this node knows epochs up to {known}")]
    EpochAhead {
        /// The record.
        sequence: Sequence,
        /// Its epoch.
        found: Epoch,
        /// This node's.
        known: Epoch,
    },
    /// An append is longer than a segment of this node.
    #[error("an append of {bytes} bytes fits no segment here: use the other node's segment length")]
    TooLong {
        /// Its record bytes.
        bytes: usize,
    },
    /// This node numbers events itself.
    #[error("this node leads the partition and takes no records of another one")]
    Leading,
    /// No space for another segment.
    #[error("the disk is full: make space, replication goes on by itself then")]
    DiskFull,
    /// The index lags too far behind.
    #[error("the partition is busy: try again a little later")]
    Busy,
    /// A write or sync failed, now or earlier.
    #[error("the partition has stopped after a failed write or sync: restart the process")]
    Poisoned,
    /// The partition is closed.
    #[error("the partition is closed")]
    Closed,
}

/// Records on their way to the writer; answered exactly once.
pub(crate) struct Replication {
    batch: Replicated,
    done: Option<ReplicateAnswer>,
}

impl Replication {
    pub(crate) fn new(batch: Replicated, done: ReplicateAnswer) -> Self {
        Self { batch, done: Some(done) }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.batch.records.len()
    }

    pub(crate) const fn batch(&self) -> &Replicated {
        &self.batch
    }

    /// Gives the records back without an answer.
    pub(crate) fn take_back(mut self) -> Replicated {
        self.done = None;
        std::mem::replace(
            &mut self.batch,
            Replicated { records: Bytes::new(), previous: Sequence::ZERO },
        )
    }

    pub(crate) fn answer(mut self, result: Result<Sequence, ReplicateError>) {
        if let Some(done) = self.done.take() {
            done(result);
        }
    }
}

impl Drop for Replication {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            // It was dropped by a panic of the writer.
            done(Err(ReplicateError::Poisoned));
        }
    }
}

impl Core {
    /// Writes the records of a batch as they are. Returns the last sequence of the log.
    pub(crate) fn replicate(&mut self, batch: &Replicated) -> Result<Sequence, ReplicateError> {
        if self.parts.poison.is_set() {
            return Err(ReplicateError::Poisoned);
        }
        if self.leads() {
            return Err(ReplicateError::Leading);
        }
        let end = self.appender.end();
        if batch.previous != end.last {
            return Err(ReplicateError::Gap { previous: batch.previous, last: end.last });
        }
        let checked = check(&batch.records, end, self.epoch(), self.parts.index.index())?;
        let mut rest = checked.appends.as_slice();
        while let Some(first) = rest.first() {
            self.make_room_for(first)?;
            let (now, later) = rest.split_at(self.fitting(rest));
            self.write_appends(&batch.records, &checked, now)?;
            rest = later;
        }
        self.prepare_spare();
        Ok(self.appender.end().last)
    }

    /// How many of the next appends fit the open segment together; the first one does.
    fn fitting(&self, appends: &[CheckedAppend]) -> usize {
        let (mut records, mut bytes) = (0, 0);
        let fits = |append: &&CheckedAppend| {
            records += append.records.len();
            bytes += append.bytes.len();
            self.appender.fits(records, bytes)
        };
        appends.iter().take_while(fits).count().max(1)
    }

    fn make_room_for(&mut self, append: &CheckedAppend) -> Result<(), ReplicateError> {
        let (count, bytes) = (append.records.len(), append.bytes.len());
        if self.appender.fits(count, bytes) {
            return Ok(());
        }
        if bytes > self.append_bytes_max() {
            return Err(ReplicateError::TooLong { bytes });
        }
        self.roll().map_err(|error| match error {
            AppendError::DiskFull => ReplicateError::DiskFull,
            AppendError::Busy => ReplicateError::Busy,
            _ => ReplicateError::Poisoned,
        })
    }

    /// Writes appends that fit the open segment together.
    fn write_appends(
        &mut self,
        batch: &Bytes,
        checked: &Checked,
        appends: &[CheckedAppend],
    ) -> Result<(), ReplicateError> {
        let (Some(first), Some(last)) = (appends.first(), appends.last()) else { return Ok(()) };
        let bytes = batch.get(first.bytes.start..last.bytes.end).unwrap_or_default();
        let records = checked.records.get(first.records.start..last.records.end);
        let records = records.unwrap_or_default();
        self.weigh_evidence(last.committed_up_to, last.end.last)?;
        let lengths: Vec<u32> = records.iter().map(|record| record.length).collect();
        let segment = self.appender.open_segment();
        let (segment_first, mut offset) = (segment.header.first, segment.end());
        if let Err(error) = self.appender.write(&Write { bytes, lengths: &lengths, end: last.end })
        {
            let path = self.appender.open_segment().path.display();
            self.parts.poison.set(&format!("write to {path} failed: {error}"));
            return Err(ReplicateError::Poisoned);
        }
        let entries = records.iter().map(|record| {
            let entry = IndexEntry {
                stream: &record.stream,
                version: record.version,
                id: record.id,
                sequence: record.sequence,
                offset,
            };
            offset += record.length;
            entry
        });
        let entries: Vec<_> = entries.collect();
        self.parts.index.insert(segment_first, &entries);
        self.continue_after_write();
        Ok(())
    }
}
