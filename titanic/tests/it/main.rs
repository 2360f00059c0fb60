//! Titanic as processes, against brokers and stores that are processes too, over TCP on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::as_conversions,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and reads the clock"
)]

/// More than one broker.
mod brokers;
/// `titanic.command` with Starlog's client: dead letters, delays, workers of `NAME+titanic`.
mod commands;
/// TSP by the letter, in both versions of MDP.
mod conversation;
/// Peers that send what nobody should.
mod hostile;
/// Processes that are killed, one by one and all together.
mod kills;
/// Large bodies, and many commands at once.
mod load;
/// An MDP client and an MDP worker, written from RFC 7 and RFC 18 with nothing of Starlog's.
mod mdp;
/// Child processes, and the test binary as a broker or a store.
mod process;
/// Start and end of the binary.
mod running;
/// Two Titanic processes for one store.
mod sharing;
/// A broker, a store and Titanic to test with.
mod world;
