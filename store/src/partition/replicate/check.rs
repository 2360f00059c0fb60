//! Checking records of another node against the log that they are to continue. Pure.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;

use super::ReplicateError;
use crate::event::{Epoch, EventId, Sequence, Version};
use crate::index::Index;
use crate::log::appender::LogEnd;
use crate::log::segment::to_u32;
use crate::names::StreamName;
use crate::record::{RecordView, decode};

/// A batch that may be written.
pub(super) struct Checked {
    pub(super) records: Vec<CheckedRecord>,
    pub(super) appends: Vec<CheckedAppend>,
}

/// What the index needs to know of a record.
pub(super) struct CheckedRecord {
    pub(super) stream: StreamName,
    pub(super) version: Version,
    pub(super) id: EventId,
    pub(super) sequence: Sequence,
    pub(super) length: u32,
}

/// One append of a batch.
pub(super) struct CheckedAppend {
    /// Its records, as places among all of the batch.
    pub(super) records: Range<usize>,
    /// Its bytes in the batch.
    pub(super) bytes: Range<usize>,
    /// Where the log ends after it.
    pub(super) end: LogEnd,
    /// Highest "committed up to" of the batch's records so far.
    pub(super) committed_up_to: Sequence,
}

/// Follows a batch from the end of the log on: checksums, sequences, chain, epochs, times,
/// versions, and that it holds whole appends.
///
/// Signatures are not computed again: the checksum covers what they sign, and the chain covers
/// them.
pub(super) fn check(
    batch: &Bytes,
    end: LogEnd,
    epoch: Epoch,
    index: &Index,
) -> Result<Checked, ReplicateError> {
    let checked = Checked { records: Vec::new(), appends: Vec::new() };
    let versions = HashMap::new();
    let mut checker =
        Checker { index, epoch, at: end, versions, committed_up_to: Sequence::ZERO, checked };
    let mut offset = 0;
    let mut start = 0;
    let mut first = 0;
    while offset < batch.len() {
        let sequence = checker.at.last.next();
        let rest = batch.slice(offset..);
        let view = decode(&rest).map_err(|error| invalid(sequence, &error.to_string()))?;
        checker.record(&view, &rest)?;
        offset += view.len();
        if view.ends_append() {
            let checked = &mut checker.checked;
            checked.appends.push(CheckedAppend {
                records: first..checked.records.len(),
                bytes: start..offset,
                end: checker.at,
                committed_up_to: checker.committed_up_to,
            });
            (first, start) = (checked.records.len(), offset);
        }
    }
    if start < batch.len() {
        return Err(invalid(checker.at.last, "its append has no end"));
    }
    Ok(checker.checked)
}

fn invalid(sequence: Sequence, reason: &str) -> ReplicateError {
    ReplicateError::Invalid { sequence, reason: reason.to_owned() }
}

struct Checker<'a> {
    index: &'a Index,
    /// The node's, which no record can be ahead of.
    epoch: Epoch,
    /// After the last record.
    at: LogEnd,
    /// Latest versions of the streams in the batch.
    versions: HashMap<StreamName, Version>,
    committed_up_to: Sequence,
    checked: Checked,
}

impl Checker<'_> {
    /// Takes in the record at the start of `bytes`.
    fn record(&mut self, view: &RecordView<'_>, bytes: &Bytes) -> Result<(), ReplicateError> {
        let sequence = self.at.last.next();
        if view.sequence() != sequence {
            let reason = format!("sequence {} stands there", view.sequence());
            return Err(invalid(sequence, &reason));
        }
        if !view.continues(self.at.chain) {
            return Err(ReplicateError::OtherHistory { sequence });
        }
        if view.epoch() > self.epoch {
            let (found, known) = (view.epoch(), self.epoch);
            return Err(ReplicateError::EpochAhead { sequence, found, known });
        }
        if view.epoch() < self.at.epoch || view.time_micros() < self.at.time_micros {
            return Err(invalid(sequence, "epoch or time go back"));
        }
        if view.committed_up_to() >= sequence {
            return Err(invalid(sequence, "it says of itself that it is committed"));
        }
        let event = view.event_in(bytes).map_err(|error| invalid(sequence, &error.to_string()))?;
        let before = self.versions.get(&event.stream).copied();
        let before = before.or_else(|| self.index.stream_version(&event.stream));
        if event.version != before.unwrap_or_default().next() {
            let reason = format!("version {} is not the next of its stream", event.version);
            return Err(invalid(sequence, &reason));
        }
        self.versions.insert(event.stream.clone(), event.version);
        self.committed_up_to = self.committed_up_to.max(view.committed_up_to());
        self.checked.records.push(CheckedRecord {
            stream: event.stream,
            version: event.version,
            id: event.id,
            sequence,
            length: to_u32(view.len()),
        });
        self.at = LogEnd {
            last: sequence,
            chain: view.chain(),
            time_micros: view.time_micros(),
            epoch: view.epoch(),
        };
        Ok(())
    }
}
