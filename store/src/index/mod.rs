//! Where events are: stream → latest version, stream and version → record, category and sequence →
//! record, id → record.
//!
//! Everything here is derived from the segments and can be made anew from them at any time.
//!
//! ```text
//!  streams (memory)     every stream's name and latest version
//!  parts   (memory)     ids and places of each segment without a run: open, or just sealed
//!  runs    (files)      the same of all older segments; only a filter and a directory in memory
//!
//!  segments   |---1---|---2---|--- … ---|---9---|--10---|--open--
//!  runs       [         run of 1 to 8           ][  run  ]
//!  parts                                                 [ part ]
//! ```
//!
//! A category is kept as a stream is, under a key that no stream has. Its events have no versions
//! of their own, so they are counted from 1 in each part and run, and found by their sequences.
//!
//! The writer [inserts](Index::insert) what it has written. When it seals a segment, a thread
//! behind it [builds a run](Index::build_run) and merges runs so that few need asking.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use uuid::Uuid;

mod build;
mod check;
mod error;
mod keys;
mod memory;
mod open;
mod places;
mod query;
mod run;
mod streams;
#[cfg(test)]
mod tests;
mod width;

pub(crate) use check::IndexCheck;
pub use error::IndexError;
pub(crate) use places::WantedPlaces;
pub(crate) use query::{Posting, Wanted};

use crate::event::{EventId, Sequence, Version};
use crate::filter::category_of;
use crate::log::disk::Disk;
use crate::names::StreamName;
use keys::{CategoryKey, Keys};
use memory::{MemoryPart, PartEntry};
use open::Loaded;
use run::Run;
use streams::{StreamNumber, StreamTable};

/// Where an index keeps its files.
#[derive(Clone)]
pub(crate) struct IndexPlace {
    /// The disk.
    pub(crate) disk: Arc<dyn Disk>,
    /// An existing folder. Only names of run files are looked at in it.
    pub(crate) dir: PathBuf,
    /// The partition's own id; files of another one are not used.
    pub(crate) partition_id: Uuid,
}

/// A segment that will not change any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SealedSegment {
    /// Its first sequence.
    pub(crate) first: Sequence,
    /// Its last sequence, inclusive.
    pub(crate) last: Sequence,
    /// The chain value of the record at `last`: which history this is.
    pub(crate) chain: [u8; 16],
}

/// One event, as the index takes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IndexEntry<'a> {
    /// Its stream.
    pub(crate) stream: &'a StreamName,
    /// Its place in the stream.
    pub(crate) version: Version,
    /// Its id.
    pub(crate) id: EventId,
    /// Its place in the log.
    pub(crate) sequence: Sequence,
    /// Offset of its record in the segment file, in bytes.
    pub(crate) offset: u32,
}

/// An index that was opened, and what it lacks.
pub(crate) struct Opened {
    /// The index.
    pub(crate) index: Index,
    /// The sealed segments without a valid run, ascending: their entries are to be inserted, in
    /// this order, before anything is asked.
    pub(crate) unindexed: Vec<SealedSegment>,
}

/// The index of one partition, shared by its writer, its readers and its index builder.
pub(crate) struct Index {
    place: IndexPlace,
    keys: Keys,
    state: RwLock<State>,
    /// Held while run files are made, so that one thread at a time does it.
    building: Mutex<()>,
}

/// What the lock protects. It is held for short work in memory, never while a file is read.
struct State {
    streams: StreamTable,
    /// By first sequence. Readers of a sealed part share it; the open one has a single owner.
    parts: BTreeMap<Sequence, Arc<MemoryPart>>,
    /// Ascending, without overlap; replaced as a whole, so that a reader keeps what it began with.
    runs: Arc<Vec<Arc<Run>>>,
    /// New runs, by first sequence, that wait to replace a damaged one together.
    rebuilt: BTreeMap<Sequence, Arc<Run>>,
    /// All sealed segments, by first sequence.
    sealed: BTreeMap<Sequence, SealedSegment>,
}

impl Index {
    /// Opens the index of a partition that has the given sealed segments.
    ///
    /// Run files that don't belong to exactly this history, or are damaged, are removed: they are
    /// derived, and their segments come back as unindexed.
    ///
    /// # Errors
    /// [`IndexError::Io`] when the folder or a file in it can't be opened.
    pub(crate) fn open(place: &IndexPlace, sealed: &[SealedSegment]) -> Result<Opened, IndexError> {
        Self::open_with(place, Keys::new(&place.partition_id), sealed)
    }

    fn open_with(
        place: &IndexPlace,
        keys: Keys,
        sealed: &[SealedSegment],
    ) -> Result<Opened, IndexError> {
        let sealed = sealed.iter().map(|segment| (segment.first, *segment)).collect();
        let Loaded { runs, streams } = open::load(place, &sealed)?;
        let lacks_run =
            |segment: &&SealedSegment| !runs.iter().any(|run| run.span().covers(segment));
        let unindexed = sealed.values().filter(lacks_run).copied().collect();
        let state = State {
            streams,
            parts: BTreeMap::new(),
            runs: Arc::new(runs),
            rebuilt: BTreeMap::new(),
            sealed,
        };
        let building = Mutex::new(());
        let index = Self { place: place.clone(), keys, state: RwLock::new(state), building };
        Ok(Opened { index, unindexed })
    }

    /// Takes in records of a segment, in sequence order and without a gap: the writer's as they
    /// are written, recovery's as they are scanned.
    ///
    /// # Panics
    /// When an entry is not the next of its segment and stream: an index that skipped an event
    /// would accept its duplicate.
    pub(crate) fn insert(&self, segment_first: Sequence, entries: &[IndexEntry<'_>]) {
        let mut state = self.write();
        let State { streams, parts, .. } = &mut *state;
        let fresh = || Arc::new(MemoryPart::new(segment_first));
        let part = Arc::make_mut(parts.entry(segment_first).or_insert_with(fresh));
        self.take_in(streams, part, entries);
    }

    /// Adds entries to a part, and their streams and versions to the table.
    fn take_in(
        &self,
        streams: &mut StreamTable,
        part: &mut MemoryPart,
        entries: &[IndexEntry<'_>],
    ) {
        let mut names = LastNames { keys: &self.keys, stream: None, category: None };
        for entry in entries {
            let (stream, category) = names.numbers(streams, entry.stream);
            streams.raise(stream, entry.version);
            part.insert(&PartEntry {
                sequence: entry.sequence,
                fingerprint: self.keys.id(&entry.id),
                stream,
                category,
                version: entry.version,
                offset: entry.offset,
            });
        }
    }

    /// Notes that the writer has sealed a segment; it is pending until its run is built.
    pub(crate) fn seal(&self, segment: SealedSegment) {
        self.write().sealed.insert(segment.first, segment);
    }

    /// How many sealed segments have no run yet. The writer seals no further one while there are
    /// two, so that memory stays bounded.
    pub(crate) fn pending_segments(&self) -> usize {
        let state = self.read();
        state.parts.keys().filter(|first| state.sealed.contains_key(first)).count()
    }

    /// Nothing panics half-way through a change under this lock, except the assertions of
    /// [`Index::insert`], after which the partition's writer is poisoned: readers may go on.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The names of the last entry. Events of one append are often of one stream, and those of many of
/// one category: their names are looked up once.
struct LastNames<'a> {
    keys: &'a Keys,
    stream: Option<(&'a StreamName, StreamNumber)>,
    category: Option<(&'a [u8], StreamNumber)>,
}

impl<'a> LastNames<'a> {
    /// The numbers of a stream and of its category.
    fn numbers(
        &mut self,
        streams: &mut StreamTable,
        stream: &'a StreamName,
    ) -> (StreamNumber, StreamNumber) {
        if let (Some((name, number)), Some((_, category))) = (self.stream, self.category)
            && name == stream
        {
            return (number, category);
        }
        let name = stream.as_bytes();
        let number = streams.intern(self.keys.stream(name), name);
        self.stream = Some((stream, number));
        let category = category_of(name);
        let of_category = match self.category {
            Some((name, number)) if name == category => number,
            _ => {
                let key = CategoryKey::new(category);
                streams.intern(self.keys.stream(key.as_bytes()), key.as_bytes())
            }
        };
        self.category = Some((category, of_category));
        (number, of_category)
    }
}
