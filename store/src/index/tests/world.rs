//! An index beside plain maps that know the right answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::Random;
use super::disk::MemoryDisk;
use crate::event::{Direction, EventId, Sequence, Version};
use crate::filter::Filter;
use crate::index::keys::Keys;
use crate::index::{
    Index, IndexEntry, IndexError, IndexPlace, Posting, SealedSegment, Wanted, WantedPlaces,
};
use crate::log::fetch_places::RecordPlace;
use crate::names::StreamName;

pub(super) const PARTITION: Uuid = Uuid::from_u128(0x5741_524c_4f47);

/// A record, as far as the index is concerned.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) stream: StreamName,
    pub(super) version: Version,
    pub(super) id: EventId,
    pub(super) sequence: Sequence,
    pub(super) offset: u32,
}

impl Record {
    fn entry(&self) -> IndexEntry<'_> {
        IndexEntry {
            stream: &self.stream,
            version: self.version,
            id: self.id,
            sequence: self.sequence,
            offset: self.offset,
        }
    }
}

/// What happened so far: the log as plain data.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    pub(super) sealed: Vec<SealedSegment>,
    pub(super) records: Vec<Record>,
    pub(super) by_stream: BTreeMap<String, Vec<usize>>,
}

impl Log {
    /// First sequence of the open segment.
    pub(super) fn open_first(&self) -> Sequence {
        self.sealed.last().map_or(Sequence(1), |segment| segment.last.next())
    }

    pub(super) fn last(&self) -> Sequence {
        Sequence(u64::try_from(self.records.len()).unwrap())
    }

    pub(super) fn append(&mut self, stream: &str) {
        let places = self.by_stream.entry(stream.to_owned()).or_default();
        let number = self.records.len();
        places.push(number);
        let sequence = u64::try_from(number).unwrap() + 1;
        self.records.push(Record {
            stream: StreamName::try_from(stream).unwrap(),
            version: Version(u64::try_from(places.len()).unwrap()),
            id: EventId(Uuid::from_u128(u128::from(sequence) << 64 | 0xabc)),
            sequence: Sequence(sequence),
            offset: u32::try_from(number % 1000).unwrap() * 128,
        });
    }

    pub(super) fn seal(&mut self) -> SealedSegment {
        let last = self.last();
        let chain = u128::from(last.0).wrapping_mul(0x1234_5678_9abc_def1).to_le_bytes();
        let segment = SealedSegment { first: self.open_first(), last, chain };
        self.sealed.push(segment);
        segment
    }

    /// The records between two sequences, both inclusive.
    pub(super) fn entries(&self, first: Sequence, last: Sequence) -> Vec<IndexEntry<'_>> {
        let range = usize::try_from(first.0).unwrap() - 1..usize::try_from(last.0).unwrap();
        self.records[range].iter().map(Record::entry).collect()
    }
}

/// Opens the index of a log as recovery does: what has no run is scanned, and gets one.
pub(super) fn recover(place: &IndexPlace, keys: &Keys, log: &Log) -> Result<Index, IndexError> {
    let opened = Index::open_with(place, keys.clone(), &log.sealed)?;
    for segment in opened.unindexed {
        opened.index.insert(segment.first, &log.entries(segment.first, segment.last));
        opened.index.build_run(segment.first)?;
    }
    if log.open_first() <= log.last() {
        opened.index.insert(log.open_first(), &log.entries(log.open_first(), log.last()));
    }
    Ok(opened.index)
}

pub(super) fn place(disk: &MemoryDisk) -> IndexPlace {
    IndexPlace { disk: Arc::new(disk.clone()), dir: "partition".into(), partition_id: PARTITION }
}

/// A log, its index, and the disk that the index is on.
pub(super) struct World {
    pub(super) disk: MemoryDisk,
    pub(super) keys: Keys,
    pub(super) log: Log,
    pub(super) index: Index,
}

impl World {
    pub(super) fn new(keys: Keys) -> Self {
        let disk = MemoryDisk::default();
        let log = Log::default();
        let index = recover(&place(&disk), &keys, &log).unwrap();
        Self { disk, keys, log, index }
    }

    /// Appends a batch of events to a few of the given streams.
    pub(super) fn append(&mut self, random: &mut Random, streams: usize, count: usize) {
        for _ in 0..count {
            // Half of all events go to a quarter of the streams.
            let among = if random.below(2) == 0 { streams } else { streams.div_ceil(4) };
            self.log.append(&stream_name(random.below(among)));
        }
        let last = self.log.last();
        let first = Sequence(last.0 + 1 - u64::try_from(count).unwrap());
        self.index.insert(self.log.open_first(), &self.log.entries(first, last));
    }

    /// Seals the open segment if it has records and the index allows it.
    pub(super) fn seal(&mut self) {
        if self.log.open_first() <= self.log.last() && self.index.pending_segments() < 2 {
            self.index.seal(self.log.seal());
        }
    }

    /// Builds the run of the oldest segment without one.
    pub(super) fn build(&self) -> Result<(), IndexError> {
        let pending = self.index.pending_segments();
        match self.log.sealed.len().checked_sub(pending) {
            Some(oldest) if pending > 0 => self.index.build_run(self.log.sealed[oldest].first),
            _ => Ok(()),
        }
    }

    pub(super) fn reopen(&mut self) {
        self.index = recover(&place(&self.disk), &self.keys, &self.log).unwrap();
    }

    /// A segment of `count` events over `streams` streams, with its run.
    pub(super) fn segment(&mut self, random: &mut Random, streams: usize, count: usize) {
        self.append(random, streams, count);
        self.seal();
        self.build().unwrap();
    }
}

/// Streams of a large category, of a small one, and of categories of their own.
fn stream_name(number: usize) -> String {
    match number % 8 {
        5 | 6 => format!("user-{number}"),
        7 => format!("plain{number}"),
        _ => format!("order-{number}"),
    }
}

/// Asks the index for everything about some records and compares with the log. Returns how many
/// questions could not be answered because of damage; a wrong answer panics.
pub(super) fn check(index: &Index, log: &Log, random: &mut Random, questions: usize) -> usize {
    let mut damaged = 0;
    for (name, places) in &log.by_stream {
        let stream = StreamName::try_from(name.as_str()).unwrap();
        let latest = Version(u64::try_from(places.len()).unwrap());
        assert_eq!(index.stream_version(&stream), Some(latest), "{name}");
    }
    for _ in 0..questions.min(log.records.len()) {
        let record = &log.records[random.below(log.records.len())];
        damaged += check_id(index, record);
        damaged += check_postings(index, log, record, random);
        damaged += check_places(index, log, record, random);
    }
    let absent = EventId(Uuid::from_u128(u128::MAX - 5));
    match index.candidates(&[absent]) {
        // With fingerprints that collide, the caller finds other ids at these places.
        Ok(places) => assert!(places.iter().all(|(_, place)| *place <= log.last())),
        Err(IndexError::Damaged { .. }) => damaged += 1,
        Err(error) => panic!("{error}"),
    }
    let nobody = StreamName::try_from("order-nobody").unwrap();
    assert_eq!(index.stream_version(&nobody), None);
    let filter = Filter::Category("nobody".parse().unwrap());
    let (low, high, direction) = (Sequence(1), log.last(), Direction::Forward);
    let wanted = WantedPlaces { filter: &filter, low, high, direction, count_max: 9 };
    assert_eq!(index.places(&wanted).unwrap(), []);
    damaged
}

fn check_id(index: &Index, record: &Record) -> usize {
    match index.candidates(&[record.id]) {
        Ok(places) => {
            assert!(places.contains(&(0, record.sequence)), "{record:?} is not in {places:?}");
            0
        }
        Err(IndexError::Damaged { .. }) => 1,
        Err(error) => panic!("{error}"),
    }
}

/// What lies between two places of the log, of a stream or its category.
fn check_places(index: &Index, log: &Log, record: &Record, random: &mut Random) -> usize {
    let filter = match random.below(3) {
        0 => Filter::Stream(record.stream.clone()),
        _ => Filter::Category(record.stream.category().try_into().unwrap()),
    };
    let count_max = [1, 3, 100, usize::MAX][random.below(4)];
    let place =
        |random: &mut Random| Sequence(u64::try_from(random.below(log.records.len())).unwrap() + 1);
    let (one, other) = (place(random), place(random));
    let (low, high) = (one.min(other), one.max(other));
    let number = |place: Sequence| usize::try_from(place.0).unwrap();
    let mut expected: Vec<_> = log.records[number(low) - 1..number(high)]
        .iter()
        .filter(|record| filter.takes(&record.stream))
        .map(|record| RecordPlace { sequence: record.sequence, offset: record.offset })
        .collect();
    let mut damaged = 0;
    for direction in [Direction::Forward, Direction::Backward] {
        let wanted = WantedPlaces { filter: &filter, low, high, direction, count_max };
        let count = count_max.min(expected.len());
        match index.places(&wanted) {
            Ok(places) => assert_eq!(places, expected[..count], "{wanted:?}"),
            Err(IndexError::Damaged { .. }) => damaged += 1,
            Err(error) => panic!("{error}"),
        }
        expected.reverse();
    }
    damaged
}

fn check_postings(index: &Index, log: &Log, record: &Record, random: &mut Random) -> usize {
    let count_max = [1, 3, 100, usize::MAX][random.below(4)];
    let places = &log.by_stream[record.stream.as_str()];
    let version = usize::try_from(record.version.0).unwrap();
    let posting = |place: &usize| {
        let Record { sequence, version, offset, .. } = log.records[*place];
        Posting { sequence, version, offset }
    };
    let forward: Vec<_> = places[version - 1..].iter().map(posting).take(count_max).collect();
    let backward: Vec<_> = places[..version].iter().rev().map(posting).take(count_max).collect();
    let ask = |direction| {
        index.postings(&Wanted {
            stream: &record.stream,
            from: record.version,
            direction,
            count_max,
        })
    };
    let mut damaged = 0;
    for (direction, expected) in [(Direction::Forward, forward), (Direction::Backward, backward)] {
        match ask(direction) {
            Ok(postings) => assert_eq!(postings, expected, "{record:?} {direction:?} {count_max}"),
            Err(IndexError::Damaged { .. }) => damaged += 1,
            Err(error) => panic!("{error}"),
        }
    }
    damaged
}
