//! Reading a category against picking its events out of the whole log.

use proptest::prelude::*;
use store::{Direction, Event, ExpectedVersion, Filter, FilteredQuery, Sequence, Store};

use crate::fixture::{all, event_with, open, partition, stream};

fn category(name: &str) -> Filter {
    Filter::Category(name.parse().unwrap())
}

/// A large category, a small one, streams that are categories of their own, and one that has
/// nothing before its dash.
fn stream_of(number: u128) -> String {
    match number * 7 % 20 {
        0..=11 => format!("order-{}", number % 37),
        12..=15 => format!("user-{}-{}", number % 5, number % 3),
        16 | 17 => format!("plain{}", number % 4),
        18 => "order".to_owned(),
        _ => format!("-{}", number % 2),
    }
}

/// Fills the open segment, many sealed ones, and runs of several levels.
fn fill(store: &Store, ids: std::ops::Range<u128>) {
    for id in ids {
        let event = event_with(id, &"x".repeat(700));
        store.append(&stream(&stream_of(id)), ExpectedVersion::Any, vec![event]).unwrap();
    }
}

/// What a query should give, by looking at every event.
fn picked(events: &[Event], query: &FilteredQuery) -> Vec<u64> {
    let (from, to) = (query.from.0, query.to.0);
    let wanted = |event: &&Event| {
        let place = event.sequence.0;
        query.filter.takes(&event.stream)
            && match query.direction {
                Direction::Forward => place >= from && (to == 0 || place <= to),
                Direction::Backward => place <= from && place >= to,
            }
    };
    let mut picked: Vec<u64> = events.iter().filter(wanted).map(|event| event.sequence.0).collect();
    if query.direction == Direction::Backward {
        picked.reverse();
    }
    picked.truncate(usize::try_from(query.count_max).unwrap());
    picked
}

fn read(store: &Store, query: &FilteredQuery) -> Vec<u64> {
    let number = partition(store).number();
    let events = store.read_filtered(number, query.clone()).unwrap();
    events.map(|event| event.unwrap().sequence.0).collect()
}

fn queries() -> impl Strategy<Value = FilteredQuery> {
    let filters = proptest::sample::select(vec![
        category("order"),
        category("user"),
        category("plain1"),
        category("absent"),
        Filter::Stream(stream("order-5")),
        Filter::Stream(stream("user-1-2")),
        Filter::Stream(stream("order")),
        Filter::Stream(stream("-1")),
    ]);
    let place = 1..=1600_u64;
    let to = prop_oneof![Just(0), 1..=1600_u64];
    let count = prop_oneof![1..20_u32, Just(u32::MAX)];
    let bytes = prop_oneof![Just(1_usize), 1000..20_000_usize, Just(1 << 20)];
    let parts = (filters, place, to, any::<bool>(), count, bytes);
    parts.prop_map(|(filter, from, to, forward, count_max, bytes_max)| FilteredQuery {
        filter,
        from: Sequence(from),
        to: Sequence(to),
        direction: if forward { Direction::Forward } else { Direction::Backward },
        count_max,
        bytes_max,
    })
}

/// Over many sealed segments and the open one, in memory and in runs, before and after a restart.
#[test]
fn a_filtered_read_is_the_whole_log_without_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (node, store) = open(dir.path());
    fill(&store, 0..1500);
    let events = all(&store);
    assert!(partition(&store).status().segments > 10, "there is more than one run");
    let check = |store: &Store| {
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            cases: 150,
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        let same = |query: FilteredQuery| {
            prop_assert_eq!(read(store, &query), picked(&events, &query));
            Ok(())
        };
        runner.run(&queries(), same).unwrap();
    };
    check(&store);
    drop((node, store));
    let (_node, store) = open(dir.path());
    check(&store);
}

#[test]
fn a_block_says_how_far_it_has_looked() {
    let dir = tempfile::tempdir().unwrap();
    let (_node, store) = open(dir.path());
    for (id, name) in (1..).zip(["order-1", "user-1", "order-2", "user-1", "order-1", "user-1"]) {
        store.append(&stream(name), ExpectedVersion::Any, vec![event_with(id, "x")]).unwrap();
    }
    let reader = partition(&store).reader();
    let query = FilteredQuery { count_max: 2, ..FilteredQuery::all(category("order")) };
    let block = reader.read_filtered(&query).unwrap();
    let places = (block.first, block.last, block.head, block.at_end);
    assert_eq!(places, (Sequence(1), Sequence(3), Sequence(6), false));
    let block = reader.read_filtered(&FilteredQuery { count_max: 3, ..query.clone() }).unwrap();
    assert_eq!((block.last, block.at_end), (Sequence(5), true), "nothing comes after the third");
    let to = FilteredQuery { to: Sequence(4), count_max: 9, ..query.clone() };
    let block = reader.read_filtered(&to).unwrap();
    assert_eq!((block.last, block.at_end), (Sequence(3), true));
    let beyond = FilteredQuery { from: Sequence(7), ..query };
    let block = reader.read_filtered(&beyond).unwrap();
    assert_eq!((block.count, block.head, block.at_end), (0, Sequence(6), true));
    for (up_to, newest) in [(0, 0), (1, 1), (2, 1), (4, 3), (5, 5), (6, 5), (99, 5)] {
        let found = reader.newest_of(&category("order"), Sequence(up_to)).unwrap();
        assert_eq!(found, Sequence(newest), "up to {up_to}");
    }
}

#[test]
fn an_empty_partition_has_no_categories() {
    let dir = tempfile::tempdir().unwrap();
    let (_node, store) = open(dir.path());
    let reader = partition(&store).reader();
    let backward = FilteredQuery {
        direction: Direction::Backward,
        from: Sequence(u64::MAX),
        ..FilteredQuery::all(category("order"))
    };
    for query in [FilteredQuery::all(category("order")), backward] {
        let block = reader.read_filtered(&query).unwrap();
        assert_eq!((block.count, block.at_end), (0, true));
    }
    assert_eq!(reader.newest_of(&category("order"), Sequence(9)).unwrap(), Sequence::ZERO);
}
