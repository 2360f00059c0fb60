use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::{
    ContentType, DecodeEvent, Event, EventId, EventType, ExpectedVersion, HandOver, NewEvent,
    StoreHandle,
};
use store::Durability;
use uuid::Uuid;

use crate::pair_world::PairWorld;
use crate::world::{World, counted};

fn id(number: u64) -> EventId {
    EventId(Uuid::new_v5(&Uuid::nil(), &number.to_be_bytes()))
}

fn numbered(number: u64) -> NewEvent {
    counted(number).with_id(id(number))
}

/// Appends numbers, each with an id of its own.
fn fill(orders: &StoreHandle, numbers: std::ops::Range<u64>) {
    let append = |number: u64| {
        let events = vec![numbered(number)];
        orders.append(format!("order-{}", number % 5).as_str(), ExpectedVersion::Any, events)
    };
    for pending in numbers.map(append).collect::<Vec<_>>() {
        pending.wait().unwrap();
    }
}

fn decoded(found: Vec<Option<Event>>) -> Vec<Option<u64>> {
    found.into_iter().map(|event| event.map(|event| event.decode().unwrap())).collect()
}

#[test]
fn answers_stand_where_the_ids_do() {
    let mut world = World::start(1);
    let orders = world.orders();
    fill(&orders, 0..600);
    // Of a thousand ids, which are several requests, every second is there; one comes twice.
    let mut numbers: Vec<u64> =
        (0..500).rev().flat_map(|number| [number, 10_000 + number]).collect();
    numbers.push(7);
    let ids: Vec<EventId> = numbers.iter().map(|number| id(*number)).collect();
    let expected: Vec<_> = numbers.iter().map(|n| Some(*n).filter(|n| *n < 600)).collect();
    assert_eq!(decoded(orders.find("order-0", &ids).unwrap()), expected);
    assert_eq!(orders.find("order-0", &[]).unwrap(), []);
    assert_eq!(orders.find("another stream", &[id(3)]).unwrap()[0].as_ref().unwrap().id, id(3));
    assert!(orders.find("", &[id(3)]).is_err(), "no stream has no name");
    world.stop_store();
    world.start_store();
    assert_eq!(decoded(orders.find("order-0", &ids).unwrap()), expected, "after a restart");
}

#[test]
fn an_id_is_known_in_its_partition_only() {
    let world = World::start(4);
    let orders = world.orders();
    let streams = ["order-1", "order-2", "order-3", "order-4", "order-5", "order-6"];
    let partition = |stream: &str| orders.partition_of(&stream.try_into().unwrap());
    let home = streams[0];
    orders.append(home, ExpectedVersion::None, vec![numbered(1)]).wait().unwrap();
    for stream in streams {
        let found = orders.find(stream, &[id(1)]).unwrap();
        assert_eq!(found[0].is_some(), partition(stream) == partition(home), "{stream}");
    }
}

/// More than the window of a reader and than many blocks.
#[test]
fn large_events_come_in_blocks() {
    let world = World::start(1);
    let orders = world.orders();
    let large = |number: u64| {
        let data = vec![u8::try_from(number).unwrap(); 900_000];
        let event_type = EventType::new("Large").unwrap();
        NewEvent::new(event_type, ContentType::Bytes, data).with_id(id(number))
    };
    for number in 0..12 {
        orders.append("order-1", ExpectedVersion::Any, vec![large(number)]).wait().unwrap();
    }
    let ids: Vec<EventId> = (0..13).map(id).collect();
    let found = orders.find("order-1", &ids).unwrap();
    for (number, event) in (0..12).zip(&found) {
        assert_eq!(event.as_ref().unwrap().data, large(number).data);
    }
    assert_eq!(found[12], None);
}

/// What was acknowledged is found, whoever leads.
#[test]
fn a_change_of_leaders_hides_nothing() {
    let world = PairWorld::start(1, Durability::Pair);
    let (orders, client) = (world.orders(), world.client());
    let appended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let finder = scope.spawn(|| {
            let reader = world.orders();
            let mut looks = 0;
            while !appended.load(Ordering::Relaxed) {
                let ids: Vec<EventId> = (0..100).map(id).collect();
                let found = decoded(reader.find("order-0", &ids).unwrap());
                let there = found.iter().take_while(|found| found.is_some()).count();
                assert!(found[there..].iter().all(Option::is_none), "no hole: {found:?}");
                looks += 1;
            }
            looks
        });
        for number in 0..100 {
            if number % 30 == 20 {
                let wanted = HandOver { store: "orders".to_owned(), partition: None, to: None };
                client.hand_over(&wanted, Duration::from_secs(10)).unwrap();
            }
            orders.append("order-0", ExpectedVersion::Any, vec![numbered(number)]).wait().unwrap();
            let found = orders.find("order-0", &[id(number), id(number + 1)]).unwrap();
            assert!(found[0].is_some() && found[1].is_none(), "{number}");
        }
        appended.store(true, Ordering::Relaxed);
        assert!(finder.join().unwrap() > 0);
    });
}
