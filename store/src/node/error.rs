//! Why a store can't be had or changed.

use std::path::PathBuf;

use thiserror::Error;

use crate::log::OpenError;
use crate::names::StoreName;

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
    /// Its files can't be used.
    #[error(transparent)]
    Open(#[from] OpenError),
}
