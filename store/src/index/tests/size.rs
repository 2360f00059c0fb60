//! What the index costs, counted and not timed.

use super::Random;
use super::world::{PARTITION, World, place};
use crate::index::keys::Keys;

#[test]
fn bytes_per_event_and_per_stream() {
    let (streams, events) = (2_000, 40_000);
    let mut world = World::new(Keys::new(&PARTITION));
    world.append(&mut Random::new(1), streams, events);
    let state = world.index.read();
    let per_event = state.parts.values().map(|part| part.memory_bytes()).sum::<usize>() / events;
    assert!(per_event <= 50, "{per_event} bytes per event without a run");
    let per_stream = state.streams.memory_bytes() / world.log.by_stream.len();
    assert!(per_stream <= 90, "{per_stream} bytes per stream of about 10 bytes of name");
    drop(state);

    world.seal();
    world.build().unwrap();
    let state = world.index.read();
    assert_eq!(state.parts.len(), 0);
    let memory = state.runs.iter().map(|run| run.memory_bytes()).sum::<usize>() * 100 / events;
    assert!(memory <= 220, "{memory} bytes of memory per 100 events in a run");
    let path = place(&world.disk).dir.join(&world.disk.names()[0]);
    let file = world.disk.bytes(&path).len() / events;
    assert!(file <= 33, "{file} bytes of file per event");
}
