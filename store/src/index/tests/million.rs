//! A million events, if there is time: how long it takes, and that memory stays small.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tempfile::TempDir;
use uuid::Uuid;

use super::{Random, slow_tests};
use crate::event::{Direction, EventId, Sequence, Version};
use crate::filter::Filter;
use crate::index::{Index, IndexEntry, IndexPlace, SealedSegment, Wanted, WantedPlaces};
use crate::log::disk::FileDisk;
use crate::log::fetch_places::RecordPlace;
use crate::names::{CategoryName, StreamName};

const EVENTS: u64 = 1_000_000;
const SEGMENT_EVENTS: u64 = 125_000;
const BATCH: u64 = 500;
const STREAMS: usize = 10_000;
/// Most places that a reader asks for at once.
const PAGE: usize = 1_000;
/// What the open segment and one that is just sealed may take beside the runs.
const MEMORY_MAX_BUILDING: usize = 16_000_000;
const MEMORY_MAX: usize = 4_000_000;

/// Prints the time that some work took.
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    println!("{what}: {:?}", start.elapsed());
    result
}

fn id(random: &mut Random) -> EventId {
    let (high, low) = (random.next(), random.next());
    EventId(Uuid::from_u64_pair(high, low))
}

/// The place of a record, as far as the index is concerned.
fn place_of(sequence: u64) -> RecordPlace {
    let offset = u32::try_from(sequence % SEGMENT_EVENTS).unwrap() * 128;
    RecordPlace { sequence: Sequence(sequence), offset }
}

/// A log of so many events, and its index in files.
struct Million {
    place: IndexPlace,
    names: Vec<StreamName>,
    /// The number of each event's stream, from the first event on.
    events: Vec<usize>,
    sealed: Vec<SealedSegment>,
    _folder: TempDir,
}

impl Million {
    /// Appends to random streams as a writer does, segment after segment.
    fn build(names: Vec<StreamName>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = IndexPlace {
            disk: Arc::new(FileDisk),
            dir: folder.path().to_owned(),
            partition_id: Uuid::from_u128(77),
        };
        let index = Index::open(&place, &[]).unwrap().index;
        let (events, sealed) = (Vec::new(), Vec::new());
        let mut million = Self { place, names, events, sealed, _folder: folder };
        let mut random = Random::new(1);
        let mut versions = vec![Version::ZERO; million.names.len()];
        for first in (1..=EVENTS).step_by(usize::try_from(SEGMENT_EVENTS).unwrap()) {
            let what = format!("look up and insert {SEGMENT_EVENTS} from {first} on");
            timed(&what, || million.fill(&index, first, &mut versions, &mut random));
            assert!(memory_bytes(&index) < MEMORY_MAX_BUILDING);
            let last = Sequence(first + SEGMENT_EVENTS - 1);
            let segment = SealedSegment { first: Sequence(first), last, chain: [7; 16] };
            million.sealed.push(segment);
            index.seal(segment);
            timed("build", || index.build_run(segment.first).unwrap());
        }
        million
    }

    /// Appends one segment's events.
    fn fill(&mut self, index: &Index, first: u64, versions: &mut [Version], random: &mut Random) {
        for batch in (first..first + SEGMENT_EVENTS).step_by(usize::try_from(BATCH).unwrap()) {
            let mut entries = Vec::new();
            for sequence in batch..batch + BATCH {
                let number = random.below(self.names.len());
                self.events.push(number);
                versions[number] = versions[number].next();
                let RecordPlace { sequence, offset } = place_of(sequence);
                let (stream, version) = (&self.names[number], versions[number]);
                entries.push(IndexEntry { stream, version, id: id(random), sequence, offset });
            }
            let ids: Vec<_> = entries.iter().map(|entry| entry.id).collect();
            assert_eq!(index.candidates(&ids).unwrap(), []);
            for entry in &entries {
                assert!(index.stream_version(entry.stream) < Some(entry.version));
            }
            index.insert(Sequence(first), &entries);
        }
    }

    /// The index, opened as after a restart.
    fn open(&self) -> Index {
        let opened = timed("open", || Index::open(&self.place, &self.sealed).unwrap());
        assert_eq!(opened.unindexed, []);
        opened.index
    }

    /// What plain maps say of categories: where their events are.
    fn by_category(&self) -> BTreeMap<&str, Vec<RecordPlace>> {
        let mut places: BTreeMap<&str, Vec<RecordPlace>> = BTreeMap::new();
        for (sequence, number) in (1..).zip(&self.events) {
            places.entry(self.names[*number].category()).or_default().push(place_of(sequence));
        }
        places
    }
}

fn memory_bytes(index: &Index) -> usize {
    let state = index.read();
    let parts: usize = state.parts.values().map(|part| part.memory_bytes()).sum();
    let runs: usize = state.runs.iter().map(|run| run.memory_bytes()).sum();
    let streams = state.streams.memory_bytes();
    println!("{parts} bytes of parts, {runs} of runs and {streams} of streams in memory");
    parts + runs + streams
}

fn names(name: impl Fn(usize) -> String) -> Vec<StreamName> {
    (0..STREAMS).map(|number| StreamName::try_from(name(number).as_str()).unwrap()).collect()
}

#[test]
fn a_million_events() {
    if !slow_tests() {
        return;
    }
    let million = Million::build(names(|number| format!("order-{number}")));
    let index = million.open();
    timed("read 1,000 streams", || {
        for stream in &million.names[..1000] {
            let (from, direction) = (Version(1), Direction::Forward);
            let wanted = Wanted { stream, from, direction, count_max: 1000 };
            let latest = index.stream_version(stream).unwrap();
            assert_eq!(index.postings(&wanted).unwrap().len(), usize::try_from(latest.0).unwrap());
        }
    });
    assert!(memory_bytes(&index) < MEMORY_MAX);
}

/// Half of all streams are of the largest category, and ever fewer of each smaller one.
#[test]
fn a_million_events_by_category() {
    if !slow_tests() {
        return;
    }
    let million = Million::build(names(|n| format!("c{}-{n}", 1000 / (n % 1000 + 1))));
    let index = million.open();
    let model = timed("model", || million.by_category());
    assert!(model.len() > 50, "{}", model.len());
    timed(&format!("read {} categories in pages", model.len()), || {
        for (name, places) in &model {
            let category: CategoryName = name.parse().unwrap();
            assert!(pages(&index, &category).eq(places.iter().copied()), "{name}");
        }
    });
    let mut random = Random::new(2);
    timed("ask each category 20 times for some between two places", || {
        for (name, places) in &model {
            let filter = Filter::Category(name.parse().unwrap());
            for _ in 0..20 {
                check_between(&index, &filter, places, &mut random);
            }
        }
    });
    assert!(memory_bytes(&index) < MEMORY_MAX);
}

/// All places of a category, so many at a time.
fn pages(index: &Index, category: &CategoryName) -> impl Iterator<Item = RecordPlace> {
    let filter = Filter::Category(category.clone());
    let mut low = Sequence(1);
    let page = move || {
        let (high, direction) = (Sequence(EVENTS), Direction::Forward);
        let wanted = WantedPlaces { filter: &filter, low, high, direction, count_max: PAGE };
        let places = if low > high { Vec::new() } else { index.places(&wanted).unwrap() };
        assert!(places.len() <= PAGE);
        low = places.last()?.sequence.next();
        Some(places)
    };
    std::iter::from_fn(page).flatten()
}

/// Asks both ways for at most a page between two random places of the log.
fn check_between(index: &Index, filter: &Filter, places: &[RecordPlace], random: &mut Random) {
    let mut place = || u64::try_from(random.below(usize::try_from(EVENTS).unwrap())).unwrap() + 1;
    let (one, other) = (Sequence(place()), Sequence(place()));
    let (low, high) = (one.min(other), one.max(other));
    let begin = places.partition_point(|place| place.sequence < low);
    let end = places.partition_point(|place| place.sequence <= high);
    let expected = &places[begin..end];
    let ask = |direction| {
        let wanted = WantedPlaces { filter, low, high, direction, count_max: PAGE };
        index.places(&wanted).unwrap()
    };
    assert!(ask(Direction::Forward).iter().eq(expected.iter().take(PAGE)), "{low} to {high}");
    assert!(
        ask(Direction::Backward).iter().eq(expected.iter().rev().take(PAGE)),
        "{low} to {high}"
    );
}
