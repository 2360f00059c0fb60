//! Why a store can't be had or changed.

use std::path::PathBuf;

use thiserror::Error;

use crate::event::Sequence;
use crate::log::{OpenError, ReadError};
use crate::names::StoreName;
use crate::slot::PartitionNumber;

/// Why a command about a store was refused.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The node does not list it.
    #[error("there is no store {name} on this node: check the name, or create it")]
    NotFound {
        /// Its name.
        name: StoreName,
    },
    /// The node has it already.
    #[error("store {name} exists on this node: choose another name, or use the one that is there")]
    Exists {
        /// Its name.
        name: StoreName,
    },
    /// It is detached.
    #[error("store {name} is detached: attach it first")]
    Detached {
        /// Its name.
        name: StoreName,
    },
    /// It is not detached.
    #[error("store {name} is attached already")]
    Attached {
        /// Its name.
        name: StoreName,
    },
    /// It was created with other numbers.
    #[error("store {name} has {found}, not {wanted}: these can't be changed, ask for what it has")]
    OtherPartitions {
        /// Its name.
        name: StoreName,
        /// What it has.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// The number of partitions, or the part of them to host, makes no sense.
    #[error("a store has 1 to 1024 partitions, and a node hosts at least one of them: {wanted}")]
    Partitions {
        /// What was asked for.
        wanted: String,
    },
    /// A folder stands where the store's would be.
    #[error("{} is there, but not listed in the node file: move it away first", dir.display())]
    FolderExists {
        /// The folder.
        dir: PathBuf,
    },
    /// A log does not hold what readers of this process may have read of it.
    #[error(
        "AHEAD_OF_LOG: {name}/{partition} can't be served by this process: its readers may stand \
         at sequence {stood}, but this log {}. Stop the process and start it again, before or \
         after this command: every start counts a new epoch, which tells readers of the cut",
        lacking(*stood, *end)
    )]
    Cut {
        /// Its name.
        name: StoreName,
        /// The partition.
        partition: PartitionNumber,
        /// Where the log ended that this process has served (inclusive).
        stood: Sequence,
        /// Where the log ends that was to be served (inclusive).
        end: Sequence,
    },
    /// A store of this name may have been removed, and its logs may have ended anywhere.
    #[error(
        "AHEAD_OF_LOG: store {name} can't be made by this process: it has removed so many that it \
         does not know any more whether readers stand in one of this name. Stop the process and \
         start it again, before or after this command: every start counts a new epoch, which \
         tells readers of the cut"
    )]
    Forgotten {
        /// Its name.
        name: StoreName,
    },
    /// A log can't be compared with the one that was served.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its files can't be used.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// What a log lacks that others have read up to a sequence.
fn lacking(stood: Sequence, end: Sequence) -> String {
    if end < stood {
        format!("ends at {end}")
    } else {
        "does not hold what they have read".to_owned()
    }
}
