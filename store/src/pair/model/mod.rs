//! A search through everything that can happen to two nodes and a witness, with the shipped
//! machines [`Pair`](super::machine::Pair) and [`Witness`](broker::witness::Witness).
//!
//! ```text
//!   Host 0 ─ Pair, log (written, synced), saved record        World: a state of the search
//!   Host 1 ─ the same                                         Step:  what can happen next
//!   Witness, its saved record        network: proposals, late copies, late acknowledgements
//! ```
//!
//! *What is abstract.* There is no clock: whatever timer may run out does, at any moment, a bounded
//! number of times. A cut link or a paused node is a node to which nothing happens. A message is
//! lost by never arriving. There is one partition, and an event is (epoch, id). Replication is one
//! step: where the logs divide, the follower's is cut, and the rest is shipped; with `ships` events
//! are also shipped one by one and come late. A crash and the start after it are one step.
//!
//! *What is left out*, because no protocol of two nodes and a register can bear it: the loss of the
//! only disk that has an acknowledged event; a directory put back to a state that nobody was told
//! it had left (neither is it below the floor, nor did the witness hear of more in a heartbeat),
//! and one put back just before the witness forgets what it heard.

mod driver;
mod log;
mod rules;
mod scenarios;
mod sightings;
mod steps;
mod undone;
mod world;
