use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::{
    Batch, Checkpoint, DecodeEvent, ErrorCode, Event, ExpectedVersion, OnGap, PartitionNumber,
    Position, Sequence, StoreHandle, SubscribeOptions, Subscription, SubscriptionError,
};

use crate::world::{PATIENCE, Taking, World, clock, counted};

/// Appends numbers to several streams until told to stop; returns how many.
fn load(orders: &StoreHandle, stop: &AtomicBool, pause: Duration) -> u64 {
    let mut number = 0;
    let mut pending = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let stream = format!("order-{}", number % 20);
        pending.push(orders.append(stream.as_str(), ExpectedVersion::Any, vec![counted(number)]));
        if pending.len() >= 64 {
            pending.drain(..).for_each(|pending| drop(pending.wait().unwrap()));
        }
        std::thread::sleep(pause);
    }
    pending.drain(..).for_each(|pending| drop(pending.wait().unwrap()));
    number
}

/// Takes batches until so many events came, and checks that each partition has no gap or double.
struct Taken {
    next: BTreeMap<u16, u64>,
    numbers: Vec<u64>,
}

impl Taken {
    fn from(checkpoint: &Checkpoint) -> Self {
        let next = |(partition, position): (&PartitionNumber, &Position)| {
            (partition.0, position.sequence.0 + 1)
        };
        Self { next: checkpoint.0.iter().map(next).collect(), numbers: Vec::new() }
    }

    fn until(mut self, subscription: &mut Subscription, count: usize) -> Self {
        Taking::until(&mut self, subscription, count);
        self
    }

    fn sorted(mut self) -> Vec<u64> {
        self.numbers.sort_unstable();
        self.numbers
    }
}

impl Taking for Taken {
    fn take(&mut self, batch: &Batch) {
        let next = self.next.entry(batch.partition.0).or_insert(1);
        for event in &batch.events {
            assert_eq!(event.sequence.0, *next, "partition {}", batch.partition);
            *next += 1;
            self.numbers.push(event.decode().unwrap());
        }
        assert_eq!(batch.position.sequence.0, *next - 1);
    }

    fn count(&self) -> usize {
        self.numbers.len()
    }
}

fn append(orders: &StoreHandle, numbers: std::ops::RangeInclusive<u64>) {
    let one = |number| {
        let stream = format!("order-{}", number % 20);
        orders.append(stream.as_str(), ExpectedVersion::Any, vec![counted(number)])
    };
    for pending in numbers.map(one).collect::<Vec<_>>() {
        pending.wait().unwrap();
    }
}

fn all() -> SubscribeOptions {
    SubscribeOptions::default()
}

#[test]
fn history_then_what_comes() {
    let world = World::start(2);
    let orders = world.orders();
    append(&orders, 1..=500);
    let mut subscription = orders.subscribe(all()).unwrap();
    let taken = Taken::from(&Checkpoint::default()).until(&mut subscription, 500);
    append(&orders, 501..=1000);
    let taken = taken.until(&mut subscription, 1000);
    assert_eq!(taken.sorted(), (1..=1000).collect::<Vec<_>>());
    assert!(subscription.next(Duration::from_millis(250)).unwrap().is_none());
    assert!(subscription.caught_up());
    let counters = subscription.counters();
    assert_eq!((counters.events, counters.gaps_found, counters.events_lost), (1000, 0, 0));
    let end = subscription.checkpoint().0.values().map(|at| at.sequence.0).sum::<u64>();
    assert_eq!(end, 1000);
    assert_eq!(subscription.heads().values().map(|head| head.0).sum::<u64>(), 1000);
}

#[test]
fn a_checkpoint_is_where_the_next_subscription_begins() {
    let world = World::start(2);
    let orders = world.orders();
    append(&orders, 1..=300);
    let mut first = orders.subscribe(all()).unwrap();
    let half = Taken::from(&Checkpoint::default()).until(&mut first, 100);
    let checkpoint = first.checkpoint().clone();
    drop(first);
    let mut second = orders.subscribe(SubscribeOptions::from(checkpoint.clone())).unwrap();
    let rest = 300 - half.numbers.len();
    let mut numbers = Taken::from(&checkpoint).until(&mut second, rest).numbers;
    numbers.extend(half.numbers);
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=300).collect::<Vec<_>>());
}

#[test]
fn splices_under_load() {
    let world = World::start(2);
    let orders = world.orders();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| load(&orders, &stop, Duration::from_micros(50)));
        let subscribers: Vec<_> = (0..25)
            .map(|number| {
                let orders = orders.clone();
                scope.spawn(move || {
                    std::thread::sleep(Duration::from_millis(20 * number));
                    let mut subscription = orders.subscribe(all()).unwrap();
                    let taken = Taken::from(&Checkpoint::default());
                    let taken = taken.until(&mut subscription, 1000);
                    assert_eq!(subscription.counters().events_lost, 0);
                    taken.numbers.len()
                })
            })
            .collect();
        for subscriber in subscribers {
            assert!(subscriber.join().unwrap() >= 1000);
        }
        stop.store(true, Ordering::Relaxed);
        assert!(load.join().unwrap() >= 1000);
    });
}

#[test]
fn lost_feed_messages_are_repaired() {
    let (world, relay) = World::with_relay(2);
    let orders = world.orders();
    let mut subscription = orders.subscribe(all()).unwrap();
    append(&orders, 1..=10);
    let taken = Taken::from(&Checkpoint::default()).until(&mut subscription, 10);
    relay.lose_every(3);
    let appending = std::thread::spawn({
        let orders = orders.clone();
        move || (11..=1500).step_by(10).for_each(|n| append(&orders, n..=(n + 9).min(1500)))
    });
    let taken = taken.until(&mut subscription, 1500);
    appending.join().unwrap();
    assert_eq!(taken.sorted(), (1..=1500).collect::<Vec<_>>());
    let counters = subscription.counters();
    assert!(relay.lost() > 0 && counters.gaps_found > 0, "{counters}, lost {}", relay.lost());
    assert_eq!(counters.events_lost, 0);
    crate::world::wait_until("the last gap is repaired", || {
        assert!(subscription.next(Duration::from_millis(10)).unwrap().is_none());
        let counters = subscription.counters();
        counters.gaps_repaired == counters.gaps_found
    });
}

#[test]
fn who_wants_to_be_told_of_a_gap_is_told() {
    let (world, relay) = World::with_relay(1);
    let orders = world.orders();
    append(&orders, 1..=5);
    let options = SubscribeOptions { on_gap: OnGap::Stop, ..all() };
    let mut subscription = orders.subscribe(options).unwrap();
    Taken::from(&Checkpoint::default()).until(&mut subscription, 5);
    relay.lose_every(1);
    append(&orders, 6..=6);
    let error = loop {
        if let Err(error) = subscription.next(PATIENCE) {
            break error;
        }
    };
    let (from, to) = (Sequence(6), Sequence(6));
    assert_eq!(error, SubscriptionError::Gap { partition: PartitionNumber(0), from, to });
}

#[test]
fn a_slow_consumer_loses_nothing() {
    let world = World::start(1);
    let orders = world.orders();
    let mut subscription = orders.subscribe(all()).unwrap();
    assert!(subscription.next(Duration::from_millis(200)).unwrap().is_none());
    let event_type = client::EventType::new("Large").unwrap();
    let large = || {
        let data = vec![7; 32 * 1024];
        client::NewEvent::new(event_type.clone(), client::ContentType::Bytes, data)
    };
    // More than the sockets on the way hold, while nobody takes anything.
    let count: usize = 3000;
    let mut pending = Vec::new();
    for _ in 0..count / 10 {
        let events = (0..10).map(|_| large()).collect();
        pending.push(orders.append("order-1", ExpectedVersion::Any, events));
        if pending.len() == 16 {
            pending.drain(..).for_each(|pending| drop(pending.wait().unwrap()));
        }
    }
    pending.drain(..).for_each(|pending| drop(pending.wait().unwrap()));
    let mut next = 1;
    let started = clock();
    while next <= u64::try_from(count).unwrap() {
        assert!(started.elapsed() < PATIENCE, "at {next}: {subscription:?}");
        let Some(batch) = subscription.next(Duration::from_millis(100)).unwrap() else { continue };
        for event in batch.events {
            assert_eq!(event.sequence.0, next);
            next += 1;
        }
    }
    assert_eq!(subscription.counters().events_lost, 0);
}

#[test]
fn a_store_may_come_back_on_other_ports() {
    let mut world = World::start(2);
    let orders = world.orders();
    let mut subscription = orders.subscribe(all()).unwrap();
    append(&orders, 1..=100);
    let taken = Taken::from(&Checkpoint::default()).until(&mut subscription, 100);
    world.stop_store();
    assert!(subscription.next(Duration::from_millis(300)).unwrap().is_none());
    world.start_store();
    append(&orders, 101..=200);
    let taken = taken.until(&mut subscription, 200);
    assert_eq!(taken.sorted(), (1..=200).collect::<Vec<_>>());
    assert!(subscription.counters().reconnects > 0);
}

#[test]
fn a_subscription_lives_without_a_broker() {
    let mut world = World::start(1);
    let orders = world.orders();
    append(&orders, 1..=50);
    let mut subscription = orders.subscribe(all()).unwrap();
    let taken = Taken::from(&Checkpoint::default()).until(&mut subscription, 50);
    world.stop_broker();
    assert!(subscription.next(Duration::from_millis(300)).unwrap().is_none());
    world.start_broker();
    append(&orders, 51..=60);
    let taken = taken.until(&mut subscription, 60);
    assert_eq!(taken.sorted(), (1..=60).collect::<Vec<_>>());
}

#[test]
fn who_is_ahead_of_the_log_is_told() {
    let world = World::start(1);
    let orders = world.orders();
    append(&orders, 1..=5);
    let mut checkpoint = Checkpoint::default();
    checkpoint.set(PartitionNumber(0), Position::after(Sequence(9)));
    let mut subscription = orders.subscribe(SubscribeOptions::from(checkpoint)).unwrap();
    let error = subscription.next(PATIENCE).unwrap_err();
    assert_eq!(error.code(), ErrorCode::AHEAD_OF_LOG);
    assert!(matches!(error, SubscriptionError::AheadOfLog { head, .. } if head.sequence.0 == 5));
}

#[test]
fn some_partitions_only() {
    let world = World::start(4);
    let orders = world.orders();
    append(&orders, 1..=100);
    let two = PartitionNumber(2);
    let options = SubscribeOptions { partitions: Some(vec![two]), ..all() };
    let mut subscription = orders.subscribe(options).unwrap();
    let expected: Vec<Event> =
        orders.read_all(two, client::ReadAllOptions::default()).map(Result::unwrap).collect();
    assert!(!expected.is_empty());
    let mut events = Vec::new();
    while events.len() < expected.len() {
        let batch = subscription.next(PATIENCE).unwrap().unwrap();
        assert_eq!(batch.partition, two);
        events.extend(batch.events);
    }
    assert_eq!(events, expected);
    let nine = Some(vec![PartitionNumber(9)]);
    let error = orders.subscribe(SubscribeOptions { partitions: nine, ..all() }).unwrap_err();
    assert!(matches!(error, SubscriptionError::NoSuchPartition { partitions: 4, .. }));
}
