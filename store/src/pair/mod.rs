//! Two nodes with the same partitions: who leads, and how the other one keeps up.
//!
//! | part | job |
//! |---|---|
//! | [`machine`] | when to ask the witness, what to commit by: pure |
//! | [`lease`] | since when nobody else can lead: pure |
//! | [`handshake`] | whether the other node is the right one: pure |
//! | [`replication`] | how the follower's logs become the leader's: pure |
//! | [`message`] | what the nodes say to each other, as bytes |
//! | `pair_loop` | the thread: sockets, clock, partitions, node file around all of these |

mod handle;
pub mod handshake;
pub mod lease;
mod links;
mod logs;
pub mod machine;
pub mod message;
#[cfg(test)]
mod model;
mod pair_loop;
pub mod protocol;
mod refusals;
pub mod replication;
mod settings;
mod status;
mod timers;
mod topology_log;
mod worker;

pub(crate) use handle::PairHandle;
pub(crate) use pair_loop::{PairLoop, PairShared};
pub use protocol::Role;
pub use settings::{PairError, PairSettings, PairTiming, SettingsError};
pub use status::PairStatus;
