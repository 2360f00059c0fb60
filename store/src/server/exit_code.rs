//! Exit codes of `starlog-store`: distinct, so that a supervisor knows what helps.
//!
//! | code | means | a restart |
//! |---|---|---|
//! | 0 | stopped on request, or the command was done | – |
//! | 1 | the command was refused | does not help |
//! | 2 | usage: a flag or the configuration is wrong | does not help |
//! | 3 | another process uses the data directory | helps once that one is gone |
//! | 4 | a partition is missing or was exchanged | does not help |
//! | 5 | an address is in use or cannot be bound | helps once it is free |
//! | 6 | the data is damaged | does not help |
//! | 7 | the disk failed while running; outcomes are unknown | may help |
//! | 8 | the data was written by a newer version | does not help |
//! | 9 | a store exists with other partitions, or is detached | does not help |
//! | 10 | a thread failed | helps; report it |
//! | 11 | the operating system refused something | may help |
//! | 12 | `verify` found a torn tail and no damage | – |
//! | 13 | the node must not be, or go on, in its pair like this | does not help |
//! | 14 | a log lacks what readers of the running process may have read | helps, with the command |
//! | 15 | the process took more memory than `--memory-max` allows | helps |

use super::admin::AdminError;
use super::lifecycle::Fatal;
use super::start::{RunError, StartError};
use crate::pair::PairError;
use crate::{OpenError, ReadError, StoreError};

/// A command was refused.
pub const EXIT_REFUSED: u8 = 1;
/// A flag or the configuration is wrong.
pub const EXIT_USAGE: u8 = 2;
/// Another process uses the data directory.
pub const EXIT_LOCKED: u8 = 3;
/// A partition is missing or was exchanged.
pub const EXIT_MISSING: u8 = 4;
/// An address is in use or cannot be bound.
pub const EXIT_BIND: u8 = 5;
/// The data is damaged.
pub const EXIT_DAMAGED: u8 = 6;
/// The disk failed while running.
pub const EXIT_POISONED: u8 = 7;
/// The data was written by a newer version.
pub const EXIT_NEWER: u8 = 8;
/// A store exists with other partitions, or is detached.
pub const EXIT_OTHER_STORE: u8 = 9;
/// A thread failed.
pub const EXIT_THREAD: u8 = 10;
/// The operating system refused something.
pub const EXIT_SYSTEM: u8 = 11;

/// `verify` found a torn tail and no damage.
pub const EXIT_TORN_TAIL: u8 = 12;
/// The node must not be, or go on, in its pair like this.
pub const EXIT_PAIR: u8 = 13;
/// A log lacks what readers of the running process may have read (`AHEAD_OF_LOG`).
pub const EXIT_CUT: u8 = 14;
/// The process took more memory than it may.
pub const EXIT_MEMORY: u8 = 15;

/// The code of a process that ended with this error.
#[must_use]
pub fn of_run(error: &RunError) -> u8 {
    match error {
        RunError::Fatal(Fatal::Poisoned { .. }) => EXIT_POISONED,
        RunError::Fatal(Fatal::Thread { .. }) => EXIT_THREAD,
        RunError::Fatal(Fatal::Pair(_)) => EXIT_PAIR,
        RunError::Fatal(Fatal::Memory(_)) => EXIT_MEMORY,
        RunError::Start(error) => of_start(error),
    }
}

/// The code of a command that ended with this error.
#[must_use]
pub fn of_command(error: &AdminError) -> u8 {
    match error {
        AdminError::Command(_) | AdminError::NoDirectory(_) => EXIT_USAGE,
        AdminError::Store(error) => of_store(error),
        AdminError::Open(error) => of_open(error),
        AdminError::NoMember(_) => EXIT_REFUSED,
        AdminError::Refused { code, .. } => *code,
        AdminError::Unreachable { .. } => EXIT_LOCKED,
        AdminError::Socket { .. } => EXIT_SYSTEM,
    }
}

fn of_start(error: &StartError) -> u8 {
    match error {
        StartError::Config(_) | StartError::NoStore => EXIT_USAGE,
        StartError::Open(error) => of_open(error),
        StartError::Store(error) => of_store(error),
        StartError::NothingLeft { problem, .. } | StartError::Unsound { problem, .. } => {
            of_open(problem)
        }
        StartError::Bind(_) | StartError::Pair(PairError::Bind(_)) => EXIT_BIND,
        StartError::Pair(PairError::Record(_)) => EXIT_DAMAGED,
        StartError::Pair(PairError::Save(error)) => of_open(error),
        StartError::Admin(error) => of_command(error),
        StartError::Socket(_)
        | StartError::Resources(_)
        | StartError::Pair(PairError::Socket(_) | PairError::Resources(_)) => EXIT_SYSTEM,
    }
}

/// The code of a command that could not open a directory or a file of it.
#[must_use]
pub fn of_open(error: &OpenError) -> u8 {
    match error {
        OpenError::Locked { .. } => EXIT_LOCKED,
        OpenError::Missing { .. }
        | OpenError::Exchanged { .. }
        | OpenError::OtherPartition { .. }
        | OpenError::NodeFileMissing { .. }
        | OpenError::NoNode { .. } => EXIT_MISSING,
        OpenError::Corrupt { .. } | OpenError::EpochBehind { .. } | OpenError::Index(_) => {
            EXIT_DAMAGED
        }
        OpenError::NewerFormat { .. } => EXIT_NEWER,
        OpenError::PairMember { .. } => EXIT_PAIR,
        OpenError::Options { .. } => EXIT_USAGE,
        OpenError::Io { .. } => EXIT_SYSTEM,
    }
}

fn of_store(error: &StoreError) -> u8 {
    match error {
        StoreError::Detached { .. } | StoreError::OtherPartitions { .. } => EXIT_OTHER_STORE,
        StoreError::Partitions { .. } => EXIT_USAGE,
        StoreError::NotFound { .. }
        | StoreError::Exists { .. }
        | StoreError::Attached { .. }
        | StoreError::FolderExists { .. } => EXIT_REFUSED,
        StoreError::Cut { .. } | StoreError::Forgotten { .. } => EXIT_CUT,
        StoreError::Read(ReadError::Io { .. }) => EXIT_SYSTEM,
        StoreError::Read(_) => EXIT_DAMAGED,
        StoreError::Open(error) => of_open(error),
    }
}
