//! A million events, if there is time: how long it takes, and that memory stays small.

use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;

use super::{Random, slow_tests};
use crate::event::{Direction, EventId, Sequence, Version};
use crate::index::{Index, IndexEntry, IndexPlace, SealedSegment, Wanted};
use crate::log::disk::FileDisk;
use crate::names::StreamName;

const EVENTS: u64 = 1_000_000;
const SEGMENT_EVENTS: u64 = 125_000;
const BATCH: u64 = 500;
const STREAMS: usize = 10_000;

fn id(random: &mut Random) -> EventId {
    let (high, low) = (random.next(), random.next());
    EventId(Uuid::from_u64_pair(high, low))
}

/// Prints the time that some work took.
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    println!("{what}: {:?}", start.elapsed());
    result
}

#[test]
fn a_million_events() {
    if !slow_tests() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let place = IndexPlace {
        disk: Arc::new(FileDisk),
        dir: dir.path().to_owned(),
        partition_id: Uuid::from_u128(77),
    };
    let names: Vec<_> = (0..STREAMS)
        .map(|number| StreamName::try_from(format!("order-{number}").as_str()).unwrap())
        .collect();
    let index = Index::open(&place, &[]).unwrap().index;
    let mut random = Random::new(1);
    let mut versions = vec![Version::ZERO; STREAMS];
    let mut sealed = Vec::new();
    for first in (1..=EVENTS).step_by(usize::try_from(SEGMENT_EVENTS).unwrap()) {
        let what = format!("look up and insert {SEGMENT_EVENTS} from {first} on");
        timed(&what, || {
            for batch in (first..first + SEGMENT_EVENTS).step_by(usize::try_from(BATCH).unwrap()) {
                let mut entries = Vec::new();
                for sequence in batch..batch + BATCH {
                    let number = random.below(STREAMS);
                    versions[number] = versions[number].next();
                    entries.push(IndexEntry {
                        stream: &names[number],
                        version: versions[number],
                        id: id(&mut random),
                        sequence: Sequence(sequence),
                        offset: 0,
                    });
                }
                let ids: Vec<_> = entries.iter().map(|entry| entry.id).collect();
                assert_eq!(index.candidates(&ids).unwrap(), []);
                for entry in &entries {
                    assert!(index.stream_version(entry.stream) < Some(entry.version));
                }
                index.insert(Sequence(first), &entries);
            }
        });
        let last = Sequence(first + SEGMENT_EVENTS - 1);
        let segment = SealedSegment { first: Sequence(first), last, chain: [7; 16] };
        sealed.push(segment);
        index.seal(segment);
        timed("build", || index.build_run(segment.first).unwrap());
    }
    drop(index);
    let opened = timed("open", || Index::open(&place, &sealed).unwrap());
    assert_eq!(opened.unindexed, []);
    timed("read 1,000 streams", || {
        for stream in &names[..1000] {
            let (from, direction) = (Version(1), Direction::Forward);
            let wanted = Wanted { stream, from, direction, count_max: 1000 };
            let latest = opened.index.stream_version(stream).unwrap();
            assert_eq!(
                opened.index.postings(&wanted).unwrap().len(),
                usize::try_from(latest.0).unwrap()
            );
        }
    });
    let state = opened.index.read();
    let runs: usize = state.runs.iter().map(|run| run.memory_bytes()).sum();
    let streams = state.streams.memory_bytes();
    println!("{runs} bytes of runs and {streams} bytes of streams in memory");
    assert!(runs + streams < 4_000_000);
}
