use client::{
    Client, DecodeEvent, Direction, ErrorCode, ExpectedVersion, PartitionNumber, ReadAllOptions,
    ReadCategoryOptions, ReadError, ReadOptions, Sequence, StoreHandle, Version,
};

use crate::world::{World, counted};

/// A stream of these numbers, ten per append.
fn fill(orders: &StoreHandle, stream: &str, numbers: std::ops::RangeInclusive<u64>) {
    let numbers: Vec<u64> = numbers.collect();
    let append = |numbers: &[u64]| {
        let events = numbers.iter().map(|number| counted(*number)).collect();
        orders.append(stream, ExpectedVersion::Any, events)
    };
    for pending in numbers.chunks(10).map(append).collect::<Vec<_>>() {
        pending.wait().unwrap();
    }
}

fn versions(orders: &StoreHandle, options: ReadOptions) -> Vec<u64> {
    orders.read_stream("order-1", options).map(|event| event.unwrap().version.0).collect()
}

fn sequences(orders: &StoreHandle, options: ReadAllOptions) -> Vec<u64> {
    let events = orders.read_all(PartitionNumber(0), options);
    events.map(|event| event.unwrap().sequence.0).collect()
}

#[test]
fn streams_are_read_from_anywhere_in_both_directions() {
    let world = World::start(1);
    let orders = world.orders();
    fill(&orders, "order-1", 1..=50);
    fill(&orders, "order-2", 1..=50);
    fill(&orders, "order-1", 51..=100);
    let from = |version| Some(Version(version));
    let backward = Direction::Backward;
    let rows: [(ReadOptions, Vec<u64>); 8] = [
        (ReadOptions::default(), (1..=100).collect()),
        (ReadOptions::from(Version(98)), vec![98, 99, 100]),
        (ReadOptions { limit: Some(2), ..ReadOptions::from(Version(49)) }, vec![49, 50]),
        (ReadOptions::last(), vec![100]),
        (ReadOptions { direction: backward, ..Default::default() }, (1..=100).rev().collect()),
        (ReadOptions { direction: backward, from: from(3), ..Default::default() }, vec![3, 2, 1]),
        (ReadOptions::from(Version(101)), vec![]),
        (ReadOptions { limit: Some(0), ..Default::default() }, vec![]),
    ];
    for (options, expected) in rows {
        assert_eq!(versions(&orders, options.clone()), expected, "{options:?}");
    }
    assert_eq!(orders.read_stream("order-3", ReadOptions::default()).count(), 0);
}

#[test]
fn partitions_are_read_from_anywhere_in_both_directions() {
    let world = World::start(1);
    let orders = world.orders();
    fill(&orders, "order-1", 1..=50);
    fill(&orders, "order-2", 1..=50);
    let at = |sequence| Some(Sequence(sequence));
    let backward = Direction::Backward;
    let rows: [(ReadAllOptions, Vec<u64>); 5] = [
        (ReadAllOptions::default(), (1..=100).collect()),
        (ReadAllOptions { from: at(9), to: at(12), ..Default::default() }, vec![9, 10, 11, 12]),
        (ReadAllOptions { from: at(99), limit: Some(5), ..Default::default() }, vec![99, 100]),
        (
            ReadAllOptions { direction: backward, limit: Some(2), ..Default::default() },
            vec![100, 99],
        ),
        (
            ReadAllOptions { from: at(5), to: at(3), direction: backward, ..Default::default() },
            vec![5, 4, 3],
        ),
    ];
    for (options, expected) in rows {
        assert_eq!(sequences(&orders, options.clone()), expected, "{options:?}");
    }
    let mut read = orders.read_all(PartitionNumber(0), ReadAllOptions::default());
    read.next().unwrap().unwrap();
    assert_eq!(read.head(), Some(Sequence(100)));
}

/// Three streams of two categories, one after the other.
fn three_streams(orders: &StoreHandle) {
    fill(orders, "order-1", 1..=50);
    fill(orders, "cart-1", 1..=50);
    fill(orders, "order-2", 51..=100);
}

#[test]
fn categories_are_read_from_anywhere_in_both_directions() {
    let world = World::start(1);
    let orders = world.orders();
    three_streams(&orders);
    let at = |sequence| Some(Sequence(sequence));
    let of_orders = || (1..=50).chain(101..=150);
    let backward = || ReadCategoryOptions { direction: Direction::Backward, ..Default::default() };
    let rows: [(ReadCategoryOptions, Vec<u64>); 8] = [
        (ReadCategoryOptions::default(), of_orders().collect()),
        (
            ReadCategoryOptions { from: at(49), limit: Some(3), ..Default::default() },
            vec![49, 50, 101],
        ),
        (ReadCategoryOptions { from: at(60), to: at(102), ..Default::default() }, vec![101, 102]),
        (ReadCategoryOptions { from: at(60), to: at(90), ..Default::default() }, vec![]),
        (ReadCategoryOptions { strong: true, limit: Some(1), ..Default::default() }, vec![1]),
        (backward(), of_orders().rev().collect()),
        (ReadCategoryOptions { from: at(80), limit: Some(2), ..backward() }, vec![50, 49]),
        (ReadCategoryOptions { from: at(102), to: at(49), ..backward() }, vec![102, 101, 50, 49]),
    ];
    for (options, expected) in rows {
        let events = orders.read_category("order", options.clone());
        let sequences: Vec<u64> = events.map(|event| event.unwrap().sequence.0).collect();
        assert_eq!(sequences, expected, "{options:?}");
    }
    let mut absent = orders.read_category("absent", ReadCategoryOptions::default());
    assert!(absent.next().is_none());
    assert_eq!(absent.heads()[&PartitionNumber(0)], Sequence(150), "all of it was looked at");
    let mut read = orders.read_category("order-1", ReadCategoryOptions::default());
    assert_eq!(read.next().unwrap().unwrap_err().code(), ErrorCode::INVALID_ARGUMENT);
    assert!(read.next().is_none());
}

#[test]
fn a_category_is_read_in_one_partition_and_in_all() {
    let world = World::start(4);
    let orders = world.orders();
    for stream in 0..40 {
        for category in ["order", "cart"] {
            fill(&orders, &format!("{category}-{stream}"), 1..=10);
        }
    }
    let read = |options| -> Vec<(u16, u64)> {
        let events = orders.read_category("order", options).map(Result::unwrap);
        events.map(|event| (orders.partition_of(&event.stream).0, event.sequence.0)).collect()
    };
    let all = read(ReadCategoryOptions::default());
    assert_eq!(all.len(), 400);
    assert!(all.is_sorted_by(|one, next| one < next), "one partition after the other, upwards");
    let of = |number| {
        let partition = Some(PartitionNumber(number));
        read(ReadCategoryOptions { partition, ..Default::default() })
    };
    assert_eq!((0..4).flat_map(of).collect::<Vec<_>>(), all);
    let first = read(ReadCategoryOptions { limit: Some(1), ..Default::default() });
    assert_eq!(first.len(), 4, "the limit is each partition's");
    let mut wrong = [
        ReadCategoryOptions { from: Some(Sequence(3)), ..Default::default() },
        ReadCategoryOptions { partition: Some(PartitionNumber(4)), ..Default::default() },
    ]
    .map(|options| orders.read_category("order", options));
    for read in &mut wrong {
        assert_eq!(read.next().unwrap().unwrap_err().code(), ErrorCode::INVALID_ARGUMENT);
    }
}

#[test]
fn a_read_of_a_category_goes_on_after_the_store_was_away() {
    let mut world = World::start(1);
    let mut config = world.config();
    config.read_window_bytes = 16 * 1024;
    let orders = Client::with_config(config).unwrap().store("orders").unwrap();
    for part in 0..10 {
        fill(&orders, "order-1", part * 300 + 1..=part * 300 + 300);
        fill(&orders, "cart-1", 1..=100);
    }
    let mut events = orders.read_category("order", ReadCategoryOptions::default());
    let number = |event: Result<client::Event, ReadError>| event.unwrap().decode::<u64>().unwrap();
    let mut numbers: Vec<u64> = events.by_ref().take(100).map(number).collect();
    world.stop_store();
    world.start_store();
    numbers.extend(events.map(number));
    assert_eq!(numbers, (1..=3000).collect::<Vec<_>>());
}

#[test]
fn a_read_waits_for_what_its_caller_knows() {
    let world = World::start(1);
    let orders = world.orders();
    for number in 1..=50 {
        let receipt = orders.append("order-1", ExpectedVersion::Any, vec![counted(number)]);
        let at_least = Some(receipt.wait().unwrap().last_sequence);
        let options = ReadOptions { at_least, ..ReadOptions::last() };
        assert_eq!(versions(&orders, options), [number]);
    }
}

#[test]
fn a_read_goes_on_after_the_store_was_away() {
    let mut world = World::start(1);
    let mut config = world.config();
    config.read_window_bytes = 16 * 1024;
    let orders = Client::with_config(config).unwrap().store("orders").unwrap();
    fill(&orders, "order-1", 1..=5000);
    let mut events = orders.read_stream("order-1", ReadOptions::default());
    let mut numbers: Vec<u64> = Vec::new();
    numbers.extend(events.by_ref().take(100).map(|event| event.unwrap().decode::<u64>().unwrap()));
    world.stop_store();
    world.start_store();
    numbers.extend(events.map(|event| event.unwrap().decode::<u64>().unwrap()));
    assert_eq!(numbers, (1..=5000).collect::<Vec<_>>());
}

#[test]
fn more_lazy_reads_than_a_store_takes_from_one_peer() {
    let world = World::start(1);
    let mut config = world.config();
    config.read_window_bytes = 1024;
    let orders = Client::with_config(config).unwrap().store("orders").unwrap();
    fill(&orders, "order-1", 1..=1000);
    let read = |_| orders.read_stream("order-1", ReadOptions::default());
    let mut reads: Vec<_> = (0..12).map(read).collect();
    for _ in 0..1000 {
        for read in &mut reads {
            read.next().unwrap().unwrap();
        }
    }
    assert!(reads.iter_mut().all(|read| read.next().is_none()));
}

#[test]
fn what_can_not_be_read_says_why() {
    let mut world = World::start(1);
    let mut config = world.config();
    config.request_timeout = std::time::Duration::from_millis(700);
    let orders = Client::with_config(config).unwrap().store("orders").unwrap();
    let bad_name = orders.read_stream("", ReadOptions::default()).next().unwrap().unwrap_err();
    assert_eq!(bad_name.code(), ErrorCode::INVALID_ARGUMENT);
    let mut nowhere = orders.read_all(PartitionNumber(7), ReadAllOptions::default());
    assert_eq!(nowhere.next().unwrap().unwrap_err().code(), ErrorCode::INVALID_ARGUMENT);
    assert!(nowhere.next().is_none(), "a read ends after its error");
    world.stop_store();
    let mut silent = orders.read_all(PartitionNumber(0), ReadAllOptions::default());
    let error = silent.next().unwrap().unwrap_err();
    assert!(matches!(error, ReadError::Unavailable { .. }), "{error}");
    assert!(error.retry() && silent.next().is_none());
}
