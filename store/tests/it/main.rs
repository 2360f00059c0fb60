//! Integration tests of the store, in one binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::as_conversions,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and reads the clock"
)]

/// Many writers at once.
mod concurrency;
/// Damage to the files of a partition: refused, never served.
mod corruption;
/// A scripted run that crashes at each of its disk operations.
mod crashes;
/// A disk in memory that forgets what was not synced, tears writes, fails and fills up.
mod crashing_disk;
/// A follower's log cut back to where it agrees with its leader's, whenever a crash comes.
mod cutting;
/// Appending, reading and following through the public interface.
mod engine;
/// Reading a category against picking its events out of the whole log.
mod filtered;
/// Small makers of events, nodes and stores.
mod fixture;
/// Leading and following: who takes what, and when answers are given.
mod following;
/// Finding events by their ids.
mod lookup;
/// Makers of nodes that lead or follow.
mod members;
/// Generated operations against the store and against a list.
mod model;
/// A node and its stores: the lock, creating, removing, detaching, copying.
mod node;
/// The protocol page against the code: limits.
#[cfg(feature = "server")]
mod pages;
/// A follower that crashes against its leader, byte for byte.
mod replicas;
/// The server against a real broker.
#[cfg(feature = "server")]
mod server;
