use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::{
    Batch, DecodeEvent, ErrorCode, ExpectedVersion, HandOver, PartitionNumber, ReadAllOptions,
    ReadOptions, StoreHandle, SubscribeOptions,
};
use store::Durability;

use crate::pair_world::PairWorld;
use crate::world::{PATIENCE, Taking, counted, wait_until};

const STREAMS: u64 = 20;

fn stream(number: u64) -> String {
    format!("order-{}", number % STREAMS)
}

/// Appends numbers until told to stop; returns how many, all of them acknowledged.
fn load(orders: &StoreHandle, stop: &AtomicBool) -> u64 {
    let mut number = 0;
    let mut pending = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let stream = stream(number);
        pending.push(orders.append(stream.as_str(), ExpectedVersion::Any, vec![counted(number)]));
        if pending.len() == 32 {
            pending.drain(..).for_each(|pending| drop(pending.wait().unwrap()));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    pending.drain(..).for_each(|pending| drop(pending.wait().unwrap()));
    number
}

/// What a subscriber was given: per partition without a hole, the numbers in all.
#[derive(Default)]
struct Taken {
    last: BTreeMap<u16, u64>,
    numbers: Vec<u64>,
}

impl Taking for Taken {
    fn take(&mut self, batch: &Batch) {
        let last = self.last.entry(batch.partition.0).or_default();
        for event in &batch.events {
            assert_eq!(event.sequence.0, *last + 1, "partition {}", batch.partition);
            *last += 1;
            if !event.stream.is_system() {
                self.numbers.push(event.decode().unwrap());
            }
        }
    }

    fn count(&self) -> usize {
        self.numbers.len()
    }
}

impl Taken {
    /// Every number once, and those of one stream in their order.
    fn check(self, count: u64) {
        let mut last: BTreeMap<u64, u64> = BTreeMap::new();
        for number in &self.numbers {
            let before = last.insert(number % STREAMS, *number);
            assert!(before < Some(*number), "{number} after {before:?}");
        }
        assert_eq!(u64::try_from(self.numbers.len()).unwrap(), count);
    }
}

#[test]
fn a_receipt_of_a_pair_names_both_nodes() {
    let world = PairWorld::start(1, Durability::Pair);
    let orders = world.orders();
    let pending = orders.append("order-1", ExpectedVersion::None, vec![counted(1)]);
    let receipt = pending.wait().unwrap();
    assert_eq!(receipt.durability, Durability::Pair);
    assert_eq!(receipt.durable_on.len(), 2, "{receipt:?}");
    assert_ne!(receipt.durable_on[0], receipt.durable_on[1]);
}

#[test]
fn nothing_is_lost_or_doubled_when_leaders_change_under_load() {
    let mut world = PairWorld::start(2, Durability::Pair);
    let orders = world.orders();
    let options = SubscribeOptions { system_streams: true, ..SubscribeOptions::default() };
    let mut subscription = orders.subscribe(options).unwrap();
    let (stop, mut taken) = (AtomicBool::new(false), Taken::default());
    let count = std::thread::scope(|scope| {
        let load = scope.spawn(|| load(&orders, &stop));
        taken.until(&mut subscription, 200);
        let wanted = HandOver { store: "orders".to_owned(), partition: None, to: None };
        let done = world.client().hand_over(&wanted, PATIENCE).unwrap();
        assert!(done.from != done.to && !done.led_already, "{done:?}");
        let again = HandOver { to: Some(done.to), ..wanted };
        assert!(world.client().hand_over(&again, PATIENCE).unwrap().led_already);
        taken.more(&mut subscription, 200);
        world.restart_leader(200, |count| taken.more(&mut subscription, count));
        stop.store(true, Ordering::Relaxed);
        load.join().unwrap()
    });
    taken.until(&mut subscription, usize::try_from(count).unwrap());
    taken.check(count);
    let counters = subscription.counters();
    assert!(counters.failovers >= 2 && counters.events_lost == 0, "{counters}");
    reads_see_everything(&orders, count);
}

/// Lazily, strongly, backwards: the same events.
fn reads_see_everything(orders: &StoreHandle, count: u64) {
    let whole = |partition| {
        let options = ReadAllOptions { strong: true, ..ReadAllOptions::default() };
        orders.read_all(PartitionNumber(partition), options).map(Result::unwrap).count()
    };
    assert_eq!(u64::try_from(whole(0) + whole(1)).unwrap(), count);
    for number in count.saturating_sub(STREAMS)..count {
        let number = number + 1;
        let newest = orders.read_stream(stream(number).as_str(), ReadOptions::last()).next();
        assert_eq!(newest.unwrap().unwrap().decode::<u64>().unwrap(), number);
    }
}

#[test]
fn a_pair_without_its_other_node_can_not_hand_over() {
    let mut world = PairWorld::start(1, Durability::Pair);
    let leader = world.leader_of_whole().unwrap();
    world.stop_node(1 - leader);
    let client = world.client();
    wait_until("the broker knows that it is gone", || {
        let topology = client.topology(Duration::from_secs(1)).unwrap();
        topology.store("orders").unwrap().members.len() == 1
    });
    let wanted = HandOver { store: "orders".to_owned(), partition: None, to: None };
    let error = client.hand_over(&wanted, Duration::from_secs(5)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::UNSUPPORTED, "{error}");
    let orders = world.orders();
    let pending = orders.append("order-1", ExpectedVersion::Any, vec![counted(1)]);
    let receipt = pending.wait().unwrap();
    assert_eq!(receipt.durable_on.len(), 1, "alone, by the witness's word");
}
