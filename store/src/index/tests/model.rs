//! Random appends, seals, builds, merges and reopenings.

use std::sync::atomic::{AtomicBool, Ordering};

use super::world::{Log, PARTITION, World, check, place};
use super::{Random, slow_tests};
use crate::event::{Direction, EventId, Sequence, Version};
use crate::filter::Filter;
use crate::index::keys::Keys;
use crate::index::{Index, IndexError, IndexPlace, Wanted, WantedPlaces};
use crate::names::StreamName;

/// One life of an index; `steps` changes, with questions in between.
fn live(seed: u64, keys: Keys, steps: usize) {
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut world = World::new(keys);
    let streams = [3, 40, 400][random.below(3)];
    for _ in 0..steps {
        match random.below(20) {
            0..=9 => {
                let count = 1 + random.below(40);
                world.append(&mut random, streams, count);
            }
            10..=13 => world.seal(),
            14..=17 => world.build().unwrap(),
            18 => world.reopen(),
            _ => assert_eq!(check(&world.index, &world.log, &mut random, 20), 0),
        }
    }
    assert_eq!(check(&world.index, &world.log, &mut random, 500), 0);
    world.reopen();
    assert_eq!(check(&world.index, &world.log, &mut random, 500), 0);
}

#[test]
fn answers_as_plain_maps_do() {
    let seeds = if slow_tests() { 200 } else { 6 };
    for seed in 0..seeds {
        live(seed, Keys::new(&PARTITION), 300);
    }
}

#[test]
fn answers_as_plain_maps_do_when_everything_collides() {
    for (seed, mask) in [(100, 0), (101, 7), (102, 0xff00_0000_0000_0000), (103, 0x300)] {
        live(seed, Keys::colliding(&PARTITION, mask), 150);
    }
}

#[test]
fn runs_are_merged_by_eights() {
    let mut random = Random::new(1);
    let mut world = World::new(Keys::new(&PARTITION));
    for built in 1..=64 {
        world.segment(&mut random, 100, 30);
        let runs = built / 64 + built % 64 / 8 + built % 8;
        assert_eq!(world.disk.names().len(), runs, "files after {built} segments");
    }
    assert_eq!(check(&world.index, &world.log, &mut random, 2000), 0);
    world.append(&mut random, 100, 30);
    let id = world.log.records[5].id;
    let absent = EventId(PARTITION);
    let found = world.index.candidates(&[absent, id, absent, id]).unwrap();
    let sequence = world.log.records[5].sequence;
    assert_eq!(found, [(1, sequence), (3, sequence)]);
}

/// The places of a category fill many pages, so that a search has to go from page to page.
#[test]
fn long_runs_are_searched() {
    let mut random = Random::new(8);
    let mut world = World::new(Keys::new(&PARTITION));
    world.segment(&mut random, 100, 9000);
    assert_eq!(check(&world.index, &world.log, &mut random, 400), 0);
}

#[test]
fn files_of_another_history_or_partition_are_refused() {
    let mut random = Random::new(1);
    let mut world = World::new(Keys::new(&PARTITION));
    world.segment(&mut random, 5, 30);
    world.segment(&mut random, 5, 30);
    let unindexed = |sealed: &[_], partition| {
        let names = world.disk.names();
        let folder = names.iter().map(|name| place(&world.disk).dir.join(name));
        let kept: Vec<_> = folder.map(|path| (path.clone(), world.disk.bytes(&path))).collect();
        let place = IndexPlace { partition_id: partition, ..place(&world.disk) };
        let unindexed = Index::open(&place, sealed).unwrap().unindexed.len();
        kept.into_iter().for_each(|(path, bytes)| world.disk.put(&path, bytes));
        unindexed
    };
    let sealed = world.log.sealed.clone();
    assert_eq!(unindexed(&sealed, PARTITION), 0);
    assert_eq!(unindexed(&sealed, uuid::Uuid::from_u128(9)), 2, "another partition");
    let mut other = sealed.clone();
    other[1].chain[0] ^= 1;
    assert_eq!(unindexed(&other, PARTITION), 1, "another history");
    assert_eq!(unindexed(&sealed[..1], PARTITION), 0, "a log that ends earlier");
}

#[test]
fn other_files_of_the_folder_are_left_alone() {
    let world = World::new(Keys::new(&PARTITION));
    let dir = place(&world.disk).dir;
    let digits = "0".repeat(20);
    let ours = [format!("run-{digits}-{digits}.index"), format!("run-{digits}-{digits}.index.tmp")];
    let others = ["control", "run-1-2.index", "run-x.tmp", "00000000000000000001.segment"];
    for name in ours.iter().map(String::as_str).chain(others) {
        world.disk.put(&dir.join(name), b"something".to_vec());
    }
    Index::open(&place(&world.disk), &[]).unwrap();
    let mut expected = others.to_vec();
    expected.sort_unstable();
    assert_eq!(world.disk.names(), expected);
}

#[test]
fn what_was_not_inserted_is_missed() {
    let mut random = Random::new(1);
    let mut world = World::new(Keys::new(&PARTITION));
    world.segment(&mut random, 1, 30);
    world.segment(&mut random, 1, 30);
    let file = place(&world.disk).dir.join(&world.disk.names()[0]);
    world.disk.tamper(&file, |bytes| bytes[0] ^= 1);
    let opened = Index::open(&place(&world.disk), &world.log.sealed).unwrap();
    assert_eq!(opened.unindexed, world.log.sealed[..1]);
    let stream = StreamName::try_from("order-0").unwrap();
    let from = Version(1);
    let wanted = Wanted { stream: &stream, from, direction: Direction::Forward, count_max: 100 };
    let answer = opened.index.postings(&wanted);
    assert!(matches!(answer, Err(IndexError::Incomplete { .. })), "{answer:?}");
    let filter = Filter::Category("order".parse().unwrap());
    let (low, high, direction) = (Sequence(30), world.log.last(), Direction::Forward);
    let wanted = WantedPlaces { filter: &filter, low, high, direction, count_max: 9 };
    let answer = opened.index.places(&wanted);
    assert!(matches!(answer, Err(IndexError::Incomplete { .. })), "{answer:?}");
    let answer = opened.index.places(&WantedPlaces { low: Sequence(31), ..wanted });
    assert_eq!(answer.unwrap().len(), 9);
    let high = high.next();
    let answer = opened.index.places(&WantedPlaces { low: Sequence(31), high, ..wanted });
    assert!(matches!(answer, Err(IndexError::Incomplete { .. })), "{answer:?}");
    let first = world.log.sealed[0].first;
    let answer = opened.index.build_run(first);
    assert!(matches!(answer, Err(IndexError::NotSealed { .. })), "{answer:?}");
}

#[test]
fn readers_see_whole_streams_while_runs_are_built_and_merged() {
    let mut random = Random::new(5);
    let World { index, mut log, .. } = World::new(Keys::new(&PARTITION));
    (0..50).for_each(|_| log.append(&format!("order-{}", random.below(4))));
    index.insert(log.open_first(), &log.entries(log.open_first(), log.last()));
    let (known, done) = (log.clone(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let (index, known, done) = (&index, &known, &done);
            scope.spawn(move || {
                let mut random = Random::new(seed);
                while !done.load(Ordering::Relaxed) {
                    read_whole(index, known, &mut random);
                }
            });
        }
        for _ in 0..40 {
            let segment = log.seal();
            index.seal(segment);
            index.build_run(segment.first).unwrap();
            (0..50).for_each(|_| log.append(&format!("order-{}", random.below(4))));
            index.insert(log.open_first(), &log.entries(log.open_first(), log.last()));
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// Reads a stream that grows meanwhile.
fn read_whole(index: &Index, known: &Log, random: &mut Random) {
    let record = &known.records[random.below(known.records.len())];
    assert_eq!(index.candidates(&[record.id]).unwrap(), [(0, record.sequence)]);
    let postings = index.postings(&Wanted {
        stream: &record.stream,
        from: Version(1),
        direction: Direction::Forward,
        count_max: usize::MAX,
    });
    let postings = postings.unwrap();
    assert!(postings.len() >= known.by_stream[record.stream.as_str()].len());
    assert!(postings.is_sorted_by_key(|posting| posting.sequence));
}
