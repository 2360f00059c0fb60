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
mod directory;
pub mod exit_code;
mod feed;
mod lifecycle;
mod link;
mod plain;
mod reading;
mod replay;
mod session;
mod start;
mod status;
pub mod units;

pub use self::lifecycle::Fatal;
pub use self::start::{Handle, RunError, StartError, run, start};

use std::sync::{Arc, Mutex, PoisonError};

use broker::net::Endpoint;
use uuid::Uuid;

use crate::event::Epoch;
use crate::{Durability, Node};

/// Who answers: stands in replies, blocks and feed messages.
#[derive(Debug, Clone)]
struct Identity {
    incarnation: Arc<Mutex<Uuid>>,
    /// Lineage of its history.
    lineage: Uuid,
    /// The current reign.
    epoch: Epoch,
    /// Level at which a record is committed.
    durability: Durability,
}

impl Identity {
    fn new(node: &Node, durability: Durability) -> Self {
        let incarnation = Arc::new(Mutex::new(node.incarnation()));
        Self { incarnation, lineage: node.lineage(), epoch: node.epoch(), durability }
    }

    /// Incarnation of the data directory.
    fn incarnation(&self) -> Uuid {
        *self.incarnation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Data came that may be older or other than what was there: whoever knew this node by what it
    /// had must not take it for the same.
    fn renew(&self, incarnation: Uuid) {
        *self.incarnation.lock().unwrap_or_else(PoisonError::into_inner) = incarnation;
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
