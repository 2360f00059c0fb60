//! The store as a process: partitions served over ZeroMQ.
//!
//! ```text
//!              ┌──────────────────────────── store process ───────────────────────────┐
//! brokers ◄────┤ store-append   WorkerLink per broker, SessionTable per partition      │
//!              │      │ Submission           ▲ answers                                 │
//!              │ store-writer (one per partition, engine) ──► log                      │
//!              │      │ commit                                        │                │
//! SUB     ◄────┤ store-feed     Topics, own Readers ──────────────────┤                │
//! DEALER  ◄───►┤ store-replay   ReplaySchedule ──► store-reader ──────┘                │
//! people  ◄───►┤ store-admin    commands on DIR/admin.sock                             │
//!              └────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A socket never leaves its thread. Threads share the `Directory` of served partitions, the
//! engine's watermarks, and the `Lifecycle`; all else goes through queues with a waker, bounded by
//! what may be under way. They stop in this order: append (no new work, what is under way is
//! answered), then feed, replay and commands, then the writers.

pub mod admin;
mod answer;
mod append;
pub mod config;
mod data_disk;
pub(crate) mod directory;
pub mod exit_code;
mod feed;
pub(crate) mod lifecycle;
mod plain;
mod reading;
pub(crate) mod reign;
mod replay;
mod session;
pub(crate) mod start;
mod status;
pub mod units;

/// The machine that keeps a client's appends in order, for those who drive it without a socket.
pub mod machines {
    pub use super::answer::Answer;
    pub use super::session::{Arrival, Decision, SessionLimits, SessionTable};
    pub use broker::link::LinkNumber;
}

pub use self::lifecycle::Fatal;
pub use self::start::{Handle, RunError, StartError, run, start};

use std::sync::Arc;

use broker::net::Endpoint;
use uuid::Uuid;

use self::reign::{Reign, ReignState};
use crate::Durability;

/// Who answers: stands in replies, blocks and feed messages.
#[derive(Clone)]
struct Identity {
    reign: Reign,
    /// Level at which a record is committed.
    durability: Durability,
}

impl Identity {
    /// What holds now.
    fn state(&self) -> Arc<ReignState> {
        self.reign.state()
    }

    /// Data came that may be older or other than what was there: whoever knew this node by what it
    /// had must not take it for the same.
    fn renew(&self, incarnation: Uuid) {
        self.reign.change(|state| {
            state.incarnation = incarnation;
            state.members = vec![incarnation];
            state.leader = Some(incarnation);
        });
    }
}

/// Where others are told to connect.
#[derive(Debug, Clone)]
struct Places {
    /// The replay socket.
    replay: Endpoint,
    /// The feed socket.
    feed: Endpoint,
}
