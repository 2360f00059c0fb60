//! Commands: intentions that Titanic keeps until they are closed. What is sent, what is kept, and
//! the handle that applications use.
//!
//! ```text
//! application ── Commands ──titanic.command──┐             ┌── step events ──> shard streams
//!                                            ├─> Titanic ──┤
//! any MDP client ──titanic.request/reply/…───┘             └── request ──> worker of the target
//! ```
//!
//! A command is a chain of *steps*, from 0 = accepted on. Step `k` is an event whose id follows
//! from the command's id and `k`, so two writers can never write the same step: the second one is
//! refused, reads what is there and starts over. All commands share a fixed number of streams, the
//! *shards*.
//!
//! Everything here but [`Commands`] is pure: codecs that the client and Titanic share. What comes
//! from outside is checked for its limits before anything is kept of it.

mod body;
mod error;
mod handle;
mod id;
mod new_command;
mod pack;
mod shard;
mod step;
mod target;
pub mod tsp;
pub mod wire;
pub mod worker;

pub use self::body::{BODY_BYTES_MAX, BODY_FRAMES_MAX, Body, BodyError};
pub use self::error::CommandError;
pub use self::handle::{CommandReply, Commands, Listed, Swept};
pub use self::id::{CommandId, CommandIdError, Session};
pub use self::new_command::NewCommand;
pub use self::pack::PackError;
pub use self::shard::{SHARDS, Shard, process_stream};
pub use self::step::{Accepted, REASON_BYTES_MAX, Step, StepError, StepEvent};
pub use self::target::{Target, TargetError};
pub use self::wire::{CommandState, Info};
