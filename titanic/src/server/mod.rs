//! Titanic as a process: the [machine](crate::Titanic) with sockets, threads, clock and file.
//!
//! ```text
//!              ┌──────────────────────── Titanic process ───────────────────────┐
//! brokers ◄────┤ titanic-loop      Counter and Caller per broker, the machine   │
//! store   ◄────┤ starlog-client    appends, look-ups                            │
//! store   ◄────┤ titanic-follower  subscription to all partitions               │
//!              │ titanic-read-0…3  look-ups by event id                         │
//! disk    ◄────┤ titanic-keeper    the view in DIR/view.redb                    │
//!              └────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A socket never leaves its thread. The loop never waits for a store or a disk: what others do for
//! it comes back through queues with a waker, which are bounded by what the machine lets under way.

mod appends;
mod caller;
mod counter;
mod event_loop;
pub mod exit_code;
mod follower;
mod keeper;
mod lifecycle;
#[cfg(test)]
mod page_tests;
mod readers;
mod start;

pub use self::keeper::KeeperError;
pub use self::lifecycle::Fatal;
pub use self::start::{Handle, RunError, StartError, run, start};
