//! Small makers of events, nodes and stores.

use std::path::Path;

use store::{
    ContentType, Event, EventId, EventType, NewEvent, Node, NodeOptions, Partition,
    PartitionNumber, Sequence, Store, StoreName, StreamName,
};

/// Segments so small that a test fills many of them.
pub const SMALL_SEGMENT_BYTES: u32 = 64 * 1024;

pub fn options() -> NodeOptions {
    NodeOptions { segment_bytes: SMALL_SEGMENT_BYTES, ..NodeOptions::default() }
}

pub fn name(name: &str) -> StoreName {
    StoreName::new(name).unwrap()
}

pub fn stream(name: &str) -> StreamName {
    StreamName::try_from(name).unwrap()
}

pub fn event(data: &str) -> NewEvent {
    let event_type = EventType::try_from("Happened").unwrap();
    NewEvent::new(event_type, ContentType::Json, data.as_bytes().to_vec())
}

/// An event whose id is made from a number.
pub fn event_with(id: u128, data: &str) -> NewEvent {
    event(data).with_id(EventId(uuid::Uuid::from_u128(id)))
}

/// A node with the store `orders` of one partition.
pub fn open(dir: &Path) -> (Node, Store) {
    let node = Node::open(dir, &options()).unwrap();
    let store = node.ensure_store(&name("orders"), 1, 0..=0).unwrap();
    (node, store)
}

pub fn partition(store: &Store) -> Partition {
    match store.partition(PartitionNumber(0)) {
        Some(partition) => partition.clone(),
        None => panic!("{:?}", store.problems()),
    }
}

/// All committed events of the only partition.
pub fn all(store: &Store) -> Vec<Event> {
    let events = store.read_all(PartitionNumber(0), Sequence(1)).unwrap();
    events.collect::<Result<_, _>>().unwrap()
}
