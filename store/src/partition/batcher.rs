//! Turning appends into numbered records in a buffer. No IO of its own, but for looking up records
//! whose ids are asked for again.

use std::sync::Arc;

use hashbrown::HashMap;

use super::append::{Append, AppendError, Durability, Receipt};
use super::index_work::IndexWork;
use crate::event::{EventId, ExpectedVersion, Sequence, Signature, Version, Versions};
use crate::index::IndexEntry;
use crate::log::ReadError;
use crate::log::appender::{LogEnd, Write};
use crate::log::fetch::fetch_one;
use crate::log::segment::{to_u32, to_usize};
use crate::log::segments::Segments;
use crate::names::StreamName;
use crate::record::{Numbered, RecordView, decode, encode};

/// The log and its index, as far as they are written.
pub(crate) struct Past {
    pub(crate) segments: Arc<Segments>,
    pub(crate) index: Arc<IndexWork>,
}

/// What an append turns out to be.
pub(crate) enum Verdict {
    /// It can be appended; for each write the version before it.
    New(Versions),
    /// It is in the log.
    Known(Receipt),
    /// It can't be appended.
    Refused(AppendError),
}

/// What all records of a batch share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    /// Microseconds since 1970.
    pub(crate) now_micros: u64,
    /// Head at the time of writing.
    pub(crate) committed_up_to: Sequence,
}

/// Numbers and encodes appends, on top of what is written and what it has encoded itself.
pub(crate) struct Batcher {
    past: Past,
    /// Where the log ends with everything encoded.
    end: LogEnd,
    bytes: Vec<u8>,
    lengths: Vec<u32>,
    entries: Vec<Entry>,
    /// Versions of the streams in the buffer.
    versions: HashMap<StreamName, Version>,
    /// Ids that were encoded in this round, and where.
    encoded: HashMap<EventId, Sequence>,
    /// Where ids of this round may be from before: hardly ever any.
    candidates: HashMap<EventId, Vec<Sequence>>,
}

/// An encoded record that the index does not have yet.
struct Entry {
    stream: StreamName,
    version: Version,
    id: EventId,
    /// In the buffer.
    offset: u32,
}

/// What decides about ids that are known.
struct KnownRecord {
    sequence: Sequence,
    version: Version,
    epoch: crate::event::Epoch,
    signature: Signature,
    id: EventId,
    ends_append: bool,
}

impl KnownRecord {
    fn of(view: &RecordView<'_>) -> Self {
        Self {
            sequence: view.sequence(),
            version: view.version(),
            epoch: view.epoch(),
            signature: view.signature(),
            id: view.id(),
            ends_append: view.ends_append(),
        }
    }
}

impl Batcher {
    pub(crate) fn new(past: Past, end: LogEnd) -> Self {
        Self {
            past,
            end,
            bytes: Vec::new(),
            lengths: Vec::new(),
            entries: Vec::new(),
            versions: HashMap::new(),
            encoded: HashMap::new(),
            candidates: HashMap::new(),
        }
    }

    /// Where the log ends with everything encoded.
    pub(crate) const fn end(&self) -> LogEnd {
        self.end
    }

    /// Goes on from another end of the log than its own; the buffer is empty.
    pub(crate) fn continue_from(&mut self, end: LogEnd) {
        assert!(self.lengths.is_empty(), "what is encoded continues the log as it was");
        self.end = end;
    }

    /// Records and bytes in the buffer.
    pub(crate) const fn buffered(&self) -> (usize, usize) {
        (self.lengths.len(), self.bytes.len())
    }

    /// Starts a round: asks the index once for all ids that will come.
    pub(crate) fn begin<'a>(
        &mut self,
        appends: impl Iterator<Item = &'a Append>,
    ) -> Result<(), AppendError> {
        self.encoded.clear();
        self.candidates.clear();
        let ids: Vec<EventId> =
            appends.flat_map(|append| append.events().map(|(_, event)| event.id)).collect();
        let candidates = self.past.index.candidates(&ids).map_err(|error| unreadable(&error))?;
        for (place, sequence) in candidates {
            if let Some(id) = ids.get(place) {
                let places = self.candidates.entry(*id).or_default();
                if !places.contains(&sequence) {
                    places.push(sequence);
                }
            }
        }
        Ok(())
    }

    /// Checks ids, then expected versions.
    pub(crate) fn judge(&self, append: &Append) -> Verdict {
        match self.known(append) {
            Ok(None) => {}
            Ok(Some(receipt)) => return Verdict::Known(receipt),
            Err(error) => return Verdict::Refused(error),
        }
        let mut before = Versions::with_capacity(append.writes.len());
        for write in &append.writes {
            let actual = self.version(&write.stream);
            if !write.expected.accepts(actual) {
                return Verdict::Refused(wrong_version(&write.stream, write.expected, actual));
            }
            before.push(actual.unwrap_or(Version::ZERO));
        }
        Verdict::New(before)
    }

    fn version(&self, stream: &StreamName) -> Option<Version> {
        let encoded = self.versions.get(stream).copied();
        encoded.or_else(|| self.past.index.index().stream_version(stream))
    }

    /// The receipt of an append that is in the log as it is; an error if only some of it is.
    fn known(&self, append: &Append) -> Result<Option<Receipt>, AppendError> {
        let mut found = Vec::new();
        for (stream, event) in append.events() {
            if let Some(record) = self.record_with(&event.id)? {
                let signature = event.signature.unwrap_or_else(|| Signature::of(stream, event));
                found.push((record, signature));
            }
        }
        let Some((first, _)) = found.first() else { return Ok(None) };
        let consecutive = found.iter().zip(first.sequence.0..).all(|((record, signature), at)| {
            record.sequence.0 == at && record.signature == *signature
        });
        let last = found.last().map_or(first, |(last, _)| last);
        let whole = found.len() == append.event_count()
            && consecutive
            && last.ends_append
            && self.starts_append(first.sequence)?;
        if !whole {
            let ids = found.iter().map(|(record, _)| record.id).collect();
            return Err(AppendError::IdReused { ids });
        }
        let mut records = found.iter();
        let versions = append.writes.iter().map(|write| {
            let last = records.by_ref().take(write.events.len()).last();
            let last = last.map(|(record, _)| record.version);
            last.or_else(|| self.version(&write.stream)).unwrap_or(Version::ZERO)
        });
        Ok(Some(Receipt {
            versions: versions.collect(),
            first: first.sequence,
            last: last.sequence,
            epoch: last.epoch,
            durability: Durability::default(),
            copied: false,
            duplicate: true,
        }))
    }

    /// The record that has an id, confirmed from its bytes.
    fn record_with(&self, id: &EventId) -> Result<Option<KnownRecord>, AppendError> {
        let candidates = self.candidates.get(id).into_iter().flatten();
        for sequence in candidates.chain(self.encoded.get(id)) {
            let record = self.record(*sequence)?;
            if record.id == *id {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Whether no append reaches over the start of the record at `sequence`.
    fn starts_append(&self, sequence: Sequence) -> Result<bool, AppendError> {
        let before = Sequence(sequence.0.saturating_sub(1));
        if before < self.past.segments.first() {
            return Ok(true);
        }
        self.record(before).map(|record| record.ends_append)
    }

    /// A record from the buffer or the log.
    fn record(&self, sequence: Sequence) -> Result<KnownRecord, AppendError> {
        let buffered = self.entries.len();
        let from_end = usize::try_from(self.end.last.0 - sequence.0).unwrap_or(usize::MAX);
        if let Some(place) = buffered.checked_sub(from_end + 1) {
            let offset = self.entries.get(place).map_or(0, |entry| to_usize(entry.offset));
            let bytes = self.bytes.get(offset..).unwrap_or_default();
            let view = RecordView::frame(bytes).map_err(|error| unreadable(&error))?;
            return Ok(KnownRecord::of(&view));
        }
        let bytes = fetch_one(&self.past.segments, sequence)
            .map_err(|error: ReadError| unreadable(&error))?;
        let view = decode(&bytes).map_err(|error| unreadable(&error))?;
        Ok(KnownRecord::of(&view))
    }

    /// Numbers and encodes an append that was judged new, on top of the given versions.
    pub(crate) fn encode(
        &mut self,
        append: &Append,
        mut versions: Versions,
        stamp: Stamp,
    ) -> Receipt {
        let first = self.end.last.next();
        let mut left = append.event_count();
        for (write, latest) in append.writes.iter().zip(&mut versions) {
            let mut version = *latest;
            for event in &write.events {
                left -= 1;
                version = version.next();
                self.end.last = self.end.last.next();
                self.end.time_micros = self.end.time_micros.max(stamp.now_micros);
                let record = Numbered {
                    stream: &write.stream,
                    event,
                    sequence: self.end.last,
                    version,
                    epoch: self.end.epoch,
                    committed_up_to: stamp.committed_up_to,
                    time_micros: self.end.time_micros,
                    ends_append: left == 0,
                };
                let offset = self.bytes.len();
                self.end.chain = encode(&record, self.end.chain, &mut self.bytes);
                self.lengths.push(to_u32(self.bytes.len() - offset));
                self.entries.push(Entry {
                    stream: write.stream.clone(),
                    version,
                    id: event.id,
                    offset: to_u32(offset),
                });
                self.encoded.insert(event.id, self.end.last);
            }
            if !write.events.is_empty() {
                self.versions.insert(write.stream.clone(), version);
            }
            *latest = version;
        }
        Receipt {
            first,
            last: self.end.last,
            versions,
            epoch: self.end.epoch,
            durability: Durability::default(),
            copied: false,
            duplicate: false,
        }
    }

    /// What is to be written.
    pub(crate) fn write(&self) -> Write<'_> {
        Write { bytes: &self.bytes, lengths: &self.lengths, end: self.end }
    }

    /// The buffer was written at `offset` of a segment: hands it to the index and empties it.
    pub(crate) fn written(&mut self, segment: Sequence, offset: u32) {
        let first = self.end.last.0 + 1 - u64::try_from(self.entries.len()).unwrap_or_default();
        let entries: Vec<_> = self
            .entries
            .iter()
            .zip(first..)
            .map(|(entry, sequence)| IndexEntry {
                stream: &entry.stream,
                version: entry.version,
                id: entry.id,
                sequence: Sequence(sequence),
                offset: offset + entry.offset,
            })
            .collect();
        self.past.index.insert(segment, &entries);
        self.bytes.clear();
        self.lengths.clear();
        self.entries.clear();
        self.versions.clear();
    }
}

fn unreadable(error: &dyn std::error::Error) -> AppendError {
    AppendError::LogUnreadable { reason: error.to_string() }
}

fn wrong_version(
    stream: &StreamName,
    expected: ExpectedVersion,
    actual: Option<Version>,
) -> AppendError {
    AppendError::WrongExpectedVersion { stream: stream.detached(), expected, actual }
}
