//! Why a directory, a partition or a record can't be used.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use uuid::Uuid;

use super::fields::{BlockError, FORMAT_VERSION};
use crate::event::{Epoch, Sequence};
use crate::index::IndexError;
use crate::names::StreamName;
use crate::slot::PartitionNumber;

/// Why a node or a partition does not open. Nothing was changed, unless the sentence says so.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has the directory.
    #[error(
        "{} is in use by process {pid}: stop that process, or choose another directory",
        dir.display()
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// Process that holds the lock; `?` if it has not said so yet.
        pid: String,
    },
    /// A file is not what was written.
    #[error(
        "{} is damaged at byte {offset} (sequence {sequence}): {reason}. Nothing was changed. \
         Detach the store, put back a copy of this partition's folder, and attach it again",
        file.display()
    )]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
        /// The first sequence that can't be vouched for.
        sequence: Sequence,
        /// What is wrong.
        reason: String,
    },
    /// A file was written by a newer version of Starlog.
    #[error(
        "{} has format {found}, this program knows up to {known}: use the newer program",
        file.display()
    )]
    NewerFormat {
        /// The file.
        file: PathBuf,
        /// Version that a reader needs.
        found: u32,
        /// Version that this crate has.
        known: u32,
    },
    /// What the node file lists is not there.
    #[error(
        "{} is missing although this node hosts it: put it back, or remove the store from the \
         node if its data may be lost",
        path.display()
    )]
    Missing {
        /// File or folder.
        path: PathBuf,
    },
    /// Another partition lies where the node's own one should be.
    #[error(
        "{} holds another partition ({found}) than the one that this node hosts ({expected}): put \
         the right one back, or detach and attach the store to accept this one",
        dir.display()
    )]
    Exchanged {
        /// The partition's folder.
        dir: PathBuf,
        /// Its id in the node file.
        expected: Uuid,
        /// Its id in its control file.
        found: Uuid,
    },
    /// The control file is that of another store, number, or count of partitions.
    #[error("{} is {found}, not {expected}: put the right folder back", dir.display())]
    OtherPartition {
        /// The partition's folder.
        dir: PathBuf,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The folder holds stores, but not the file that says which.
    #[error(
        "{} has folders but no node file: put the node file back, or choose an empty directory",
        dir.display()
    )]
    NodeFileMissing {
        /// The node's directory.
        dir: PathBuf,
    },
    /// A command is about a node that must be there.
    #[error("{} is no node's directory: check the path", dir.display())]
    NoNode {
        /// The directory.
        dir: PathBuf,
    },
    /// A node that belongs to a pair must not serve alone.
    #[error(
        "{} is a member of a pair: start it with --role and the settings of its pair, or take it \
         out of the pair for good first",
        dir.display()
    )]
    PairMember {
        /// The node's directory.
        dir: PathBuf,
    },
    /// An option is out of its range.
    #[error("{option} must be {allowed}")]
    Options {
        /// The option.
        option: &'static str,
        /// Its range.
        allowed: String,
    },
    /// The node file is older than the log.
    #[error(
        "{} has records of epoch {log}, the node file is only at {node}: put back the node file \
         that belongs to it",
        dir.display()
    )]
    EpochBehind {
        /// The partition's folder.
        dir: PathBuf,
        /// Epoch of its last record.
        log: Epoch,
        /// Epoch of the node.
        node: Epoch,
    },
    /// The index could not be made.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl OpenError {
    /// Attaches the path to an error of the operating system.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// Turns an unusable block into the error for its file.
    pub(crate) fn block(file: &Path, offset: u64) -> impl FnOnce(BlockError) -> Self {
        let file = file.to_owned();
        move |error| match error {
            BlockError::Newer { needed } => {
                Self::NewerFormat { file, found: needed, known: FORMAT_VERSION }
            }
            BlockError::Damaged => Self::Corrupt {
                file,
                offset,
                sequence: Sequence::ZERO,
                reason: "a header is not what was written".to_owned(),
            },
        }
    }
}

/// Why a read fails.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The sequences below `first` are not kept any more.
    #[error("the log starts at sequence {first}: read from there")]
    BeforeFirst {
        /// Oldest sequence that is kept.
        first: Sequence,
    },
    /// Nothing was ever committed to the stream.
    #[error("there is no stream {stream}: check its name")]
    StreamNotFound {
        /// Its name.
        stream: StreamName,
    },
    /// A record is not what was written.
    #[error(
        "{} is damaged at byte {offset} (sequence {sequence}): {reason}. Stop the process, put \
         back a copy of this partition's folder, and start it again",
        file.display()
    )]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
        /// The sequence that was asked for.
        sequence: Sequence,
        /// What is wrong.
        reason: String,
    },
    /// The store does not serve this partition.
    #[error("partition {partition} is not served here: ask the node that hosts it")]
    NotHosted {
        /// The partition.
        partition: PartitionNumber,
    },
    /// A record is whole, yet its content breaks the format.
    #[error("a record can't be decoded: {reason}")]
    Undecodable {
        /// What is wrong.
        reason: String,
    },
    /// The index could not answer.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The partition was closed.
    #[error("the partition is closed: open the node, or attach the store, again")]
    Closed,
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ReadError {
    /// Attaches the path to an error of the operating system.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
