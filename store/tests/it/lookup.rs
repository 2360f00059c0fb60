//! Finding events by their ids.

use store::{
    CommitRule, Durability, EventId, ExpectedVersion, NodeOptions, Partition, Sequence, Store,
};
use uuid::Uuid;

use crate::fixture::{event_with, open, options, partition, stream};
use crate::members::{Member, disk, one, wait_for};

fn id(number: u128) -> EventId {
    EventId(Uuid::from_u128(number))
}

/// Appends events with these ids and some data.
fn append(store: &Store, ids: std::ops::Range<u128>, bytes: usize) {
    for number in ids {
        let event = event_with(number, &"x".repeat(bytes));
        let name = format!("s-{}", number % 7);
        store.append(&stream(&name), ExpectedVersion::Any, vec![event]).unwrap();
    }
}

/// The ids that are found, in the order in which they come, in blocks of so many bytes.
fn found(partition: &Partition, ids: &[EventId], bytes_max: usize) -> Vec<EventId> {
    let reader = partition.reader();
    let (mut rest, mut found) = (ids, Vec::new());
    while !rest.is_empty() {
        let lookup = reader.find(rest, bytes_max).unwrap();
        let events: Vec<_> = lookup.block.events().map(Result::unwrap).collect();
        assert!(lookup.looked_up > 0, "it goes on");
        assert_eq!(events.len(), usize::try_from(lookup.block.count).unwrap());
        assert_eq!(lookup.block.at_end, lookup.looked_up == rest.len());
        assert!(events.len() <= 1 || lookup.block.records.len() <= bytes_max);
        found.extend(events.iter().map(|event| event.id));
        rest = &rest[lookup.looked_up..];
    }
    found
}

/// Over many sealed segments and the open one, in memory and in run files, before and after a
/// restart.
#[test]
fn events_are_found_wherever_they_are_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (node, store) = open(dir.path());
    append(&store, 0..600, 500);
    // Every third is there; order and repetition are the asker's.
    let mixed: Vec<EventId> = (0..300).rev().flat_map(|n| [id(n * 2), id(n + 10_000)]).collect();
    let there: Vec<EventId> = (0..300).rev().map(|n| id(n * 2)).collect();
    for bytes_max in [1, 2000, 1 << 20] {
        assert_eq!(found(&partition(&store), &mixed, bytes_max), there, "{bytes_max}");
    }
    let twice = [id(5), id(5), id(6)];
    assert_eq!(found(&partition(&store), &twice, 1 << 20), twice);
    drop((node, store));
    let (_node, store) = open(dir.path());
    assert_eq!(found(&partition(&store), &mixed, 1 << 20), there);
    let empty = partition(&store).reader().find(&[], 1).unwrap();
    assert_eq!((empty.looked_up, empty.block.count, empty.block.at_end), (0, 0, true));
}

#[test]
fn the_record_is_the_one_that_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let (_node, store) = open(dir.path());
    append(&store, 0..20, 10);
    let lookup = partition(&store).reader().find(&[id(7), id(3)], 1 << 20).unwrap();
    let events: Vec<_> = lookup.block.events().map(Result::unwrap).collect();
    let places: Vec<_> =
        events.iter().map(|event| (event.sequence, event.stream.as_str())).collect();
    assert_eq!(places, [(Sequence(8), "s-0"), (Sequence(4), "s-3")]);
    assert_eq!((lookup.block.first, lookup.block.last), (Sequence(8), Sequence(4)));
    assert!(events.iter().all(store::Event::signature_is_valid));
}

#[test]
fn what_is_not_committed_is_not_found() {
    let options = NodeOptions { durability: Durability::Pair, ..options() };
    let leader = Member::open(&disk(), &options).unwrap();
    leader.lead(3, CommitRule::Alone);
    let wanted: Vec<EventId> = leader_ids(&leader, 1);
    leader.partition.set_rule(CommitRule::Both);
    let answer = leader.submit(one(2, 10));
    wait_for(|| leader.partition.watermarks().durable() == Sequence(2));
    let second = leader.events()[1].id;
    let ids = [wanted[0], second];
    assert_eq!(found(&leader.partition, &ids, 1 << 20), wanted);
    leader.partition.raise_copied(Sequence(2));
    assert!(answer.recv().unwrap().is_ok());
    assert_eq!(found(&leader.partition, &ids, 1 << 20), ids);
}

/// Appends one event and tells its id.
fn leader_ids(leader: &Member, number: u128) -> Vec<EventId> {
    leader.partition.append(one(number, 10)).unwrap();
    leader.events().iter().map(|event| event.id).collect()
}
