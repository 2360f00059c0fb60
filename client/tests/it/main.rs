//! The client, and the tool on top of it, against a broker and a store over TCP on loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed step fails its test")]

/// Appends: conflicts, order, resends, limits, absent parts.
mod append;
/// Calls of Majordomo services.
mod call;
/// The command-line tool `starlog`.
mod cli;
/// Commands, and what stands in for a Titanic.
mod commands;
/// Subscriptions to categories and streams.
mod filtered;
/// Lookups of events by their ids.
mod find;
/// Pairs: leaders that change under load, handovers.
mod pair;
/// A pair of nodes to test with.
mod pair_world;
/// Reads of streams and partitions.
mod read;
/// Relays that lose messages on purpose.
mod relay;
/// Stores whose folders are exchanged while somebody reads them.
mod replaced;
/// Sagas, and a Titanic to test them with.
mod saga;
/// Subscriptions: splice, gaps, restarts, slow consumers.
mod subscribe;
/// Projections and their views.
mod views;
/// A broker, a store and a client to test with.
mod world;
