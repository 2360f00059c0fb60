//! The index of one segment that has no run file yet: the open one, and those just sealed.

use hashbrown::{HashMap, HashTable};

use super::query::{Posting, VersionRange};
use super::run::IdEntry;
use super::streams::StreamNumber;
use super::width::{long_to_usize, to_u64, to_usize};
use crate::event::{Direction, Sequence, Version};
use crate::log::fetch_places::RecordPlace;

/// Ids and streams of one segment. Sequences and versions have no gaps, so an event's sequence is
/// its position in a vector, and its version is its position within its stream.
#[derive(Debug, Clone)]
pub(super) struct MemoryPart {
    /// First sequence of the segment.
    first: Sequence,
    /// Fingerprints of the events' ids, in sequence order.
    fingerprints: Vec<u64>,
    /// Fingerprint → position in `fingerprints`; the same fingerprint may stand there twice.
    by_fingerprint: HashTable<u32>,
    /// Streams, and categories among them.
    streams: HashMap<StreamNumber, StreamPart>,
}

/// The events of one stream or category in one segment, in the order of the log.
#[derive(Debug, Clone)]
pub(super) struct StreamPart {
    /// Version of the first place; 1 in a category, whose events are counted per segment or run.
    pub(super) first: Version,
    /// Where the events are.
    pub(super) places: Vec<Place>,
}

/// Where an event is, relative to its segment or run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Sequence − first sequence of the segment or run.
    pub(super) relative: u32,
    /// Offset of the record in its segment file, in bytes.
    pub(super) offset: u32,
}

/// An event as a memory part takes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct PartEntry {
    pub(super) sequence: Sequence,
    pub(super) fingerprint: u64,
    pub(super) stream: StreamNumber,
    pub(super) category: StreamNumber,
    pub(super) version: Version,
    pub(super) offset: u32,
}

impl MemoryPart {
    pub(super) fn new(first: Sequence) -> Self {
        Self {
            first,
            fingerprints: Vec::new(),
            by_fingerprint: HashTable::new(),
            streams: HashMap::new(),
        }
    }

    /// Adds the next event of the segment.
    pub(super) fn insert(&mut self, entry: &PartEntry) {
        let position = self.fingerprints.len();
        assert_eq!(entry.sequence.0, self.first.0 + to_u64(position), "a segment has no gaps");
        let relative = u32::try_from(position).unwrap_or(u32::MAX);
        self.fingerprints.push(entry.fingerprint);
        let fingerprints = &self.fingerprints;
        let rehash = |position: &u32| fingerprints.get(to_usize(*position)).copied().unwrap_or(0);
        self.by_fingerprint.insert_unique(entry.fingerprint, relative, rehash);
        let fresh = || StreamPart { first: entry.version, places: Vec::new() };
        let stream = self.streams.entry(entry.stream).or_insert_with(fresh);
        assert_eq!(entry.version, stream.next(), "a stream has no gaps");
        let place = Place { relative, offset: entry.offset };
        stream.places.push(place);
        let fresh = || StreamPart { first: Version(1), places: Vec::new() };
        self.streams.entry(entry.category).or_insert_with(fresh).places.push(place);
    }

    /// First and last sequence (both inclusive); the last is below the first without events.
    pub(super) fn ends(&self) -> (Sequence, Sequence) {
        (self.first, Sequence(self.first.0 + to_u64(self.len()) - 1))
    }

    /// Number of events.
    pub(super) fn len(&self) -> usize {
        self.fingerprints.len()
    }

    /// All ids, in the order of a run.
    pub(super) fn sorted_ids(&self) -> Vec<IdEntry> {
        let ids = self.fingerprints.iter().zip(0..);
        let mut ids: Vec<IdEntry> = ids
            .map(|(fingerprint, relative)| IdEntry { fingerprint: *fingerprint, relative })
            .collect();
        ids.sort_unstable();
        ids
    }

    /// All streams and categories with the versions that are in this segment, in no particular
    /// order.
    pub(super) fn streams(&self) -> impl Iterator<Item = (StreamNumber, VersionRange)> {
        self.streams.iter().map(|(number, part)| (*number, part.versions()))
    }

    /// The places of a stream or category, in the order of the log.
    pub(super) fn places(&self, stream: StreamNumber) -> &[Place] {
        self.streams.get(&stream).map_or(&[], |part| &part.places)
    }

    /// Where events with this fingerprint are.
    pub(super) fn find(&self, fingerprint: u64) -> impl Iterator<Item = Sequence> {
        let same = move |position: &&u32| {
            self.fingerprints.get(to_usize(**position)) == Some(&fingerprint)
        };
        let hits = self.by_fingerprint.iter_hash(fingerprint).filter(same);
        hits.map(|position| Sequence(self.first.0 + u64::from(*position)))
    }

    /// Appends the places of those versions of a stream that are wanted, in ascending order.
    pub(super) fn postings(
        &self,
        stream: StreamNumber,
        wanted: VersionRange,
        postings: &mut Vec<Posting>,
    ) {
        let Some(part) = self.streams.get(&stream) else { return };
        let Some(range) = part.versions().overlap(wanted) else { return };
        let before = long_to_usize(range.first.0 - part.first.0);
        let places = part.places.iter().skip(before);
        for (version, place) in range.versions().zip(places) {
            let sequence = Sequence(self.first.0 + u64::from(place.relative));
            postings.push(Posting { sequence, version, offset: place.offset });
        }
    }

    /// Appends the places of a stream or category between two sequences, both inclusive: at most
    /// `count_max`, in the given direction.
    pub(super) fn places_between(
        &self,
        stream: StreamNumber,
        (low, high): (Sequence, Sequence),
        (direction, count_max): (Direction, usize),
        found: &mut Vec<RecordPlace>,
    ) {
        let sequence = |place: &Place| Sequence(self.first.0 + u64::from(place.relative));
        let places = self.places(stream);
        let start = places.partition_point(|place| sequence(place) < low);
        let end = places.partition_point(|place| sequence(place) <= high);
        let inside = places.get(start..end).unwrap_or_default().iter();
        let record =
            |place: &Place| RecordPlace { sequence: sequence(place), offset: place.offset };
        match direction {
            Direction::Forward => found.extend(inside.take(count_max).map(record)),
            Direction::Backward => found.extend(inside.rev().take(count_max).map(record)),
        }
    }

    /// Bytes of memory that the part holds, spare room included.
    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> usize {
        let places = self.streams.values().map(|part| part.places.capacity() * size_of::<Place>());
        self.fingerprints.capacity() * size_of::<u64>()
            + self.by_fingerprint.allocation_size()
            + self.streams.allocation_size()
            + places.sum::<usize>()
    }
}

impl StreamPart {
    /// The versions that have places here; there is at least one.
    fn versions(&self) -> VersionRange {
        VersionRange { first: self.first, last: Version(self.next().0 - 1) }
    }

    /// The version after the last one.
    fn next(&self) -> Version {
        Version(self.first.0 + to_u64(self.places.len()))
    }
}
